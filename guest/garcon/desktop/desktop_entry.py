"""Desktop entries: the ``[Desktop Entry]`` group of a ``.desktop`` file, read as garcon reads it.

Where the specification and ChromeOS's garcon differ, we use garcon's rules (chromeos-garcon.md §3.2), because they
decide what the host receives. Pure: bytes in, a value out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from sys import intern
from typing import NamedTuple

SIZE_LIMIT = 10 * 1024 * 1024
"""Bytes; a longer file is rejected (chromeos-garcon.md §3.2)."""

_HEADER = re.compile(r"^[ \t\r\v\f]*\[Desktop Entry\][ \t\r\v\f]*$", re.MULTILINE)
_NEXT_GROUP = re.compile(r"\n[ \t\r\v\f]*\[")
# A key, the locale in brackets, and a value without the white space around it. The quantifiers are possessive,
# because otherwise a long run of spaces between two parts would be split in every possible way.
_LINE = re.compile(
    r"^[ \t\r\v\f]*+([A-Za-z]++)(?:\[([^\n=]+)\])?[ \t\r\v\f]*+=[ \t\r\v\f]*+([^\n]*[^ \t\r\v\f\n])",
    re.MULTILINE,
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_LIST_TOKEN = re.compile(r"[^;\\]+|\\.?|;", re.DOTALL)
_ESCAPED = {"s": " ", "n": "\n", "t": "\t", "r": "\r"}
_TYPES = frozenset({"Application", "Link", "Directory"})
_KEYS = {
    "Type",
    "NoDisplay",
    "Icon",
    "Hidden",
    "OnlyShowIn",
    "NotShowIn",
    "TryExec",
    "Exec",
    "Path",
    "Terminal",
    "MimeType",
    "Categories",
    "StartupWMClass",
    "StartupNotify",
    "DBusActivatable",
}
_GLIB_TRUE = ("true", "1")
_LISTS = frozenset({"OnlyShowIn", "NotShowIn", "MimeType", "Categories"})


class BrokenEntry(ValueError):
    """The content is no desktop entry; the text says why."""


class DesktopEntry(NamedTuple):
    """A desktop entry. Texts are unescaped, except :attr:`icon`, which garcon takes raw, and :attr:`keywords`.

    :ivar exec_raw: the Exec value as written in the file.
    :ivar names: by locale as written in the file; ``""`` is the default and always there.
    :ivar comments: by locale.
    :ivar keywords: by locale, as written in the file: lists would take half the memory of a scan, and only the
        message to the host uses them. :func:`split_list` returns the words.
    :ivar terminal: ``Terminal`` as the host gets it: only the text ``true`` is true.
    :ivar launch_in_terminal: ``Terminal`` as for launching: GLib also takes ``1``, which old files have.
    :ivar launch_notified: ``StartupNotify`` as for launching.
    :ivar dbus_activatable: as for launching.
    """

    type: str
    names: dict[str, str]
    comments: dict[str, str]
    keywords: dict[str, str]
    exec: str
    exec_raw: str
    icon: str
    path: str
    try_exec: str
    startup_wm_class: str
    mime_types: list[str]
    categories: list[str]
    only_show_in: list[str]
    not_show_in: list[str]
    no_display: bool
    hidden: bool
    terminal: bool
    startup_notify: bool
    launch_in_terminal: bool
    launch_notified: bool
    dbus_activatable: bool

    @property
    def name(self) -> str:
        """The name without a locale."""
        return self.names[""]


def parse_desktop_entry(content: bytes) -> DesktopEntry:
    """Read a desktop file.

    Bytes that are not UTF-8 become U+FFFD, because the host's protocol allows only UTF-8 (chromeos-garcon.md §8.1,
    28).

    :param content: the file.
    :raises BrokenEntry: the file is too long, has no ``[Desktop Entry]`` group, no valid Type or no unlocalised
        Name.
    """
    if len(content) > SIZE_LIMIT:
        raise BrokenEntry(f"longer than {SIZE_LIMIT} bytes")
    group = _read_group(content.decode(errors="replace"))
    plain, lists = group.plain, group.lists
    kind = plain.get("Type", "")
    if kind not in _TYPES:
        raise BrokenEntry(f"Type is {kind[:40]!r}" if kind else "no Type")
    if "" not in group.names:
        raise BrokenEntry("no Name")
    return DesktopEntry(
        type=kind,
        names=group.names,
        comments=group.comments,
        keywords=group.keywords,
        exec=unescape(exec_raw := plain.get("Exec", "")),
        exec_raw=exec_raw,
        icon=plain.get("Icon", ""),
        path=unescape(plain.get("Path", "")),
        try_exec=unescape(plain.get("TryExec", "")),
        startup_wm_class=unescape(plain.get("StartupWMClass", "")),
        mime_types=lists.get("MimeType", []),
        categories=lists.get("Categories", []),
        only_show_in=lists.get("OnlyShowIn", []),
        not_show_in=lists.get("NotShowIn", []),
        no_display=plain.get("NoDisplay") == "true",
        hidden=plain.get("Hidden") == "true",
        terminal=plain.get("Terminal") == "true",
        startup_notify=plain.get("StartupNotify") == "true",
        launch_in_terminal=plain.get("Terminal") in _GLIB_TRUE,
        launch_notified=plain.get("StartupNotify") in _GLIB_TRUE,
        dbus_activatable=plain.get("DBusActivatable") in _GLIB_TRUE,
    )


class _Group(NamedTuple):
    """The keys of the group; the values of ``plain`` and ``keywords`` are still escaped."""

    plain: dict[str, str]
    lists: dict[str, list[str]]
    names: dict[str, str]
    comments: dict[str, str]
    keywords: dict[str, str]


def _read_group(text: str) -> _Group:
    header = _HEADER.search(text)
    if header is None:
        raise BrokenEntry("no [Desktop Entry] group")
    following = _NEXT_GROUP.search(text, header.end())
    end = following.start() if following else len(text)
    group = _Group({}, {}, {}, {}, {})
    names, comments, keywords = group.names, group.comments, group.keywords
    repeated: dict[str, list[str]] = {}
    # This loop takes most of a scan's time, because a file has a hundred lines or more, nearly all translations. So
    # it compares keys one by one instead of using a table.
    for key, locale, value in _LINE.findall(text, header.end(), end):
        locale = intern(locale)  # All files use the same locales.
        if key == "Name":
            names[locale] = value  # The last one wins; lists append.
        elif key == "Comment":
            comments[locale] = value
        elif key == "Keywords":
            if locale in keywords:
                repeated.setdefault(locale, []).append(value)
            else:
                keywords[locale] = value
        elif locale or key not in _KEYS:
            continue
        elif key in _LISTS:
            group.lists.setdefault(key, []).extend(split_list(value))
        else:
            group.plain[key] = value
    for locale, values in repeated.items():
        keywords[locale] = _join_lists([keywords[locale], *values])
    if "\\" in text:
        for texts in (names, comments):
            texts.update({locale: unescape(value) for locale, value in texts.items()})
    return group


def unescape(text: str) -> str:
    """Resolve the escapes of a string value; an unknown ``\\x`` becomes ``x``."""
    if "\\" not in text:
        return text
    return _ESCAPE.sub(lambda match: _ESCAPED.get(match[1], match[1]), text)


def _join_lists(values: Sequence[str]) -> str:
    """Join several list values into one."""
    elements = (element for value in values for element in split_list(value))
    return "".join(element.replace("\\", "\\\\").replace(";", "\\;") + ";" for element in elements)


def split_list(text: str) -> list[str]:
    """Split a list value at ``;`` and unescape its elements.

    ``\\;`` is a semicolon; empty elements in the middle stay, a trailing one goes (chromeos-garcon.md §9.1, D4).
    """
    if "\\" not in text:
        elements = text.split(";")
    else:
        # Split only at the token ``;``: an escaped semicolon is the token ``\;``.
        tokens: list[list[str]] = [[]]
        for token in _LIST_TOKEN.findall(text):
            if token == ";":
                tokens.append([])
            else:
                tokens[-1].append(token)
        elements = [unescape("".join(parts)) for parts in tokens]
    if not elements[-1]:
        elements.pop()
    return elements
