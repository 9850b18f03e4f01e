"""The gate in front of each container's gRPC server: bounds what a container's connections may cost the host.

gRPC's own acceptor takes any number of connections, and its server keeps up to 4 MiB of each of any number of
unfinished calls, all before it sees a token. So the gate accepts the connections instead and relays them to gRPC's
private socket. A container that reaches a bound waits, or loses the connection; other containers notice nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from guestlink.acceptor import Acceptor
from guestlink.address import UnixAddress
from guestlink.errors import GuestlinkError
from guestlink.memory import give_back_memory
from guestlink.relay import ClientStalled, relay
from guestlink.sockets import PeerPolicy, connect_soon, peer_of
from guestlink.waiting_room import WaitingRoom
from guestlink_host.border.allowance import Allowance
from guestlink_host.border.call_meter import PREFACE, CallMeter
from guestlink_host.border.container_log import ContainerLog

_log = logging.getLogger(__name__)

MIB = 1024 * 1024

CONNECTIONS = 8
"""Connections of one container that speak HTTP/2; garcon has one or two."""
SILENT_START, SILENT = 4, 8
"""Connections of one container that do not speak HTTP/2 yet (:class:`~guestlink.waiting_room.WaitingRoom`)."""
SILENT_TIME = 10.0
"""Seconds that a client may take until it speaks HTTP/2, and before that for each step of a handshake."""
STRANGERS_START, STRANGERS = 16, 64
"""The same at an address that others can reach, too, until they have proved that they are the container."""
GUARANTEED = 2
"""Connections that one container may have, however many the other containers have."""
CONNECTION_DESCRIPTORS = 3
"""Descriptors of a connection: the client's, ours to gRPC, and gRPC's."""
CONTAINER_DESCRIPTORS = 32 + GUARANTEED * CONNECTION_DESCRIPTORS
"""Descriptors of a container: listening sockets, parked connections, the link to its garcon, and its guaranteed
connections."""
DESCRIPTOR_RESERVE = 128
"""Descriptors for everything else: the commands' socket, programs that are started, files, the event loop."""
ACCEPT_BURST, ACCEPT_RATE = 64, 50
"""Connections that one container may begin at once, and in a second after that."""
STRANGERS_BURST, STRANGERS_RATE = 256, 500
"""The same at an address that others can reach, too."""
CALLS, UNFINISHED = 64, 16
"""Open calls of one container, and those of them whose requests are not complete."""
UNANSWERED = 9 * MIB
"""Bytes of one container's requests that have no answer yet: two of the largest requests."""
ALL_UNANSWERED = 32 * MIB
"""The same for all containers together; above it each that has any may have an equal share."""
KEPT, KEPT_TIME = 4 * MIB, 2.0
"""Bytes of requests after which malloc gives back what it has kept for them, and seconds until then."""
REQUEST_TIME = 60.0
"""Seconds that a request may take from its first byte to its last one."""
ANSWER_TIME = 30.0
"""Seconds within which a client has to take a piece of an answer."""
WORK_BURST, WORK_RATE = 16 * MIB, 2 * MIB
"""What one container may send at once, and in a second after that, in bytes; the gate then reads more slowly."""
FRAME_WORK, CALL_WORK, CONNECTION_WORK = 512, 64 * 1024, 256 * 1024
"""The work of a frame, a call and a connection, beside their bytes: so a container may begin 256 calls at once, and
32 in a second after that."""
BREACH_WORK = 4 * MIB
"""The work of losing a connection at a bound: it delays the container's next attempt."""

Admit: TypeAlias = Callable[[socket.socket], Awaitable[bool]]
"""Checks a new connection, for example by a handshake on it; raises GuestlinkError to refuse the connection.

It returns whether the client's HTTP/2 follows, and must not read a byte of that. Otherwise it has kept a duplicate
of the socket for another purpose, and the gate is done with the connection. The gate bounds its time.
"""


class GateTotals:
    """What all containers together have at their gates.

    :param descriptors: how many this process may open. The gates leave enough of them for everything else, first
        of all for the socket of the commands.
    :ivar containers: how many containers have a share.
    :ivar further: connections beyond the first :data:`GUARANTEED` of each container.
    :ivar unanswered: bytes of all containers' requests that have no answer yet.
    :ivar busy: how many containers have sent such requests.
    """

    def __init__(self, descriptors: int) -> None:
        self._descriptors = descriptors
        self.containers = 0
        self.further = 0
        self.unanswered = 0
        self.busy = 0
        self._peak = 0
        self._giving_back: asyncio.TimerHandle | None = None

    def add_unanswered(self, size: int) -> None:
        """Bytes of requests have come, or have gone if the number is negative."""
        self.unanswered += size
        self._peak = max(self._peak, self.unanswered)
        if self.unanswered == 0 and self._peak >= KEPT and self._giving_back is None:
            self._giving_back = asyncio.get_running_loop().call_later(KEPT_TIME, self._give_back)

    def _give_back(self) -> None:
        self._giving_back = None
        self._peak = self.unanswered
        asyncio.get_running_loop().run_in_executor(None, give_back_memory)

    @property
    def is_full(self) -> bool:
        """Whether no container may have more than :data:`GUARANTEED` connections now."""
        left = self._descriptors - DESCRIPTOR_RESERVE - self.containers * CONTAINER_DESCRIPTORS
        return (self.further + 1) * CONNECTION_DESCRIPTORS > left


