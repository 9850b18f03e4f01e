"""The matrix as tests: each combination of a Python and libraries runs the tests in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("matrix.py")
COMBINATIONS = [
    line.partition(":")[0]
    for line in subprocess.run(
        [sys.executable, str(SCRIPT), "--list"], capture_output=True, text=True, check=True, timeout=60
    ).stdout.splitlines()
]
IN_CI = ("fedora", "debian", "debian-packages", "newest-3.12", "newest-3.13")
"""The ends of the ranges; the rest is for `python tests/matrix/matrix.py`, which takes a quarter of an hour."""


@pytest.mark.slow
@pytest.mark.parametrize("name", COMBINATIONS)
def test_the_tests_pass_with(name: str) -> None:
    if name not in IN_CI:
        pytest.skip("one of the combinations between the ends; run tests/matrix/matrix.py")
    environ = {key: value for key, value in os.environ.items() if key != "CI"}
    argv = [sys.executable, str(SCRIPT), "--only", name, "--exact"]
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=1800, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    if "skipped, " in done.stdout:
        pytest.skip(done.stdout.strip())
