"""Finds the command in a terminal program's arguments (Debian Policy 11.8.3, xterm(1) and similar terminals)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence

from garcon.session.terminal_command import in_directory
from guestlink.errors import GuestlinkError

_COMMAND_FOLLOWS = frozenset({"-e", "-x", "--", "--execute"})
"""Options before a command; all words after them belong to the command."""
_COMMAND_LINE = frozenset({"--command"})
"""The option whose value is a whole command line."""
_DIRECTORY = frozenset({"--working-directory", "--workdir", "--dir", "-cd", "-D"})
_WITH_VALUE = frozenset(
    "-T -t -title --title -n -name --name -g -geometry --geometry -class --class --app-id -a -bg -fg -bd "
    "-bw -cr -fn -fb -fa -fs -font --font -f -display --display -sl -xrm -tn -ms -b -lc -into -role "
    "--role -o --option --profile --tab-with-profile --window-with-profile --icon -I --config -c "
    "--override --zoom --initial-title".split()
)
"""Options of terminals whose value is the next word."""
_ALONE = frozenset(
    "-hold --hold --noclose -ls -iconic -maximized --maximize --maximized -fullscreen --fullscreen -rv "
    "-sb -bc -j -l -s -w -cm -im -ut -u8 -vb -wf -ah -ai -aw -sf -si -sk -samename -dc -lsp --login "
    "--login-shell --single-instance --new-tab --new-window --window --tab --separate --disable-factory "
    "--disable-server --hide-menubar --show-menubar --hide-scrollbar --show-scrollbar --hide-borders "
    "--wait".split()
)
"""Options that have no value."""


def terminal_words(argv: Sequence[str]) -> list[str]:
    """The command in a terminal program's arguments; empty for a shell.

    The protocol has only a command: titles, sizes and fonts are parsed and ignored.

    :raises GuestlinkError: an option is unknown, so the beginning of the command cannot be found.
    """
    directory = ""
    command: list[str] = []
    words = iter(argv)
    for word in words:
        name, equals, value = word.partition("=")
        if word in _COMMAND_FOLLOWS:
            command = _command(word, list(words))
        elif name in _COMMAND_LINE:
            command = ["sh", "-c", value if equals else _value(word, words)]
        elif name in _DIRECTORY:
            directory = value if equals else _value(word, words)
        elif word in _WITH_VALUE:
            _value(word, words)
        elif not word.startswith(("-", "+")) or word == "-":
            command = [word, *words]
        elif not (equals or word in _ALONE or word.startswith("+")):
            command = _command_after_unknown(word, list(words))
            words = iter(())
    return in_directory(command, os.path.abspath(directory)) if directory else command


def _value(option: str, words: Iterator[str]) -> str:
    for word in words:
        return word
    raise GuestlinkError(f"{option} needs a value", hint=_HINT)


def _command(option: str, words: list[str]) -> list[str]:
    """The command after ``-e``. A single word with spaces that is no program is a command line, as in xterm."""
    if not words and option != "--":
        raise GuestlinkError(f"{option} needs a command", hint=_HINT)
    if len(words) == 1 and len(words[0].split()) > 1 and shutil.which(words[0]) is None:
        return ["sh", "-c", words[0]]
    return words


def _command_after_unknown(option: str, words: list[str]) -> list[str]:
    """The command after an unknown option, which may have a value or not."""
    for index, word in enumerate(words):
        if word in _COMMAND_FOLLOWS:
            return _command(word, words[index + 1 :])
    if words:
        raise GuestlinkError(f"unknown option {option}: cannot tell whether the next word is its value", hint=_HINT)
    return []


_HINT = "put -e before the command: x-terminal-emulator -T TITLE -e htop"
