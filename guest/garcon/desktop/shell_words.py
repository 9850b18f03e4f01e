"""A command line split into words by the shell's quoting rules, as GLib's ``g_shell_parse_argv`` splits it. Pure.

Other desktops pass an Exec value to that function (Desktop Entry Specification, "The Exec key"). ``shlex`` differs
in comments, in what a backslash escapes inside double quotes, and in escaped line ends.
"""

from __future__ import annotations

from collections.abc import Iterator

_ESCAPABLE = '"\\`$\n'
"""Characters that a backslash escapes inside double quotes; before any other one it is a plain backslash."""


class BadQuoting(ValueError):
    """A quote is not closed, or the last backslash escapes nothing."""


def split_words(line: str) -> list[str]:
    """Split a command line.

    :returns: the words without their quotes; an empty pair of quotes is an empty word.
    :raises BadQuoting: the line ends inside quotes or after a backslash.
    """
    words: list[str] = []
    word: str | None = None
    before = " "
    characters = iter(line)
    for char in characters:
        if char in " \t\n":
            if word is not None:
                words.append(word)
            word = None
        elif char == "#" and before in " \n":
            _skip_comment(characters)
            char = "\n"
        elif char == "\\":
            char = _next(characters)
            if char != "\n":
                word = (word or "") + char
        elif char in "'\"":
            word = (word or "") + _quoted(char, characters)
        else:
            word = (word or "") + char
        before = char
    if word is not None:
        words.append(word)
    return words


def quote_word(word: str) -> str:
    """Quote a word for :func:`split_words`, as ``g_shell_quote`` does."""
    return "'" + word.replace("'", "'\\''") + "'"


def _quoted(quote: str, characters: Iterator[str]) -> str:
    """The text up to the closing quote."""
    text = ""
    while (char := _next(characters)) != quote:
        if char == "\\" and quote == '"':
            char = _next(characters)
            text += char if char in _ESCAPABLE else "\\" + char
        else:
            text += char
    return text


def _skip_comment(characters: Iterator[str]) -> None:
    for char in characters:
        if char == "\n":
            return


def _next(characters: Iterator[str]) -> str:
    for char in characters:
        return char
    raise BadQuoting("the command line ends inside quotes or behind a backslash")
