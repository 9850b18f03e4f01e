"""The proxy's own connection to the host: it lists the globals and follows their changes.

The list shows which kind of host this is before the proxy serves the first client. The connection also keeps the
clients' security context (``wp_security_context_v1``) alive. Hosts hide globals from sandboxed clients, so a second
connection inside the sandbox lists the globals that clients really get; the proxy decides how to handle clients by
that list. When the compositor exits, the link drops everything it has learnt; the next client triggers a new
connection.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Callable

from guestlink.private_directory import make_temporary_directory
from guestlink.wayland_globals import SANDBOX_ENGINE, SECURITY_CONTEXT
from sommelier_shim.channel import CompositorChannel, HostBusy, HostUnreachable
from sommelier_shim.channel.unix_socket import SocketChannel
from sommelier_shim.core.layouts import event, interface_layout, request
from sommelier_shim.core.wire import DISPLAY, decode
from sommelier_shim.daemon.loop import Loop, Timer
from sommelier_shim.daemon.own_connection import GlobalList, OwnConnection
from sommelier_shim.features.output_places import XDG_OUTPUT, OutputPlaces

_log = logging.getLogger(__name__)

ANSWER_TIME = 10.0
"""Maximum time in seconds for the host to list its globals."""
_BUSY_TIME = 0.05
_REGISTRY, _SYNC, _MANAGER, _CONTEXT, _SECOND_SYNC, _UNUSED = 2, 3, 4, 5, 6, 7

_ERROR = event("wl_display", "error")
_GLOBAL, _GLOBAL_REMOVE = event("wl_registry", "global"), event("wl_registry", "global_remove")
_DONE = event("wl_callback", "done")
_BIND = request("wl_registry", "bind")
_SYNC_REQUEST = request("wl_display", "sync")
_CREATE_LISTENER = request(SECURITY_CONTEXT, "create_listener")
_DESTROY_MANAGER = request(SECURITY_CONTEXT, "destroy")
_CONTEXT_REQUESTS = interface_layout("wp_security_context_v1")
_ASK = request("wl_display", "get_registry").encode(DISPLAY, _REGISTRY) + _SYNC_REQUEST.encode(DISPLAY, _SYNC)
"""The first requests on each of the link's connections."""


