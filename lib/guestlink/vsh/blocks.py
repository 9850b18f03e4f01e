"""Floods of data: many full frames in a row, which no code touches one by one.

All frames of :data:`~guestlink.vsh.encoding.DATA_LIMIT` bytes of one stream have the same header. So the places of
headers and data in a block are known beforehand, and readv(2), recvmsg(2) and sendmsg(2) do what a loop would do.
"""

from __future__ import annotations

from guestlink.vsh.encoding import DATA_LIMIT, data_header


class OutgoingBlock:
    """Room for many frames of data in a row, with their headers already in place.

    A read goes straight into the frames: ``os.readv(fd, block.spaces)``, then ``sendmsg(block.frames(count))``. No
    byte is copied in between. The buffers that :meth:`frames` returns are good until the next read.

    :param stream: the stream that the frames belong to.
    :param count: how many frames there is room for.
    :ivar spaces: where to read to.
    :ivar size: bytes that the spaces take together.
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
        """Where to read to behind ``count`` bytes that have been read already: up to ``pieces`` of the spaces."""
        full, rest = divmod(count, DATA_LIMIT)
        spaces = self.spaces[full : full + pieces]
        if rest:
            spaces[0] = spaces[0][rest:]
        return spaces

    def frames(self, count: int) -> list[memoryview]:
        """The frames of the first ``count`` bytes of the spaces, as one or two buffers to be sent."""
        full, rest = divmod(count, DATA_LIMIT)
        buffers = [self._view[: full * self._step]] if full else []
        if rest:
            # The last one's header is of another size: it ends where the data begins, and is repaired for the next.
            header = data_header(self._stream, rest)
            space = self.spaces[full]
            buffers += (memoryview(header), space[:rest])
        return buffers


class IncomingBlock:
    """Room for a run of full frames of one stream, received with headers and data apart.

    ``recvmsg_into(block.spaces())``, then :meth:`take`, which gives the data in one piece. That the frames are full
    ones is a guess; where it turns out wrong, :meth:`leave` gives the bytes back as they came.

    :param stream: the stream that the frames are expected to belong to.
    :param count: how many frames there is room for.
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
        # Bytes of a frame that is not complete; it stands behind the taken frames until _settle.
        self._taken = self._part = 0

    def begin(self, rest: bytes) -> bool:
        """Start anew with what was received of a frame already.

        :returns: whether a full frame begins like this; otherwise nothing has happened.
        """
        size = self._header_size
        if len(rest) >= self._step or not self._expected.startswith(rest[:size]):
            return False
        self._taken, self._part = 0, len(rest)
        self._headers[: len(rest[:size])] = rest[:size]
        self._data[: len(rest[size:])] = rest[size:]
        return True

    def spaces(self) -> list[memoryview]:
        """Where to receive to. What :meth:`take` returned is not good any more."""
        self._settle()
        part = self._part
        if not part:
            return self._spaces
        if part < self._header_size:
            return [self._spaces[0][part:], *self._spaces[1:]]
        return [self._data[part - self._header_size : DATA_LIMIT], *self._spaces[2:]]

    def take(self, count: int) -> memoryview | None:
        """The data of the frames that ``count`` more bytes complete.

        :returns: good until the next call of another method; None where something else than full frames has come.
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
        """Everything that was received and not taken, as it came; the block is empty then."""
        self._settle()
        received, self._part = self._part, 0
        return b"".join(self._spaces[: received // self._step * 2 + 2])[:received]

    def _settle(self) -> None:
        """Move the frame that is not complete to the beginning. Its header is there: all are the same."""
        taken, rest = self._taken, self._part - self._header_size
        self._taken = 0
        if taken and rest > 0:
            start = taken * DATA_LIMIT
            self._data[:rest] = self._data[start : start + rest]
