"""A pool of connectors, the processes that connect to the host (:mod:`sommelier_shim.daemon.connector`).

If a client leaves within a second, its connector serves the next client: to fork a connector takes five times as
long as to ask one. After the first client the pool always has a spare connector.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import sys
from collections.abc import Callable
from typing import TypeAlias

from guestlink.errors import GuestlinkError
from sommelier_shim.channel import CompositorChannel, HostBusy, HostUnreachable, Transport
from sommelier_shim.channel.unix_socket import SocketTransport, connect_error
from sommelier_shim.daemon import connector as program
from sommelier_shim.daemon.children import RunningProgram, start_program
from sommelier_shim.daemon.loop import READABLE, Loop, Timer

_log = logging.getLogger(__name__)

_SPARE = 2
"""Maximum number of connectors without a client."""
_HASTE = 1.0
"""Seconds after which a connector exits if its client has left, and becomes a shell if its client is connected."""
_RIGHTS_SIZE = socket.CMSG_SPACE(4)
_FLAGS = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
_RECEIVING = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC

Done: TypeAlias = "Callable[[Transport | HostUnreachable | HostBusy, Connector | None], None]"
"""Called with the connection and its connector, or with an exception and None. A connection with None instead of a
connector was opened by the proxy's own process."""


class Connector:
    """One connector process.

    :ivar is_settled: whether the process is a shell, which cannot serve another client.
    :ivar when_killed: called when the process has ended before :meth:`release`: somebody on the host killed it.
    """

    __slots__ = ("_channel", "_done", "_leash", "_pool", "is_settled", "when_killed")

    def __init__(self, pool: Connectors, leash: socket.socket) -> None:
        self._pool = pool
        self._leash = leash
        self._channel: CompositorChannel
        self._done: Done | None = None
        self.is_settled = False
        self.when_killed: Callable[[], None] | None = None

    def ask(self, channel: CompositorChannel, pid: int, done: Done) -> None:
        """Connect to the channel's path for the client process ``pid``."""
        self._channel, self._done = channel, done
        try:
            self._leash.send(b"%d %b" % (pid, os.fsencode(channel.path)), _FLAGS)
        except OSError:
            pass  # the connector has exited; heard() handles that

    def settle(self) -> None:
        """Turn the process into a shell; it cannot serve another client."""
        self.is_settled = True
        try:
            self._leash.send(program.SETTLE, _FLAGS)
        except OSError:
            pass

    def release(self) -> None:
        """The client has left: return the connector to the pool."""
        self.when_killed = None
        self._pool.take_back(self)

    def close(self) -> None:
        """Close the leash, which ends the process."""
        self._pool.forget(self, self._leash)
        self._leash.close()

    def heard(self, events: int) -> None:
        """Handle the answer, or the end of the process."""
        try:
            answer, ancillary, _, _ = self._leash.recvmsg(program.ANSWER_SIZE, _RIGHTS_SIZE, _RECEIVING)
        except BlockingIOError:
            return
        except OSError:
            answer, ancillary = b"", []
        done, self._done = self._done, None
        number = int.from_bytes(answer, sys.byteorder)
        if not answer or number & program.NO_PROCESS:
            self.close()
            if done is not None:
                self._pool.failed(number & ~program.NO_PROCESS, self._channel, done)
            elif self.when_killed is not None:
                self.when_killed()
        elif done is None:
            self.close()
        elif ancillary:
            descriptor = int.from_bytes(ancillary[0][2][:4], sys.byteorder)
            self._pool.is_proven = True
            done(SocketTransport(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, descriptor)), self)
        else:
            self._pool.take_back(self)
            done(_connect_error(self._channel, number or errno.EMFILE), None)


