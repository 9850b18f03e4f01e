"""gRPC without generated code: servers and clients from the service descriptors.

Unary calls only: the protocol has no others (garcon.md §1.1). Works on grpcio 1.48 to 1.85. Nothing else in the
project imports grpc.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Callable
from typing import Any, NoReturn

# gRPC's own messages about refused connections would land in our log; ours say the same in one sentence.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc
import grpc.aio

from guestlink.address import Address, TcpAddress, UnixAddress, VsockAddress
from guestlink.errors import GuestlinkError
from guestlink.pb import service_methods
from guestlink.sockets import AddressInUse, listen

_log = logging.getLogger(__name__)

GARCON = "vm_tools.container.Garcon"
CONTAINER_LISTENER = "vm_tools.container.ContainerListener"

RECEIVE_LIMIT = 4 * 1024 * 1024
"""gRPC's default for a received message, which both original sides keep (garcon.md §1.1)."""

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


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
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Server:
    """Serves one service.

    The implementation has a method per RPC, named in snake case, ``async def get_icon(self, request)``, that
    returns the response or raises :class:`Refusal`. RPCs that it does not have answer UNIMPLEMENTED. Any other
    exception is logged and answered with INTERNAL, without its text.

    :param service: full name, as in :data:`GARCON`.
    :param receive_limit: bytes of a request.
    """

    def __init__(self, service: str, implementation: object, *, receive_limit: int = RECEIVE_LIMIT) -> None:
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                _handler(name, getattr(implementation, _snake_case(name), None)),
                request_deserializer=request.FromString,
                response_serializer=lambda message: message.SerializeToString(),
            )
            for name, (request, _) in service_methods(service).items()
        }
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", receive_limit),
                # Otherwise a second daemon silently shares the port with the first.
                ("grpc.so_reuseport", 0),
            ]
        )
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        self._paths: list[str] = []

    def bind(self, address: UnixAddress | TcpAddress, *, mode: int = 0o600) -> int:
        """Serve on an address; before :meth:`start`.

        :param mode: permissions of a Unix socket.
        :returns: the TCP port, or 1 for a Unix socket.
        :raises AddressInUse: somebody serves it already.
        :raises GuestlinkError: it cannot be bound.
        """
        if isinstance(address, UnixAddress):
            listen(address).close()  # gRPC would take the path away from a live server.
        try:
            port = self._server.add_insecure_port(target_of(address))
        except RuntimeError as error:
            raise AddressInUse(f"cannot listen on {address}", hint="another program may serve it") from error
        if port == 0:
            raise AddressInUse(f"cannot listen on {address}", hint="another program may serve it")
        if isinstance(address, UnixAddress):
            os.chmod(address.path, mode)
            self._paths.append(address.path)
        return port

    async def start(self) -> None:
        """Answer calls."""
        await self._server.start()

    async def stop(self, grace: float = 0.5) -> None:
        """Stop answering.

        :param grace: seconds that running calls may still take.
        """
        await self._server.stop(grace)


class Channel:
    """A connection to a service.

    :param address: Unix or TCP; a vsock address goes through :mod:`guestlink.vsock_bridge`.
    :param service: full name, as in :data:`CONTAINER_LISTENER`.
    :param receive_limit: bytes of a response.
    """

    def __init__(
        self, address: UnixAddress | TcpAddress, service: str, *, receive_limit: int = RECEIVE_LIMIT
    ) -> None:
        self._channel = grpc.aio.insecure_channel(
            target_of(address),
            options=[
                ("grpc.max_receive_message_length", receive_limit),
                ("grpc.enable_http_proxy", 0),
                # A channel of ours is quiet for hours and must stay connected: its end tells that the peer ended.
                ("grpc.client_idle_timeout_ms", 2**31 - 1),
                # No back-off inherited from an earlier channel to the same address: we keep our own.
                ("grpc.use_local_subchannel_pool", 1),
                # A Unix socket's path is no host name.
                ("grpc.default_authority", "localhost"),
            ],
        )
        self._methods = {
            name: self._channel.unary_unary(
                f"/{service}/{name}",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=response.FromString,
            )
            for name, (_, response) in service_methods(service).items()
        }

    async def call(self, method: str, request: Any, *, timeout: float | None) -> Any:
        """Call an RPC and return the response.

        :param method: the RPC's name, as in the service.
        :param timeout: seconds; ``None`` waits for ever.
        :raises CallFailed: the status is not OK.
        """
        try:
            return await self._methods[method](request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            raise CallFailed(error.code().name, error.details() or "") from error

    async def lost(self) -> str:
        """Return when the connection of an earlier call is gone; the text says so."""
        state = self._channel.get_state()
        while state is grpc.ChannelConnectivity.READY:
            await self._channel.wait_for_state_change(state)
            state = self._channel.get_state()
        return "the connection was closed"

    async def close(self) -> None:
        """End the connection and every call on it."""
        await self._channel.close(None)


def target_of(address: Address) -> str:
    """gRPC's name for an address.

    :raises GuestlinkError: gRPC cannot reach it (packaging.md §5.4).
    """
    if isinstance(address, VsockAddress):
        raise GuestlinkError(f"gRPC cannot use {address} by itself")
    if isinstance(address, UnixAddress):
        return f"unix:{address.path}"
    return f"[{address.host}]:{address.port}" if ":" in address.host else f"{address.host}:{address.port}"


def _snake_case(name: str) -> str:
    return _CAMEL.sub("_", name).lower()


def _handler(name: str, method: Callable[[Any], Any] | None) -> Callable[[Any, Any], Any]:
    async def handle(request: Any, context: Any) -> Any:
        if method is None:
            await _abort(context, "UNIMPLEMENTED", f"Guestlink does not implement {name}")
        try:
            return await method(request)
        except Refusal as error:
            await _abort(context, error.code, str(error))
        except asyncio.CancelledError:
            raise
        except Exception:
            _log.exception("%s failed", name)
            await _abort(context, "INTERNAL", f"{name} failed; the log says why")

    return handle


async def _abort(context: Any, code: str, text: str) -> NoReturn:
    await context.abort(grpc.StatusCode[code], text)
    raise AssertionError("abort returned")

