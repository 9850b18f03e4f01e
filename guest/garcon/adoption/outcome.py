"""What a step of adoption came to."""

from __future__ import annotations

from typing import NamedTuple


class Outcome(NamedTuple):
    """What a step came to.

    :ivar state: ``ok`` (it was so), ``made`` (or would be), ``advice`` (a person has to), ``failed``.
    """

    state: str
    sentence: str
    advice: str = ""
