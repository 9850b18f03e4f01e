"""Memory that malloc keeps after it was freed."""

from __future__ import annotations

import ctypes


def give_back_memory() -> None:
    """Give the system what malloc keeps (malloc_trim(3)); without effect on a C library that has no such call.

    gRPC's threads allocate in arenas of their own, whose memory glibc otherwise keeps for their next allocation.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
