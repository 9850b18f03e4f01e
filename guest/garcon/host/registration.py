"""Registration with the host as a state machine: it retries for ever and can describe its state at any time.

Pure: :class:`garcon.host.listener_client.ListenerClient` reports the events and waits for the delays. ChromeOS's
garcon registers once and never again (chromeos-garcon.md §2.2, §2.3); the states and delays here are ours.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Callable

from guestlink.backoff import backoff


class RegistrationPhase(enum.Enum):
    """The states of a registration."""

    NO_TOKEN = "no token"
    NO_HOST = "host not reachable"
    REGISTERING = "registering"
    REJECTED = "rejected"
    HOST_TOO_OLD = "host too old"
    REGISTERED = "registered"


_BACKOFF = {
    # Reading the token is cheap, and a host's return must be noticed within a second: short delays, but never 0.
    RegistrationPhase.NO_TOKEN: (0.1, 0.8),
    RegistrationPhase.NO_HOST: (0.05, 0.8),
    # A host rejects a token again until its token or ours changes; chromeos-garcon.md §2.2 proposes 1 to 30 s.
    RegistrationPhase.REJECTED: (1.0, 30.0),
    # The host's packages are upgraded rarely.
    RegistrationPhase.HOST_TOO_OLD: (1.0, 30.0),
}
"""First and longest delay in seconds before the next attempt."""


class Registration:
    """The state machine.

    :param host: the host's name in sentences, usually its address.
    :param dice: returns a random number in [0, 1) for the jitter.
    """

    def __init__(self, host: str, dice: Callable[[], float] = random.random) -> None:
        self._host = host
        self._dice = dice
        self._failures = 0
        self._why = "not tried yet"
        self.phase = RegistrationPhase.NO_TOKEN
        self.token: str | None = None
        self.registrations = 0

    @property
    def registered(self) -> bool:
        """Whether this container is registered now."""
        return self.phase is RegistrationPhase.REGISTERED

    @property
    def sentence(self) -> str:
        """The state and its reason, for a person."""
        if self.phase is RegistrationPhase.REGISTERED:
            return f"registered with the host at {self._host}"
        if self.phase is RegistrationPhase.REGISTERING:
            return f"registering with the host at {self._host}"
        if self.phase is RegistrationPhase.REJECTED:
            return f"the host at {self._host} does not accept this container: {self._why}"
        if self.phase is RegistrationPhase.HOST_TOO_OLD:
            return (
                f"the host at {self._host} is too old for this Guestlink: {self._why}; upgrade guestlink-host there"
            )
        if self.phase is RegistrationPhase.NO_HOST:
            return f"waiting for the host: {self._why}"
        return f"waiting for a token: {self._why}"

    def delay(self) -> float:
        """Seconds to wait before the next attempt; 0 when registered or during an attempt."""
        if self.phase not in _BACKOFF:
            return 0.0
        first, longest = _BACKOFF[self.phase]
        return backoff(first, longest, self._failures, self._dice)

    def token_missing(self, why: str) -> None:
        """There is no usable token."""
        self.token = None
        self._fail(RegistrationPhase.NO_TOKEN, why)

    def attempt(self, token: str) -> None:
        """A registration with this token begins."""
        if token != self.token:
            self._failures = 0
        self.token = token
        if self.phase in (RegistrationPhase.NO_TOKEN, RegistrationPhase.REGISTERED):
            self.phase = RegistrationPhase.REGISTERING

    def unreachable(self, why: str) -> None:
        """The host did not answer."""
        self._fail(RegistrationPhase.NO_HOST, why)

    def rejected(self, why: str) -> None:
        """The host answered, and does not know our token."""
        self._fail(RegistrationPhase.REJECTED, why)

    def host_too_old(self, why: str) -> None:
        """The host answered, and cannot call us."""
        self._fail(RegistrationPhase.HOST_TOO_OLD, why)

    def accepted(self) -> None:
        """The host registered us."""
        self.phase = RegistrationPhase.REGISTERED
        self.registrations += 1
        self._failures = 0

    def lost(self, why: str) -> None:
        """The connection to the host that had registered us is gone; the next attempt follows at once."""
        self._failures = 0
        self._fail(RegistrationPhase.NO_HOST, why)

    def _fail(self, phase: RegistrationPhase, why: str) -> None:
        self._failures = self._failures + 1 if phase is self.phase else 1
        self.phase = phase
        self._why = why
