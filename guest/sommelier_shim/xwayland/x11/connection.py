"""One client's conversation with an X server: bytes in, replies, events and errors out. Pure.

X Window System Protocol, sections 1, 2 and 8, and BIG-REQUESTS. The caller moves the bytes::

    connection = X11Connection()
    send(connection.data_to_send())
    for message in connection.receive(data):
        ...

A reply comes with the number that :meth:`X11Connection.request` has returned for its request.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import NamedTuple

from sommelier_shim.xwayland.x11.layout import Message, X11WireError, decode, encode
from sommelier_shim.xwayland.x11.messages import (
    EVENTS,
    LAYOUTS,
    REQUESTS,
    BigRequestsEnable,
    BigRequestsEnableReply,
    CompositeQueryVersion,
    GetInputFocus,
    QueryExtension,
    QueryExtensionReply,
    RandRQueryVersion,
    ResQueryVersion,
    ServerSetup,
    SetupRequest,
    SyncInitialize,
    XFixesQueryVersion,
)

REPLY_LIMIT = 64 * 1024 * 1024
"""Bytes of the longest reply that we take. The longest that we request is a property's, and we request pieces."""
EXTENSIONS = ("BIG-REQUESTS", *sorted({request.extension for request in REQUESTS.values()} - {"", "BIG-REQUESTS"}))
"""Extensions that we ask for at the start."""
_VERSIONS: dict[str, Message] = {
    "Composite": CompositeQueryVersion(0, 4),
    "RANDR": RandRQueryVersion(1, 5),
    "SYNC": SyncInitialize(3, 1),
    "X-Resource": ResQueryVersion(1, 2),
    "XFIXES": XFixesQueryVersion(5, 0),
}
"""The newest version of each extension that we know; the server refuses other requests before it knows that."""

_HEADER = struct.Struct("<BxHI")
"""The first eight bytes of a message of the server: its kind, its sequence number, a reply's length in words."""
_SETUP = struct.Struct("<BBHHH")
"""The answer to the set-up begins with success, a reason's length, the version, and the length in words."""
_PACKET = 32
"""Bytes of an event, of an error and of the smallest reply."""
_ERROR, _REPLY, _KEYMAP_NOTIFY, _GENERIC_EVENT = 0, 1, 11, 35
_SENT = 0x80
"""The bit of an event that another client has sent."""
_SILENT_LIMIT = 0x8000
"""Requests without a reply in a row, after which we ask for one, because sequence numbers have 16 bits."""


class Ready(NamedTuple):
    """The server has accepted us, and the extensions are known.

    :ivar setup: the server's screens and limits.
    :ivar extensions: those of :data:`EXTENSIONS` that the server has.
    """

    setup: ServerSetup
    extensions: frozenset[str]


class Reply(NamedTuple):
    """A reply.

    :ivar number: the request's.
    """

    number: int
    message: Message


class Event(NamedTuple):
    """An event.

    :ivar number: of the last request that the server had handled.
    :ivar is_sent: whether another client has sent it (SendEvent).
    """

    number: int
    message: Message
    is_sent: bool


class Error(NamedTuple):
    """A request has failed.

    :ivar number: the request's.
    :ivar code: the error's code, as BadWindow's 3.
    :ivar value: the resource or the value that was wrong.
    :ivar request: the request's class, or ``None`` if it had a reply or an error before.
    """

    number: int
    code: int
    value: int
    request: type[Message] | None


class ServerRefused(X11WireError):
    """The server does not accept us: the authorization is wrong, or it has no room."""


class _Pending(NamedTuple):
    number: int
    request: type[Message]
    reply: type[Message] | None


