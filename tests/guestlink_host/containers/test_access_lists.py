"""Users of containers get into their directory, also if the daemon's user namespace has no ids for them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from guestlink import acl
from guestlink.errors import GuestlinkError
from guestlink.paths import private_directory
from guestlink_host.containers.access_lists import SERVICE_SOCKET, AccessLists
from guestlink_host.containers.access_service import answer, serve
from support.needs import need

STRANGER = 54321
LIMIT = 60.0


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    """guestlink-host's runtime directory with the container ``work``."""
    path = private_directory(tmp_path / "guestlink-host")
    private_directory(path / "containers" / "work")
    private_directory(path / "tokens").joinpath("work").write_text("secret")
    return path


class Service:
    """What ``guestlink-host-access.socket`` does: serves each connection, here in a thread.

    :ivar connections: how many there were.
    """

    def __init__(self, runtime: Path, *, idle: float = LIMIT) -> None:
        self._runtime, self._idle = runtime, idle
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(runtime.with_name(SERVICE_SOCKET)))
        self._listener.listen()
        self.connections = 0
        self.ended = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with connection:
                connection.settimeout(self._idle)
                serve(connection, self._runtime)
            self.ended.release()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(LIMIT)
        self._listener.close()


@pytest.fixture
def service(runtime: Path) -> Iterator[Service]:
    made = Service(runtime)
    yield made
    made.close()


def users_of(path: Path) -> set[int]:
    """The users whom the access control list of a file names."""
    entries = acl._ENTRY.iter_unpack(os.getxattr(path, "system.posix_acl_access")[4:])
    return {uid for tag, permissions, uid in entries if tag == 0x02 and permissions}


def in_a_user_namespace(runtime: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a private user namespace, as ``PrivateUsers=`` makes one for the daemon."""
    need("unshare", packages="util-linux")
    program = (
        "from pathlib import Path\nfrom guestlink.errors import GuestlinkError\n"
        "from guestlink_host.containers.access_lists import AccessLists\n"
        f"lists = AccessLists(Path({str(runtime)!r}))\n{code}\nlists.close()\n"
    )
    command = ["unshare", "--user", "--map-current-user", sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)


def test_a_daemon_without_the_users_ids_lets_them_in_by_the_service(runtime: Path, service: Service) -> None:
    done = in_a_user_namespace(runtime, f"lists.grant('work', [{STRANGER}, {STRANGER + 1}])")
    assert done.returncode == 0, done.stderr
    assert users_of(runtime / "containers/work") == {STRANGER, STRANGER + 1}
    assert users_of(runtime / "tokens/work") == {STRANGER, STRANGER + 1}
    assert service.connections == 1


def test_it_needs_no_service_for_nobody(runtime: Path) -> None:
    acl.grant(runtime / "containers/work", {STRANGER}, acl.READ | acl.ENTER)
    done = in_a_user_namespace(runtime, "lists.grant('work', [])")
    assert done.returncode == 0, done.stderr
    assert not acl.is_listed(runtime / "containers/work")


def test_a_service_that_does_not_answer_is_one_sentence(runtime: Path) -> None:
    code = f"try: lists.grant('work', [{STRANGER}])\nexcept GuestlinkError as error: print(error.message)"
    done = in_a_user_namespace(runtime, code)
    assert done.stdout.startswith("the users of work cannot be admitted to its directory: "), done
    assert not acl.is_listed(runtime / "containers/work")


def test_a_service_that_has_exited_is_started_again(runtime: Path, service: Service) -> None:
    lists = AccessLists(runtime)
    lists._ask("work", [STRANGER])
    lists._ask("work", [STRANGER])
    assert service.connections == 1
    assert lists._connection is not None
    lists._connection.shutdown(socket.SHUT_WR)  # The service sees the end and exits.
    assert service.ended.acquire(timeout=LIMIT)
    lists._ask("work", [STRANGER + 1])
    assert service.connections == 2
    assert users_of(runtime / "containers/work") == {STRANGER + 1}
    lists.close()


def test_a_refusal_of_the_service_is_the_daemons_error(runtime: Path, service: Service) -> None:
    lists = AccessLists(runtime)
    with pytest.raises(GuestlinkError, match="no such file"):
        lists._ask("play", [STRANGER])
    lists.close()


def test_an_idle_service_exits(runtime: Path) -> None:
    made = Service(runtime, idle=0.01)
    lists = AccessLists(runtime)
    lists._answer(b"")
    assert made.ended.acquire(timeout=LIMIT)
    lists.close()
    made.close()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\xff",
        b"[" * 4000,
        b"[]",
        b'{"name": "work"}',
        b'{"name": "work", "users": 5}',
        b'{"name": "work", "users": [0]}',
        b'{"name": "work", "users": [true]}',
        b'{"name": "work", "users": [4294967295]}',
        b'{"name": "work", "users": [1], "permissions": 7}',
        b'{"name": "../tokens", "users": [1]}',
        b'{"name": "..", "users": [1]}',
        b'{"name": 5, "users": [1]}',
        b'{"name": "work", "users": [' + b"1, " * 64 + b"1]}",
    ],
)
def test_a_request_that_is_none_is_refused(runtime: Path, line: bytes) -> None:
    assert answer(line, runtime)
    assert not acl.is_listed(runtime / "containers/work")
    assert not acl.is_listed(runtime / "containers")


def test_the_service_follows_no_link(runtime: Path, tmp_path: Path) -> None:
    secret = private_directory(tmp_path / "secret")
    (runtime / "containers/play").symlink_to(secret)
    assert answer(b'{"name": "play", "users": [54321]}', runtime)
    assert not acl.is_listed(secret)


def test_a_request_without_an_end_is_not_read_on(runtime: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(LIMIT)
        thread = threading.Thread(target=serve, args=(theirs, runtime), daemon=True)
        thread.start()
        ours.settimeout(LIMIT)
        ours.sendall(b"x" * 10_000)
        thread.join(LIMIT)
        assert not thread.is_alive()
