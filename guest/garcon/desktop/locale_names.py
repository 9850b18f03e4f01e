"""Chooses a localised value as GLib does, by the variables of the session. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

_LOCALE = re.compile(r"(?P<language>[^_.@]+)(?P<country>_[^.@]*)?(?:\.[^@]*)?(?P<modifier>@.*)?")
_NONE = frozenset({"", "C", "POSIX"})


def localised(values: Mapping[str, str], environ: Mapping[str, str]) -> str:
    """The value for the session's language.

    :param values: by locale as in desktop files; ``""`` is the default and must be there.
    :param environ: LC_ALL, LC_MESSAGES and LANG, of which the first counts, and LANGUAGE, a list of languages.
    """
    return next((values[name] for name in _names(environ) if name in values), values[""])


def _names(environ: Mapping[str, str]) -> Iterator[str]:
    """The locales to look for, the best first (Desktop Entry Specification, "Localized values for keys")."""
    chosen = next(filter(None, (environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))), "")
    if _plain(chosen) in _NONE:
        return
    for locale in (environ.get("LANGUAGE") or chosen).split(":"):
        match = _LOCALE.fullmatch(locale)
        if match is None or _plain(locale) in _NONE:
            continue
        language, country, modifier = (match[part] or "" for part in ("language", "country", "modifier"))
        yield from dict.fromkeys((language + country + modifier, language + country, language + modifier, language))


def _plain(locale: str) -> str:
    return locale.partition(".")[0].partition("@")[0]
