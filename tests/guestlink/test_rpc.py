"""gRPC servers and clients without generated code."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

import guestlink
from guestlink.address import TcpAddress, UnixAddress, VsockAddress
from guestlink.errors import GuestlinkError
from guestlink.pb import container_guest_pb2 as pb
from guestlink.pb import service_methods
from guestlink.rpc import (
    _UNREADABLE,
    CALLS_LIMIT,
    CONTAINER_LISTENER,
    GARCON,
    LARGE,
    LINUX_HOST,
    RECEIVE_LIMIT,
    TEXT_LIMIT,
    CallFailed,
    Refusal,
    RpcChannel,
    RpcServer,
    accepts,
    target_of,
)
from guestlink.sockets import AddressInUse

LIMIT = 60.0


class Implementation:
    """A service whose RPCs misbehave, each in its own way."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.ended = asyncio.Event()
        self.running = 0
        self.several = asyncio.Event()

    async def get_icon(self, request: pb.IconRequest) -> pb.IconResponse:
        icons = [
            pb.DesktopIcon(desktop_file_id=id_, icon=bytes(request.icon_size)) for id_ in request.desktop_file_ids
        ]
        return pb.IconResponse(desktop_icons=icons)

    async def launch_application(self, request: pb.LaunchApplicationRequest) -> pb.LaunchApplicationResponse:
        self.started.set()
        try:
            await asyncio.sleep(LIMIT)
        finally:
            self.ended.set()
        return pb.LaunchApplicationResponse()

    async def launch_vshd(self, request: pb.LaunchVshdRequest) -> pb.LaunchVshdResponse:
        raise Refusal("INVALID_ARGUMENT", "no port")

    async def get_linux_package_info(self, request: pb.LinuxPackageInfoRequest) -> pb.LinuxPackageInfoResponse:
        raise Refusal("FAILED_PRECONDITION", "file \udcff\n" + "x" * 20000)

    async def install_linux_package(self, request: pb.InstallLinuxPackageRequest) -> pb.InstallLinuxPackageResponse:
        raise ValueError("a secret path")

    async def uninstall_package_owning_file(self, request: object) -> None:
        return None

    async def connect_chunnel(self, request: pb.ConnectChunnelRequest) -> pb.ConnectChunnelResponse:
        raise asyncio.CancelledError

    async def apply_ansible_playbook(
        self, request: pb.ApplyAnsiblePlaybookRequest
    ) -> pb.ApplyAnsiblePlaybookResponse:
        self.running += 1
        if self.running > 1:
            self.several.set()
        await asyncio.wait_for(self.several.wait(), LIMIT)
        self.running -= 1
        return pb.ApplyAnsiblePlaybookResponse(status=pb.ApplyAnsiblePlaybookResponse.STARTED)


@asynccontextmanager
async def served(
    path: Path, implementation: object = None, *, receive_limit: int = RECEIVE_LIMIT
) -> AsyncIterator[RpcChannel]:
    """A server on a Unix socket and a channel to it."""
    address = UnixAddress(str(path))
    server = RpcServer(GARCON, implementation or Implementation(), receive_limit=receive_limit)
    server.bind(address)
    await server.start()
    channel = RpcChannel(address, GARCON, receive_limit=receive_limit)
    try:
        yield channel
    finally:
        await channel.close()
        await server.stop()


async def status_of(
    channel: RpcChannel, method: str, request: Any, timeout: float | None = LIMIT
) -> tuple[str, str]:
    """The status code and message of a failing call."""
    with pytest.raises(CallFailed) as caught:
        await channel.call(method, request, timeout=timeout)
    return caught.value.code, caught.value.message


async def answered(channel: RpcChannel) -> str:
    """The status code of a call that a healthy server answers."""
    try:
        assert await channel.call("GetIcon", pb.IconRequest(), timeout=LIMIT) == pb.IconResponse()
    except CallFailed as error:
        return error.code
    return "OK"


