"""A command for terminal programs, some of which replace variables in its words. Pure.

Konsole reads ``$HOME`` in a word as the variable, and has no way to write the name itself
(``ShellCommand::expandEnv`` in its source): a file name with a dollar would be another one.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

_VARIABLE = re.compile(r"\$[A-Za-z_{]")


def without_variables(argv: Sequence[str]) -> list[str]:
    """The same command without anything that looks like a variable of the environment.

    :param argv: the program and its arguments.
    """
    if not any(map(_VARIABLE.search, argv)):
        return list(argv)
    # A dollar stands inside single quotes here; they are closed for a variable of the shell alone.
    words = shlex.join(argv).replace("$", "'\"$dollar\"'")
    return ["sh", "-c", f"dollar=$(printf '\\044'); exec {words}"]
