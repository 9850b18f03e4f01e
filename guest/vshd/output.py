"""From the target's output to the client: a person's screen, a flood (chromeos-vsh.md §3.8, §3.12)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import socket

from guestlink.backlog import Backlog, Buffer
from guestlink.errors import reason
from guestlink.vsh import DATA_LIMIT, OutgoingBlock, data_header
from vshd.target import Target

_log = logging.getLogger(__name__)

_SMALL_BLOCK, _LARGE_BLOCK = 4, 64
"""Frames that one read may fill: at the beginning of a flood, and after a read that filled a small block."""
_BULK_READ = 2048
"""A read of more bytes than this belongs to a flood, not to a person's screen."""
_LARGE_PIPE = 256 * 1024
"""Bytes that an output pipe holds in a flood: four times the default, which halves the context switches."""


class Output:
    """Reads the target's outputs, and sends them in frames.

    :param backlog: queues the bytes that the client does not take at once.
    """

    __slots__ = ("_backlog", "_blocks", "_client", "_flooding", "_target")

    def __init__(self, target: Target, client: socket.socket, backlog: Backlog) -> None:
        self._target = target
        self._client = client
        self._backlog = backlog
        self._blocks: dict[int, OutgoingBlock] = {}
        self._flooding: set[int] = set()

    def pass_little(self, descriptor: int) -> int:
        """Read and send up to one frame in as few steps as possible.

        :returns: how many bytes; 0 in a flood, while the client is slow, at the end and after an error:
            :meth:`pass_much` handles all of these.
        :raises OSError: the client has disconnected.
        """
        if descriptor in self._flooding or self._backlog.size:
            return 0
        try:
            data = os.read(descriptor, DATA_LIMIT)
        except OSError:
            return 0
        count = len(data)
        if not count:
            return 0
        if count > _BULK_READ:
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
        """Read and send up to one block of frames.

        :returns: how many bytes; 0 at the end, ``None`` if there is nothing to read now.
        :raises OSError: the client has disconnected.
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
        if count <= _BULK_READ:
            self._flooding.discard(descriptor)
        is_large = block.size >= _LARGE_BLOCK * DATA_LIMIT
        if count == block.size and not is_large:
            self._blocks[descriptor] = OutgoingBlock(stream, _LARGE_BLOCK)
            with contextlib.suppress(OSError):  # a terminal, or the user's limit for pipe buffers is reached
                fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _LARGE_PIPE)
        return count

    def send(self, *buffers: Buffer) -> None:
        """Send buffers after the queued bytes."""
        self._backlog.send(self._client, buffers)


def _read(descriptor: int, spaces: list[memoryview]) -> int | None:
    """Read into the spaces; returns 0 at the end, ``None`` if there is nothing to read now."""
    try:
        return os.readv(descriptor, spaces)
    except BlockingIOError:
        return None
    except OSError as error:
        if error.errno != errno.EIO:  # the end of a terminal
            _log.warning("the target's output cannot be read: %s", reason(error))
        return 0


def _read_terminal(descriptor: int, block: OutgoingBlock) -> int | None:
    """As :func:`_read`, repeated in a flood: one read of a terminal returns 4095 bytes at most."""
    last = count = _read(descriptor, block.spaces[:2])
    while last and count and last > _BULK_READ and (spaces := block.spaces_after(count, 3)):
        last = _read(descriptor, spaces)
        count += last or 0
    return count
