"""Our gRPC and messages against an independent implementation: C++ that protoc generates from our .proto files."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict, ParseDict

from guestlink.address import UnixAddress
from guestlink.pb import container_guest_pb2, container_host_pb2, service_methods
from guestlink.rpc import CONTAINER_LISTENER, GARCON, RECEIVE_LIMIT, CallFailed, Refusal, RpcChannel, RpcServer
from support.grpc_cpp import CppPeer

pytestmark = pytest.mark.interop

LIMIT = 60.0

VALUES: dict[int, list[Any]] = {
    FieldDescriptor.TYPE_STRING: ["plain", 'ünï\u2028cödé \U0001f427 "quoted" \\ \n'],
    FieldDescriptor.TYPE_BYTES: [b"\x00\xff\x80", bytes(range(256))],
    FieldDescriptor.TYPE_BOOL: [True, True],
    FieldDescriptor.TYPE_INT32: [-1, 2**31 - 1],
    FieldDescriptor.TYPE_INT64: [-(2**63), 2**63 - 1],
    FieldDescriptor.TYPE_UINT32: [2**32 - 1, 1],
    FieldDescriptor.TYPE_UINT64: [2**64 - 1, 1],
}
"""Two values of each type that encoders easily corrupt."""


def full(message_class: Any, turn: int = 0) -> Any:
    """A message with every field set, including those of nested messages."""
    message = message_class()
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.message_type is None:
            values = _values(field)
            if isinstance(value, (int, str, bytes)):
                setattr(message, field.name, values[turn % 2])
            else:
                value.extend(values)
        elif field.message_type.GetOptions().map_entry:
            key, content = (_values(part) for part in field.message_type.fields)
            value.update(zip(key, content, strict=True))
        elif hasattr(value, "add"):
            for number in range(2):
                element = value.add()
                element.CopyFrom(full(type(element), number))
        else:
            value.CopyFrom(full(type(value), turn))
    return message


def _values(field: Any) -> list[Any]:
    if field.enum_type is not None:
        return [value.number for value in field.enum_type.values][-2:]
    return VALUES[field.type]


def json_of(message: Any) -> dict[str, Any]:
    return dict(MessageToDict(message, preserving_proto_field_name=True))


class Echo:
    """Implements every method of a service: stores the request and answers with every field set."""

    def __init__(self, service: str) -> None:
        self.requests: dict[str, Any] = {}
        self._methods = service_methods(service)

    def __getattr__(self, name: str) -> Any:
        rpc = "".join(word.capitalize() for word in name.split("_"))
        _, response = self._methods[rpc]

        async def answer(request: Any) -> Any:
            self.requests[rpc] = request
            return full(response)

        return answer


@pytest.fixture
def target(tmp_path: Path) -> UnixAddress:
    return UnixAddress(str(tmp_path / "s"))


@pytest.mark.parametrize("service", [GARCON, CONTAINER_LISTENER])
async def test_cpp_client_and_our_server_agree_on_every_field_of_every_rpc(
    target: UnixAddress, service: str
) -> None:
    echo = Echo(service)
    server = RpcServer(service, echo)
    server.bind(target)
    await server.start()
    with CppPeer("call", f"unix:{target.path}") as peer:
        for name, (request_class, response_class) in service_methods(service).items():
            request = full(request_class)
            answer = await asyncio.to_thread(peer.call, name, json_of(request))
            assert answer["code"] == 0, (name, answer)
            assert echo.requests[name] == request
            assert ParseDict(answer["response"], response_class()) == full(response_class)
    await server.stop()


async def test_our_client_and_cpp_server_agree_on_every_field_of_every_rpc(target: UnixAddress) -> None:
    with CppPeer("serve", f"unix:{target.path}") as peer:
        assert "serving" in await asyncio.to_thread(peer.line)
        channel = RpcChannel(target, CONTAINER_LISTENER)
        for name, (request_class, response_class) in service_methods(CONTAINER_LISTENER).items():
            request = full(request_class)
            assert await channel.call(name, request, timeout=LIMIT) == response_class()
            heard = await asyncio.to_thread(peer.line)
            assert heard["rpc"] == name
            assert ParseDict(heard["request"], request_class()) == request
        await channel.close()


class Refusing:
    async def get_icon(self, request: container_guest_pb2.IconRequest) -> container_guest_pb2.IconResponse:
        if request.scale:
            raise Refusal("INVALID_ARGUMENT", "größer als 3\n")
        return container_guest_pb2.IconResponse(
            desktop_icons=[container_guest_pb2.DesktopIcon(icon=bytes(request.icon_size))]
        )


async def test_cpp_client_understands_our_statuses(target: UnixAddress) -> None:
    server = RpcServer(GARCON, Refusing())
    server.bind(target)
    await server.start()
    with CppPeer("call", f"unix:{target.path}") as peer:
        unimplemented = await asyncio.to_thread(peer.call, "LaunchVshd", {})
        assert unimplemented["code"] == 12
        assert "LaunchVshd" in unimplemented["message"]
        refused = await asyncio.to_thread(peer.call, "GetIcon", {"scale": 4})
        assert (refused["code"], refused["message"]) == (3, "größer als 3\n")
        too_large = await asyncio.to_thread(peer.call, "GetIcon", {"icon_size": RECEIVE_LIMIT})
        assert too_large["code"] == 8
        request_too_large = await asyncio.to_thread(
            peer.call, "GetIcon", {"desktop_file_ids": ["x" * RECEIVE_LIMIT]}
        )
        assert request_too_large["code"] == 8
        fits = await asyncio.to_thread(peer.call, "GetIcon", {"icon_size": RECEIVE_LIMIT - 100})
        assert fits["code"] == 0
    await server.stop()


async def test_cpp_server_refuses_what_exceeds_its_default_limit(target: UnixAddress) -> None:
    with CppPeer("serve", f"unix:{target.path}") as peer:
        await asyncio.to_thread(peer.line)
        channel = RpcChannel(target, CONTAINER_LISTENER)
        with pytest.raises(CallFailed) as caught:
            await channel.call("OpenUrl", container_host_pb2.OpenUrlRequest(url="x" * RECEIVE_LIMIT), timeout=LIMIT)
        assert caught.value.code == "RESOURCE_EXHAUSTED"
        await channel.close()


async def test_cpp_server_that_ends_is_noticed(target: UnixAddress) -> None:
    channel = RpcChannel(target, CONTAINER_LISTENER)
    with CppPeer("serve", f"unix:{target.path}") as peer:
        await asyncio.to_thread(peer.line)
        await channel.call("OpenUrl", container_host_pb2.OpenUrlRequest(), timeout=LIMIT)
        lost = asyncio.ensure_future(channel.lost())
        await asyncio.sleep(0)
        assert not lost.done()
    assert await asyncio.wait_for(lost, LIMIT)
    await channel.close()
