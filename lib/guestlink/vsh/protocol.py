"""Both roles: received bytes in, events out (chromeos-vsh.md §3.3, §3.11)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from guestlink.vsh.blocks import IncomingBlock
from guestlink.vsh.decoding import decode_from_client, decode_from_server, decode_setup, decode_setup_answer
from guestlink.vsh.encoding import DATA_LIMIT, SMALL_STDIN_HEADERS
from guestlink.vsh.framing import FrameReader, FrameTooLong
from guestlink.vsh.messages import Data, FromClient, FromServer, Stream
from guestlink.vsh.protobuf_wire import Malformed

_FLOOD = 16
"""Full frames of data in a row that make a flood."""
_FLOOD_BLOCK = 64
"""Full frames that one receive call takes during a flood."""

_KEYS_HEADERS = {len(header) + size: header for size, header in SMALL_STDIN_HEADERS.items()}
"""Headers of small input frames, by the size of the whole frame."""

_Event = TypeVar("_Event", FromClient, FromServer)


class ProtocolError(ValueError):
    """The other side broke the protocol; the connection must be closed.

    :ivar events: the events that arrived before the error.
    """

    def __init__(self, reason: str, events: Sequence[FromClient | FromServer] = ()) -> None:
        super().__init__(reason)
        self.events = tuple(events)


class _Role(Generic[_Event]):
    """One end of a session.

    The caller passes received bytes to :meth:`feed`. During a flood :meth:`spaces` returns buffers; the caller may
    receive into them and call :meth:`received` instead, which costs a fraction.

    :param flood: the stream whose data may come as a flood.
    :param first: decodes the other side's first message, :param following: and all others.
    :ivar has_begun: whether the first message has come.
    """

    def __init__(
        self, flood: Stream, first: Callable[[memoryview], _Event], following: Callable[[memoryview], _Event]
    ) -> None:
        self._frames = FrameReader()
        self._stream = flood
        self._first: Callable[[memoryview], _Event] = first
        self._following: Callable[[memoryview], _Event] = following
        self._flood: IncomingBlock | None = None
        self.has_begun = False

    def feed(self, data: bytes) -> list[_Event]:
        """Decode received bytes and return their events.

        :raises ProtocolError: the other side broke the protocol.
        """
        if self._flood is not None:
            data = self._flood.leave() + data
            self._flood = None
        events: list[_Event] = []
        size = len(data)
        try:
            if not self.has_begun:
                for message in self._frames.feed(data, 1):
                    events.append(self._first(message))
                    self.has_begun = True
                data = b""
            if self.has_begun:
                # Again until nothing is complete: a frame that is too long is reported by the call after the last
                # message before it.
                while messages := self._frames.feed(data):
                    events.extend(map(self._following, messages))
                    data = b""
        except (FrameTooLong, Malformed) as error:
            raise ProtocolError(str(error), events) from error
        if size >= _FLOOD * DATA_LIMIT:
            self._look_for_flood(events[-_FLOOD:])
        return events

    def spaces(self) -> list[memoryview] | None:
        """Buffers to receive into instead of calling :meth:`feed`; ``None`` while there is no flood."""
        return None if self._flood is None else self._flood.spaces()

    def received(self, count: int) -> list[_Event]:
        """Decode what was received into the buffers of :meth:`spaces`.

        :param count: bytes received.
        :returns: as :meth:`feed`, but one event has the data of many frames; the data is valid until the next call.
        :raises ProtocolError: the other side broke the protocol.
        """
        assert self._flood is not None
        data = self._flood.take(count)
        if data is None:
            return self.feed(b"")
        return [Data(self._stream, data)] if data else []

    def _look_for_flood(self, last: Sequence[_Event]) -> None:
        for event in last:
            if not isinstance(event, Data) or event.stream != self._stream or len(event.data) != DATA_LIMIT:
                return
        block = IncomingBlock(self._stream, _FLOOD_BLOCK)
        rest = self._frames.take_rest()
        if block.begin(rest):
            self._flood = block
        else:
            self._frames.feed(rest)


class ServerProtocol(_Role[FromClient]):
    """The server's end of one session; the first event of all is a :class:`Setup`."""

    def __init__(self) -> None:
        super().__init__(Stream.STDIN, decode_setup, decode_from_client)

    def keys(self, data: bytes) -> bytes:
        """Fast path: the input, if the received bytes are exactly one small input frame, as most in a session are.

        :returns: no bytes, and the state is unchanged, for anything else; pass that to :meth:`feed`.
        """
        header = _KEYS_HEADERS.get(len(data))
        if header is None or not data.startswith(header) or self._frames.pending or not self.has_begun:
            return b""
        if self._flood is not None:  # it may hold the beginning of a frame
            return b""
        return data[len(header) :]


class ClientProtocol(_Role[FromServer]):
    """The client's end of one session; the first event of all is a :class:`SetupAnswer`."""

    def __init__(self) -> None:
        super().__init__(Stream.STDOUT, decode_setup_answer, decode_from_server)