async def test_call_is_answered(tmp_path: Path) -> None:
    async with served(tmp_path / "s") as channel:
        answer = await channel.call(
            "GetIcon", pb.IconRequest(desktop_file_ids=["a", "ü"], icon_size=3), timeout=LIMIT
        )
    assert [(icon.desktop_file_id, icon.icon) for icon in answer.desktop_icons] == [
        ("a", b"\0\0\0"),
        ("ü", b"\0\0\0"),
    ]


async def test_empty_messages_travel(tmp_path: Path) -> None:
    async with served(tmp_path / "s") as channel:
        assert await channel.call("GetIcon", pb.IconRequest(), timeout=LIMIT) == pb.IconResponse()


async def test_rpc_without_a_method_answers_unimplemented_and_names_itself(tmp_path: Path) -> None:
    async with served(tmp_path / "s") as channel:
        code, text = await status_of(channel, "AddFileWatch", pb.AddFileWatchRequest())
    assert code == "UNIMPLEMENTED"
    assert "AddFileWatch" in text


async def test_every_rpc_of_every_service_is_unimplemented_without_methods(tmp_path: Path) -> None:
    for service in (GARCON, CONTAINER_LISTENER, LINUX_HOST):
        address = UnixAddress(str(tmp_path / "s"))
        server = RpcServer(service, object())
        server.bind(address)
        await server.start()
        channel = RpcChannel(address, service)
        for name, (request, _) in service_methods(service).items():
            assert (await status_of(channel, name, request()))[0] == "UNIMPLEMENTED"
        await channel.close()
        await server.stop()


async def test_unknown_rpc_of_a_newer_peer_answers_unimplemented(tmp_path: Path) -> None:
    async with served(tmp_path / "s"), grpc.aio.insecure_channel(f"unix:{tmp_path}/s") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(f"/{GARCON}/FlyToTheMoon", bytes, bytes)(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_refusal_carries_its_status_and_text(tmp_path: Path) -> None:
    async with served(tmp_path / "s") as channel:
        assert await status_of(channel, "LaunchVshd", pb.LaunchVshdRequest()) == ("INVALID_ARGUMENT", "no port")


async def test_long_and_odd_status_texts_still_arrive(tmp_path: Path) -> None:
    async with served(tmp_path / "s") as channel:
        code, text = await status_of(channel, "GetLinuxPackageInfo", pb.LinuxPackageInfoRequest())
    assert code == "FAILED_PRECONDITION"
    assert text.startswith("file ?")
    assert len(text) == TEXT_LIMIT


@pytest.mark.parametrize(
    ("method", "request_class"),
    [
        ("InstallLinuxPackage", pb.InstallLinuxPackageRequest),
        ("UninstallPackageOwningFile", pb.UninstallPackageOwningFileRequest),
        ("ConnectChunnel", pb.ConnectChunnelRequest),
    ],
    ids=["exception", "no answer", "cancelled from within"],
)
@pytest.mark.expects_fault
async def test_failing_handler_answers_internal_and_says_the_rest_in_the_log_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, method: str, request_class: Any
) -> None:
    async with served(tmp_path / "s") as channel:
        code, text = await status_of(channel, method, request_class())
        assert await channel.call("GetIcon", pb.IconRequest(), timeout=LIMIT) == pb.IconResponse()
    assert (code, text) == ("INTERNAL", f"{method} failed; the log says why")
    (record,) = (record for record in caplog.records if record.name == "guestlink.rpc")
    assert method in record.message
    assert record.exc_info is not None
    caplog.clear()  # A stored traceback keeps the call, and in old versions of gRPC the connection.


async def test_unreadable_request_answers_invalid_argument(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(tmp_path / "s"), grpc.aio.insecure_channel(f"unix:{tmp_path}/s") as channel:
        call = channel.unary_unary(f"/{GARCON}/GetIcon", bytes, bytes)
        for content in (b"\xff\xff\xff", b"\x0a\xff", b"\x0a\x01\xff", b"\x0b" * 5000):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(content)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert caught.value.details() == "the request of GetIcon cannot be read"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_unreadable_answer_fails_the_call(tmp_path: Path) -> None:
    async def garbage(request: bytes, context: object) -> bytes:
        return b"\xff\xff\xff"

    server = grpc.aio.server()
    handlers = {"GetIcon": grpc.unary_unary_rpc_method_handler(garbage)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(GARCON, handlers),))
    server.add_insecure_port(f"unix:{tmp_path}/s")
    await server.start()
    channel = RpcChannel(UnixAddress(str(tmp_path / "s")), GARCON)
    code, text = await status_of(channel, "GetIcon", pb.IconRequest())
    assert (code, text) == ("INTERNAL", "the answer to GetIcon cannot be read")
    await channel.close()
    await server.stop(None)


