"""Each client has its own process for the connection to the host: killing it disconnects only this client."""

from __future__ import annotations

import os
import random
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from support.sommelier_program import Program
from support.wayland_peers import LIMIT, HostConnection

MEMORY_OF_A_CLIENT = 300
"""Maximum private memory of a client's process, in KB."""
FREE_UIDS = range(47_110_000, 47_910_000)
"""Users that have no processes, unless a container of this machine has some there."""
_CLIENT = """
import os, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(os.environ["XDG_RUNTIME_DIR"] + "/wayland-0")
s.sendall(bytes.fromhex("01000000 01000c00 02000000"))
while s.recv(65536): pass
"""
_SINGLE_CLIENT = """
import os, socket
s = socket.socket(fileno=int(os.environ["WAYLAND_SOCKET"]))
s.sendall(bytes.fromhex("01000000 01000c00 02000000"))
print(os.getpid(), flush=True)
while s.recv(65536): pass
"""


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    started = Program(tmp_path)
    yield started
    started.close()


def _pids(program: Program, count: int) -> list[int]:
    """The processes that the compositor sees as its clients, of connections that have sent a get_registry."""

    def served() -> list[HostConnection]:
        found = [connection for connection in program.host.connections[1:] if connection.registries]
        return found if len(found) >= count else []

    return [_pid_of(connection) for connection in program.wait(f"{count} are served", served)]


def _pid_of(connection: HostConnection) -> int:
    return int(struct.unpack("3i", connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])


def _name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _private(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:  # the process is in execve() at this moment
        return sys.maxsize
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def _has_ended(pid: int) -> bool:
    return _state(pid) in "ZX"


@contextmanager
def _client(program: Program) -> Iterator[subprocess.Popen[bytes]]:
    client = subprocess.Popen([sys.executable, "-c", _CLIENT], env=program.environ, stdin=subprocess.DEVNULL)
    try:
        yield client
    finally:
        client.kill()
        client.wait()


def test_a_client_has_a_small_process_of_its_name_that_ends_with_it(program: Program) -> None:
    process = program.start("--parent")
    with program.connect() as client:
        client.start()
        [pid] = _pids(program, 1)
        assert pid not in (process.pid, os.getpid())
        program.wait("it is called like the client", lambda: _name_of(pid) == _name_of(os.getpid()))
        program.wait("it is small", lambda: _private(pid) <= MEMORY_OF_A_CLIENT)
    program.wait("it ends", lambda: _has_ended(pid))
    assert not Path(f"/proc/{pid}").exists(), "nobody has taken its status"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("is_settled", [False, True])
def test_ending_a_clients_process_ends_that_client_alone(program: Program, number: int, is_settled: bool) -> None:
    process = program.start("--parent")
    with program.connect() as other:
        other.start()
        with _client(program) as client:
            pid = _pids(program, 2)[-1]
            if is_settled:
                program.wait("it is small", lambda: _private(pid) <= MEMORY_OF_A_CLIENT // 2)
            os.kill(pid, number)
            assert client.wait(LIMIT) == -signal.SIGTERM
        other.sync()
        assert process.poll() is None
        with program.connect() as another:
            another.start()


def _use_kernel_without_peer_pidfds(program: Program, directory: Path) -> None:
    """Make the proxy take the kernel for one before Linux 6.5."""
    directory.mkdir()
    (directory / "sitecustomize.py").write_text("from guestlink import sockets\nsockets._SO_PEERPIDFD = 0x7FFF\n")
    program.environ["PYTHONPATH"] += f":{directory}"


@pytest.mark.parametrize("has_peer_pidfds", [True, False])
def test_a_stopped_program_ends_when_its_clients_process_is_killed(
    program: Program, tmp_path: Path, has_peer_pidfds: bool
) -> None:
    """A compositor does that to a frozen window."""
    if not has_peer_pidfds:
        _use_kernel_without_peer_pidfds(program, tmp_path / "site")
    program.start("--parent")
    with program.connect() as other:
        other.start()
        with _client(program) as client:
            pid = _pids(program, 2)[-1]
            client.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, client.pid, os.WSTOPPED)
            os.kill(pid, signal.SIGKILL)
            assert client.wait(LIMIT) == -signal.SIGTERM
        other.sync()


@pytest.mark.parametrize("has_peer_pidfds", [True, False])
def test_a_stopped_program_with_a_single_connection_ends_too(
    program: Program, tmp_path: Path, has_peer_pidfds: bool
) -> None:
    """The proxy has made both ends of the connection, so the kernel names the proxy as the peer."""
    if not has_peer_pidfds:
        _use_kernel_without_peer_pidfds(program, tmp_path / "site")
    process = program.start("--wayland-socket", sys.executable, "-c", _SINGLE_CLIENT)
    [pid] = _pids(program, 1)
    assert process.stdout is not None
    client = int(process.stdout.readline())
    os.kill(client, signal.SIGSTOP)
    program.wait("it is stopped", lambda: _state(client) == "T")
    os.kill(pid, signal.SIGKILL)
    assert process.wait(LIMIT) == 128 + signal.SIGTERM


def test_after_a_fast_sequence_of_clients_no_process_is_left_of_them(program: Program) -> None:
    program.start("--parent")
    pids = set()
    for number in range(20):
        with program.connect() as client:
            client.start()
            pids.update(_pids(program, number + 1))
    program.wait("those that had a client end", lambda: all(map(_has_ended, pids)))


def test_many_clients_at_a_time_have_a_process_each(program: Program) -> None:
    program.start("--parent")
    with program.connect() as first:
        first.start()
    before = len(program.host.connections)
    count = 300  # more than fit into the socket to the process that starts the others
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(count)]
        for client in clients:
            client.connect(str(program.runtime / "wayland-0"))
            client.sendall(bytes.fromhex("01000000 01000c00 02000000"))
        for client in clients:
            client.settimeout(LIMIT)
            assert client.recv(1)
        pids = set(_pids(program, count + 1)[1:])
        assert len(pids) == count
        assert len(program.host.connections) == before + count
    program.wait("they end", lambda: all(map(_has_ended, pids)))


