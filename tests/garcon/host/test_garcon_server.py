"""The address that garcon serves at, when the host mounts the directory again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from garcon.host import garcon_server, sftp
from garcon.host.garcon_server import GarconServer
from garcon.host.sftp import SftpStream, sftp_address
from guestlink import sockets
from guestlink.address import UnixAddress
from guestlink.errors import GuestlinkError
from guestlink.pb import container_guest_pb2 as pb
from guestlink.rpc import GARCON, RpcChannel


class Service:
    async def get_garcon_session_info(
        self, request: pb.GetGarconSessionInfoRequest
    ) -> pb.GetGarconSessionInfoResponse:
        return pb.GetGarconSessionInfoResponse(container_username="somebody")


async def _username(address: UnixAddress) -> str:
    channel = RpcChannel(address, GARCON)
    try:
        answer = await channel.call("GetGarconSessionInfo", pb.GetGarconSessionInfoRequest(), timeout=30)
        return str(answer.container_username)
    finally:
        await channel.close()


async def test_it_serves_again_where_another_directory_has_taken_the_place(tmp_path: Path) -> None:
    carried = tmp_path / "carried"
    carried.mkdir()
    address = UnixAddress(str(carried / "garcon.sock"))
    server = GarconServer([Service()], tmp_path)
    stream = SftpStream("/bin/true", 1, str(tmp_path / "token"), {})
    try:
        for _ in range(2):
            assert await server.start(address) == 1
            assert stream.start(sftp_address(address)) == 1
        inode = (carried / "garcon.sock").stat().st_ino
        carried.rename(tmp_path / "old")
        carried.mkdir()
        assert await server.start(address) == 1
        assert stream.start(sftp_address(address)) == 1
        assert (carried / "garcon.sock").stat().st_ino != inode
        assert (carried / "sftp.sock").is_socket()
        assert await _username(address) == "somebody"
    finally:
        await server.close()
        await stream.close()
    assert list(carried.iterdir()) == []


async def test_a_failed_attempt_to_serve_again_is_repeated(tmp_path: Path) -> None:
    """A server without a listener must not pass for one that serves: the host could never call garcon again."""
    carried = tmp_path / "carried"
    carried.mkdir()
    address = UnixAddress(str(carried / "garcon.sock"))
    server = GarconServer([Service()], tmp_path)
    stream = SftpStream("/bin/true", 1, str(tmp_path / "token"), {})
    try:
        await server.start(address)
        stream.start(sftp_address(address))
        carried.rename(tmp_path / "old")
        for _ in range(2):
            with pytest.raises(GuestlinkError, match=r"garcon\.sock"):
                await server.start(address)
            with pytest.raises(GuestlinkError, match=r"sftp\.sock"):
                stream.start(sftp_address(address))
            assert stream.port is None
        carried.mkdir()
        assert await server.start(address) == 1
        assert stream.start(sftp_address(address)) == 1
        assert (carried / "sftp.sock").is_socket()
        assert await _username(address) == "somebody"
    finally:
        await server.close()
        await stream.close()
    assert list(carried.iterdir()) == []


async def test_a_socket_that_disappears_while_it_is_bound_is_bound_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_file = sockets.SocketFile

    def removed(path: str) -> sockets.SocketFile:
        os.unlink(path)
        return real_file(path)

    address = UnixAddress(str(tmp_path / "garcon.sock"))
    server = GarconServer([Service()], tmp_path)
    stream = SftpStream("/bin/true", 1, str(tmp_path / "token"), {})
    try:
        with monkeypatch.context() as patch:
            for module in (garcon_server, sftp):
                patch.setattr(module, "SocketFile", removed)
            with pytest.raises(GuestlinkError, match=r"garcon\.sock disappeared"):
                await server.start(address)
            with pytest.raises(GuestlinkError, match=r"sftp\.sock disappeared"):
                stream.start(sftp_address(address))
        assert await server.start(address) == 1
        assert stream.start(sftp_address(address)) == 1
        assert await _username(address) == "somebody"
    finally:
        await server.close()
        await stream.close()
