"""The directory that is mounted in a container is the host's alone: the container can only read it, and connect.

The container is id-mapped; its root and its user attack. The daemon is a real one, of another user.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import stat
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from guestlink.address import UnixAddress
from guestlink.control import ControlClient
from guestlink.errors import GuestlinkError
from guestlink.sockets import connect
from guestlink_host.containers import guest as guest_module
from guestlink_host.containers.garcon_link import SessionInfo
from guestlink_host.containers.guest import LOSSES
from guestlink_host.containers.parked_connections import LIMIT as PARKED_LIMIT
from guestlink_host.managers import Instance, ManagerError, Mounts, lxc, lxd
from support.dead_mount import dead_mount
from support.host import Host, host_in_test
from support.inside import FIRST, ROOT, USER, run_inside
from support.stage import Stage

DESKTOP = 4501
NAME = "demo"
REMOVAL = 5.0
"""Seconds for `remove` on a busy machine, whatever an earlier build has left; it needs less than one."""
FILES = 5_000
"""Files that a container has left, and as many in a directory; 200,000 make no difference."""
ANSWERS = (b"", b"\0" * 100_000, b"HTTP/1.1 400 Bad Request\r\n\r\n", bytes(range(256)) * 20)
"""What a container may answer instead of HTTP/2."""
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can be several users")


class Desk:
    """The desktop's user, whose daemon knows the container ``demo``; the daemon does not run yet."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.run = stage.root / "host/run/guestlink-host"
        self.directory = self.run / "containers" / NAME
        self.token = "11111111-2222-4333-8444-555555555555"
        entry = {"token": self.token, "users": [FIRST + ROOT, FIRST + USER]}
        registry = Path(stage.host_environ["XDG_STATE_HOME"], "guestlink-host/containers.json")
        self.make(registry.parent)
        registry.write_text(json.dumps({"version": 1, "containers": {NAME: entry}}))
        os.chown(registry, DESKTOP, DESKTOP)

    def make(self, path: Path) -> None:
        """Make a private directory of the desktop's user, and its parents."""
        for each in (*reversed(path.parents), path):
            if not each.exists():
                each.mkdir(mode=0o700)
                os.chown(each, DESKTOP, DESKTOP)

    def left_behind(self) -> Path:
        """The directory as an earlier build has left it, for what the container has put there."""
        self.make(self.directory)
        return self.directory

    def ask(self, call: str, **fields: Any) -> dict[str, Any]:
        """A control call; its time is bounded."""
        client = ControlClient(self.run / "control.sock")
        return client.call(call, timeout=30.0, **fields)

    def runs(self) -> bool:
        return self.stage.processes["host"].poll() is None


@pytest.fixture
def desk() -> Iterator[Desk]:
    stage = Stage(NAME, system_applications=False, as_uid=DESKTOP)
    try:
        yield Desk(stage)
        stage.check_logs()
    finally:
        for role in list(stage.processes):
            stage.stop(role)
        # shutil.rmtree fails at a tree as deep as these.
        subprocess.run(["rm", "-rf", str(stage.root / "host/run")], check=True, timeout=300)
        stage.close()


@pytest.fixture
async def host(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Host]:
    async with host_in_test(monkeypatch) as running:
        yield running


# -- what the container can do there ------------------------------------------------------------------------------

_ATTACK = """
import json, os, socket, sys
where = sys.argv[1]
at = lambda name: os.path.join(where, name)
names = sorted(os.listdir(where))
def bind():
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(at("new.sock"))
def written(name, flags):
    os.close(os.open(at(name), flags, 0o600))
attempts = {
    "create": lambda: written("new", os.O_WRONLY | os.O_CREAT),
    "mkdir": lambda: os.mkdir(at("new.d")),
    "symlink": lambda: os.symlink("/etc", at("new.link")),
    "fifo": lambda: os.mkfifo(at("new.fifo")),
    "node": lambda: os.mknod(at("new.node")),
    "bind": bind,
    "nameless": lambda: written("", os.O_RDWR | os.O_TMPFILE),
    "chmod": lambda: os.chmod(where, 0o777),
    "chown": lambda: os.chown(where, os.getuid(), -1),
    "list of users": lambda: os.setxattr(where, "system.posix_acl_access", b"\\2\\0\\0\\0"),
    "attribute": lambda: os.setxattr(where, "user.x", b"x"),
    "times": lambda: os.utime(where, (1, 1)),
}
for name in names:
    attempts |= {
        f"write {name}": lambda name=name: written(name, os.O_WRONLY),
        f"truncate {name}": lambda name=name: os.truncate(at(name), 0),
        f"remove {name}": lambda name=name: os.unlink(at(name)),
        f"rename {name}": lambda name=name: os.rename(at(name), at("old")),
        f"replace {name}": lambda name=name: os.rename(at("name" if name == "token" else "token"), at(name)),
        f"link {name}": lambda name=name: os.link(at(name), at("copy")),
        f"close {name}": lambda name=name: os.chmod(at(name), 0),
    }
done = []
for what, attempt in attempts.items():
    try:
        attempt()
    except OSError:
        continue
    done.append(what)
print(json.dumps([names, done]))
"""

