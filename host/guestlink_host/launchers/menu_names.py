"""The names that the user's menus may show of an application, and which of them look alike. Pure.

A container chooses its applications' names, in every language and every script, so two names that differ for a
program may be one name for a person.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Container, Iterable, Iterator, Mapping

_UNSEEN = re.compile(
    r"[\s\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2060-\u2064\u2800\ufe00-\ufe0f"
    r"\U000e0100-\U000e01ef]"
)
"""Spaces, and characters without a shape of their own: Unicode's Default_Ignorable_Code_Point, and Braille's
blank."""
_TWINS = str.maketrans(
    "авекмнорстухіјѕһԁԛԝ" + "αβεηικμορτυχ" + "10|ı",
    "abekmhopctyxijshdqw" + "abehikmoptyx" + "loli",
)
"""Small letters of Cyrillic and Greek, and digits, that look like Latin letters themselves or as capitals: the most
frequent of UTS #39, "Confusable Detection"."""
_LOOK_LIMIT = 256
"""Characters of a look. One character can stand for eighteen, and a container has many names."""
_LOOKS_LIKE_L = str.maketrans("i", "l")
_LOCALE = re.compile(r"([^_.@]+)(_[^.@]*)?(?:\.[^@]*)?(@.*)?")
"""Language, country and modifier: lang_COUNTRY.ENCODING@MODIFIER."""
_IN_PARENTHESES = re.compile(r"\(([^()]*)\)$")


def look(name: str) -> str:
    """What a name looks like: names with the same result can be taken for each other.

    Letters of other scripts and of other shapes that are not in our table still differ.
    """
    return unicodedata.normalize("NFC", "".join(map(_look_of, name))[:_LOOK_LIMIT])


@functools.lru_cache(4096)
def _look_of(character: str) -> str:
    plain = unicodedata.normalize("NFKC", character).casefold().translate(_TWINS).translate(_LOOKS_LIKE_L)
    return _UNSEEN.sub("", plain)


def claimed_container(name: str) -> str:
    """The text in parentheses at the end of a name's look, where our launchers show their container; or ``""``."""
    match = _IN_PARENTHESES.search(look(name))
    return match[1] if match else ""


def session_locales(environ: Mapping[str, str]) -> frozenset[str]:
    """The locales whose texts the user's session shows, from the variables that gettext reads.

    A menu takes the best of up to four for each (Desktop Entry Specification, "Localized values for keys").
    """
    words = environ.get("LANGUAGE", "").split(":")
    words += [environ.get(key, "") for key in ("LC_ALL", "LC_MESSAGES", "LANG")]
    return frozenset(locale for word in words for locale in _variants(word)) - {"C", "POSIX"}


def menu_names(names: Iterable[tuple[str, str]], locales: Container[str]) -> list[str]:
    """The names that menus may show: the default one, and those in the session's locales.

    :param names: names by locale; ``""`` is the default.
    """
    return [name for locale, name in names if not locale or locale in locales]


def _variants(word: str) -> Iterator[str]:
    parts = _LOCALE.fullmatch(word)
    if parts is not None:
        language, country, modifier = (part or "" for part in parts.groups())
        yield from {language, language + country, language + modifier, language + country + modifier}
