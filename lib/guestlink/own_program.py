"""Where the other programs of the suite are, for those that start them."""

from __future__ import annotations

import os
import sys


def own_program(name: str, module: str) -> list[str]:
    """The words that start one of our programs, the first an absolute path; none where it is not installed.

    The installed command where we were started as one or it lies beside the interpreter; else the module.
    """
    from importlib.util import find_spec

    started = os.path.abspath(sys.argv[0]) if sys.argv[0] else ""
    beside = os.path.join(os.path.dirname(sys.executable), name)
    same_place = os.path.join(os.path.dirname(started), name)
    for candidate in (same_place, beside):
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return [candidate]
    return [sys.executable, "-m", module] if find_spec(module) is not None else []