def test_clients_processes_end_when_the_proxy_is_killed(program: Program) -> None:
    process = program.start("--parent")
    with program.connect() as client:
        client.start()
        [pid] = _pids(program, 1)
        maker = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
        process.kill()
        program.wait("they end", lambda: _has_ended(pid) and _has_ended(maker))
    process.wait(LIMIT)


def test_when_the_maker_of_processes_is_killed_there_is_another_one(program: Program) -> None:
    process = program.start("--parent")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    with program.connect() as client:
        client.start()
        maker = int(children.read_text())
        os.kill(maker, signal.SIGKILL)
        program.wait("it is gone", lambda: children.read_text().split() != [str(maker)])
        with program.connect() as another:
            another.start()
        assert process.pid not in _pids(program, 2)
        client.sync()


@pytest.mark.skipif(os.getuid() != 0, reason="a limit on processes needs a user who has no others")
@pytest.mark.slow  # The matrix may use a Python that only root can run.
@pytest.mark.parametrize("limit", [1, 2])
def test_without_processes_clients_are_served_all_the_same(limit: int) -> None:
    """With a limit of one process the proxy cannot start its helper; with two, the helper cannot start others."""
    # Other users cannot enter pytest's directories.
    with (
        tempfile.TemporaryDirectory(prefix="guestlink-") as directory,
        closing(Program(Path(directory))) as program,
    ):
        process = _start_without_processes(program, limit)
        _use_without_processes(program, process)


def _start_without_processes(program: Program, limit: int) -> subprocess.Popen[bytes]:
    # Not the module's own generator: Hypothesis gives every test the same numbers of it.
    choose, errors = random.SystemRandom().choice, list[str]()
    for _ in range(40):
        uid = choose(FREE_UIDS)
        for path in (program.runtime, program.host.path):
            os.chown(path, uid, uid)

        def restrict(uid: int = uid) -> None:
            resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)

        try:
            return program.start("--parent", preexec_fn=restrict)
        except BlockingIOError as error:  # The kernel has counted processes of this user already.
            errors.append(f"{uid}: {error}")
            time.sleep(0.1)
    # Seen in whole runs only, for every user: the kernel counts more processes than there are.
    pytest.skip(f"the kernel lets no new user execute a program: {errors[0]}")


def _use_without_processes(program: Program, process: subprocess.Popen[bytes]) -> None:
    for _ in range(3):
        with program.connect() as client:
            client.start()
    assert _pids(program, 3) == [process.pid] * 3
    process.terminate()
    assert process.stdout is not None
    said = process.stdout.read().decode()
    assert said.count("no process can be made for a client") == 1, said
