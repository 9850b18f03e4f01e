"""The outcome of a step of adoption."""

from __future__ import annotations

from typing import NamedTuple


class Outcome(NamedTuple):
    """The outcome of a step.

    :ivar state: ``ok`` (nothing to do), ``made`` (or would be made), ``advice`` (a person must act), ``failed``.
    """

    state: str
    sentence: str
    advice: str = ""
