"""The link to the host: registers, notices when the host is gone or has forgotten us, and registers again.

Calls to the host go through :meth:`HostLink.call`. A handler of the Garcon service must never await one: the
host serves one call at a time and may be waiting for that handler (chromeos-garcon.md §7.2).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from garcon.registration import Registration
from guestlink.address import Address
from guestlink.errors import GuestlinkError
from guestlink.pb import container_host_pb2, service_methods
from guestlink.rpc import CONTAINER_LISTENER, CallFailed
from guestlink.tasks import TaskOwner
from guestlink.token import TokenError, read_token

_log = logging.getLogger(__name__)

READY_TIMEOUT = 90.0
"""Seconds for ContainerReady: cicerone calls us, tremplin and Chrome within it (chromeos-garcon.md §7.4)."""
CALL_TIMEOUT = 10.0
"""Seconds for other calls (chromeos-garcon.md §8.2)."""
SHUTDOWN_TIMEOUT = 2.0
"""Seconds for ContainerShutdown (chromeos-garcon.md §2.3)."""
HEARTBEAT = 60.0
"""Seconds between two cheap calls that show whether the host still knows our token (chromeos-garcon.md §8.2)."""


class HostUnavailable(GuestlinkError):
    """The host cannot be asked now."""


class NotRegistered(HostUnavailable):
    """The host does not know this container now. The next registration publishes every list again."""


class HostRefused(GuestlinkError):
    """The host answered a call with an error."""


class HostChannel(Protocol):
    """One connection to ContainerListener."""

    async def call(self, method: str, request: Any, *, timeout: float | None) -> Any:
        """Call an RPC. Raises :class:`guestlink.rpc.CallFailed`."""

    async def lost(self) -> str:
        """Return when the connection is gone, with the reason."""

    async def close(self) -> None:
        """Close the connection."""


class HostLink:
    """Keeps this container registered.

    :param address: where ContainerListener is.
    :param token_file: path of the token.
    :param serve: makes sure that the host can call us; returns garcon's and SFTP's port for ContainerStartupInfo.
    :param dial: opens a channel to the address.
    :param probe: raises GuestlinkError while nobody listens there; cheaper than a channel.
    :param pending_count: how many application lists are still to come.
    :param on_registered: is told after each registration, when the host has to be told everything again.
    :param on_change: is told whenever the sentence of :class:`Registration` changes.
    """

    def __init__(
        self,
        address: Address,
        token_file: str,
        *,
        serve: Callable[[], Awaitable[tuple[int, int]]],
        dial: Callable[[], Awaitable[HostChannel]],
        probe: Callable[[], Awaitable[None]],
        pending_count: Callable[[], int],
        on_registered: Callable[[], None],
        on_change: Callable[[str], None],
    ) -> None:
        self._token_file = token_file
        self._serve = serve
        self._dial = dial
        self._probe = probe
        self._pending_count = pending_count
        self._on_registered = on_registered
        self._on_change = on_change
        self.registration = Registration(str(address))
        self._channel: HostChannel | None = None
        self._wake = asyncio.Event()
        self._doubt = asyncio.Event()
        self._tried = asyncio.Event()
        self._over = False
        self._moved = False
        self._said = ""

    def wake(self) -> None:
        """Something changed (the token, the network): try now instead of at the end of a delay."""
        self._wake.set()

    def announce_again(self) -> None:
        """Register once more although the link is up: our address changed (chromeos-garcon.md §7.4)."""
        self._moved = True
        self._doubt.set()
        self._wake.set()

    def token_changed(self) -> None:
        """Something happened in the token's directory."""
        try:
            token = read_token(self._token_file)
        except TokenError:
            return
        if token != self.registration.token:
            self._wake.set()
            self._doubt.set()

    async def run(self) -> None:
        """Register, stay registered, until the container stops."""
        while not self._over:
            self._wake.clear()
            # What happens from now on, while the host is being told, counts as happening afterwards.
            self._doubt.clear()
            self._moved = False
            try:
                await self._attempt()
            except Exception:
                _log.exception("registration failed in a way that nobody expected; it is tried again")
                self.registration.unreachable("an error of garcon's own, which its log describes")
            self._tried.set()
            self._tell()
            if (delay := self.registration.delay()) > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), delay)

    async def first_attempt(self) -> None:
        """Return when registration has been tried once, whether the host took it or not."""
        await self._tried.wait()

    async def call(self, method: str, timeout: float | None = CALL_TIMEOUT, **fields: Any) -> Any:
        """Call an RPC of ContainerListener; the token is added.

        :param method: the RPC's name, as in the service.
        :param timeout: seconds; ``None`` waits for ever.
        :param fields: the request's fields.
        :returns: the response message.
        :raises NotRegistered: the host does not know us now.
        :raises HostUnavailable: the host did not answer.
        :raises HostRefused: the host said no.
        """
        channel = self._channel
        if channel is None:
            raise NotRegistered(
                f"the host cannot be asked now: {self.registration.sentence}",
                hint="`guestlink status` shows where it stands",
            )
        request_class, _ = service_methods(CONTAINER_LISTENER)[method]
        request = request_class(token=self.registration.token, **fields)
        try:
            return await channel.call(method, request, timeout=timeout)
        except CallFailed as error:
            if error.code == "FAILED_PRECONDITION":
                # The token may have become unknown, or only this request was refused: find out.
                self._doubt.set()
            if error.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
                raise HostUnavailable(f"the host did not answer {method}: {error}") from error
            # Our own hosts give advice on a second line.
            sentence, _, hint = error.message.partition("\n")
            reason = sentence.removeprefix(f"Failure in {method}: ")
            raise HostRefused(f"the host refused {method}: {reason}", hint=hint) from error

    async def shut_down(self) -> None:
        """Tell the host that the container stops. Afterwards the token is worthless (chromeos-garcon.md §2.3)."""
        self._over = True  # The host has a new token at once, and we do not come back with it.
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
        self._tell()
        channel: HostChannel | None = None
        try:
            await self._probe()
            channel = await self._dial()
            garcon_port, sftp_port = await self._serve()
            await channel.call(
                "ContainerReady",
                container_host_pb2.ContainerStartupInfo(token=token, garcon_port=garcon_port, sftp_port=sftp_port),
                timeout=READY_TIMEOUT,
            )
            registration.accepted()
            self._channel = channel
            self._tried.set()
            self._tell()
            self._on_registered()
            await self._stay(channel)
        except CallFailed as error:
            if error.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
                registration.unreachable(str(error))
            else:
                registration.rejected(str(error))
        except GuestlinkError as error:
            registration.unreachable(error.message)
        finally:
            self._channel = None
            if channel is not None:
                await channel.close()

    async def _stay(self, channel: HostChannel) -> None:
        """Return when the registration is over; the state machine knows why."""
        owner = TaskOwner("host link")
        try:
            lost = owner.start(channel.lost(), name="watch the connection")
            while True:
                doubt = owner.start(self._doubt.wait(), name="wait for doubt")
                await asyncio.wait({lost, doubt}, timeout=HEARTBEAT, return_when=asyncio.FIRST_COMPLETED)
                doubt.cancel()
                if lost.done():
                    self.registration.lost(lost.result())
                    return
                if self._moved:
                    self.registration.lost("our network address changed")
                    return
                self._doubt.clear()
                if not await self._still_known(channel):
                    return
        finally:
            self._channel = None  # Before anything is waited for: calls must not take it any more.
            await owner.close()

    async def _still_known(self, channel: HostChannel) -> bool:
        try:
            token = read_token(self._token_file)
        except TokenError:
            token = self.registration.token or ""  # It comes back or it does not; the old one still holds.
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

    def _tell(self) -> None:
        sentence = self.registration.sentence
        if sentence != self._said:
            self._said = sentence
            self._on_change(sentence)
