"""Terminal programs: which there are, how each gets a command, and what some of them do to it.

Konsole expands ``$HOME`` in an argument, and has no way to escape it (``ShellCommand::expandEnv`` in its source): a
file name with a dollar would change.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Sequence

TERMINAL_PROGRAMS = (
    ("xdg-terminal-exec",),
    ("x-terminal-emulator", "-e"),
    ("foot",),
    ("gnome-terminal", "--"),
    ("kgx", "--"),
    ("konsole", "-e"),
    ("xfce4-terminal", "-x"),
    ("xterm", "-e"),
)
"""Programs that show a command in a window, with the switch before the command; the user's choice comes first."""
_VARIABLE = re.compile(r"\$[A-Za-z_{]")


def find_terminal(path: str | None = None) -> list[str]:
    """The first of :data:`TERMINAL_PROGRAMS` that is installed, with its switch; empty if there is none.

    :param path: directories to search, as in ``PATH``; ``None`` for our own ``PATH``.
    """
    for words in TERMINAL_PROGRAMS:
        if shutil.which(words[0], path=path) is not None:
            return list(words)
    return []


def without_variables(argv: Sequence[str]) -> list[str]:
    """An equivalent command in which nothing looks like an environment variable.

    :param argv: the program and its arguments.
    """
    if not any(map(_VARIABLE.search, argv)):
        return list(argv)
    # shlex.join puts each dollar inside single quotes. Close them for "$dollar", which only this shell can expand.
    words = shlex.join(argv).replace("$", "'\"$dollar\"'")
    return ["sh", "-c", f"dollar=$(printf '\\044'); exec {words}"]
