"""What the target writes on its way to the client: a person's screen, a flood (chromeos-vsh.md §3.8, §3.12)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import socket

from guestlink.vsh import DATA_LIMIT, OutgoingBlock, data_header
from vshd.backlog import Backlog, Buffer
from vshd.target import Target

_log = logging.getLogger(__name__)

_SMALL_BLOCK, _LARGE_BLOCK = 4, 64
"""Frames that one read fills: where more comes than a person reads, and in a flood."""
_FLOODED = 2048
"""Bytes in one read that are not a person's any more."""
_LARGE_PIPE = 256 * 1024
"""Bytes that an output pipe holds in a flood: four times as many, and half as many changes of process."""


class Output:
    """Reads the target's outputs, and sends them in frames.

    :param backlog: takes what the client does not take at once.
    """

    __slots__ = ("_backlog", "_blocks", "_client", "_flooding", "_target")

    def __init__(self, target: Target, client: socket.socket, backlog: Backlog) -> None:
        self._target = target
        self._client = client
        self._backlog = backlog
        self._blocks: dict[int, OutgoingBlock] = {}
        self._flooding: set[int] = set()

    def floods(self, descriptor: int) -> bool:
        """Whether more than a person's screen comes, or the client is slow: it is for :meth:`pass_much`."""
        return descriptor in self._flooding or self._backlog.size > 0

    def pass_little(self, descriptor: int) -> int:
        """Read and send up to one frame in as few steps as can be.

        :returns: how many bytes; 0 where :meth:`pass_much` has to look.
        :raises OSError: the client is gone.
        """
        try:
            data = os.read(descriptor, DATA_LIMIT)
        except OSError:
            return 0
        count = len(data)
        if not count:
            return 0
        if count > _FLOODED:
            self._flooding.add(descriptor)
        frame = data_header(self._target.outputs[descriptor], count) + data
        try:
            sent = self._client.send(frame)
        except BlockingIOError:
            sent = 0
        if sent < len(frame):
            self._backlog.add(frame[sent:])
        return count

    def pass_much(self, descriptor: int) -> int | None:
        """Read and send as many frames as are there.

        :returns: how many bytes; 0 at the end, ``None`` where nothing is there now.
        :raises OSError: the client is gone.
        """
        stream = self._target.outputs[descriptor]
        block = self._blocks.get(descriptor)
        if block is None:
            block = self._blocks[descriptor] = OutgoingBlock(stream, _SMALL_BLOCK)
        if descriptor == self._target.terminal:
            count = _read_terminal(descriptor, block)
        else:
            count = _read(descriptor, block.spaces)
        if not count:
            return count
        self.send(*block.frames(count))
        if count <= _FLOODED:
            self._flooding.discard(descriptor)
        if count == block.size < _LARGE_BLOCK * DATA_LIMIT:
            self._blocks[descriptor] = OutgoingBlock(stream, _LARGE_BLOCK)
            with contextlib.suppress(OSError):  # a terminal, or a user whose pipes hold as much as they may
                fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _LARGE_PIPE)
        return count

    def send(self, *buffers: Buffer) -> None:
        """Send buffers behind what waits."""
        self._backlog.send(self._client, buffers)


def _read(descriptor: int, spaces: list[memoryview]) -> int | None:
    """Read what is there: 0 bytes at the end, None if there is nothing now."""
    try:
        return os.readv(descriptor, spaces)
    except BlockingIOError:
        return None
    except OSError as error:
        if error.errno != errno.EIO:  # the end of a terminal
            _log.warning("the target's output cannot be read: %s", error.strerror)
        return 0


def _read_terminal(descriptor: int, block: OutgoingBlock) -> int | None:
    """As :func:`_read`. A terminal gives 4095 bytes at most, and in a flood has as many again at once."""
    last = count = _read(descriptor, block.spaces[:2])
    while last and count and last > _FLOODED and (spaces := block.spaces_after(count, 3)):
        last = _read(descriptor, spaces)
        count += last or 0
    return count
