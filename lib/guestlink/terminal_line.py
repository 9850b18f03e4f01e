"""A command for terminal programs, some of which expand variables in its arguments. Pure.

Konsole expands ``$HOME`` in an argument, and has no way to escape it (``ShellCommand::expandEnv`` in its source): a
file name with a dollar would change.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

_VARIABLE = re.compile(r"\$[A-Za-z_{]")


def without_variables(argv: Sequence[str]) -> list[str]:
    """An equivalent command in which nothing looks like an environment variable.

    :param argv: the program and its arguments.
    """
    if not any(map(_VARIABLE.search, argv)):
        return list(argv)
    # shlex.join puts each dollar inside single quotes. Close them for "$dollar", which only this shell can expand.
    words = shlex.join(argv).replace("$", "'\"$dollar\"'")
    return ["sh", "-c", f"dollar=$(printf '\\044'); exec {words}"]
