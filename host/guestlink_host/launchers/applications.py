"""The applications in a container's list, checked and cut to the limits before another module gets them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

from guestlink.pb import container_host_pb2
from guestlink_host.names import is_usable_id, visible_line

LIST_LIMIT = 2500
"""Applications per container; a Debian with every package of a desktop has a few hundred."""
TEXTS_LIMIT = 60_000
"""Names, comments, keywords and MIME types of one container, in all languages: the daemon keeps them in memory. The
applications after these have a name and a comment in the default language alone."""
NAME_LIMIT, COMMENT_LIMIT, WORD_LIMIT = 200, 1000, 200
LOCALE_LIMIT, WORDS_LIMIT, MIME_LIMIT = 200, 100, 1000
EXEC_LIMIT = 32768

_LOCALE = re.compile(r"[A-Za-z]{1,8}(_[A-Za-z0-9]{1,8}){0,3}(@[A-Za-z0-9_-]{1,32})?")
_MIME_TYPE = re.compile(r"([A-Za-z0-9-]{1,40})/([A-Za-z0-9!#$%&'*+.^_`{|}~-]{1,200})")
"""Type and subtype. The subtype is a token of RFC 2045; desktops compare it case-sensitively."""
_MEDIA_TYPES = frozenset(
    ("application", "audio", "chemical", "font", "image", "inode", "message", "model", "multipart", "text", "video")
)
"""Media types besides ``x-…`` that desktop-file-validate accepts."""
_ODD_MIME_TYPES = frozenset({"misc/ultravox"})
"""The only type outside of :data:`_MEDIA_TYPES` that desktop-file-validate accepts; media players register it."""

Texts: TypeAlias = tuple[tuple[str, str], ...]
"""Texts by locale, the default (``""``) first."""
Words: TypeAlias = tuple[tuple[str, tuple[str, ...]], ...]


class Application(NamedTuple):
    """An application that can be shown. Every text is one visible line.

    :ivar exec: the command inside the container. The host prints it and reads its field codes, but never runs it.
    """

    id: str
    names: Texts
    comments: Texts = ()
    keywords: Words = ()
    mime_types: tuple[str, ...] = ()
    no_display: bool = False
    startup_wm_class: str = ""
    startup_notify: bool = False
    package_id: str = ""
    executable: str = ""
    exec: str = ""
    terminal: bool = False

    @property
    def name(self) -> str:
        """The default name (the one without a locale)."""
        return self.names[0][1]


def read_applications(messages: Iterable[Any]) -> tuple[dict[str, Application], list[str]]:
    """Check a list that a container sent.

    :param messages: ``Application`` messages.
    :returns: the applications by id, and a sentence about each entry that cannot be shown. If two entries have the
        same id, the last one counts (chromeos-garcon.md §7.10).
    """
    found: dict[str, Application] = {}
    faults: list[str] = []
    texts = 0
    for number, message in enumerate(messages):
        if number >= LIST_LIMIT:
            faults.append(f"only the first {LIST_LIMIT} applications are shown")
            break
        if not is_usable_id(message.desktop_file_id):
            faults.append(f"entry {number} has no usable id: {message.desktop_file_id[:80]!a}")
            continue
        application = _application(message, is_complete=texts < TEXTS_LIMIT)
        if application is None:
            faults.append(f"{message.desktop_file_id} has no name that can be shown")
        else:
            texts += len(application.names) + len(application.comments) + len(application.mime_types)
            texts += sum(len(words) for _, words in application.keywords)
            found.pop(application.id, None)
            found[application.id] = application
    return found, faults


def _application(message: Any, *, is_complete: bool) -> Application | None:
    name, comment = (
        [value for value in field.values[:LOCALE_LIMIT] if is_complete or not value.locale]
        for field in (message.name, message.comment)
    )
    names = _texts(name, NAME_LIMIT)
    if not names or names[0][0]:
        return None
    return Application(
        id=message.desktop_file_id,
        names=names,
        comments=_with_default(_texts(comment, COMMENT_LIMIT)),
        keywords=_with_default(_keywords(message.keywords.values)) if is_complete else (),
        mime_types=_mime_types(message.mime_types) if is_complete else (),
        no_display=message.no_display,
        startup_wm_class=_window_class(message.startup_wm_class),
        startup_notify=message.startup_notify,
        package_id=visible_line(message.package_id, NAME_LIMIT),
        executable=visible_line(message.executable_file_name, NAME_LIMIT),
        exec=visible_line(message.exec, EXEC_LIMIT),
        terminal=message.terminal,
    )


def _texts(values: Iterable[Any], limit: int) -> Texts:
    found: dict[str, str] = {}
    for value in values:
        if (locale := _locale(value.locale)) is not None and (text := visible_line(value.value, limit)):
            found[locale] = text
    return tuple(sorted(found.items()))


def _keywords(values: Iterable[Any]) -> Words:
    found: dict[str, tuple[str, ...]] = {}
    for value in list(values)[:LOCALE_LIMIT]:
        locale = _locale(value.locale)
        words = (visible_line(word, WORD_LIMIT) for word in list(value.value)[:WORDS_LIMIT])
        if locale is not None and (kept := tuple(dict.fromkeys(word for word in words if word))):
            found[locale] = kept
    return tuple(sorted(found.items()))


def _with_default(values: Any) -> Any:
    """The texts, or none if there is no default: the specification requires a default beside translations."""
    return values if values and not values[0][0] else ()


def _locale(text: str) -> str | None:
    """The locale as desktop files write it, without its encoding (all text is UTF-8); ``None`` if it is invalid."""
    language, at, modifier = text.partition("@")
    locale = language.partition(".")[0].replace("-", "_") + at + modifier
    return sys.intern(locale) if not locale or _LOCALE.fullmatch(locale) else None


def _mime_types(texts: Iterable[str]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for text in list(texts)[:MIME_LIMIT]:
        if match := _MIME_TYPE.fullmatch(text):
            media = match[1].lower()
            if media in _MEDIA_TYPES or media.startswith("x-") or text in _ODD_MIME_TYPES:
                found[f"{media}/{match[2]}"] = None
    return tuple(found)


def _window_class(text: str) -> str:
    """The class unchanged, because the desktop compares it with a window's; ``""`` if too long or not printable."""
    return text if len(text) <= NAME_LIMIT and text.isprintable() else ""


