"""A FUSE mount whose server never answers: whoever looks at anything in it waits until it is unmounted."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

_DEVICE = "/dev/fuse"


@contextlib.contextmanager
def dead_mount(directory: Path) -> Iterator[Path]:
    """Mount one at a directory; needs root."""
    if not os.path.exists(_DEVICE):
        pytest.skip(f"there is no {_DEVICE}")
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(_DEVICE, os.O_RDWR)
    try:
        options = f"fd={descriptor},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
        if libc.mount(b"dead", os.fsencode(directory), b"fuse", 0, options):
            pytest.skip(f"FUSE cannot be mounted: {os.strerror(ctypes.get_errno())}")
        try:
            yield directory
        finally:
            subprocess.run(["umount", "--lazy", "--no-canonicalize", str(directory)], check=True, timeout=60)
    finally:
        os.close(descriptor)  # Who waits for an answer now gets an error.