_USES = """
import json, os, socket, sys
def connects(name):
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(os.path.join(sys.argv[1], name)) == 0
texts = [open(os.path.join(sys.argv[1], name)).read() for name in ("name", "token")]
print(json.dumps([connects("listener.sock"), connects("calls.sock"), connects("sftp.sock"), *texts]))
"""


@needs_root
@pytest.mark.parametrize("uid", [ROOT, USER])
@pytest.mark.parametrize("writable", [False, True], ids=["read-only", "mounted-for-writing"])
def test_a_container_can_change_nothing_there_even_if_it_is_mounted_for_writing(
    desk: Desk, uid: int, writable: bool
) -> None:
    desk.stage.start_host()
    before = {path.name: (path.lstat().st_mode, path.lstat().st_ino) for path in desk.directory.iterdir()}
    names, done = run_inside(desk.directory, _ATTACK, uid=uid, writable=writable)
    assert {"listener.sock", "calls.sock", "sftp.sock", "token", "name"} <= set(names)
    assert done == []
    assert {path.name: (path.lstat().st_mode, path.lstat().st_ino) for path in desk.directory.iterdir()} == before
    assert desk.ask("list")["containers"][0]["problem"] == ""


@needs_root
@pytest.mark.parametrize("uid", [ROOT, USER])
def test_a_container_can_read_its_token_and_connect(desk: Desk, uid: int) -> None:
    desk.stage.start_host()
    assert run_inside(desk.directory, _USES, uid=uid) == [True, True, True, NAME, desk.token]


@needs_root
def test_the_directory_holds_sockets_token_and_name_alone(desk: Desk) -> None:
    desk.stage.start_host()
    kinds = {path.name: stat.S_IFMT(path.lstat().st_mode) for path in desk.directory.iterdir()}
    files = {name for name, kind in kinds.items() if kind == stat.S_IFREG}
    assert files - {"pulse-cookie"} == {"token", "name"}
    assert {kind for name, kind in kinds.items() if name not in files} == {stat.S_IFSOCK}


def test_managers_mount_it_read_only() -> None:
    mounts = Mounts(Path("/run/user/1000/guestlink-host/containers/work"), Path("/run/t"), ())
    assert lxd._devices(mounts)["guestlink"]["readonly"] == "true"
    lines = lxc._lines(Path("/var/lib/lxc/work"), Instance("lxc", "/var/lib/lxc", "work", "stopped"), mounts)
    [entry] = [line for line in lines.splitlines() if " dev/.guestlink " in line]
    assert "none bind,ro," in entry


def test_a_mount_of_an_earlier_build_is_noticed_and_only_root_can_change_it_for_lxc(tmp_path: Path) -> None:
    mounts = Mounts(Path("/run/user/1000/guestlink-host/containers/work"), Path("/run/t"), ())
    stopped = Instance("lxc", str(tmp_path), "work", "stopped")
    ours = tmp_path / "guestlink.conf"
    lines = lxc._lines(tmp_path, stopped, mounts)
    for text, is_read_only in ((lines, True), (lines.replace("bind,ro,", "bind,"), False)):
        ours.write_text(text)
        assert lxc._mounts_read_only(ours) is is_read_only
    assert not lxc._mounts_read_only(tmp_path / "missing")
    with pytest.raises(ManagerError, match="attach it again as root"):
        lxc.Lxc(tmp_path).mount_again(stopped._replace(read_only=False), mounts)
    assert lxc.Lxc(tmp_path).mount_again(stopped, mounts)


# -- what an earlier build let it leave there ---------------------------------------------------------------------