def to_json(applications: Mapping[str, Application]) -> list[dict[str, Any]]:
    """The applications as JSON values, for commands and for the state on disk."""
    return [
        application._asdict()
        | {
            "name": application.name,
            "names": dict(application.names),
            "comments": dict(application.comments),
            "keywords": {locale: list(words) for locale, words in application.keywords},
        }
        for application in applications.values()
    ]


def from_json(value: Any) -> dict[str, Application]:
    """Read the applications that :func:`to_json` wrote, without damaged entries."""
    messages = []
    for entry in value if isinstance(value, list) else ():
        try:
            messages.append(_message(entry))
        except (TypeError, ValueError, KeyError, AttributeError):
            continue
    return read_applications(messages)[0]


def _message(entry: Mapping[str, Any]) -> Any:
    kind = container_host_pb2.Application
    localised, words = kind.LocalizedString.StringWithLocale, kind.LocaleStrings.StringsWithLocale
    return kind(
        desktop_file_id=entry["id"],
        name=kind.LocalizedString(values=[localised(locale=k, value=v) for k, v in entry["names"].items()]),
        comment=kind.LocalizedString(values=[localised(locale=k, value=v) for k, v in entry["comments"].items()]),
        keywords=kind.LocaleStrings(values=[words(locale=k, value=v) for k, v in entry["keywords"].items()]),
        mime_types=entry["mime_types"],
        no_display=entry["no_display"],
        startup_wm_class=entry["startup_wm_class"],
        startup_notify=entry["startup_notify"],
        package_id=entry["package_id"],
        executable_file_name=entry["executable"],
        exec=entry["exec"],
        terminal=entry["terminal"],
    )
