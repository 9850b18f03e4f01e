"""Fuzz tests last a number of seconds, not a number of examples: they run in rounds, and each round has its seed.

``GUESTLINK_FUZZ_SECONDS``: the time of all fuzz tests together, 60 by default; with 0 each has one round.
``GUESTLINK_FUZZ_SEED``: the seed of the first round. A failure prints the seed that repeats it. In continuous
integration the seeds are always 0, 1, 2 and so on, so that a change answers only for itself.
"""

from __future__ import annotations

import os
import secrets

from hypothesis import settings

SECONDS = float(os.environ.get("GUESTLINK_FUZZ_SECONDS", "60"))
_START = 0 if os.environ.get("CI") == "true" else secrets.randbelow(1 << 32)
SEED = int(os.environ.get("GUESTLINK_FUZZ_SEED", _START))

ROUND = settings(max_examples=25)
"""The settings of every fuzz test: the examples of one round."""


def repeat(seed: int) -> str:
    """What a person types before the command to repeat a failure."""
    return f"GUESTLINK_FUZZ_SEED={seed} GUESTLINK_FUZZ_SECONDS=0"
