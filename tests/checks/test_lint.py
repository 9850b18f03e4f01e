"""Lint and type checks as tests: a missing tool skips them at home and fails them in CI."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support.needs import need

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGES = ("guestlink", "garcon", "vshd", "sommelier_shim", "guestlink_host")


def _run(*argv: str) -> None:
    program = Path(sys.executable).with_name(argv[0])
    if not program.exists():
        need(argv[0], packages=argv[0])
        program = Path(argv[0])
    done = subprocess.run(
        [str(program), *argv[1:]], cwd=CHECKOUT, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_ruff_has_nothing_to_say() -> None:
    _run("ruff", "check", "--no-cache", ".")


def test_the_code_is_formatted() -> None:
    _run("ruff", "format", "--no-cache", "--check", ".")


def test_types_are_strict_and_right() -> None:
    _run("mypy", "--strict", *(word for package in PACKAGES for word in ("-p", package)))


def test_types_of_what_makes_packages_are_strict_and_right() -> None:
    _run("mypy", "--strict", *map(str, sorted((CHECKOUT / "packaging").glob("*.py"))))


def test_shell_scripts_parse() -> None:
    for script in ("dev", ".ci/run"):
        _run("sh", "-n", script)