class X11Connection:
    """A conversation, from the set-up on.

    :param authorization: name and data of the authorization, as ``MIT-MAGIC-COOKIE-1`` and its cookie.
    :ivar setup: the server's screens and limits, after :class:`Ready`.
    """

    def __init__(self, authorization: tuple[bytes, bytes] = (b"", b"")) -> None:
        self.setup: ServerSetup | None = None
        self._output = encode(SetupRequest(ord("l"), 11, 0, *authorization), LAYOUTS)
        self._input = bytearray()
        self._pending: deque[_Pending] = deque()
        self._number = 0
        self._last_reply = 0
        self._seen = 0
        self._opcodes: dict[str, int] = {"": 0}
        self._events: dict[int, type[Message]] = {
            event.code: kind for kind, event in EVENTS.items() if not event.extension
        }
        self._opening: dict[int, str] = {}
        self._syncs: set[int] = set()
        self._longest = 0
        self._next_id = 0

    # -- what we send --------------------------------------------------------------------------------------------

    def data_to_send(self) -> bytes:
        """The bytes that have to go to the server, once."""
        data = bytes(self._output)
        self._output.clear()
        return data

    def new_id(self) -> int:
        """A resource id for a new window, pixmap or the like.

        :raises X11WireError: the server has given us none that is free.
        """
        if self.setup is None:
            raise X11WireError("there is no resource id before the set-up")
        step = self.setup.resource_id_mask & -self.setup.resource_id_mask
        if step == 0 or self._next_id > self.setup.resource_id_mask // step:
            raise X11WireError("the server's resource ids are used up")
        self._next_id += 1
        return self.setup.resource_id_base | (self._next_id - 1) * step

    def has(self, extension: str) -> bool:
        """Whether the server has one of :data:`EXTENSIONS`."""
        return extension in self._opcodes

    def request(self, message: Message) -> int:
        """Append a request to the output.

        :returns: its number, which its reply and its error have as well.
        :raises X11WireError: the server has no such extension, or takes no request of this length.
        """
        described = REQUESTS[type(message)]
        if described.extension not in self._opcodes:
            raise X11WireError(f"the server has no {described.extension}")
        if described.reply is None and self._number - self._last_reply >= _SILENT_LIMIT:
            self._syncs.add(self.request(GetInputFocus()))
        body = encode(message, LAYOUTS)
        if described.extension:
            first, second = self._opcodes[described.extension], described.opcode
        else:
            # The first field of a core request takes the second byte of its header.
            first, second = described.opcode, body[0] if body else 0
            del body[:1]
        body += bytes(-len(body) % 4)
        words = 1 + len(body) // 4
        if words <= min(self._longest, 0xFFFF):
            self._output += struct.pack("<BBH", first, second, words)
        elif words + 1 <= self._longest:
            self._output += struct.pack("<BBHI", first, second, 0, words + 1)
        else:
            raise X11WireError(f"a request of {words * 4} bytes is longer than the server takes")
        self._output += body
        self._number += 1
        self._pending.append(_Pending(self._number, type(message), described.reply))
        if described.reply is not None:
            self._last_reply = self._number
        return self._number

    # -- what we receive -----------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> list[Ready | Reply | Event | Error]:
        """Take bytes of the server.

        :returns: the messages that are complete.
        :raises X11WireError: the bytes are no X11; the connection cannot be used any more.
        :raises ServerRefused: the server does not accept us.
        """
        self._input += data
        found: list[Ready | Reply | Event | Error] = []
        while (packet := self._packet()) is not None:
            if self.setup is None:
                self._accept(packet)
            elif (message := self._message(packet)) is not None:
                found.append(message)
        return found

    def _packet(self) -> bytes | None:
        """Take the next whole message out of the input, if there is one."""
        if self.setup is None:
            if len(self._input) < _SETUP.size:
                return None
            size = _SETUP.size + _SETUP.unpack_from(self._input)[4] * 4
        else:
            if len(self._input) < _PACKET:
                return None
            kind, _, words = _HEADER.unpack_from(self._input)
            size = _PACKET + (words * 4 if kind in (_REPLY, _GENERIC_EVENT, _GENERIC_EVENT | _SENT) else 0)
            if size > REPLY_LIMIT:
                raise X11WireError(f"a message has {size} bytes")
        if len(self._input) < size:
            return None
        packet = bytes(self._input[:size])
        del self._input[:size]
        return packet

    def _accept(self, packet: bytes) -> None:
        if packet[0] != 1:
            text = packet[8 : 8 + packet[1]].decode(errors="replace").strip() if packet[0] == 0 else ""
            raise ServerRefused(
                f"the X server refuses the connection: {text or 'it demands another authorization'}"
            )
        self.setup = decode(ServerSetup, packet, LAYOUTS)
        if not self.setup.roots:
            raise X11WireError("the server has no screen")
        self._longest = self.setup.maximum_request_length
        for extension in EXTENSIONS:
            self._opening[self.request(QueryExtension(extension.encode()))] = extension

    def _message(self, packet: bytes) -> Ready | Reply | Event | Error | None:
        kind = packet[0]
        number = self._seen if kind & ~_SENT == _KEYMAP_NOTIFY else self._widened(packet)
        if kind == _REPLY:
            return self._reply(number, packet)
        if kind == _ERROR:
            known = self._handled(number)
            code, value = packet[1], struct.unpack_from("<I", packet, 4)[0]
            return Error(number, code, value, None if known is None else known.request)
        # The body of an event has its first field in the header's second byte, as a core request has.
        event = self._events.get(kind & ~_SENT)
        if event is None:
            return None
        return Event(number, decode(event, packet[1:2] + packet[4:], LAYOUTS), bool(kind & _SENT))

    def _widened(self, packet: bytes) -> int:
        """The whole sequence number of a message, which has its last 16 bits.

        :raises X11WireError: we have sent no such request.
        """
        low = _HEADER.unpack_from(packet)[1]
        number: int = self._seen + (low - self._seen) % 0x10000
        if number > self._number:
            raise X11WireError(f"the server answers request {number}, but we have sent {self._number}")
        self._seen = number
        return number

    def _handled(self, number: int) -> _Pending | None:
        """The request of a reply or an error; earlier ones have been handled without either.

        :raises X11WireError: an earlier request should have had a reply.
        """
        while self._pending and self._pending[0].number <= number:
            request = self._pending.popleft()
            if request.number == number:
                return request
            if request.reply is not None:
                raise X11WireError(f"the server has not answered {request.request.__name__}")
        return None

    def _reply(self, number: int, packet: bytes) -> Ready | Reply | None:
        known = self._handled(number)
        if known is None or known.reply is None:
            raise X11WireError(f"the server answers request {number}, which has no reply")
        message = decode(known.reply, packet[1:2] + packet[8:], LAYOUTS)
        if number in self._syncs:
            self._syncs.remove(number)
            return None
        if number not in self._opening:
            return Reply(number, message)
        self._open(self._opening.pop(number), message)
        if self._opening or self.setup is None:
            return None
        return Ready(self.setup, frozenset(self._opcodes) - {""})

    def _open(self, extension: str, message: Message) -> None:
        """Take an answer to one of our own requests about an extension."""
        if isinstance(message, BigRequestsEnableReply):
            self._longest = max(self._longest, message.maximum_request_length)
        elif isinstance(message, QueryExtensionReply) and message.present:
            self._opcodes[extension] = message.major_opcode
            for kind, event in EVENTS.items():
                if event.extension == extension:
                    self._events[message.first_event + event.code] = kind
            first = BigRequestsEnable() if extension == "BIG-REQUESTS" else _VERSIONS.get(extension)
            if first is not None:
                self._opening[self.request(first)] = extension
