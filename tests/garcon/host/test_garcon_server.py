"""The address that garcon serves at, when the host mounts the directory again."""

from __future__ import annotations

from pathlib import Path

from garcon.host.garcon_server import GarconServer
from garcon.host.sftp import SftpStream, sftp_address
from guestlink.address import UnixAddress
from guestlink.pb import container_guest_pb2 as pb
from guestlink.rpc import GARCON, Channel


class Service:
    async def get_garcon_session_info(
        self, request: pb.GetGarconSessionInfoRequest
    ) -> pb.GetGarconSessionInfoResponse:
        return pb.GetGarconSessionInfoResponse(container_username="somebody")


async def _username(address: UnixAddress) -> str:
    channel = Channel(address, GARCON)
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
    sftp = SftpStream("/bin/true", 1, str(tmp_path / "token"), {})
    try:
        for _ in range(2):
            assert await server.start(address) == 1
            assert sftp.start(sftp_address(address)) == 1
        inode = (carried / "garcon.sock").stat().st_ino
        carried.rename(tmp_path / "old")
        carried.mkdir()
        assert await server.start(address) == 1
        assert sftp.start(sftp_address(address)) == 1
        assert (carried / "garcon.sock").stat().st_ino != inode
        assert (carried / "sftp.sock").is_socket()
        assert await _username(address) == "somebody"
    finally:
        await server.close()
        await sftp.close()
    assert list(carried.iterdir()) == []
