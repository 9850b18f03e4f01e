"""gRPC without generated code: servers and clients from the service descriptors.

Unary calls only: the protocol has no others (chromeos-garcon.md §1.1). Works on grpcio 1.48 to 1.85. Nothing else
in the project imports grpc.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

from google.protobuf.message import DecodeError

from guestlink.address import Address, TcpAddress, UnixAddress, VsockAddress
from guestlink.errors import GuestlinkError, reason
from guestlink.pb import service_methods
from guestlink.sockets import AddressInUse, listen

_VARIABLES = {
    # gRPC's core would log refused connections; we log them in one sentence.
    "GRPC_VERBOSITY": "NONE",
    # grpc.aio's own thread always polls the connections, so no timer needs to poll them as well.
    "GRPC_CLIENT_CHANNEL_BACKUP_POLL_INTERVAL_MS": "0",
}
"""Environment variables for gRPC's core, unless they are set already."""


@contextlib.contextmanager
def _variables() -> Iterator[None]:
    """Set :data:`_VARIABLES` in the environment, and remove them afterwards.

    gRPC's core reads each variable once, when it is loaded or first used, depending on the version. Programs that
    we launch must not inherit them.
    """
    ours = _VARIABLES.keys() - os.environ.keys()
    os.environ.update({name: _VARIABLES[name] for name in ours})
    try:
        yield
    finally:
        for name in ours:
            del os.environ[name]


with _variables():
    import grpc
    import grpc.aio

_log = logging.getLogger(__name__)

GARCON = "vm_tools.container.Garcon"
CONTAINER_LISTENER = "vm_tools.container.ContainerListener"
LINUX_HOST = "guestlink.LinuxHost"

RECEIVE_LIMIT = 4 * 1024 * 1024
"""gRPC's default for a received message, which both ChromeOS sides keep (chromeos-garcon.md §1.1)."""
CALLS_LIMIT = 100
"""Calls at a time; further calls get RESOURCE_EXHAUSTED. ChromeOS's programs make a handful.

We do not use gRPC's own option: newer versions abort calls within its limit.
"""
LARGE = 64 * 1024
"""Bytes of a request that takes the event loop noticeable time to decode: a client's large requests are decoded one
after the other, with a pause as long as the work, so that other clients' calls come in between."""
TEXT_LIMIT = 1000
"""Characters of a status message: gRPC refuses a response whose headers exceed 8 KiB."""
_RECONNECT_FIRST, _RECONNECT_LAST = 100, 2000
"""Milliseconds between attempts to connect. gRPC's own 1 s to 120 s are meant for networks; we use one machine."""

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_UNREADABLE = (DecodeError, ValueError, RecursionError)
"""Exceptions that the protobuf versions raise for bytes that are not the message."""


_OPTIONS = (
    # No pings that measure bandwidth. They are useless on one machine, and their timers wake threads.
    ("grpc.http2.bdp_probe", 0),
    # No compression: gRPC up to 1.51 limits a message before it is decompressed, and a thousandfold size after it.
    ("grpc.compression_enabled_algorithms_bitset", 1),
    ("grpc.per_message_decompression", 0),
)
"""Options of servers and clients (grpc/impl/channel_arg_names.h)."""


class CallFailed(GuestlinkError):
    """A call did not end with OK.

    :ivar code: the status code's name, as in ``FAILED_PRECONDITION``.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text or code.lower().replace("_", " "))
        self.code = code


class Refusal(Exception):
    """Raised by an implementation to end a call with a status other than OK.

    :param code: the status code's name, as in ``INVALID_ARGUMENT``.
    :param text: one sentence for the caller.
    :raises KeyError: there is no such code.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = grpc.StatusCode[code].name


_Method = TypeVar("_Method", bound=Callable[..., Any])


def accepts(limit: int, *, decode: Callable[[bytes], Any] | None = None) -> Callable[[_Method], _Method]:
    """Set what a method of an implementation accepts.

    :param limit: bytes of a request; a longer one is answered with RESOURCE_EXHAUSTED before it is decoded.
    :param decode: makes the request from its bytes instead of protobuf, whose messages can take 80 times as many
        bytes; raises ValueError if it cannot.
    """

    def mark(method: _Method) -> _Method:
        setattr(method, _LIMIT, limit)
        setattr(method, _DECODE, decode)
        return method

    return mark


_LIMIT, _DECODE = "request_limit", "decode_request"
"""Attributes of a method that :func:`accepts` has marked."""


