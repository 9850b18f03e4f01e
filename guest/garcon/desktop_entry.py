"""Desktop entries: the ``[Desktop Entry]`` group of a ``.desktop`` file, read as garcon reads it.

The rules are garcon's, not the specification's, where the two differ (garcon.md §3.2): they decide what the host
is told. Pure: bytes in, a value out.
"""

from __future__ import annotations

import re
from typing import NamedTuple

SIZE_LIMIT = 10 * 1024 * 1024
"""Bytes; a longer file is unreadable (garcon.md §3.2)."""

_SPACE = " \t\n\r\v\f"
_HEADER = re.compile(r"^[ \t\r\v\f]*\[Desktop Entry\][ \t\r\v\f]*$", re.MULTILINE)
_NEXT_GROUP = re.compile(r"^[ \t\r\v\f]*\[", re.MULTILINE)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
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
_LISTS = frozenset({"OnlyShowIn", "NotShowIn", "MimeType", "Categories"})


class BrokenEntry(ValueError):
    """The content is no desktop entry; the text says why."""


class DesktopEntry(NamedTuple):
    """A desktop entry. Texts are unescaped, except :attr:`icon`, which garcon takes raw.

    :ivar names: by locale as written in the file; ``""`` is the default and always there.
    :ivar comments: by locale.
    :ivar keywords: by locale.
    """

    type: str
    names: dict[str, str]
    comments: dict[str, str]
    keywords: dict[str, list[str]]
    exec: str
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
    dbus_activatable: bool

    @property
    def name(self) -> str:
        """The name without a locale."""
        return self.names[""]


def parse_desktop_entry(content: bytes) -> DesktopEntry:
    """Read a desktop file.

    What is not UTF-8 becomes U+FFFD, because the host's protocol carries nothing else (garcon.md §8.1, 28).

    :param content: the file.
    :raises BrokenEntry: it is too long, has no such group, no valid Type or no unlocalised Name.
    """
    if len(content) > SIZE_LIMIT:
        raise BrokenEntry(f"longer than {SIZE_LIMIT} bytes")
    group = _read_group(content.decode(errors="replace"))
    plain, lists = group.plain, group.lists
    kind = plain.get("Type", "")
    if kind not in _TYPES:
        raise BrokenEntry(f"Type is {kind!r}" if kind else "no Type")
    if "" not in group.names:
        raise BrokenEntry("no Name")
    return DesktopEntry(
        type=kind,
        names=group.names,
        comments=group.comments,
        keywords=group.keywords,
        exec=unescape(plain.get("Exec", "")),
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
        dbus_activatable=plain.get("DBusActivatable") == "true",
    )


class _Group(NamedTuple):
    """The keys of the group; the values of ``plain`` are still escaped."""

    plain: dict[str, str]
    lists: dict[str, list[str]]
    names: dict[str, str]
    comments: dict[str, str]
    keywords: dict[str, list[str]]


def _read_group(text: str) -> _Group:
    header = _HEADER.search(text)
    if header is None:
        raise BrokenEntry("no [Desktop Entry] group")
    end = _NEXT_GROUP.search(text, header.end())
    group = _Group({}, {}, {}, {}, {})
    names, comments, keywords = group.names, group.comments, group.keywords
    # A file has a hundred lines and more, nearly all of them translations: this loop is what a scan costs, so it
    # asks for those first and spells out what a table could say.
    for line in text[header.end() : end.start() if end else len(text)].split("\n"):
        key, _, value = line.partition("=")
        value = value.strip(_SPACE)
        if not value:
            continue
        if key[-1:] != "]":
            key = key.strip(_SPACE)
        base, bracket, locale = key.partition("[")
        if bracket and not (locale := locale[:-1]):
            continue
        if base == "Name":
            names[locale] = value  # The last one wins; lists append.
        elif base == "Comment":
            comments[locale] = value
        elif base == "Keywords":
            elements = split_list(value)
            keywords[locale] = [*keywords[locale], *elements] if locale in keywords else elements
        elif locale or key not in _KEYS:
            continue
        elif key in _LISTS:
            group.lists.setdefault(key, []).extend(split_list(value))
        else:
            group.plain[key] = value
    if "\\" in text:
        for texts in (names, comments):
            texts.update({locale: unescape(value) for locale, value in texts.items()})
    return group


def unescape(text: str) -> str:
    """Resolve the escapes of a string value; an unknown ``\\x`` becomes ``x``."""
    if "\\" not in text:
        return text
    return _ESCAPE.sub(lambda match: _ESCAPED.get(match[1], match[1]), text)


def split_list(text: str) -> list[str]:
    """Split a list value at ``;`` and unescape its elements.

    ``\\;`` is a semicolon; empty elements in the middle stay, a trailing one goes (garcon.md §9.1, D4).
    """
    if "\\" not in text:
        elements = text.split(";")
    else:
        elements = [""]
        characters = iter(text)
        for char in characters:
            if char == ";":
                elements.append("")
            elif char == "\\":
                following = next(characters, "\\")
                elements[-1] += _ESCAPED.get(following, following)
            else:
                elements[-1] += char
    if not elements[-1]:
        elements.pop()
    return elements