def _deep(path: Path, depth: int = 1500) -> None:
    """A tree that is too deep for a path and for a recursive function."""
    path.mkdir()
    here = os.open(path, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def _leave_a_deep_tree(directory: Path) -> None:
    for name in ("token", "calls.sock"):
        _deep(directory / name)


def _leave_many_files(directory: Path) -> None:
    (directory / "token").mkdir()
    for parent in (directory, directory / "token"):
        here = os.open(parent, os.O_RDONLY)
        for number in range(FILES):
            os.mknod(f"{number}", dir_fd=here)
        os.close(here)


def _leave_directories_of_others(directory: Path) -> None:
    for name in ("token", "calls.sock", "closed"):
        inner = directory / name / "in"
        inner.mkdir(parents=True)
        (inner / "file").write_text("x")
        for path in (inner / "file", inner, directory / name):
            os.chown(path, FIRST + USER, FIRST + USER)
            os.chmod(path, 0o700)


def _leave_links_and_pipes(directory: Path) -> None:
    (directory / "token").symlink_to(directory.parents[3] / "home/precious")
    (directory / "listener.sock").symlink_to("/nonexistent")
    (directory / "wayland-0").symlink_to("/dev/tty")
    os.mkfifo(directory / "name")
    os.mkfifo(directory / "pulse-cookie")


@needs_root
@pytest.mark.parametrize(
    "leave", [_leave_a_deep_tree, _leave_many_files, _leave_directories_of_others, _leave_links_and_pipes]
)
def test_whatever_an_earlier_build_let_a_container_leave_the_daemon_starts_and_serves(
    desk: Desk, leave: Any
) -> None:
    leave(desk.left_behind())
    _check_that_it_serves(desk)


@needs_root
def test_a_link_into_a_mount_that_does_not_answer_holds_nothing_up(desk: Desk) -> None:
    directory = desk.left_behind()
    dead = desk.stage.root / "dead"
    dead.mkdir()
    with dead_mount(dead):
        for name in ("token", "name", "pulse", "pulse-cookie", "wayland-0", "listener.sock", "calls.sock"):
            (directory / name).symlink_to(dead / name)
        _check_that_it_serves(desk)


def _check_that_it_serves(desk: Desk) -> None:
    desk.stage.start_host()
    assert desk.ask("list")["containers"][0]["problem"] == ""
    assert (desk.directory / "token").read_text() == desk.token
    assert run_inside(desk.directory, _USES, uid=USER)[:3] == [True, True, True]
    desk.stage.stop("host")
    desk.stage.start_host()
    began = time.monotonic()
    desk.ask("remove", name=NAME)
    assert time.monotonic() - began < REMOVAL
    assert not os.path.lexists(desk.directory)
    assert desk.ask("list")["containers"] == []
    assert desk.runs()


@needs_root
def test_what_an_earlier_build_left_is_removed_as_far_as_the_user_may(desk: Desk) -> None:
    directory = desk.left_behind()
    _leave_many_files(directory)
    _leave_directories_of_others(directory)
    desk.stage.start_host()

    def only_foreign_directories() -> bool:
        discarded = desk.run / "discarded"
        return {path.name for path in discarded.glob("*/*")} == {"token", "calls.sock", "closed"}

    desk.stage.wait("the files of the user are removed", only_foreign_directories)
    desk.stage.wait("it is told", lambda: "cannot be removed completely" in desk.stage.log("host").read_text())


@needs_root
def test_a_container_cannot_enter_the_old_directory_any_more(desk: Desk) -> None:
    old = desk.left_behind()
    (old / "file").write_text("x")
    desk.stage.start_host()
    status = os.stat(old)
    _, done = run_inside(desk.directory, _ATTACK, uid=USER, writable=True)
    assert done == []
    assert not (old / "file").exists()
    assert status.st_uid == DESKTOP


async def test_none_of_its_sockets_can_be_named_as_a_garcon_to_call(host: Host) -> None:
    guest = await host.add()
    for path in (guest.directory / "calls.sock", f"{guest.directory}/../x/y.sock"):
        with pytest.raises(GuestlinkError, match="are this host's own"):
            await host.ask("add", name="other", garcon=f"unix:{path}")


# -- parked connections -------------------------------------------------------------------------------------------


async def test_a_container_keeps_a_bounded_number_of_connections_open_and_its_garcon_stays_callable(
    host: Host,
) -> None:
    guest = await host.registered()
    address = UnixAddress(str(guest.directory / "calls.sock"))
    silent = [await asyncio.to_thread(connect, address) for _ in range(50)]
    try:
        await host.until(lambda: sum(_is_open(sock) for sock in silent) <= PARKED_LIMIT)
        await host.ask("launch", name=NAME, id="x", files=[])
        assert guest.calls[-1][0] == "launch_application"
    finally:
        for sock in silent:
            sock.close()
    await guest.register()
    await host.until(lambda: host._reachable(NAME))
    await host.ask("launch", name=NAME, id="y", files=[])


async def test_a_parked_connection_on_which_the_container_speaks_first_is_closed(host: Host) -> None:
    guest = await host.add()
    with connect(UnixAddress(str(guest.directory / "sftp.sock"))) as sock:
        sock.sendall(b"x")
        sock.settimeout(60)
        with contextlib.suppress(ConnectionResetError):  # the host has not read what was sent
            assert await asyncio.to_thread(sock.recv, 1) == b""


async def test_a_garcon_that_closes_its_connection_again_and_again_is_called_less_often(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guest_module, "_LOSS_WINDOW", 10_000.0)
    monkeypatch.setattr(guest_module, "_LOSS_PAUSE", 10_000.0)
    monkeypatch.setattr(guest_module, "GarconLink", BriefLink)
    guest, other = await host.add("guest"), await host.add("other")
    for calls in (LOSSES + 1, 2 * (LOSSES + 1)):  # A garcon that registers again counts anew.
        await guest.call("ContainerReady", garcon_port=1)
        await host.until(lambda: _has_trouble(host, "guest"))
        await other.call("ContainerReady", garcon_port=1)
        assert BriefLink.calls["guest"] == calls


class BriefLink:
    """A link to a garcon that answers, and then closes the connection at once.

    :cvar calls: the answers, by the container's name.
    """

    calls: ClassVar[Counter[str]] = Counter()
    way = None

    def __init__(self, name: str, *_: object) -> None:
        self._name = name

    async def session_info(self) -> SessionInfo:
        self.calls[self._name] += 1
        return SessionInfo()

    async def lost(self) -> str:
        return "it is lost"

    async def close(self) -> None:
        pass


async def _has_trouble(host: Host, name: str) -> bool:
    return "closes the connection again and again" in str((await host.entry(name))["state"])


@pytest.mark.parametrize("answer", ANSWERS, ids=range(len(ANSWERS)))
async def test_a_container_that_answers_nonsense_there_harms_only_itself(host: Host, answer: bytes) -> None:
    other = await host.registered("other")
    guest = await host.add()
    address = UnixAddress(str(guest.directory / "calls.sock"))
    connections = [await asyncio.to_thread(connect, address) for _ in range(3)]
    await guest.call("ContainerReady", garcon_port=1)
    for sock in connections:
        sock.setblocking(False)
    loop = asyncio.get_running_loop()
    used = {asyncio.ensure_future(loop.sock_recv(sock, 24)): sock for sock in connections}
    async with asyncio.timeout(60):
        done, _ = await asyncio.wait(used, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        assert task.result().startswith(b"PRI * HTTP/2.0")
        with contextlib.suppress(OSError):
            await loop.sock_sendall(used[task], answer)
        used[task].close()

    async def troubled() -> bool:
        return "does not answer" in (await host.entry())["state"]

    await host.until(troubled)
    for task in used:
        task.cancel()
    for sock in connections:
        sock.close()
    with pytest.raises(GuestlinkError, match="cannot be reached"):
        await host.ask("launch", name=NAME, id="x", files=[])
    await host.ask("launch", name="other", id="x", files=[])
    assert other.calls[-1][0] == "launch_application"


async def test_nobody_but_the_user_gets_a_parked_connection(host: Host) -> None:
    await host.registered()
    [handover] = (host.root / "run/guestlink-host/private").glob("*-handover")
    assert stat.S_IMODE(handover.stat().st_mode) == 0o600
    assert stat.S_IMODE(handover.parent.stat().st_mode) == 0o700


def _is_open(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        return bool(sock.recv(1))
    except BlockingIOError:
        return True
    except OSError:
        return False


# -- older guests -------------------------------------------------------------------------------------------------


async def test_an_older_garcon_that_wants_to_listen_there_is_told_to_be_upgraded(host: Host) -> None:
    guest = await host.add()
    # Such a garcon connects first, to see whether another one serves there.
    connect(UnixAddress(str(guest.directory / "garcon.sock"))).close()
    await _is_outdated(host)


async def test_an_older_garcon_that_registers_and_parks_no_connection_is_told_to_be_upgraded(host: Host) -> None:
    guest = await host.add()
    await guest.call("ContainerReady", garcon_port=1)
    await _is_outdated(host)
    await guest.register()  # It has been upgraded.
    await host.until(lambda: host._reachable(NAME))
    assert (await host.entry())["state"] == "registered"


async def _is_outdated(host: Host) -> None:
    async def said() -> bool:
        return "older than this machine's" in (await host.entry())["state"]

    await host.until(said)
    assert "upgrade it in the container" in (await host.entry())["state"]
    assert len(await host.events("outdated")) == 1
    for call, fields in (("launch", {"id": "x", "files": []}), ("shell_endpoint", {}), ("sftp_endpoint", {})):
        with pytest.raises(GuestlinkError, match="older than this machine's") as caught:
            await host.ask(call, name=NAME, **fields)
        assert "upgrade Guestlink in the container" in caught.value.hint