class RpcServer:
    """Serves one service, or several after :meth:`add`.

    An implementation has a method per RPC, named in snake case, ``async def get_icon(self, request)``, that
    returns the response or raises :class:`Refusal`. An RPC without a method is answered with UNIMPLEMENTED. Any
    other exception is logged and answered with INTERNAL, without its text; a request that cannot be decoded is
    answered with INVALID_ARGUMENT.

    :param service: full name, as in :data:`GARCON`.
    :param implementations: each implements some of the service's RPCs.
    :param receive_limit: bytes of a request; a longer one is answered with RESOURCE_EXHAUSTED.
    :param request_limit: the same for methods without :func:`accepts`.
    :param prepare: is called with each request before the implementation is, and may change the request.
    :raises ValueError: two implementations have the same RPC.
    """

    def __init__(
        self,
        service: str,
        *implementations: object,
        receive_limit: int = RECEIVE_LIMIT,
        request_limit: int = RECEIVE_LIMIT,
        prepare: Callable[[Any], None] | None = None,
    ) -> None:
        self._request_limit = request_limit
        self._prepare = prepare
        self._running = 0
        self._decoding = asyncio.Lock()
        self._decoding_pause = 0.0
        self._failures: Counter[str] = Counter()
        self._started = False
        with _variables():
            self._server = grpc.aio.server(
                options=[
                    ("grpc.max_receive_message_length", receive_limit),
                    # Otherwise a second daemon silently shares the port with the first.
                    ("grpc.so_reuseport", 0),
                    *_OPTIONS,
                ]
            )
        self.add(service, *implementations)

    def add(self, service: str, *implementations: object) -> None:
        """Serve one more service at the same addresses; call this before :meth:`start`."""
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                self._handler(name, request, _method(implementations, _snake_case(name)))
            )
            for name, (request, _) in service_methods(service).items()
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))

    def bind(self, address: UnixAddress | TcpAddress, *, mode: int = 0o600) -> int:
        """Bind to an address; call this before :meth:`start`.

        :param mode: permissions of a Unix socket.
        :returns: the TCP port, or 1 for a Unix socket.
        :raises AddressInUse: another program serves the address.
        :raises GuestlinkError: the address cannot be bound.
        """
        if isinstance(address, UnixAddress):
            listen(address).close()  # gRPC would remove a live server's path.
        try:
            port = self._server.add_insecure_port(target_of(address))
        except RuntimeError as error:
            raise AddressInUse(f"cannot listen on {address}", hint="another program may serve it") from error
        if port == 0:
            raise AddressInUse(f"cannot listen on {address}", hint="another program may serve it")
        if isinstance(address, UnixAddress):
            try:
                os.chmod(address.path, mode)
            except OSError as error:
                raise GuestlinkError(
                    f"cannot set the mode of {address}: {reason(error)}",
                    hint="check who removes files in its directory",
                ) from error
        return port

    async def start(self) -> None:
        """Begin to answer calls."""
        self._started = True
        await self._server.start()

    async def stop(self, grace: float = 0.5) -> None:
        """Stop answering; a Unix socket's path is removed.

        :param grace: seconds that running calls may still take.
        """
        if not self._started:
            await self.start()  # gRPC closes what it has bound only when a started server stops.
        await self._server.stop(grace)

    def _handler(
        self, name: str, request_class: Any, method: Callable[[Any], Any] | None
    ) -> Callable[[Any, Any], Any]:
        limit = getattr(method, _LIMIT, self._request_limit)
        decode = getattr(method, _DECODE, None) or request_class.FromString

        async def answer(content: bytes) -> bytes:
            if method is None:
                raise Refusal("UNIMPLEMENTED", f"Guestlink does not implement {name}")
            if self._running > CALLS_LIMIT:
                raise Refusal("RESOURCE_EXHAUSTED", f"more than {CALLS_LIMIT} calls at a time")
            if len(content) > limit:
                raise Refusal("RESOURCE_EXHAUSTED", f"the request of {name} has more than {limit} bytes")
            try:
                request = decode(content) if len(content) <= LARGE else await self._in_turn(decode, content)
            except _UNREADABLE as error:
                raise Refusal("INVALID_ARGUMENT", f"the request of {name} cannot be read") from error
            if self._prepare is not None:
                self._prepare(request)
            response: bytes = (await method(request)).SerializeToString()
            return response

        async def handle(content: bytes, context: Any) -> bytes:
            self._running += 1
            try:
                return await answer(content)
            except Refusal as refusal:
                status, text = grpc.StatusCode[refusal.code], str(refusal)
            except asyncio.CancelledError:
                if _is_being_cancelled():
                    raise
                self._log_failure(f"{name} was cancelled from within")
                status, text = grpc.StatusCode.INTERNAL, f"{name} failed; the log says why"
            except Exception:
                self._log_failure(f"{name} failed")
                status, text = grpc.StatusCode.INTERNAL, f"{name} failed; the log says why"
            finally:
                self._running -= 1
            await context.abort(status, text.encode(errors="replace").decode()[:TEXT_LIMIT])
            raise AssertionError("abort returned")

        return handle

    async def _in_turn(self, decode: Callable[[bytes], Any], content: bytes) -> Any:
        async with self._decoding:
            # Before the work, not after it: a decoded request may take much memory, and its call ends soon.
            await asyncio.sleep(self._decoding_pause)
            began = time.monotonic()
            try:
                return decode(content)
            finally:
                self._decoding_pause = time.monotonic() - began

    def _log_failure(self, text: str) -> None:
        """Log the current exception the first time, and then ever more rarely: the peer may cause it at will."""
        self._failures[text] += 1
        count = self._failures[text]
        if count & (count - 1) == 0:
            _log.exception("%s", text if count == 1 else f"{text}, {count} times so far")


