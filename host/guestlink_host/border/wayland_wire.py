"""The few messages of Wayland that guestlink-host exchanges with the host's compositor itself. Pure.

A connection lists the compositor's globals (wayland.xml: wl_display.get_registry, wl_registry), and asks it for a
socket whose clients it treats as sandboxed (security-context-v1.xml). A message is two words in the machine's byte
order, the object's id and size and opcode, and arguments padded to four bytes.
"""

from __future__ import annotations

import struct

from guestlink.wayland_globals import SANDBOX_ENGINE, SECURITY_CONTEXT

MESSAGE_LIMIT = 65532
"""Maximum size of a message in bytes: the header has 16 bits for it, and sizes are multiples of four."""
GLOBAL_LIMIT = 4096
"""Maximum number of globals that are kept; compositors have fewer than a hundred."""
_NAME_LIMIT = 256
"""Maximum length of an interface's name in bytes."""

_HEADER, _UINT, _TWO = struct.Struct("=II"), struct.Struct("=I"), struct.Struct("=II")
_DISPLAY, _REGISTRY, _LISTED, _MANAGER, _CONTEXT, _COMMITTED = 1, 2, 3, 4, 5, 6
"""Object ids. wl_display is always 1; the others are created by the requests below, once per connection."""
_SYNC, _GET_REGISTRY, _BIND = 0, 1, 0
_ERROR, _GLOBAL, _GLOBAL_REMOVE = 0, 0, 1
_DESTROY, _CREATE_LISTENER = 0, 1
_SET_SANDBOX_ENGINE, _SET_APP_ID, _SET_INSTANCE_ID, _COMMIT = 1, 2, 3, 4


class CompositorError(Exception):
    """The compositor has refused a request or broken the protocol; the text is the end of a sentence about it."""


def list_globals() -> bytes:
    """The first requests of a connection: list the globals."""
    return _message(_DISPLAY, _GET_REGISTRY, _UINT.pack(_REGISTRY)) + _message(_DISPLAY, _SYNC, _UINT.pack(_LISTED))


def create_security_context(manager: int, app_id: str, instance_id: str) -> bytes:
    """The requests that create a security context, and destroy the objects for it again.

    The first sendmsg with these bytes has to carry two descriptors: the listening socket, and one whose other end
    keeps the context alive while it is open. The context itself lives longer than the objects and the connection.

    :param manager: the name of the compositor's wp_security_context_manager_v1 (:attr:`CompositorAnswers.globals`).
    """
    bind = _UINT.pack(manager) + _string(SECURITY_CONTEXT) + _TWO.pack(1, _MANAGER)
    return b"".join(
        (
            _message(_REGISTRY, _BIND, bind),
            _message(_MANAGER, _CREATE_LISTENER, _UINT.pack(_CONTEXT)),
            _message(_CONTEXT, _SET_SANDBOX_ENGINE, _string(SANDBOX_ENGINE)),
            _message(_CONTEXT, _SET_APP_ID, _string(app_id)),
            _message(_CONTEXT, _SET_INSTANCE_ID, _string(instance_id)),
            _message(_CONTEXT, _COMMIT),
            _message(_CONTEXT, _DESTROY),
            _message(_MANAGER, _DESTROY),
            _message(_DISPLAY, _SYNC, _UINT.pack(_COMMITTED)),
        )
    )


class CompositorAnswers:
    """What the compositor has sent on one connection so far.

    :ivar globals: the interface of each global, by its name, which is a number.
    :ivar is_listed: whether the compositor has answered :func:`list_globals`.
    :ivar is_committed: whether it has answered :func:`create_security_context`.
    """

    def __init__(self) -> None:
        self.globals: dict[int, str] = {}
        self.is_listed = False
        self.is_committed = False
        self._buffer = b""

    def name_of(self, interface: str) -> int | None:
        """The name of a global with this interface; ``None`` if the compositor has none."""
        return next((name for name, known in self.globals.items() if known == interface), None)

    def feed(self, data: bytes) -> None:
        """Take bytes from the compositor.

        :raises CompositorError: it has sent an error, or what is no Wayland.
        """
        self._buffer += data
        at = 0
        while len(self._buffer) - at >= _HEADER.size:
            object_id, word = _HEADER.unpack_from(self._buffer, at)
            size = word >> 16
            if size < _HEADER.size or size % 4:
                raise CompositorError("does not speak Wayland")
            if len(self._buffer) - at < size:
                break
            try:
                self._event(object_id, word & 0xFFFF, self._buffer[at + _HEADER.size : at + size])
            except struct.error as error:
                raise CompositorError("has sent a message that is too short") from error
            at += size
        self._buffer = self._buffer[at:]

    def _event(self, object_id: int, opcode: int, body: bytes) -> None:
        if object_id == _DISPLAY and opcode == _ERROR:
            text = _read_string(body, _TWO.size).decode(errors="replace")
            raise CompositorError(f"has refused: {''.join(filter(str.isprintable, text))}")
        if object_id == _REGISTRY and opcode == _GLOBAL:
            (name,) = _UINT.unpack_from(body)
            if len(self.globals) < GLOBAL_LIMIT:
                self.globals[name] = _read_string(body, _UINT.size)[:_NAME_LIMIT].decode("ascii", "replace")
        elif object_id == _REGISTRY and opcode == _GLOBAL_REMOVE:
            self.globals.pop(_UINT.unpack_from(body)[0], None)
        elif object_id == _LISTED:
            self.is_listed = True
        elif object_id == _COMMITTED:
            self.is_committed = True


def _message(object_id: int, opcode: int, body: bytes = b"") -> bytes:
    return _HEADER.pack(object_id, (_HEADER.size + len(body)) << 16 | opcode) + body


def _string(text: str) -> bytes:
    data = text.encode()
    return _UINT.pack(len(data) + 1) + data + bytes(4 - len(data) % 4)


def _read_string(body: bytes, at: int) -> bytes:
    (length,) = _UINT.unpack_from(body, at)
    return body[at + _UINT.size : at + _UINT.size + max(0, length - 1)]
