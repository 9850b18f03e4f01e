"""Floods of data: runs of full frames, received and sent without a loop over the frames.

All frames of :data:`~guestlink.vsh.encoding.DATA_LIMIT` bytes of one stream have the same header. So the offsets of
headers and data in a block are known in advance, and readv(2), recvmsg(2) and sendmsg(2) separate and join them.
"""

from __future__ import annotations

from guestlink.vsh.encoding import DATA_LIMIT, data_header


class OutgoingBlock:
    """A buffer for a run of data frames, with their headers already in place.

    Read into the frames with ``os.readv(fd, block.spaces)``, then send with ``sendmsg(block.frames(count))``. No
    byte is copied in between. The buffers that :meth:`frames` returns are valid until the next read.

    :param stream: the stream of the frames.
    :param count: the capacity in frames.
    :ivar spaces: buffers to read into, one per frame.
    :ivar size: bytes that all spaces hold together.
    """

    __slots__ = ("_step", "_stream", "_view", "size", "spaces")

    def __init__(self, stream: int, count: int) -> None:
        header = data_header(stream, DATA_LIMIT)
        self.size = count * DATA_LIMIT
        self._stream = stream
        self._step = len(header) + DATA_LIMIT
        self._view = memoryview(bytearray((header + bytes(DATA_LIMIT)) * count))
        starts = range(len(header), len(self._view), self._step)
        self.spaces = [self._view[at : at + DATA_LIMIT] for at in starts]

    def spaces_after(self, count: int, pieces: int) -> list[memoryview]:
        """Buffers for the next read after ``count`` bytes have been read: up to ``pieces`` of the spaces."""
        full, rest = divmod(count, DATA_LIMIT)
        spaces = self.spaces[full : full + pieces]
        if rest:
            spaces[0] = spaces[0][rest:]
        return spaces

    def frames(self, count: int) -> list[memoryview]:
        """The frames of the first ``count`` bytes of the spaces, as up to three buffers to send."""
        full, rest = divmod(count, DATA_LIMIT)
        buffers = [self._view[: full * self._step]] if full else []
        if rest:
            # The last frame is not full, so its header differs.
            header = data_header(self._stream, rest)
            space = self.spaces[full]
            buffers += (memoryview(header), space[:rest])
        return buffers


class IncomingBlock:
    """A buffer for a run of full frames of one stream; headers and data are received into separate memory.

    Call ``recvmsg_into(block.spaces())``, then :meth:`take`, which returns the data in one piece. The block assumes
    full frames; when other bytes arrive, :meth:`leave` returns all bytes in the order in which they were received.

    :param stream: the expected stream of the frames.
    :param count: the capacity in frames.
    """

    __slots__ = ("_data", "_expected", "_header_size", "_headers", "_part", "_spaces", "_step", "_taken")

    def __init__(self, stream: int, count: int) -> None:
        header = data_header(stream, DATA_LIMIT)
        size = self._header_size = len(header)
        self._step = size + DATA_LIMIT
        self._expected = header * count
        self._headers = bytearray(self._expected)
        self._data = memoryview(bytearray(DATA_LIMIT * count))
        headers = memoryview(self._headers)
        self._spaces: list[memoryview] = []
        for number in range(count):
            self._spaces.append(headers[number * size : (number + 1) * size])
            self._spaces.append(self._data[number * DATA_LIMIT : (number + 1) * DATA_LIMIT])
        # _part: bytes of the incomplete frame; it follows the _taken complete frames until _settle moves it.
        self._taken = self._part = 0

    def begin(self, rest: bytes) -> bool:
        """Reset the block, and fill it with the beginning of a frame that was received already.

        :returns: whether a full frame can begin with ``rest``; if not, the block is unchanged.
        """
        size = self._header_size
        if len(rest) >= self._step or not self._expected.startswith(rest[:size]):
            return False
        self._taken, self._part = 0, len(rest)
        self._headers[: len(rest[:size])] = rest[:size]
        self._data[: len(rest[size:])] = rest[size:]
        return True

    def spaces(self) -> list[memoryview]:
        """Buffers to receive into. The data that :meth:`take` returned becomes invalid."""
        self._settle()
        part = self._part
        if not part:
            return self._spaces
        if part < self._header_size:
            return [self._spaces[0][part:], *self._spaces[1:]]
        return [self._data[part - self._header_size : DATA_LIMIT], *self._spaces[2:]]

    def take(self, count: int) -> memoryview | None:
        """The data of the frames that ``count`` more bytes complete.

        :returns: the data, valid until the next call of another method; ``None`` if anything but full frames came.
        """
        received = self._part + count
        full, part = divmod(received, self._step)
        headers = full * self._header_size + min(part, self._header_size)
        if not self._headers.startswith(self._expected[:headers]):
            self._taken, self._part = 0, received
            return None
        self._taken, self._part = full, part
        return self._data[: full * DATA_LIMIT]

    def leave(self) -> bytes:
        """Return all bytes that were received and not taken, in order of arrival; the block is empty afterwards."""
        self._settle()
        received, self._part = self._part, 0
        return b"".join(self._spaces[: received // self._step * 2 + 2])[:received]

    def _settle(self) -> None:
        """Move the incomplete frame to the beginning. Only its data moves, because all headers are the same."""
        taken, rest = self._taken, self._part - self._header_size
        self._taken = 0
        if taken and rest > 0:
            start = taken * DATA_LIMIT
            self._data[:rest] = self._data[start : start + rest]