class RpcChannel:
    """A connection to the services of one server.

    :param address: Unix or TCP; a vsock address goes through :mod:`guestlink.vsock_bridge`.
    :param services: full names, as in :data:`CONTAINER_LISTENER`.
    :param receive_limit: bytes of a response.
    """

    def __init__(
        self, address: UnixAddress | TcpAddress, *services: str, receive_limit: int = RECEIVE_LIMIT
    ) -> None:
        with _variables():
            self._channel = grpc.aio.insecure_channel(
                target_of(address),
                options=[
                    ("grpc.max_receive_message_length", receive_limit),
                    ("grpc.enable_http_proxy", 0),
                    # A channel is idle for hours and must stay connected: its loss shows that the peer is gone.
                    ("grpc.client_idle_timeout_ms", 2**31 - 1),
                    # No back-off inherited from an earlier channel to the same address.
                    ("grpc.use_local_subchannel_pool", 1),
                    ("grpc.initial_reconnect_backoff_ms", _RECONNECT_FIRST),
                    ("grpc.max_reconnect_backoff_ms", _RECONNECT_LAST),
                    # A Unix socket's path is no host name.
                    ("grpc.default_authority", "localhost"),
                    *_OPTIONS,
                ],
            )
        self._methods = {
            # call() encodes and decodes the messages, so that an invalid one raises our own error.
            name: (self._channel.unary_unary(f"/{service}/{name}", bytes, bytes), response)
            for service in services
            for name, (_, response) in service_methods(service).items()
        }

    async def call(
        self,
        method: str,
        request: Any,
        *,
        timeout: float | None,
        limit: int | None = None,
        decode: Callable[[bytes], Any] | None = None,
    ) -> Any:
        """Call an RPC and return the response.

        :param method: the RPC's name, as in the service.
        :param timeout: seconds; ``None`` waits for ever.
        :param limit: bytes of the response; ``None`` for the channel's limit.
        :param decode: makes the response from its bytes instead of protobuf; raises ValueError if it cannot.
        :raises CallFailed: the status is not OK, the answer is not the expected message, or the channel is closed.
        """
        rpc, response = self._methods[method]
        try:
            answer = await rpc(request.SerializeToString(), timeout=timeout)
        except grpc.aio.AioRpcError as error:
            raise CallFailed(error.code().name, error.details() or "") from error
        except grpc.aio.UsageError as error:
            raise CallFailed("CANCELLED", "the connection is closed") from error
        except asyncio.CancelledError:
            if _is_being_cancelled():
                raise
            # gRPC cancels the calls of a channel that is closed; that must not cancel the callers.
            raise CallFailed("CANCELLED", "the connection was closed during the call") from None
        if limit is not None and len(answer) > limit:
            raise CallFailed("RESOURCE_EXHAUSTED", f"the answer to {method} has more than {limit} bytes")
        try:
            return (decode or response.FromString)(answer)
        except _UNREADABLE as error:
            raise CallFailed("INTERNAL", f"the answer to {method} cannot be read") from error

    async def lost(self) -> str:
        """Wait until the connection of an earlier call is lost; return a sentence that reports it."""
        state = self._channel.get_state()
        while state is grpc.ChannelConnectivity.READY:
            await self._channel.wait_for_state_change(state)
            state = self._channel.get_state()
        return "the connection was closed"

    async def close(self) -> None:
        """Close the connection and cancel every call on it."""
        await self._channel.close(None)


def target_of(address: Address) -> str:
    """gRPC's name for an address.

    :raises GuestlinkError: gRPC cannot reach it (packaging.md §5.4).
    """
    if isinstance(address, VsockAddress):
        raise GuestlinkError(f"gRPC cannot use {address}", hint="use an address with unix: or tcp:")
    if isinstance(address, UnixAddress):
        if "," in address.path:
            raise GuestlinkError(
                f"gRPC cannot use {address}: the path has a comma", hint="choose another directory"
            )
        return f"unix:{quote(os.fsencode(address.path))}"  # gRPC decodes percent signs.
    return f"[{address.host}]:{address.port}" if ":" in address.host else f"{address.host}:{address.port}"


def _method(implementations: Sequence[object], name: str) -> Callable[[Any], Any] | None:
    """The method that implements an RPC, or ``None``."""
    found = [implementation for implementation in implementations if hasattr(implementation, name)]
    if len(found) > 1:
        raise ValueError(f"{name} is implemented by {' and '.join(type(each).__name__ for each in found)}")
    return getattr(found[0], name) if found else None


def _snake_case(name: str) -> str:
    return _CAMEL.sub("_", name).lower()


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
