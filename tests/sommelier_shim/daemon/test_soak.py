"""A short soak of the real program; ``./dev bench wayland_soak`` is the long one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]


@pytest.mark.slow
def test_frames_and_connections_leave_no_descriptor_object_or_memory() -> None:
    libraries = ["pkg-config", "--exists", "wayland-server", "wayland-client"]
    has_tools = shutil.which("cc") and shutil.which("pkg-config")
    if not has_tools or subprocess.run(libraries, check=False).returncode != 0:
        reason = "a C compiler or libwayland-dev is missing"
        assert os.environ.get("CI") != "true", reason
        pytest.skip(reason)
    done = subprocess.run(
        [sys.executable, str(CHECKOUT / "bench/wayland_soak.py"), "20000", "500"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
