"""What a test needs of the machine: what is missing skips it at home, and fails it in continuous integration."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest


def need(*programs: str, packages: str) -> None:
    """Go on only where these programs are installed.

    :param packages: the Debian packages that have them; they belong into a file of ``tests/apt`` too.
    """
    if missing := [program for program in programs if shutil.which(program) is None]:
        absent(f"{', '.join(missing)} missing: apt install {packages}")


def need_status_0(*argv: str, packages: str) -> None:
    """Go on only where a command succeeds, as ``python3 -c 'import gi'`` does where python3-gi is installed."""
    done = subprocess.run(argv, check=False, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    if done.returncode:
        absent(f"`{' '.join(argv)}` fails: apt install {packages}")


def absent(reason: str) -> None:
    """End the test: it cannot run here, and has to in continuous integration."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