class HostLink:
    """The proxy's own connection.

    :param channel: opens connections to the host.
    :param app_id: the security context's app_id, usually the container's name.
    :param use_security_context: whether to put clients into a security context where the host has that protocol
        and the channel is a socket.
    :param follows_outputs: whether to follow the outputs' positions when the host hides xdg-output from clients.
    :param on_change: called with "" when the host has answered, and with a sentence when the host is unreachable
        or the connection is lost.
    :ivar globals: interface and version by name, while connected; :ivar offered: the globals that clients get.
    :ivar outputs: the outputs' positions, if clients cannot get xdg-output;
        :ivar on_outputs: called when a position changes.
    """

    def __init__(
        self,
        loop: Loop,
        channel: CompositorChannel,
        *,
        app_id: str,
        use_security_context: bool,
        follows_outputs: bool = False,
        on_change: Callable[[str], None] = lambda trouble: None,
    ) -> None:
        self._loop = loop
        self._channel = channel
        self._app_id = app_id
        self._use_security_context = use_security_context
        self._follows_outputs = follows_outputs
        self._on_change = on_change
        self.globals = GlobalList()
        self.offered = self.globals
        self.outputs = OutputPlaces()
        self.on_outputs: Callable[[], None] = lambda: None
        self._own: OwnConnection | None = None
        self._inside: OwnConnection | None = None
        self._known = False
        self._timer: Timer | None = None
        self._limit: Timer | None = None
        self._waiting: list[Callable[[str], None]] = []
        self._directory = ""
        self._listener: socket.socket | None = None
        self._keep_open: int | None = None

    @property
    def is_chromeos(self) -> bool:
        """Whether the host is Exo: no other compositor has zaura_shell (chromeos-sommelier.md §1.1). True even if
        clients do not get it."""
        return self.globals.version_of("zaura_shell") > 0

    @property
    def is_known(self) -> bool:
        """Whether the host has listed its globals."""
        return self._known

    @property
    def is_asked(self) -> bool:
        """Whether a caller of :meth:`when_known` waits for the host's answer."""
        return bool(self._waiting)

    @property
    def is_sandboxed(self) -> bool:
        """Whether clients connect inside a security context."""
        return bool(self._directory)

    def version_of(self, interface: str) -> int:
        """The version of an interface that clients get, 0 if they do not get the interface."""
        return self.offered.version_of(interface)

    def hides(self, interface: str) -> bool:
        """Whether the host has an interface and hides it from sandboxed clients."""
        return self.globals.version_of(interface) > 0 and not self.version_of(interface)

    def when_known(self, function: Callable[[str], None]) -> None:
        """Call ``function("")`` once the globals are known, or ``function(reason)`` if the host is unreachable."""
        if self._known:
            function("")
            return
        self._waiting.append(function)
        if self._own is None and self._timer is None:
            self._open()

    @property
    def client_channel(self) -> CompositorChannel:
        """Opens connections for clients: inside the security context, if there is one."""
        return SocketChannel(f"{self._directory}/wayland") if self._directory else self._channel

    def why_unreachable(self, error: HostUnreachable) -> str:
        """The reason why a connection by :attr:`client_channel` failed, as a sentence."""
        return "the host compositor closed the sandbox of this container" if self._directory else error.message

    def close(self) -> None:
        """Close the connections and drop everything learnt from the host."""
        self._stop_timers()
        for connection in (self._own, self._inside):
            if connection is not None:
                connection.close()
        self._own = self._inside = None
        self._close_sandbox()
        self.globals = self.offered = GlobalList()
        self.outputs.stop()
        self._known = False

    def _stop_timers(self) -> None:
        for timer in (self._timer, self._limit):
            if timer is not None:
                timer.cancel()
        self._timer = self._limit = None

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
            transport = self._channel.connect()
        except HostBusy:
            self._timer = self._loop.call_later(_BUSY_TIME, self._open)
            return
        except HostUnreachable as error:
            self._tell(error.message)
            return
        self._limit = self._loop.call_later(ANSWER_TIME, self._too_late)
        self._own = OwnConnection(self._loop, transport, self._event, self._lost)
        self._own.send(_ASK)

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

    def _event(self, object_id: int, opcode: int, message: bytes) -> None:
        if object_id == _REGISTRY:
            self.globals.event(opcode, message)
            self._follow(opcode, message)
        elif object_id == _SYNC and opcode == _DONE.opcode and not self._known:
            self._listed()
        elif object_id == _SECOND_SYNC and opcode == _DONE.opcode and not self._known:
            self._look_inside()
        elif object_id == DISPLAY and opcode == _ERROR.opcode:
            self._refused(_error_text(message))
        elif self.outputs.event(object_id, opcode, message):
            if self._known:
                self.on_outputs()
            elif self.outputs.is_complete:
                self._complete()

    def _listed(self) -> None:
        """The host has announced its globals."""
        has_context = self._channel.path and self.globals.version_of(SECURITY_CONTEXT)
        if not (self._use_security_context and has_context):
            self._complete()
            return
        try:
            self._make_sandbox()
        except OSError as error:
            _log.warning("no security context: %s", error)
            self._close_sandbox()
            self._complete()

    def _refused(self, said: str) -> None:
        """The host has sent an error on the proxy's own connection."""
        if self._directory and not self._known:
            # For instance inside another sandbox: go on without a security context.
            _log.warning("the host compositor refuses a security context: %s", said)
            self._use_security_context = False
            self.close()
            self._open()
        else:
            self._lost(f"the host compositor ended the connection: {said}")

    def _look_inside(self) -> None:
        """Connect through the security context, to list the globals that clients get."""
        self._timer = None
        try:
            transport = self.client_channel.connect()
        except HostBusy:
            self._timer = self._loop.call_later(_BUSY_TIME, self._look_inside)
            return
        except HostUnreachable as error:
            self._lost(error.message)
            return
        self.offered = GlobalList()
        self._inside = OwnConnection(self._loop, transport, self._event_inside, self._lost)
        self._inside.send(_ASK)

    def _event_inside(self, object_id: int, opcode: int, message: bytes) -> None:
        if object_id == _REGISTRY:
            self.offered.event(opcode, message)
        elif object_id == _SYNC and opcode == _DONE.opcode and not self._known:
            if self._follows_outputs and self.hides(XDG_OUTPUT):
                assert self._own is not None
                self.outputs.start(self.globals, _UNUSED, self._own.send)
            else:
                self._complete()
        elif object_id == DISPLAY and opcode == _ERROR.opcode:
            self._lost(f"the host compositor ended a connection in the sandbox: {_error_text(message)}")

    def _follow(self, opcode: int, message: bytes) -> None:
        """Follow outputs that the host adds or removes later."""
        if opcode == _GLOBAL.opcode:
            name = decode(_GLOBAL.signature, message)[0]
            if name in self.globals:
                self.outputs.announced(name, *self.globals[name])
        elif opcode == _GLOBAL_REMOVE.opcode:
            self.outputs.withdrawn(*decode(_GLOBAL_REMOVE.signature, message))

    def _complete(self) -> None:
        self._known = True
        self._stop_timers()
        if self._listener is not None:
            self._listener.close()  # the host listens on its own descriptor now
            self._listener = None
        self._tell("")

    def _make_sandbox(self) -> None:
        """Create a security context: the host accepts sandboxed clients on a new socket.

        The last requests destroy the manager and the context object; the security context itself lives until
        ``_keep_open`` is closed.
        """
        name = next(name for name, (interface, _) in self.globals.items() if interface == SECURITY_CONTEXT)
        self._directory = make_temporary_directory(os.environ.get("XDG_RUNTIME_DIR") or "/tmp", "guestlink-")
        listener = self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        listener.bind(f"{self._directory}/wayland")
        listener.listen(128)
        theirs, self._keep_open = os.pipe2(os.O_CLOEXEC)
        assert self._own is not None
        self._own.send(
            _BIND.encode(_REGISTRY, name, SECURITY_CONTEXT, 1, _MANAGER)
            + _CREATE_LISTENER.encode(_MANAGER, _CONTEXT),
            [os.dup(listener.fileno()), theirs],
        )
        context = _CONTEXT_REQUESTS.request
        self._own.send(
            context("set_sandbox_engine").encode(_CONTEXT, SANDBOX_ENGINE)
            + context("set_app_id").encode(_CONTEXT, self._app_id)
            + context("set_instance_id").encode(_CONTEXT, str(os.getpid()))
            + context("commit").encode(_CONTEXT)
            + context("destroy").encode(_CONTEXT)
            + _DESTROY_MANAGER.encode(_MANAGER)
            + _SYNC_REQUEST.encode(DISPLAY, _SECOND_SYNC)
        )


def _error_text(message: bytes) -> str:
    """The text of a wl_display.error.

    :raises WireError: the message is malformed.
    """
    text = decode(_ERROR.signature, message)[2]
    return text.decode(errors="replace") if text is not None else ""
