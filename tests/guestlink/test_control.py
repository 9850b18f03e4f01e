"""The control protocol between commands and a daemon."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from guestlink.address import UnixAddress
from guestlink.control import ControlClient, ControlServer, DaemonNotRunning
from guestlink.errors import GuestlinkError
from guestlink.sockets import AddressInUse, connect, listen


async def _echo(fields: dict[str, Any]) -> dict[str, Any]:
    return fields


async def _refuse(fields: dict[str, Any]) -> dict[str, Any]:
    raise GuestlinkError("no", hint="ask nicely", exit_code=7)


async def _break(fields: dict[str, Any]) -> dict[str, Any]:
    raise ValueError("secret detail")


@pytest_asyncio.fixture
async def path(tmp_path: Path) -> AsyncIterator[Path]:
    path = tmp_path / "control.sock"
    server = ControlServer(path, {"echo": _echo, "refuse": _refuse, "break": _break})
    await server.start()
    yield path
    await server.close()
    assert not path.exists()


async def _call(path: Path, name: str, **fields: Any) -> dict[str, Any]:
    return await asyncio.to_thread(ControlClient(path, daemon="tester").call, name, **fields)


async def test_fields_go_there_and_back(path: Path) -> None:
    assert await _call(path, "echo", number=1, text="ä\n", many=[1, 2]) == {
        "number": 1,
        "text": "ä\n",
        "many": [1, 2],
    }


async def test_a_refusal_keeps_its_sentence_hint_and_status(path: Path) -> None:
    with pytest.raises(GuestlinkError, match="no") as caught:
        await _call(path, "refuse")
    assert (caught.value.hint, caught.value.exit_code) == ("ask nicely", 7)


@pytest.mark.expects_fault
async def test_a_bug_in_the_daemon_does_not_leak_to_the_command(path: Path) -> None:
    with pytest.raises(GuestlinkError, match="failed in the daemon") as caught:
        await _call(path, "break")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["garbage", "[]", '{"call": 5}', '{"call": "none"}', "[" * 5000])
async def test_nonsense_is_answered(path: Path, text: str) -> None:
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(text.encode() + b"\n")
    answer = json.loads(await reader.readline())
    assert "does not know" in answer["error"]
    writer.close()
    await writer.wait_closed()


async def test_a_second_daemon_is_told_so(path: Path) -> None:
    with pytest.raises(AddressInUse):
        await ControlServer(path, {}).start()


async def test_nobody_there_is_told_with_a_remedy(tmp_path: Path) -> None:
    client = ControlClient(tmp_path / "none", daemon="tester", hint="start it")
    with pytest.raises(DaemonNotRunning, match="tester is not running") as caught:
        client.call("echo")
    assert caught.value.hint == "start it"


async def test_an_endless_answer_is_called_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guestlink.control.LINE_LIMIT", 1 << 20)
    assert len((await _call(path, "echo", text="x" * ((1 << 20) - 100)))["text"]) == (1 << 20) - 100

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        with contextlib.suppress(OSError):
            writer.write(b"x" * (1 << 21) + b"\n")
            await writer.drain()
        writer.close()

    async with await asyncio.start_unix_server(answer, str(path.with_name("other.sock"))):
        with pytest.raises(GuestlinkError, match="the answer of tester is longer than 1 MiB"):
            await _call(path.with_name("other.sock"), "echo")


async def test_a_daemon_that_hangs_up_is_told(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        call = asyncio.create_task(_call(path, "echo"))
        connection, _ = await asyncio.to_thread(server.accept)
        connection.close()
        with pytest.raises(GuestlinkError, match=r"went away|broke off"):
            await call


async def test_a_refusal_that_comes_before_the_request_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s"

    def connect_and_be_refused(address: UnixAddress, *, timeout: float) -> socket.socket:
        client = connect(address, timeout=timeout)
        connection, _ = server.accept()
        connection.sendall(b'{"error": "too many commands at once"}\n')
        connection.close()
        return client

    monkeypatch.setattr("guestlink.control.connect", connect_and_be_refused)
    with listen(UnixAddress(str(path))) as server:
        server.setblocking(True)
        with pytest.raises(GuestlinkError, match="too many commands at once"):
            await _call(path, "echo")