async def test_call_ends_at_its_deadline_and_the_handler_with_it(tmp_path: Path) -> None:
    implementation = Implementation()
    async with served(tmp_path / "s", implementation) as channel:
        code, _ = await status_of(channel, "LaunchApplication", pb.LaunchApplicationRequest(), timeout=0.2)
        if implementation.started.is_set():
            await asyncio.wait_for(implementation.ended.wait(), LIMIT)
    assert code == "DEADLINE_EXCEEDED"


async def test_closing_the_channel_fails_its_calls_without_cancelling_the_caller(tmp_path: Path) -> None:
    implementation = Implementation()
    async with served(tmp_path / "s", implementation) as channel:
        call = asyncio.ensure_future(
            status_of(channel, "LaunchApplication", pb.LaunchApplicationRequest(), timeout=None)
        )
        await asyncio.wait_for(implementation.started.wait(), LIMIT)
        await channel.close()
        assert (await call)[0] == "CANCELLED"
        assert (await status_of(channel, "GetIcon", pb.IconRequest())) == ("CANCELLED", "the connection is closed")


async def test_cancelling_the_caller_cancels_the_call(tmp_path: Path) -> None:
    implementation = Implementation()
    async with served(tmp_path / "s", implementation) as channel:
        call = asyncio.ensure_future(channel.call("LaunchApplication", pb.LaunchApplicationRequest(), timeout=None))
        await asyncio.wait_for(implementation.started.wait(), LIMIT)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.wait_for(implementation.ended.wait(), LIMIT)


async def test_many_calls_at_once_are_all_answered(tmp_path: Path) -> None:
    implementation = Implementation()
    async with served(tmp_path / "s", implementation) as channel:
        request = pb.ApplyAnsiblePlaybookRequest(playbook="x")
        calls = [channel.call("ApplyAnsiblePlaybook", request, timeout=LIMIT) for _ in range(CALLS_LIMIT)]
        answers = await asyncio.gather(*calls)
    assert {answer.status for answer in answers} == {pb.ApplyAnsiblePlaybookResponse.STARTED}
    assert implementation.several.is_set()


async def test_too_many_calls_at_once_are_refused_until_others_end(tmp_path: Path) -> None:
    implementation = Implementation()
    async with served(tmp_path / "s", implementation) as channel:
        request = pb.LaunchApplicationRequest()
        calls = [
            asyncio.ensure_future(channel.call("LaunchApplication", request, timeout=LIMIT))
            for _ in range(CALLS_LIMIT + 1)
        ]
        (refused,), running = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        error = refused.exception()
        assert isinstance(error, CallFailed)
        assert error.code == "RESOURCE_EXHAUSTED"
        for call in running:
            call.cancel()
        await asyncio.wait(running)
        async with asyncio.timeout(LIMIT):
            while await answered(channel) != "OK":
                await asyncio.sleep(0.05)


async def test_request_above_the_limit_is_refused_and_the_server_goes_on(tmp_path: Path) -> None:
    async with served(tmp_path / "s") as channel:
        request = pb.IconRequest(desktop_file_ids=["x" * RECEIVE_LIMIT])
        assert (await status_of(channel, "GetIcon", request))[0] == "RESOURCE_EXHAUSTED"
        request = pb.IconRequest(desktop_file_ids=["x" * (RECEIVE_LIMIT - 100)])
        assert (await channel.call("GetIcon", request, timeout=LIMIT)).desktop_icons[0].icon == b""