class Connectors:
    """All connectors of a proxy.

    :ivar is_proven: whether the connector program has forked a connector that works.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._all: dict[Connector, None] = {}
        self._idle: list[Connector] = []
        self._recent: dict[Connector, None] = {}
        self._program: RunningProgram | None = None
        self._control: socket.socket | None = None
        self._timer: Timer | None = None
        self._has_warned = False
        self._is_useless = False
        self.is_proven = False

    def connect(self, channel: CompositorChannel, pid: int, done: Done) -> None:
        """Connect for the client process ``pid``: by a connector, if the channel has a path.

        After ``HostBusy`` the caller may try again soon.
        """
        if not channel.path:
            connect_directly(channel, pid, done)
            return
        try:
            connector = self._idle.pop() if self._idle else self._make()
        except OSError as error:
            done(connect_error(channel.path, error), None)
            return
        if connector is None:
            self.failed(0, channel, done)
            return
        connector.ask(channel, pid, done)
        self._recent[connector] = None
        if self._timer is None:
            self._timer = self._loop.call_later(_HASTE, self._settle)
        self._keep_spare()

    def close(self) -> None:
        """End every connector and the connector program."""
        if self._timer is not None:
            self._timer.cancel()
        for connector in list(self._all):
            connector.close()
        if self._control is not None:
            self._control.close()
        if self._program is not None:
            self._program.close()

    # -- for connectors ------------------------------------------------------------------------------------------

    def take_back(self, connector: Connector) -> None:
        """Keep a connector for the next client, at most until :meth:`_settle`."""
        if connector not in self._all:
            return
        if connector.is_settled or len(self._idle) >= _SPARE:
            connector.close()
        else:
            self._idle.append(connector)

    def forget(self, connector: Connector, leash: socket.socket) -> None:
        """Remove a connector from the pool."""
        if connector in self._all:
            del self._all[connector]
            self._loop.remove(leash.fileno())
        if connector in self._idle:
            self._idle.remove(connector)

    def failed(self, number: int, channel: CompositorChannel, done: Done) -> None:
        """Connect from the proxy's own process, because no connector can be forked.

        :param number: the errno of fork, 0 if the connector has exited.
        """
        if not number and self.is_proven:
            done(HostBusy(), None)
            return
        if not self._has_warned:
            self._has_warned = True
            reason = f": {os.strerror(number).lower()}" if number else ""
            _log.warning(
                "no process can be made for a client%s; until there can be, "
                "ending a window's process on the host ends all clients",
                reason,
            )
        connect_directly(channel, 0, done)

    # ------------------------------------------------------------------------------------------------------------

    def _make(self) -> Connector | None:
        """A new connector, or None if the connector program does not run.

        :raises OSError: there are too many descriptors, or too many requests for connectors in flight.
        """
        if self._control is None and not self._is_useless:
            self._start()
        if self._control is None:
            return None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, theirs.fileno().to_bytes(4, sys.byteorder))]
        try:
            self._control.sendmsg([b"+"], rights, _FLAGS)
        except OSError as error:
            ours.close()
            if error.errno == errno.EPIPE:
                return None  # the program has exited; _ended() handles that
            raise
        finally:
            theirs.close()
        connector = Connector(self, ours)
        self._all[connector] = None
        self._loop.add(ours.fileno(), READABLE, connector.heard)
        return connector

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.is_proven = False
        with theirs:
            descriptor = theirs.fileno()
            argv = [sys.executable, "-I", "-S", program.__file__, str(descriptor)]
            try:
                self._program = start_program(self._loop, argv, {}, self._ended, inherited=descriptor)
            except GuestlinkError as error:
                _log.warning("%s", error)
                ours.close()
                self._is_useless = True
                return
        self._control = ours

    def _ended(self, status: int) -> None:
        """The connector program has exited: the next client starts another one, if this one has worked."""
        assert self._control is not None
        self._control.close()
        self._control = self._program = None
        self._is_useless = not self.is_proven

    def _settle(self) -> None:
        """Turn connectors with a client into shells, and end those without."""
        self._timer = None
        recent, self._recent = self._recent, {}
        for connector in recent:
            if connector in self._idle:
                connector.close()
            elif connector in self._all:
                connector.settle()
        self._keep_spare()

    def _keep_spare(self) -> None:
        if not self._idle:
            try:
                spare = self._make()
            except OSError:
                return  # the next client triggers another attempt
            if spare is not None:
                self._idle.append(spare)


def connect_directly(channel: CompositorChannel, pid: int, done: Done) -> None:
    """Connect from the proxy's own process, for instance when the proxy has only one client."""
    try:
        transport = channel.connect()
    except (HostUnreachable, HostBusy) as error:
        done(error, None)
    else:
        done(transport, None)


def _connect_error(channel: CompositorChannel, number: int) -> HostUnreachable | HostBusy:
    return connect_error(channel.path, OSError(number, os.strerror(number)))
