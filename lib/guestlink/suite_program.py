"""Finds the other programs of the suite."""

from __future__ import annotations

import os
import sys


def suite_program(name: str, module: str) -> list[str]:
    """The command line that starts one of our programs; empty if the program is not installed.

    The first word is an absolute path: the suite's own command (``/usr/lib/guestlink`` for ``/usr/bin``), else the
    command in the directory of the command that we were started as, or of the interpreter; else the interpreter
    itself, with the module.
    """
    from importlib.util import find_spec

    started = os.path.abspath(sys.argv[0]) if sys.argv[0] else ""
    beside = os.path.join(os.path.dirname(sys.executable), name)
    same_place = os.path.join(os.path.dirname(started), name)
    private = os.path.join(os.path.dirname(os.path.dirname(started)), "lib", "guestlink", name)
    for candidate in (private, same_place, beside):
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return [candidate]
    return [sys.executable, "-m", module] if find_spec(module) is not None else []
