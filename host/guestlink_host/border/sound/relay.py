"""One connection: a container's program on one side, the session's sound server on the other."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from collections.abc import Callable

from guestlink.backlog import Backlog
from guestlink.errors import GuestlinkError, reason
from guestlink_host.border.allowance import Allowance
from guestlink_host.border.sound.belongings import Belongings
from guestlink_host.border.sound.conversation import PENDING_PAUSE, Conversation, SoundRules
from guestlink_host.border.sound.session_server import SessionServer
from guestlink_host.border.sound.tagstruct import MalformedPacket

_READ_SIZE = 32 * 1024
"""Bytes of one read. More would let one container keep the daemon busy for longer at a time."""
FULL = 256 * 1024
"""Bytes that one side has not taken; above that, nothing more is read for it."""
STALL_TIME = 10.0
"""Seconds until a client that takes nothing is disconnected, because the server queues events for it."""
COMMAND_BURST, COMMAND_RATE = 2000, 1000
"""Commands of one connection at once, and in a second after that: a music player sends about ten in a second."""
READ_COST = 0.25
"""What one read counts, in commands. Playing with a latency of 10 ms takes up to 400 reads in a second."""
BYTE_BURST, BYTE_RATE = 64 << 20, 32 << 20
"""Bytes of one connection likewise: eight channels of floats at 192 kHz are 6 MiB in a second."""
WORK_BURST, WORK_RATE = 0.5, 0.2
"""Processor seconds that guestlink-host may spend on the commands of one container and the replies to them: at
once, and in a second after that."""
BLOCK_WORK = 50e-6
"""What one block counts of that, if it is passed on as it is: measuring it would take longer."""
BLOCKS_AT_ONCE = 16
"""Such blocks that are counted together, which takes less time, too."""
WORK_DEBT = 10.0
"""Processor seconds that a container may have overspent: all its connections may do some work before they pause."""


class SoundRelay:
    """A connection that has been accepted.

    :param client: the non-blocking socket of the container's program.
    :param server: the session's server, to which the relay connects when there is something to send.
    :param rules: the container's.
    :param belongings: the container's.
    :param work: the container's: seconds of guestlink-host's time.
    :param ended: is called once, with the reason if the client broke the protocol or there is no server.
    """

    def __init__(
        self,
        client: socket.socket,
        server: SessionServer,
        rules: SoundRules,
        belongings: Belongings,
        work: Allowance,
        ended: Callable[[SoundRelay, str], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._client = client
        self._session_server = server
        self._server: socket.socket | None = None
        self._ended = ended
        self._to_client, self._to_server = Backlog(), Backlog()
        self.conversation = Conversation(rules, belongings, server.cookie)
        self._work = work
        self._commands = Allowance(COMMAND_BURST, COMMAND_RATE)
        self._bytes = Allowance(BYTE_BURST, BYTE_RATE)
        self._rest: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._reads_client = self._reads_server = False
        self._writes: set[socket.socket] = set()
        self._blocks = self._block_bytes = 0
        self._closed = False
        self._set_reading()

    def close(self, why: str = "") -> None:
        """Close both sides."""
        if self._closed:
            return
        self._closed = True
        for timer in (self._rest, self._stall):
            if timer is not None:
                timer.cancel()
        for sock in (self._client, self._server):
            if sock is not None:
                self._loop.remove_reader(sock)
                self._loop.remove_writer(sock)
                sock.close()
        self.conversation.close()
        self._ended(self, why)

    def flush(self) -> None:
        """Send what the conversation has for both sides."""
        try:
            self._send(self._client, self._to_client, self.conversation.to_client.take())
            if self._server is not None:
                self._send(self._server, self._to_server, self.conversation.to_server.take())
        except OSError:
            self.close()
            return
        self._set_reading()

    def _send(self, sock: socket.socket, backlog: Backlog, pieces: list[bytes | memoryview]) -> None:
        if pieces or backlog.size:
            backlog.send(sock, pieces)
        if backlog.size and sock not in self._writes:
            self._writes.add(sock)
            self._loop.add_writer(sock, self.flush)
        elif not backlog.size and sock in self._writes:
            self._writes.discard(sock)
            self._loop.remove_writer(sock)

    def _set_reading(self) -> None:
        """Read a side while the other one takes what it sends; a client has to take its replies, too."""
        if self._closed:
            return
        client_full = self._to_client.size > FULL
        waiting = max(self.conversation.pending, self.conversation.to_client.waiting)
        reads = not client_full and self._to_server.size <= FULL and self._rest is None and waiting <= PENDING_PAUSE
        if reads != self._reads_client:
            self._reads_client = reads
            if reads:
                self._loop.add_reader(self._client, self._client_readable)
            else:
                self._loop.remove_reader(self._client)
        if self._server is not None and client_full == self._reads_server:
            self._reads_server = not client_full
            if self._reads_server:
                self._loop.add_reader(self._server, self._server_readable)
            else:
                self._loop.remove_reader(self._server)
        if client_full and self._stall is None:
            self._stall = self._loop.call_later(STALL_TIME, self.close, "it does not read what the server sends")
        elif not client_full and self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _client_readable(self) -> None:
        try:
            data = self._client.recv(_READ_SIZE)  # without recvmsg() the kernel drops descriptors
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        if self._server is not None and not self._to_server.size and self.conversation.passes_to_server(data):
            self._pass(self._server, self._to_server, data)
            self._blocks += 1
            self._block_bytes += len(data)
            if self._blocks == BLOCKS_AT_ONCE:
                self._count_blocks()
            return
        began = time.thread_time()
        try:
            commands = self.conversation.from_client(data)
            if self._server is None and self.conversation.to_server.pieces:
                self._server = self._session_server.connect()
                self._introduce(self._server, b"".join(self.conversation.to_server.take()))
        except (MalformedPacket, GuestlinkError) as error:
            self._give_up(str(error))
            return
        except OSError:
            self.close()
            return
        self.flush()
        now = self._loop.time()
        self._pause(
            max(
                self._commands.spend(commands + READ_COST, now),
                self._bytes.spend(len(data), now),
                self._work.spend(time.thread_time() - began, now),
            )
        )

    def _pass(self, sock: socket.socket, backlog: Backlog, data: bytes) -> None:
        """Send bytes to a side for which nothing waits."""
        try:
            sent = sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self.close()
            return
        if sent < len(data):
            backlog.add(data[sent:])
            self.flush()

    def _count_blocks(self) -> None:
        """Count the blocks that were passed on as they are."""
        now, blocks, size = self._loop.time(), self._blocks, self._block_bytes
        self._blocks = self._block_bytes = 0
        self._pause(
            max(
                self._commands.spend(blocks * READ_COST, now),
                self._bytes.spend(size, now),
                self._work.spend(blocks * BLOCK_WORK, now),
            )
        )

    def _pause(self, seconds: float) -> None:
        """Read nothing of the client for some time from now on."""
        if not seconds or self._closed:
            return
        if self._rest is not None:
            self._rest.cancel()
        self._rest = self._loop.call_later(seconds, self._rested)
        self._set_reading()

    def _introduce(self, server: socket.socket, data: bytes) -> None:
        """Send the first bytes with our credentials.

        By itself the kernel adds none in the moment between the server's accept() and its SO_PASSCRED.

        :raises OSError: the connection is broken.
        """
        credentials = struct.pack("3i", os.getpid(), os.getuid(), os.getgid())
        sent = server.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, credentials)])
        self._to_server.add(data[sent:])

    def _rested(self) -> None:
        self._rest = None
        self._set_reading()

    def _server_readable(self) -> None:
        assert self._server is not None
        try:
            data = self._server.recv(_READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        if not self._to_client.size and self.conversation.passes_to_client(data):
            self._pass(self._client, self._to_client, data)
            return
        has_asked, began = self.conversation.pending > 0, time.thread_time()
        try:
            self.conversation.from_server(data)
        except MalformedPacket as error:
            self._give_up(f"the sound server sent what the filter does not understand: {error}")
            return
        self.flush()
        if has_asked:  # A short command may have a reply of many kilobytes, which is work, too.
            self._pause(self._work.spend(time.thread_time() - began, self._loop.time()))

    def _give_up(self, why: str) -> None:
        """Close, after the error replies that are ready."""
        try:
            self._to_client.send(self._client, self.conversation.to_client.take())
        except OSError as error:
            why = f"{why}; {reason(error)}"
        self.close(why)
