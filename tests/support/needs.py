"""A test's requirements on the machine: a missing one skips the test, or fails it in continuous integration."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess

import pytest


def need(*programs: str, packages: str) -> None:
    """Continue only if these programs are installed.

    :param packages: the Debian packages that contain them; list these in a file of ``tests/apt`` too.
    """
    if missing := [program for program in programs if shutil.which(program) is None]:
        absent(f"{', '.join(missing)} missing: apt install {packages}")


def need_renderer() -> None:
    """Continue only if guestlink-host can draw icons here."""
    for library, package in (("librsvg-2.so.2", "librsvg2-2"), ("libseccomp.so.2", "libseccomp2")):
        try:
            ctypes.CDLL(library)
        except OSError:
            absent(f"{library} missing: apt install {package}")


def need_status_0(*argv: str, packages: str) -> None:
    """Continue only if a command exits with 0, as ``python3 -c 'import gi'`` does where python3-gi is installed."""
    done = subprocess.run(argv, check=False, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    if done.returncode:
        absent(f"`{' '.join(argv)}` fails: apt install {packages}")


def absent(reason: str) -> None:
    """Skip the test, or fail it in continuous integration, where every test must run."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