class GateShare:
    """What one container has at a gate of its own.

    :param container: the container's name.
    :param totals: what all containers have.
    :param strangers: whether others can connect, too, and have to be told apart from the container.
    """

    def __init__(self, container: str, totals: GateTotals, *, strangers: bool = False) -> None:
        self.container = container
        self.totals = totals
        self.log = ContainerLog(_log, container)
        self.speaking = 0
        self.calls = 0
        self.unfinished = 0
        self.unanswered = 0
        self.silent: WaitingRoom[socket.socket]
        self._connections = 0
        if strangers:
            self.silent = WaitingRoom(STRANGERS_START, STRANGERS)
            self._accepts = Allowance(STRANGERS_BURST, STRANGERS_RATE)
        else:
            self.silent = WaitingRoom(SILENT_START, SILENT)
            self._accepts = Allowance(ACCEPT_BURST, ACCEPT_RATE)
        self._work = Allowance(WORK_BURST, WORK_RATE)
        totals.containers += 1

    def close(self) -> None:
        """The container has no gate any more; call this once, after the gates are closed."""
        self.totals.containers -= 1

    def accept_pause(self) -> float:
        """Seconds until the next connection may be accepted, after one has been."""
        return self._accepts.spend(1, _now())

    def pause(self, work: float) -> float:
        """Seconds until more may be read, after this work."""
        return self._work.spend(work, _now())

    def refusal(self) -> str:
        """Why no further connection may begin; ``""`` if one may."""
        if self.speaking >= CONNECTIONS:
            return f"there are {CONNECTIONS} already"
        if self._connections >= GUARANTEED and self.totals.is_full:
            return "all containers together have as many as the host has descriptors for"
        return ""

    def add_connection(self, change: int) -> None:
        """A connection has begun (1), or has ended (-1)."""
        further = max(0, self._connections - GUARANTEED)
        self._connections += change
        self.totals.further += max(0, self._connections - GUARANTEED) - further

    def add(self, calls: int, unfinished: int, unanswered: int) -> None:
        """Open calls, those with an incomplete request, and bytes without an answer have come.

        Negative numbers have gone.

        :raises GuestlinkError: there are too many now.
        """
        was_busy = self.unanswered > 0
        self.calls += calls
        self.unfinished += unfinished
        self.unanswered += unanswered
        self.totals.add_unanswered(unanswered)
        self.totals.busy += (self.unanswered > 0) - was_busy
        if self.calls > CALLS and calls > 0:
            raise self._breach(f"it has more than {CALLS} calls at a time")
        if self.unfinished > UNFINISHED and unfinished > 0:
            raise self._breach(f"it has more than {UNFINISHED} incomplete requests at a time")
        if self.unanswered > self._unanswered_limit() and unanswered > 0:
            raise self._breach("its requests hold too much memory at a time")

    def _breach(self, what: str) -> GuestlinkError:
        self.pause(BREACH_WORK)
        return GuestlinkError(f"disconnected {self.container}: {what}")

    def _unanswered_limit(self) -> int:
        if self.totals.unanswered <= ALL_UNANSWERED:
            return UNANSWERED
        return min(UNANSWERED, ALL_UNANSWERED // self.totals.busy)


class Gate:
    """Accepts a container's connections at one listening socket, and relays them to gRPC.

    :param listener: a listening, non-blocking socket; the gate closes it.
    :param target: gRPC's private socket.
    :param policy: who may connect.
    :param share: what the container has at this gate.
    :param admit: checks each connection before anything is relayed.
    """

    def __init__(
        self,
        listener: socket.socket,
        target: UnixAddress,
        policy: PeerPolicy,
        share: GateShare,
        *,
        admit: Admit | None = None,
    ) -> None:
        self._target = target
        self._policy = policy
        self._share = share
        self._admit = admit
        self._acceptor = Acceptor(
            listener,
            f"the host by {share.container}",
            self._serve,
            refusal=self._refusal,
            warn=share.log.warning,
            pause=share.accept_pause,
        )

    def start(self) -> None:
        """Begin to accept."""
        self._acceptor.start()

    async def close(self) -> None:
        """Stop accepting and close every connection."""
        await self._acceptor.close()

    def __len__(self) -> int:
        """How many connections are open."""
        return len(self._acceptor)

    def _refusal(self, connection: socket.socket) -> str:
        try:
            peer = peer_of(connection)._replace(pid=None)  # So that the text is the same for each process.
        except OSError:
            return "it went away"
        return self._policy.refusal(peer) or self._share.refusal()

    async def _serve(self, connection: socket.socket) -> None:
        share = self._share
        share.add_connection(1)
        try:
            if not (beginning := await self._beginning(connection)):
                return
            # While it was silent, others may have begun to speak.
            if share.speaking >= CONNECTIONS:
                raise GuestlinkError(f"disconnected {share.container}: {share.refusal()}")
            share.speaking += 1
            try:
                await self._speak(connection, beginning)
            finally:
                share.speaking -= 1
        finally:
            share.add_connection(-1)

    async def _beginning(self, connection: socket.socket) -> bytes:
        """Wait until the client speaks HTTP/2.

        :returns: its first bytes; none if it closed the connection, or the connection has another purpose.
        :raises GuestlinkError: the client is refused, or says nothing.
        """
        share = self._share
        share.silent.enter(connection)
        if (gone := share.silent.make_room(random.random())) is not None:
            with contextlib.suppress(OSError):
                gone.shutdown(socket.SHUT_RDWR)
        try:
            if self._admit is not None:
                async with asyncio.timeout(SILENT_TIME):
                    if not await self._admit(connection):
                        return b""
            async with asyncio.timeout(SILENT_TIME):
                read = await _preface(connection)
        except TimeoutError:
            raise GuestlinkError(f"disconnected {share.container}: it said nothing on a connection") from None
        except OSError:
            return b""
        finally:
            share.silent.leave(connection)
        if read and read != PREFACE:
            raise GuestlinkError(f"disconnected {share.container}: it does not speak HTTP/2")
        return read

    async def _speak(self, connection: socket.socket, beginning: bytes) -> None:
        await asyncio.sleep(self._share.pause(CONNECTION_WORK))
        with await connect_soon(self._target) as target:
            meter = _ConnectionMeter(self._share, connection)
            try:
                await asyncio.get_running_loop().sock_sendall(target, beginning)
                await relay(
                    connection, target, from_client=meter.received, from_server=meter.sent, client_time=ANSWER_TIME
                )
            except OSError:
                pass  # gRPC's server has just stopped.
            except ClientStalled:
                raise GuestlinkError(f"disconnected {self._share.container}: it takes no answers") from None
            finally:
                meter.close()


class _ConnectionMeter:
    """Counts the calls of one connection for its container's share, and ends a connection that takes too long."""

    def __init__(self, share: GateShare, connection: socket.socket) -> None:
        self._share = share
        self._connection = connection
        self._meter = CallMeter()
        self._counted = (0, 0, 0)
        self._deadline: asyncio.TimerHandle | None = None

    async def received(self, data: memoryview) -> None:
        """Count the client's bytes; wait if the container sends too fast.

        :raises GuestlinkError: the container has too much at a time.
        """
        meter = self._meter
        frames, calls = meter.frames, meter.calls
        meter.received(data, _now())
        self._count()
        self._watch()
        work = len(data) + (meter.frames - frames) * FRAME_WORK + (meter.calls - calls) * CALL_WORK
        if pause := self._share.pause(work):
            await asyncio.sleep(pause)

    async def sent(self, data: memoryview) -> None:
        """Count the server's bytes."""
        self._meter.sent(data)
        self._count()

    def close(self) -> None:
        """The connection has ended, and with it its calls."""
        if self._deadline is not None:
            self._deadline.cancel()
        calls, unfinished, unanswered = self._counted
        self._share.add(-calls, -unfinished, -unanswered)

    def _count(self) -> None:
        meter, (calls, unfinished, unanswered) = self._meter, self._counted
        self._counted = (len(meter), meter.unfinished, meter.unanswered)
        self._share.add(len(meter) - calls, meter.unfinished - unfinished, meter.unanswered - unanswered)

    def _watch(self) -> None:
        """Let a timer run while a request is incomplete."""
        since = self._meter.unfinished_since
        if since is not None and self._deadline is None:
            left = since + REQUEST_TIME - _now()
            self._deadline = asyncio.get_running_loop().call_later(left, self._check_deadline)

    def _check_deadline(self) -> None:
        self._deadline = None
        since = self._meter.unfinished_since
        if since is not None and since + REQUEST_TIME <= _now():
            self._share.log.warning(f"disconnected {self._share.container}: a request took too long")
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)
        else:
            self._watch()


async def _preface(connection: socket.socket) -> bytes:
    """Read the beginning of HTTP/2; what the client has sent instead, if that is something else."""
    read = b""
    while read != PREFACE and PREFACE.startswith(read):
        piece = await asyncio.get_running_loop().sock_recv(connection, len(PREFACE) - len(read))
        if not piece:
            break
        read += piece
    return read


def _now() -> float:
    return asyncio.get_running_loop().time()
