"""The Exec key: expands a command line with field codes to arguments. Pure.

We start programs with the arguments that GLib makes, because authors test their desktop files with GLib. The parser
of ChromeOS's garcon (chromeos-garcon.md §5.2) knows only double quotes; it decides which program name we publish.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import unquote_to_bytes

from garcon.desktop.desktop_entry import DesktopEntry
from garcon.desktop.locale_names import localised
from garcon.desktop.shell_words import BadQuoting, quote_word, split_words


def expand_exec(entry: DesktopEntry, path: str, files: Sequence[str]) -> list[str]:
    """Expand an Exec value as garcon does (chromeos-garcon.md §5.2).

    :param entry: the application; its ``exec`` is unescaped already.
    :param path: the desktop file, for ``%k``.
    :param files: paths or URLs, inserted unchanged.
    :returns: the arguments, the program first; empty if there is no program.
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


def launch_commands(
    entry: DesktopEntry, path: str, files: Sequence[str], environ: Mapping[str, str]
) -> list[list[str]]:
    """The commands that open files. As in GLib, further commands follow until every file has been used.

    ``%f`` and ``%u`` use one file, ``%F`` and ``%U`` the rest; a line without any of them gets one file as its last
    argument. Field codes are replaced before the line is split into words, so quotes have the same meaning as in a
    shell. A ``file:`` URL becomes a path. Unlike in GLib any other URL stays unchanged for ``%f``, too, and
    :func:`expand_exec` expands a line that GLib refuses.

    :param environ: the session's environment, whose language decides what ``%c`` is.
    :returns: one command or more; an empty one if the line has no words.
    """
    commands: list[list[str]] = []
    left = list(files)
    name = localised(entry.names, environ)
    while left or not commands:
        line, rest = _replace_codes(_glib_string(entry.exec_raw), name, entry.icon, path, left)
        if left and rest == left:
            line, rest = f"{line} {quote_word(_local_path(left[0]))}", left[1:]
        try:
            commands.append(split_words(line))
        except BadQuoting:
            return [expand_exec(entry, path, files)]
        left = rest
    return commands


def _replace_codes(line: str, name: str, icon: str, path: str, files: list[str]) -> tuple[str, list[str]]:
    """Replace the field codes of a line by quoted words.

    :param name: the application's name in the session's language.
    :param path: the desktop file.
    :returns: the line, and the files that no code has used.
    """
    left = files
    parts: list[str] = []
    at = 0
    for match in _FIELD_CODE.finditer(line):
        parts.append(line[at : match.start()])
        at = match.end()
        code = match[1]
        if code == "%":
            parts.append("%")
        elif code == "i" and icon:
            parts.append(f"--icon {quote_word(icon)}")
        elif code in ("c", "k"):
            parts.append(quote_word(name if code == "c" else path))
        elif (value := _FILE_CODES.get(code.lower())) is not None:
            taken, left = (left[:1], left[1:]) if code.islower() else (left, [])
            parts.append(" ".join(quote_word(value(file)) for file in taken))
    parts.append(line[at:])
    return "".join(parts), left


def _local_path(file: str) -> str:
    """The path of a ``file:`` URL; any other text unchanged."""
    scheme, slashes, rest = file.partition("://")
    if scheme.lower() != "file" or not slashes or not rest.removeprefix("localhost").startswith("/"):
        return file
    return os.fsdecode(unquote_to_bytes(rest.removeprefix("localhost")))


_FIELD_CODE = re.compile("%(.)", re.DOTALL)
_FILE_CODES: dict[str, Callable[[str], str]] = {
    "f": _local_path,
    "u": _local_path,
    "d": lambda file: os.path.dirname(_local_path(file)),
    "n": lambda file: os.path.basename(_local_path(file)),
}
"""The word that a field code inserts for a file; a capital code inserts all files. ``d`` and ``n`` are
deprecated."""


def _glib_string(raw: str) -> str:
    """Resolve the escapes of a string value as GLib does: an unknown escape stays (garcon drops its backslash)."""
    return _GLIB_ESCAPE.sub(lambda match: _GLIB_ESCAPED[match[1]], raw)


_GLIB_ESCAPE = re.compile(r"\\([sntr\\]|\Z)")
_GLIB_ESCAPED = {"": "", "s": " ", "n": "\n", "t": "\t", "r": "\r", "\\": "\\"}


def executable_file_name(entry: DesktopEntry) -> str:
    """The base name of the program; ``""`` if there is none or it is not ASCII (chromeos-garcon.md §3.6)."""
    arguments = expand_exec(entry, "", ())
    name = arguments[0].rstrip("/").rpartition("/")[2] if arguments else ""
    return name if name.isascii() else ""
