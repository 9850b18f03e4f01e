"""Which terminal program is found, and commands for terminals that replace variables, run by a real shell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from guestlink.terminal_program import TERMINAL_PROGRAMS, find_terminal, without_variables

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


def test_the_first_program_that_is_installed_is_found_with_its_switch(tmp_path: Path) -> None:
    assert find_terminal(str(tmp_path)) == []
    for words in reversed(TERMINAL_PROGRAMS):
        program = tmp_path / words[0]
        program.touch(mode=0o755)
        assert find_terminal(str(tmp_path)) == list(words)


def test_a_gnome_desktop_with_its_own_console_has_a_terminal(tmp_path: Path) -> None:
    """GNOME installs kgx (Console) in place of gnome-terminal."""
    (tmp_path / "kgx").touch(mode=0o755)
    assert find_terminal(str(tmp_path)) == ["kgx", "--"]
