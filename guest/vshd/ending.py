"""The end of a session: the target's last output, EXITED, and the client's disconnection (chromeos-vsh.md §3.12).

ChromeOS's vshd and OpenSSH wait for every process that holds the output, so that a daemon which does not close it
holds the session for ever. Here a session ends with its target, and a process in the background has a moment for
its output; a command that needs more must wait for that process (chromeos-vsh.md §3.9, case S34 in §11.2).

Pure: the caller passes the time, in seconds of the monotonic clock.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from guestlink.vsh import StatusChange

QUIET_TIME = 0.1
"""Seconds without output after which a session ends although another process holds the target's pipes."""
GRACE_TIME = 0.5
"""Seconds for which output of another process is sent after the target has exited."""
LINGER_TIME = 2.0
"""Seconds to wait for the client to disconnect after vshd has sent EXITED or FAILED."""


class Ending:
    """Begins when the target has exited, or when no target could start.

    :param status: the message for the client.
    :param now: the time.
    :param owed: bytes in the target's pipes at its exit, by descriptor: they are the target's own, and the client
        gets all of them, whatever another process appends later.
    :ivar is_told: whether ``status`` was sent.
    """

    def __init__(self, status: StatusChange, now: float, owed: Mapping[int, int] | None = None) -> None:
        self.status = status
        self.is_told = False
        self._owed = dict(owed or {})
        self._last_output = now
        self._deadline = now + GRACE_TIME
        self._lingers = False

    def output_passed(self, descriptor: int, count: int, now: float) -> None:
        """Count bytes of output that were sent to the client."""
        self._last_output = now
        if descriptor in self._owed:
            self._owed[descriptor] -= count

    def output_closed(self, descriptor: int) -> None:
        """Expect nothing more from one of the outputs."""
        self._owed.pop(descriptor, None)

    def advance(self, outputs: Collection[int], now: float) -> bool:
        """Move the deadline while output is owed, and return whether to send ``status``.

        That is when all outputs are closed, or only another process could still write.

        :param outputs: the outputs that are open.
        """
        if not outputs:
            return True
        if self._owes():
            self._deadline = now + GRACE_TIME
            return False
        return now >= self._deadline or now - self._last_output >= QUIET_TIME

    def starts_to_linger(self, now: float) -> bool:
        """Wait for the client to disconnect from now on; returns whether this is the first call."""
        if self._lingers:
            return False
        self._lingers, self._deadline = True, now + LINGER_TIME
        return True

    def is_over(self, now: float) -> bool:
        """Whether the client has had enough time to disconnect."""
        return self._lingers and now >= self._deadline

    def time_left(self, now: float, *, is_queued: bool) -> float | None:
        """Seconds until something changes without an event; ``None`` for no limit.

        :param is_queued: whether bytes wait for the client; a slow reader has unlimited time.
        """
        if self.is_told:
            return None if is_queued else max(self._deadline - now, 0.0)
        if self._owes():
            return None
        return max(min(self._deadline, self._last_output + QUIET_TIME) - now, 0.0)

    def _owes(self) -> bool:
        return any(left > 0 for left in self._owed.values())