async def test_a_compressed_request_is_refused(tmp_path: Path) -> None:
    """gRPC up to 1.51 does not limit what a compressed message becomes."""
    method = f"/{GARCON}/GetIcon"
    async with served(tmp_path / "s"), grpc.aio.insecure_channel(f"unix:{tmp_path}/s") as channel:
        call = channel.unary_unary(method, bytes, bytes)
        content = pb.IconRequest(desktop_file_ids=["x" * 10_000]).SerializeToString()
        assert await call(content)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(content, compression=grpc.Compression.Gzip)
    assert caught.value.code() in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INVALID_ARGUMENT)


async def test_response_above_the_clients_limit_fails_the_call(tmp_path: Path) -> None:
    async with served(tmp_path / "s") as channel:
        request = pb.IconRequest(desktop_file_ids=["x"], icon_size=RECEIVE_LIMIT)
        assert (await status_of(channel, "GetIcon", request))[0] == "RESOURCE_EXHAUSTED"


async def test_limit_can_be_raised(tmp_path: Path) -> None:
    async with served(tmp_path / "s", receive_limit=2 * RECEIVE_LIMIT) as channel:
        request = pb.IconRequest(desktop_file_ids=["x"], icon_size=RECEIVE_LIMIT)
        assert len((await channel.call("GetIcon", request, timeout=LIMIT)).desktop_icons[0].icon) == RECEIVE_LIMIT


async def test_call_to_nobody_fails_at_once(tmp_path: Path) -> None:
    channel = RpcChannel(UnixAddress(str(tmp_path / "nobody")), GARCON)
    assert (await status_of(channel, "GetIcon", pb.IconRequest()))[0] == "UNAVAILABLE"
    await channel.close()


async def test_lost_returns_when_the_server_ends(tmp_path: Path) -> None:
    address = UnixAddress(str(tmp_path / "s"))
    server = RpcServer(GARCON, Implementation())
    server.bind(address)
    await server.start()
    channel = RpcChannel(address, GARCON)
    await channel.call("GetIcon", pb.IconRequest(), timeout=LIMIT)
    lost = asyncio.ensure_future(channel.lost())
    await asyncio.sleep(0)
    assert not lost.done()
    await server.stop(0)
    assert await asyncio.wait_for(lost, LIMIT)
    await channel.close()


async def test_channel_reaches_the_server_that_came_after(tmp_path: Path) -> None:
    # With gRPC's own back-off, a channel would wait for a restarted peer for up to two minutes.
    address = UnixAddress(str(tmp_path / "s"))
    channel = RpcChannel(address, GARCON)
    for _ in range(3):
        server = RpcServer(GARCON, Implementation())
        server.bind(address)
        await server.start()

        async with asyncio.timeout(LIMIT):
            while await answered(channel) != "OK":
                await asyncio.sleep(0.05)
        await server.stop(0)
        assert (await status_of(channel, "GetIcon", pb.IconRequest()))[0] == "UNAVAILABLE"
    await channel.close()


async def test_unix_socket_is_private_and_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with served(path):
        assert path.stat().st_mode & 0o777 == 0o600
    assert not path.exists()


async def test_second_server_on_a_live_socket_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    async with served(tmp_path / "s") as channel:
        second = RpcServer(GARCON, Implementation())
        with pytest.raises(AddressInUse, match="in use"):
            second.bind(UnixAddress(str(tmp_path / "s")))
        await second.stop()
        assert await channel.call("GetIcon", pb.IconRequest(), timeout=LIMIT) == pb.IconResponse()


async def test_dead_socket_is_replaced(tmp_path: Path) -> None:
    program = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1])"
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "s")], check=True, timeout=LIMIT)
    assert (tmp_path / "s").is_socket()
    async with served(tmp_path / "s") as channel:
        assert await channel.call("GetIcon", pb.IconRequest(), timeout=LIMIT) == pb.IconResponse()


async def test_socket_in_a_missing_directory_is_a_clear_error(tmp_path: Path) -> None:
    server = RpcServer(GARCON, Implementation())
    with pytest.raises(GuestlinkError, match="no such file"):
        server.bind(UnixAddress(str(tmp_path / "no/s")))
    await server.stop()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
