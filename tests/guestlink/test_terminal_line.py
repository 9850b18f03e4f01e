"""Commands for terminals that replace variables, run by a real shell."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from guestlink.terminal_line import without_variables

TELLER = [sys.executable, "-c", "import json, sys; print(json.dumps(sys.argv[1:]))"]
WORDS = [
    "a$HOME/x",
    "$HOME",
    "${HOME}",
    "it's $PATH\n",
    "$",
    "$$",
    "$5",
    "$(id)",
    "`id`",
    'a"b',
    "\\$HOME",
    "",
    "-e",
]


def test_every_word_arrives_and_nothing_looks_like_a_variable() -> None:
    argv = without_variables([*TELLER, *WORDS])
    as_konsole = [os.path.expandvars(word) for word in argv]
    assert as_konsole == argv
    done = subprocess.run(as_konsole, capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout) == WORDS


@pytest.mark.parametrize("argv", [["vi", "a b"], ["sh", "-c", 'cd "$0" && exec "$@"', "/srv", "ls"]])
def test_other_commands_stay_as_they_are(argv: list[str]) -> None:
    assert without_variables(argv) == argv
