"""The delay before a retry. Pure: the caller passes the random numbers."""

from __future__ import annotations

import random
from collections.abc import Callable

_JITTER = 0.2
"""Delays are shortened by up to this share, so that many containers do not retry at the same time."""
_DOUBLINGS = 16


def backoff(first: float, longest: float, failures: int, dice: Callable[[], float] = random.random) -> float:
    """Seconds to wait after a number of failures in a row.

    :param first: seconds after the first failure; every further failure doubles the delay.
    :param longest: the longest delay in seconds.
    :param dice: returns a number in [0, 1), for the jitter.
    """
    plain: float = min(first * 2.0 ** min(failures - 1, _DOUBLINGS), longest)
    return plain * (1 - _JITTER * dice())