async def test_tcp_serves_on_a_port_of_its_own(host: str) -> None:
    server = RpcServer(GARCON, Implementation())
    port = server.bind(TcpAddress(host, 0))
    await server.start()
    channel = RpcChannel(TcpAddress(host, port), GARCON)
    assert await channel.call("GetIcon", pb.IconRequest(), timeout=LIMIT) == pb.IconResponse()
    second = RpcServer(GARCON, Implementation())
    with pytest.raises(AddressInUse):
        second.bind(TcpAddress(host, port))
    await second.stop()
    await channel.close()
    await server.stop()


@pytest.mark.parametrize("name", ["plain", "with space", "100%25", "a?b#c", "ümlaut", "a:b"])
async def test_any_path_can_be_served(tmp_path: Path, name: str) -> None:
    async with served(tmp_path / name) as channel:
        assert (tmp_path / name).is_socket()
        assert await channel.call("GetIcon", pb.IconRequest(), timeout=LIMIT) == pb.IconResponse()


def test_targets() -> None:
    assert target_of(UnixAddress("/run/x.sock")) == "unix:/run/x.sock"
    assert target_of(TcpAddress("::1", 80)) == "[::1]:80"
    assert target_of(TcpAddress("host", 80)) == "host:80"
    with pytest.raises(GuestlinkError, match="vsock:2:8889") as refused:
        target_of(VsockAddress(2, 8889))
    assert refused.value.hint
    with pytest.raises(GuestlinkError, match="comma"):
        target_of(UnixAddress("/a,b"))


def test_refusal_with_an_unknown_status_is_an_error_of_ours() -> None:
    with pytest.raises(KeyError):
        Refusal("NOT_A_STATUS", "x")


REQUESTS = [
    message
    for service in (GARCON, CONTAINER_LISTENER, LINUX_HOST)
    for pair in service_methods(service).values()
    for message in pair
]


@given(st.sampled_from(REQUESTS), st.binary(max_size=200))
def test_any_bytes_are_a_message_or_unreadable(message: Any, content: bytes) -> None:
    try:
        message.FromString(content)
    except _UNREADABLE:
        pass


def test_core_is_silent_and_leaves_the_environment_alone(tmp_path: Path) -> None:
    program = """
import asyncio, os, sys
before = dict(os.environ)
from guestlink.address import UnixAddress
from guestlink.pb import container_guest_pb2 as pb
from guestlink.rpc import GARCON, CallFailed, RpcChannel

async def main():
    channel = RpcChannel(UnixAddress(sys.argv[1]), GARCON)
    try:
        await channel.call("GetIcon", pb.IconRequest(), timeout=60)
    except CallFailed as error:
        print(error.code)
    await channel.close()

asyncio.run(main())
assert dict(os.environ) == before
"""
    environ = {key: value for key, value in os.environ.items() if not key.startswith("GRPC_")}
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "nobody")],
        check=True,
        capture_output=True,
        text=True,
        env=environ | {"PYTHONPATH": str(Path(guestlink.__file__).parents[1])},
        timeout=LIMIT,
    )
    assert (done.stdout, done.stderr) == ("UNAVAILABLE\n", "")


class _Shells:
    async def launch_vshd(self, request: pb.LaunchVshdRequest) -> pb.LaunchVshdResponse:
        return pb.LaunchVshdResponse(success=True)


async def test_a_service_may_have_several_implementations(tmp_path: Path) -> None:
    address = UnixAddress(str(tmp_path / "several.sock"))
    server = RpcServer(GARCON, object(), _Shells())
    server.bind(address)
    await server.start()
    channel = RpcChannel(address, GARCON)
    try:
        assert (await channel.call("LaunchVshd", pb.LaunchVshdRequest(), timeout=LIMIT)).success
        assert (await status_of(channel, "GetIcon", pb.IconRequest()))[0] == "UNIMPLEMENTED"
    finally:
        await channel.close()
        await server.stop()


async def test_two_implementations_of_one_rpc_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="launch_vshd is implemented by _Shells and _Shells"):
        RpcServer(GARCON, _Shells(), _Shells())


