"""The Exec key: from a command line with field codes to arguments, as garcon expands it (garcon.md §5.2)."""

from __future__ import annotations

from collections.abc import Sequence

from garcon.desktop_entry import DesktopEntry

_MARKS = ("\0first\0", "\0second\0")
"""Stand for files: no command line has them."""


def expand_exec(entry: DesktopEntry, path: str, files: Sequence[str]) -> list[str]:
    """Expand an Exec value.

    :param entry: the application; its ``exec`` is unescaped already.
    :param path: the desktop file, for ``%k``.
    :param files: paths or URLs, put in as they are.
    :returns: the arguments, the program first; empty where there is no program.
    """
    arguments: list[str] = []
    current = ""
    quoted = False
    characters = iter(entry.exec)
    for char in characters:
        if quoted:
            if char == "\\":
                current += next(characters, "")
            elif char != '"':
                current += char
            else:
                quoted = False
                if current:
                    arguments.append(current)
                    current = ""
        elif char == '"':
            quoted = True
        elif char == " ":
            if current:
                arguments.append(current)
                current = ""
        elif char == "%":
            code = next(characters, "")
            if code == "%":
                current += "%"
            elif code in ("f", "u"):
                current += files[0] if files else ""
            elif code == "c":
                current += entry.name
            elif code == "k":
                current += path
            elif code in ("F", "U", "i"):
                if current:
                    arguments.append(current)
                    current = ""
                if code != "i":
                    arguments += files
                elif entry.icon:
                    arguments += ["--icon", entry.icon]
        else:
            current += char
    if current:
        arguments.append(current)
    return arguments


def expand_per_file(entry: DesktopEntry, path: str, files: Sequence[str]) -> list[list[str]]:
    """Expand an Exec value into one or more commands.

    A program that takes a single file is started once for each of several files (Desktop Entry Specification,
    "Exec"); the original opens only the first. For no file and for one the result is the original's.
    """
    if len(files) > 1:
        words = expand_exec(entry, path, _MARKS)
        takes_first, takes_second = (any(mark in word for word in words) for mark in _MARKS)
        if takes_first and not takes_second:
            return [expand_exec(entry, path, [file]) for file in files]
    return [expand_exec(entry, path, files)]


def executable_file_name(entry: DesktopEntry) -> str:
    """The base name of the program, ``""`` where there is none or it is not ASCII (garcon.md §3.6)."""
    arguments = expand_exec(entry, "", ())
    name = arguments[0].rstrip("/").rpartition("/")[2] if arguments else ""
    return name if name.isascii() else ""
