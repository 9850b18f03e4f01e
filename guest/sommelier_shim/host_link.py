"""What the proxy knows of the host: one connection of its own that lists the globals and follows them.

It tells which kind of host this is before the first client is served, and it keeps the sandbox that
``wp_security_context_v1`` makes for our clients alive. When the host's compositor goes away, so does everything
learnt from it; the next client asks anew.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Callable

from sommelier_shim.channel import Channel, HostBusy, HostUnreachable
from sommelier_shim.loop import READABLE, Loop, Timer
from sommelier_shim.outlet import Outlet
from sommelier_shim.wire import DISPLAY, HEADER, SIZE_LIMIT, WireError, decode, encode

_log = logging.getLogger(__name__)

ANSWER_TIME = 10.0
"""Seconds for the host to list its globals."""
_BUSY_TIME = 0.05
_REGISTRY, _SYNC, _MANAGER, _CONTEXT, _SECOND_SYNC = 2, 3, 4, 5, 6
_GLOBAL_LIMIT = 4096
_NAME_LIMIT = 256
"""Letters of an interface's name; the longest has sixty."""
SECURITY_CONTEXT = "wp_security_context_manager_v1"
SANDBOX_ENGINE = "org.guestlink"


class HostLink:
    """The proxy's own connection.

    :param channel: the way to the host.
    :param app_id: for the security context, usually the container's name.
    :param use_security_context: whether to tag clients where the host can.
    :param on_change: called with "" when the host has answered, and with a sentence when it is not there.
    :ivar globals: interface and version by name, while connected.
    """

    def __init__(
        self,
        loop: Loop,
        channel: Channel,
        *,
        app_id: str,
        use_security_context: bool,
        on_change: Callable[[str], None] = lambda trouble: None,
    ) -> None:
        self._loop = loop
        self._channel = channel
        self._app_id = app_id
        self._use_security_context = use_security_context
        self._on_change = on_change
        self.globals: dict[int, tuple[str, int]] = {}
        self._sock: socket.socket | None = None
        self._outlet: Outlet | None = None
        self._tail = b""
        self._known = False
        self._timer: Timer | None = None
        self._waiting: list[Callable[[str], None]] = []
        self._directory = ""
        self._listener: socket.socket | None = None
        self._keep_open: int | None = None

    @property
    def is_chromeos(self) -> bool:
        """Whether the host is Exo: it alone has zaura_shell (sommelier.md §1.1)."""
        return self.version_of("zaura_shell") > 0

    @property
    def is_known(self) -> bool:
        """Whether the globals are known."""
        return self._known

    @property
    def is_asked(self) -> bool:
        """Whether somebody waits for the host's answer."""
        return bool(self._waiting)

    @property
    def is_sandboxed(self) -> bool:
        """Whether clients are tagged by a security context."""
        return bool(self._directory)

    def version_of(self, interface: str) -> int:
        """The version in which the host has an interface, 0 when it does not."""
        return max((version for name, version in self.globals.values() if name == interface), default=0)

    def when_known(self, function: Callable[[str], None]) -> None:
        """Call ``function("")`` once the globals are known, or with a sentence when they cannot be."""
        if self._known:
            function("")
            return
        self._waiting.append(function)
        if self._sock is None and self._timer is None:
            self._open()

    def connect_client(self) -> socket.socket:
        """A connection for a client, inside the security context where there is one.

        :raises HostUnreachable, HostBusy: see :class:`~sommelier_shim.channel.Channel`.
        """
        if not self._directory:
            return self._channel.connect()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            sock.connect(f"{self._directory}/wayland")
        except BlockingIOError:
            sock.close()
            raise HostBusy from None
        except OSError as error:
            sock.close()
            raise HostUnreachable("the host compositor closed the sandbox of this container") from error
        return sock

    def close(self) -> None:
        """Close the connection and forget the host."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._sock is not None:
            if self._outlet is not None:
                self._outlet.close()
            self._loop.remove(self._sock.fileno())
            self._sock.close()
            self._sock = None
        self._close_sandbox()
        self.globals.clear()
        self._known = False
        self._tail = b""

    def _close_sandbox(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._keep_open is not None:
            os.close(self._keep_open)
            self._keep_open = None
        if self._directory:
            with contextlib.suppress(OSError):
                os.unlink(f"{self._directory}/wayland")
            with contextlib.suppress(OSError):
                os.rmdir(self._directory)
            self._directory = ""

    def _open(self) -> None:
        self._timer = None
        try:
            self._sock = self._channel.connect()
        except HostBusy:
            self._timer = self._loop.call_later(_BUSY_TIME, self._open)
            return
        except HostUnreachable as error:
            self._tell(error.message)
            return
        self._outlet = Outlet(self._sock, lambda waits: None)
        self._loop.add(self._sock.fileno(), READABLE, self._readable)
        self._timer = self._loop.call_later(ANSWER_TIME, self._too_late)
        self._send(encode(DISPLAY, 1, "n", _REGISTRY) + encode(DISPLAY, 0, "n", _SYNC))

    def _send(self, data: bytes, descriptors: list[int] | None = None) -> None:
        # A few hundred bytes into an empty socket: what does not fit means a host that does not read.
        assert self._outlet is not None
        self._outlet.send(data, descriptors)

    def _too_late(self) -> None:
        self._lost("the host compositor does not answer")

    def _lost(self, text: str) -> None:
        self.close()
        self._tell(text)

    def _tell(self, text: str) -> None:
        self._on_change(text)
        waiting, self._waiting = self._waiting, []
        for function in waiting:
            function(text)

    def _readable(self, events: int) -> None:
        sock = self._sock
        assert sock is not None
        try:
            data = sock.recv(16384)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lost("the host compositor closed the connection")
            return
        data = self._tail + data
        try:
            at = 0
            while at + 8 <= len(data):
                object_id, word = HEADER.unpack_from(data, at)
                size = word >> 16
                if size < 8 or size & 3 or size > SIZE_LIMIT:
                    raise WireError("a message of an impossible size")
                if at + size > len(data):
                    break
                self._event(object_id, word & 0xFFFF, data[at : at + size])
                if self._sock is not sock:
                    return  # closed, or opened anew: what is left belongs to nobody
                at += size
            self._tail = data[at:]
        except WireError as error:
            self._lost(f"the host compositor broke the protocol: {error}")

    def _event(self, object_id: int, opcode: int, message: bytes) -> None:
        if object_id == _REGISTRY:
            if opcode == 0:
                name, interface, version = decode("usu", message)
                known = interface.decode("ascii", "replace")[:_NAME_LIMIT] if isinstance(interface, bytes) else ""
                if len(self.globals) < _GLOBAL_LIMIT and known:
                    assert isinstance(name, int)
                    assert isinstance(version, int)
                    self.globals[name] = (known, version)
            elif opcode == 1:
                (name,) = decode("u", message)
                self.globals.pop(name, None)  # type: ignore[arg-type]
        elif object_id == _SYNC and opcode == 0 and not self._known:
            if not (self._use_security_context and self.version_of(SECURITY_CONTEXT)):
                self._complete()
                return
            try:
                self._make_sandbox()
            except OSError as error:
                _log.warning("no security context: %s", error)
                self._close_sandbox()
                self._complete()
        elif object_id == _SECOND_SYNC and opcode == 0 and not self._known:
            self._complete()
        elif object_id == DISPLAY and opcode == 0:
            text = decode("ous", message)[2]
            said = text.decode(errors="replace") if isinstance(text, bytes) else ""
            if self._directory and not self._known:
                # A nested sandbox, for instance: go on without a context of our own.
                _log.warning("the host compositor refuses a security context: %s", said)
                self._use_security_context = False
                self.close()
                self._open()
            else:
                self._lost(f"the host compositor ended the connection: {said}")

    def _complete(self) -> None:
        self._known = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._listener is not None:
            self._listener.close()  # the host has its own descriptor of it now
            self._listener = None
        self._tell("")

    def _make_sandbox(self) -> None:
        """Let the host accept our clients on a socket whose clients it knows to be sandboxed.

        The manager itself goes with ``destroy``; the context lives until ``_keep_open`` is closed.
        """
        import tempfile  # slow, and few hosts have contexts

        name = next(name for name, (interface, _) in self.globals.items() if interface == SECURITY_CONTEXT)
        self._directory = tempfile.mkdtemp(prefix="guestlink-", dir=os.environ.get("XDG_RUNTIME_DIR") or None)
        listener = self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        listener.bind(f"{self._directory}/wayland")
        listener.listen(128)
        theirs, self._keep_open = os.pipe2(os.O_CLOEXEC)
        self._send(
            encode(_REGISTRY, 0, "usun", name, SECURITY_CONTEXT, 1, _MANAGER)
            + encode(_MANAGER, 1, "nhh", _CONTEXT),
            [os.dup(listener.fileno()), theirs],
        )
        self._send(
            encode(_CONTEXT, 1, "s", SANDBOX_ENGINE)
            + encode(_CONTEXT, 2, "s", self._app_id)
            + encode(_CONTEXT, 3, "s", str(os.getpid()))
            + encode(_CONTEXT, 4)
            + encode(_CONTEXT, 0)
            + encode(_MANAGER, 0)
            + encode(DISPLAY, 0, "n", _SECOND_SYNC)
        )