class Picky:
    """A service that accepts only small requests, and reads one kind by itself."""

    def __init__(self) -> None:
        self.read: list[bytes] = []

    @accepts(10)
    async def get_icon(self, request: pb.IconRequest) -> pb.IconResponse:
        return pb.IconResponse()

    @accepts(1000, decode=lambda content: content[:5] if content[:1] == b"\x0a" else int("none"))
    async def launch_application(self, request: bytes) -> pb.LaunchApplicationResponse:
        self.read.append(request)
        return pb.LaunchApplicationResponse(failure_reason="x" * 500)

    async def launch_vshd(self, request: pb.LaunchVshdRequest) -> pb.LaunchVshdResponse:
        raise RuntimeError


async def test_a_method_has_a_limit_of_its_own(tmp_path: Path) -> None:
    async with served(tmp_path / "s", Picky()) as channel:
        await channel.call("GetIcon", pb.IconRequest(desktop_file_ids=["12345678"]), timeout=LIMIT)
        with pytest.raises(CallFailed) as caught:
            await channel.call("GetIcon", pb.IconRequest(desktop_file_ids=["123456789"]), timeout=LIMIT)
        assert caught.value.code == "RESOURCE_EXHAUSTED"


async def test_between_large_requests_of_one_client_the_others_have_their_turn(tmp_path: Path) -> None:
    """A request of 1 MiB takes 0.05 s, and a client can complete eight of them at the same moment."""
    turns, decoded = 0, []

    def decode(content: bytes) -> pb.IconRequest:
        decoded.append(turns)
        time.sleep(0.05)
        return pb.IconRequest.FromString(content)

    class Slow:
        @accepts(RECEIVE_LIMIT, decode=decode)
        async def get_icon(self, request: pb.IconRequest) -> pb.IconResponse:
            return pb.IconResponse()

    async with served(tmp_path / "s", Slow()) as channel:

        async def take_turns() -> None:
            nonlocal turns
            while len(decoded) < 6:
                turns += 1
                await asyncio.sleep(0.001)

        large = pb.IconRequest(desktop_file_ids=["x" * LARGE])
        calls = (channel.call("GetIcon", large, timeout=LIMIT) for _ in range(6))
        await asyncio.gather(take_turns(), *calls)
    assert min(later - earlier for earlier, later in pairwise(decoded)) >= 3


async def test_a_method_may_read_its_requests_itself(tmp_path: Path) -> None:
    picky = Picky()
    async with served(tmp_path / "s", picky) as channel:
        await channel.call(
            "LaunchApplication", pb.LaunchApplicationRequest(desktop_file_id="abcdefgh"), timeout=LIMIT
        )
        assert picky.read == [b"\x0a\x08abc"]
        with pytest.raises(CallFailed) as caught:
            await channel.call("LaunchApplication", pb.LaunchApplicationRequest(files=["x"]), timeout=LIMIT)
        assert caught.value.code == "INVALID_ARGUMENT"


async def test_an_answer_has_the_callers_limit(tmp_path: Path) -> None:
    request = pb.LaunchApplicationRequest(desktop_file_id="a")
    async with served(tmp_path / "s", Picky()) as channel:
        assert await channel.call("LaunchApplication", request, timeout=LIMIT, decode=len) > 500
        with pytest.raises(CallFailed) as caught:
            await channel.call("LaunchApplication", request, timeout=LIMIT, limit=500)
        assert caught.value.code == "RESOURCE_EXHAUSTED"


@pytest.mark.expects_fault
async def test_a_method_that_keeps_failing_is_logged_ever_more_rarely(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(tmp_path / "s", Picky()) as channel:
        for _ in range(9):
            with pytest.raises(CallFailed):
                await channel.call("LaunchVshd", pb.LaunchVshdRequest(), timeout=LIMIT)
    logged = list(caplog.messages)
    caplog.clear()  # A stored traceback keeps the call, and in old versions of gRPC the connection.
    assert logged == ["LaunchVshd failed"] + [f"LaunchVshd failed, {n} times so far" for n in (2, 4, 8)]
