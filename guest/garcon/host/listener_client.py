"""garcon's client of the host's ContainerListener: registers, and again after the host has gone or lost our token.

Calls to the host go through :meth:`ListenerClient.call`. A handler of the Garcon service must never await one: the
host serves one call at a time and may be waiting for that handler (chromeos-garcon.md §7.2).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from garcon.host.registration import Registration
from guestlink.address import Address
from guestlink.errors import GuestlinkError
from guestlink.pb import container_host_pb2, service_methods
from guestlink.rpc import CONTAINER_LISTENER, LINUX_HOST, CallFailed
from guestlink.tasks import TaskOwner
from guestlink.token import TokenError, read_token

_log = logging.getLogger(__name__)

READY_TIMEOUT = 90.0
"""Seconds for ContainerReady: before it answers, cicerone calls garcon, tremplin and Chrome
(chromeos-garcon.md §7.4)."""
CALL_TIMEOUT = 10.0
"""Seconds for other calls (chromeos-garcon.md §8.2)."""
SHUTDOWN_TIMEOUT = 2.0
"""Seconds for ContainerShutdown (chromeos-garcon.md §2.3)."""
HEARTBEAT = 60.0
"""Seconds between two cheap calls that show whether the host still knows our token (chromeos-garcon.md §8.2)."""


class HostUnavailable(GuestlinkError):
    """No call to the host is possible now, or the host did not answer."""


class NotRegistered(HostUnavailable):
    """This container is not registered now. The next registration publishes every list again."""


class HostRefused(GuestlinkError):
    """The host answered a call with an error."""


class HostTooOld(GuestlinkError):
    """The host takes no parked connections, because its guestlink-host is older than this garcon."""


class HostChannel(Protocol):
    """One connection to ContainerListener."""

    async def call(self, method: str, request: Any, *, timeout: float | None) -> Any:
        """Call an RPC. Raises :class:`guestlink.rpc.CallFailed`."""

    async def lost(self) -> str:
        """Wait until the connection is lost, and return the reason."""

    async def close(self) -> None:
        """Close the connection."""


class Dialer(Protocol):
    """Connects to ContainerListener."""

    async def dial(self) -> HostChannel:
        """Open a channel."""

    async def probe(self) -> None:
        """Check that somebody listens; cheaper than a channel. Raises GuestlinkError if nobody does."""


class ListenerClient:
    """Keeps this container registered.

    :param address: where ContainerListener is.
    :param token_file: path of the token.
    :param serve: starts our servers, if they do not run; returns garcon's and SFTP's port for
        ContainerStartupInfo. Raises :class:`HostTooOld` if the host cannot call us.
    :param dialer: connects to the address.
    :param pending_count: returns the number of application lists that are still to be sent.
    :param on_registered: called after each registration, when the host needs every list again.
    :param on_change: called with the sentence of :class:`Registration` whenever it changes.
    """

    def __init__(
        self,
        address: Address,
        token_file: str,
        *,
        serve: Callable[[], Awaitable[tuple[int, int]]],
        dialer: Dialer,
        pending_count: Callable[[], int],
        on_registered: Callable[[], None],
        on_change: Callable[[str], None],
    ) -> None:
        self._token_file = token_file
        self._serve = serve
        self._dialer = dialer
        self._pending_count = pending_count
        self._on_registered = on_registered
        self._on_change = on_change
        self.registration = Registration(str(address))
        self._channel: HostChannel | None = None
        self._wake = asyncio.Event()
        self._check_wanted = asyncio.Event()
        self._attempted = asyncio.Event()
        self._is_shut_down = False
        self._address_changed = False
        self._reported = ""

    def wake(self) -> None:
        """Try to register now instead of after the delay, because something changed (the token, the network)."""
        self._wake.set()

    def register_again(self) -> None:
        """Register again although the link is up, because our address changed (chromeos-garcon.md §7.4)."""
        self._address_changed = True
        self._check_wanted.set()
        self._wake.set()

    def token_changed(self) -> None:
        """Handle a change in the token's directory: another token needs another registration."""
        try:
            token = read_token(self._token_file)
        except TokenError:
            return
        if token != self.registration.token:
            self._wake.set()
            self._check_wanted.set()

    async def run(self) -> None:
        """Register and stay registered until the container stops."""
        while not self._is_shut_down:
            self._wake.clear()
            # A change during this attempt triggers another attempt.
            self._check_wanted.clear()
            self._address_changed = False
            try:
                await self._attempt()
            except Exception:
                _log.exception("internal error during the registration; trying again")
                self.registration.unreachable("an internal error of garcon, which its log describes")
            self._attempted.set()
            self._report()
            if (delay := self.registration.delay()) > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), delay)

    async def first_attempt(self) -> None:
        """Wait until registration has been tried once, with or without success."""
        await self._attempted.wait()

    async def call(self, method: str, timeout: float | None = CALL_TIMEOUT, **fields: Any) -> Any:
        """Call an RPC of ContainerListener or LinuxHost with our token.

        :param method: the RPC's name, as in the service.
        :param timeout: seconds; ``None`` waits for ever.
        :param fields: the request's fields.
        :returns: the response message.
        :raises NotRegistered: this container is not registered now.
        :raises HostUnavailable: the host did not answer.
        :raises HostRefused: the host answered with an error.
        """
        channel = self._channel
        if channel is None:
            raise NotRegistered(
                f"the host cannot be asked now: {self.registration.sentence}",
                hint="`guestlink status` shows the state of the registration",
            )
        request_class, _ = (service_methods(CONTAINER_LISTENER) | service_methods(LINUX_HOST))[method]
        request = request_class(token=self.registration.token, **fields)
        try:
            return await channel.call(method, request, timeout=timeout)
        except CallFailed as error:
            if error.code == "FAILED_PRECONDITION":
                # The host has lost our token, or refuses only this request: a heartbeat shows which.
                self._check_wanted.set()
            if error.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
                raise HostUnavailable(
                    f"the host did not answer {method}: {error}", hint="`guestlink doctor` shows what is wrong"
                ) from error
            # guestlink-host appends advice on a second line.
            sentence, _, hint = error.message.partition("\n")
            reason = sentence.removeprefix(f"Failure in {method}: ")
            raise HostRefused(f"the host refused {method}: {reason}", hint=hint) from error

    async def shut_down(self) -> None:
        """Send ContainerShutdown, with which the host voids the token (chromeos-garcon.md §2.3)."""
        self._is_shut_down = True  # The host makes a new token at once, and we must not register with it.
        with contextlib.suppress(GuestlinkError):
            await self.call("ContainerShutdown", SHUTDOWN_TIMEOUT)

    async def _attempt(self) -> None:
        registration = self.registration
        try:
            token = read_token(self._token_file)
        except TokenError as error:
            registration.token_missing(error.message)
            return
        registration.attempt(token)
        self._report()
        channel: HostChannel | None = None
        try:
            await self._dialer.probe()
            channel = await self._dialer.dial()
            garcon_port, sftp_port = await self._serve()
            await channel.call(
                "ContainerReady",
                container_host_pb2.ContainerStartupInfo(token=token, garcon_port=garcon_port, sftp_port=sftp_port),
                timeout=READY_TIMEOUT,
            )
            registration.accepted()
            self._channel = channel
            self._attempted.set()
            self._report()
            self._on_registered()
            await self._watch(channel)
        except CallFailed as error:
            if error.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
                registration.unreachable(str(error))
            else:
                registration.rejected(str(error))
        except HostTooOld as error:
            registration.host_too_old(error.message)
        except GuestlinkError as error:
            registration.unreachable(error.message)
        finally:
            self._channel = None
            if channel is not None:
                await channel.close()

    async def _watch(self, channel: HostChannel) -> None:
        """Return when the registration is lost or rejected; the state machine has the reason."""
        owner = TaskOwner("host link")
        try:
            lost = owner.start(channel.lost(), name="watch the connection")
            while True:
                check = owner.start(self._check_wanted.wait(), name="wait for a reason to check")
                await asyncio.wait({lost, check}, timeout=HEARTBEAT, return_when=asyncio.FIRST_COMPLETED)
                check.cancel()
                if lost.done():
                    self.registration.lost(lost.result())
                    return
                if self._address_changed:
                    self.registration.lost("our network address changed")
                    return
                self._check_wanted.clear()
                if not await self._still_known(channel):
                    return
        finally:
            self._channel = None  # Before the first await: no call may use this channel any more.
            await owner.close()

    async def _still_known(self, channel: HostChannel) -> bool:
        try:
            token = read_token(self._token_file)
        except TokenError:
            token = self.registration.token or ""  # No file for now: our token is still valid.
        if token != self.registration.token:
            self.registration.lost("the token was replaced")
            return False
        request = container_host_pb2.PendingAppListUpdateCount(token=token, count=self._pending_count())
        try:
            await channel.call("PendingUpdateApplicationListCalls", request, timeout=CALL_TIMEOUT)
        except CallFailed as error:
            if error.code in ("FAILED_PRECONDITION", "INVALID_ARGUMENT"):
                self.registration.rejected(str(error))
                return False
            if error.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
                self.registration.lost(str(error))
                return False
        return True

    def _report(self) -> None:
        sentence = self.registration.sentence
        if sentence != self._reported:
            self._reported = sentence
            self._on_change(sentence)
