"""The matrix as tests: each combination of a Python and libraries runs the tests in its own environment."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from matrix.matrix import MATRIX, Skipped, find_python

SCRIPT = Path(__file__).with_name("matrix.py")


def newest() -> str:
    """The combination with the newest Python on this machine; its libraries are the main environment's."""
    for combination in reversed(MATRIX):
        try:
            find_python(combination.python)
        except Skipped:
            continue
        return combination.name
    return MATRIX[-1].name


IN_CI = ("fedora", "debian-packages", newest())
"""The oldest libraries, Debian's libraries, and the newest Python: tests that pass with these and in the main
environment pass with all versions in between. `python tests/matrix/matrix.py` runs the rest in 15 minutes."""


@pytest.mark.slow
@pytest.mark.parametrize("name", [combination.name for combination in MATRIX])
def test_the_tests_pass_with(name: str) -> None:
    if name not in IN_CI:
        pytest.skip("one of the combinations between the ends; run tests/matrix/matrix.py")
    environ = {key: value for key, value in os.environ.items() if key != "CI"}
    environ["GUESTLINK_TEST_REPEAT"] = os.environ.get("CI", "")
    argv = [sys.executable, str(SCRIPT), "--only", name, "--exact"]
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=1800, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    if " rerun" in done.stdout:
        warnings.warn(f"some tests passed at the second try only: {done.stdout}", stacklevel=1)
    if "skipped, " in done.stdout:
        pytest.skip(done.stdout.strip())
