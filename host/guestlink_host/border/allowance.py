"""An amount that grows with time, for work that may come in bursts. Pure: the caller passes the time."""

from __future__ import annotations


class Allowance:
    """A token bucket: work is spent from it, and who has overspent it waits.

    :param burst: the largest amount, with which it begins.
    :param rate: what is added in a second.
    :param debt: the most that can be overspent; by default the burst.
    """

    def __init__(self, burst: float, rate: float, debt: float | None = None) -> None:
        self._burst = burst
        self._debt = burst if debt is None else debt
        self._rate = rate
        self._left = burst
        self._at = float("-inf")

    def spend(self, amount: float, now: float) -> float:
        """Spend an amount, also if less is left.

        :returns: the seconds to wait before more may be spent; 0 if something is left.
        """
        if now > self._at:
            self._left = min(self._burst, self._left + (now - self._at) * self._rate)
            self._at = now
        self._left = max(self._left - amount, -self._debt)
        return max(0.0, -self._left / self._rate)
