"""One container's connections and calls cost the host little, and other containers nothing."""

from __future__ import annotations

import contextlib
import os
import resource
import statistics
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from guestlink.descriptor_limit import ENOUGH
from guestlink.pb import container_host_pb2 as pb
from guestlink.rpc import RECEIVE_LIMIT
from guestlink_host.border.gate import CONNECTIONS, SILENT, UNFINISHED
from guestlink_host.launchers.applications import LIST_LIMIT
from guestlink_host.launchers.launcher_files import WRITE_BURST
from support.descriptors import room_for
from support.fake_garcon import application
from support.http2_attacker import DATA, END_STREAM, PING, PREFACE, RST_STREAM, SETTINGS, Attacker, frame
from support.stage import LIMIT, Stage, stage

CROWD = 8
"""Containers that attack together."""
MEMORY = 64 * 1024 * 1024
"""Bytes by which an attack may make the daemon grow (the aim of the issue about the border)."""
PROMPT = 0.1
"""Seconds in which another container's call is answered, as the median during an attack."""


class Border:
    """A daemon as a process, with the containers ``bad`` and ``good``."""

    def __init__(self, running: Stage) -> None:
        self.stage = running
        if "host" not in running.processes:
            running.start_host()
        self.wait(Path(running.host_environ["XDG_RUNTIME_DIR"], "guestlink-host/control.sock").exists)
        for name in ("good", "bad"):
            running.host("add", name)
        self.daemon = psutil.Process(running.processes["host"].pid)
        self._memory = 0
        self.ask_good()
        self.base = self.daemon.memory_info().rss
        self.descriptors = self._open_descriptors()

    def directory(self, name: str) -> Path:
        return Path(self.stage.host_environ["XDG_RUNTIME_DIR"], "guestlink-host/containers", name)

    def socket(self, name: str = "bad") -> str:
        return str(self.directory(name) / "listener.sock")

    def _open_descriptors(self) -> list[str]:
        """What each descriptor of the daemon leads to."""
        found = []
        for path in Path(f"/proc/{self.daemon.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found.append(os.readlink(path))
        return sorted(found)

    @property
    def applications(self) -> Path:
        return Path(self.stage.host_environ["XDG_DATA_HOME"], "applications")

    def register(self) -> str:
        """Register the container ``bad``; returns its token."""
        token = (self.directory("bad") / "token").read_text()

        with Attacker(self.socket()) as honest:
            honest.call("ContainerReady", pb.ContainerStartupInfo(token=token).SerializeToString(), LIMIT)
        return token

    def ask_good(self, times: int = 1) -> float:
        """Call as the container ``good``; returns the median of the seconds until the answer."""

        token = (self.directory("good") / "token").read_text()
        request = pb.PendingAppListUpdateCount(token=token, count=1).SerializeToString()
        seconds = []
        with Attacker(self.socket("good")) as honest:
            for _ in range(times):
                began = time.monotonic()
                honest.call("PendingUpdateApplicationListCalls", request, LIMIT)
                seconds.append(time.monotonic() - began)
                self.note_memory()
                time.sleep(0.01)
        return statistics.median(seconds)

    def note_memory(self) -> None:
        self._memory = max(self._memory, self.daemon.memory_info().rss)

    def holds(self) -> None:
        """The daemon serves the other container and its commands, within its memory."""
        assert self.ask_good(20) < PROMPT
        assert [entry["name"] for entry in self.stage.host_json("list")] == ["good", "bad"]
        assert self._memory - self.base < MEMORY

    def recovers(self) -> None:
        """What the attack took comes back."""
        self.wait(
            lambda: len(self._open_descriptors()) <= len(self.descriptors),
            lambda: f"{self._open_descriptors()}, at first {self.descriptors}",
        )
        assert self.daemon.memory_info().rss - self.base < MEMORY
        assert self.ask_good(5) < PROMPT

    def log(self) -> list[str]:
        return self.stage.log("host").read_text().splitlines()

    def wait(self, condition: Callable[[], bool], instead: Callable[[], object] = object) -> None:
        """Wait for a condition.

        :param instead: tells what there is instead.
        """
        deadline = time.monotonic() + LIMIT
        while not condition():
            assert time.monotonic() < deadline, instead()
            time.sleep(0.05)


@pytest.fixture(scope="module")
def _running() -> Iterator[Border]:
    with stage("bad") as running:
        border = Border(running)
        with room_for(2048):  # The daemon has started with the usual limit.
            yield border
        running.check_logs()


@pytest.fixture
def border(_running: Border) -> Iterator[Border]:
    yield _running
    _running.recovers()


def test_1500_idle_connections_keep_nobody_out_and_are_a_few_log_lines(border: Border) -> None:
    lines = len(border.log())
    with ExitStack() as stack:
        end = time.monotonic() + 4
        attackers: list[Attacker] = []
        while len(attackers) < 1500 and time.monotonic() < end:
            attacker = stack.enter_context(Attacker(border.socket(), preface=b""))
            if attacker.is_closed:  # The socket's backlog is full, which costs the host nothing.
                time.sleep(0.01)
            else:
                attackers.append(attacker)
        border.holds()
        # A connection that is accepted has one descriptor; those that say nothing reach no gRPC.
        assert border.daemon.num_fds() <= len(border.descriptors) + SILENT + 5
    assert len(border.log()) - lines < 10


def test_connections_that_speak_are_bounded_and_the_refused_ones_are_counted(border: Border) -> None:
    lines = len(border.log())
    with ExitStack() as stack:
        attackers = [stack.enter_context(Attacker(border.socket())) for _ in range(40)]
        border.wait(lambda: _open(attackers) == CONNECTIONS)
        border.holds()
    assert 0 < len(border.log()) - lines < 5


def _open(attackers: list[Attacker]) -> int:
    for each in attackers:
        each.read()
    return sum(not each.is_closed for each in attackers)


def test_no_container_takes_the_descriptors_that_the_commands_need(short_of_descriptors: Border) -> None:
    border = short_of_descriptors
    with ExitStack() as stack:
        for number in range(CROWD):
            for preface in [b""] * 20 + [PREFACE + frame(SETTINGS)] * 20:
                stack.enter_context(Attacker(border.socket(f"bad{number}"), preface=preface))
        for _ in range(5):
            time.sleep(0.3)
            assert len(border.stage.host_json("list")) == CROWD + 2
            assert border.ask_good() < LIMIT
    assert not [line for line in border.log() if "too many open files" in line.lower()]


@pytest.fixture
def short_of_descriptors() -> Iterator[Border]:
    with stage("bad") as running:
        argv = ["sh", "-c", 'ulimit -n 400 && exec "$@"', "sh", sys.executable, "-m", "guestlink_host", "serve"]
        running.start("host", argv, running.host_environ)
        border = Border(running)
        for number in range(CROWD):
            running.host("add", f"bad{number}")
        yield border


def test_the_daemon_raises_its_limit_of_descriptors(border: Border) -> None:
    soft, hard = resource.prlimit(border.daemon.pid, resource.RLIMIT_NOFILE)
    assert soft == (ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH))


def test_unfinished_requests_of_4_mib_hold_little_memory(border: Border) -> None:
    with ExitStack() as stack:
        for _ in range(4):
            attacker = stack.enter_context(Attacker(border.socket()))
            for _ in range(200):
                stream = attacker.begin("UpdateApplicationList")
                attacker.message(stream, RECEIVE_LIMIT - 5, bytes(16384), limit=0.2)
            border.note_memory()
        border.holds()


def test_a_few_requests_that_fill_the_memory_cost_the_container_its_connection(border: Border) -> None:
    with Attacker(border.socket()) as attacker:
        for _ in range(3):
            stream = attacker.begin("UpdateApplicationList")
            attacker.message(stream, RECEIVE_LIMIT - 5, bytes(RECEIVE_LIMIT - 6), limit=LIMIT)
            border.note_memory()
        attacker.until_closed(LIMIT)
        border.holds()
    assert any("disconnected bad: its requests hold too much memory at a time" in line for line in border.log())


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_compressed_request_is_refused_before_it_grows(border: Border, encoding: str) -> None:
    """60 KB that become 60 MiB, four times; gRPC up to 1.51 does not limit that: 1 MB took 1 GiB."""
    compressor = zlib.compressobj(9, wbits=31 if encoding == "gzip" else 15)
    content = b"".join(compressor.compress(bytes(1 << 20)) for _ in range(60)) + compressor.flush()
    with Attacker(border.socket()) as attacker:
        for _ in range(4):
            stream = attacker.begin("ContainerReady", encoding=encoding)
            attacker.message(stream, len(content), content, END_STREAM, LIMIT, is_compressed=True)
            while stream not in attacker.ended:
                attacker.read(0.01)
                border.note_memory()
                assert not attacker.is_closed
        border.holds()


def test_incomplete_requests_are_few_at_a_time(border: Border) -> None:
    with Attacker(border.socket()) as attacker:
        for _ in range(UNFINISHED + 1):
            attacker.begin("ContainerReady")
        attacker.until_closed(LIMIT)
        border.holds()


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(frame(PING, 0, 0, b"12345678") * 500, id="pings"),
        pytest.param(frame(DATA, 0, 1) * 500, id="empty-frames"),
        pytest.param(frame(0xFE, 0, 0, bytes(60_000)), id="frames-of-no-known-kind"),
        pytest.param(b"\xff" * 60_000, id="no-frames-at-all"),
    ],
)
def test_a_flood_of_frames_slows_down_only_who_sends_it(border: Border, flood: bytes) -> None:
    with Attacker(border.socket()) as attacker:
        attacker.begin("ContainerReady")
        end = time.monotonic() + 1.5
        while time.monotonic() < end and not attacker.is_closed:
            attacker.send(flood)
            attacker.read()
        border.holds()


def test_calls_that_are_reset_at_once_slow_down_only_who_sends_them(border: Border) -> None:
    with Attacker(border.socket()) as attacker:
        end = time.monotonic() + 1.5
        while time.monotonic() < end and not attacker.is_closed:
            stream = attacker.begin("ContainerReady")
            attacker.send(frame(RST_STREAM, 0, stream, b"\0\0\0\x08"))
        border.holds()


@pytest.mark.parametrize("words", [b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/1.1\r\n", b"\0" * 100])
def test_a_client_that_does_not_speak_http2_is_disconnected(border: Border, words: bytes) -> None:
    with Attacker(border.socket(), preface=words) as attacker:
        attacker.until_closed(LIMIT)


@pytest.mark.parametrize("token", ["", "right"])
def test_two_million_empty_applications_hold_little_memory(border: Border, token: str) -> None:
    if token:
        token = border.register()
    applications = b"\x12\0" * ((RECEIVE_LIMIT - 100) // 2)
    content = b"\x0a" + bytes([len(token)]) + token.encode() + applications
    with Attacker(border.socket()) as attacker:
        stream = attacker.begin("UpdateApplicationList")
        assert attacker.message(stream, len(content), content, END_STREAM, limit=LIMIT) == len(content)
        while stream not in attacker.ended:
            attacker.read(0.01)
            border.note_memory()
            assert not attacker.is_closed
        border.holds()
        if token:
            attacker.call("ContainerShutdown", pb.ContainerShutdownInfo(token=token).SerializeToString(), LIMIT)


def test_ever_new_lists_write_little_and_the_container_is_removed_at_once(border: Border) -> None:
    token = border.register()
    before = border.daemon.io_counters().write_chars

    with Attacker(border.socket()) as attacker:
        for number in range(12):
            applications = [application(f"app{number}-{n}") for n in range(LIST_LIMIT)]
            request = pb.UpdateApplicationListRequest(token=token, application=applications)
            attacker.call("UpdateApplicationList", request.SerializeToString(), LIMIT)
            border.ask_good(10)
            time.sleep(0.3)
    border.holds()
    began = time.monotonic()
    border.stage.host("remove", "bad")
    # The command itself takes most of it. It was 36 s.
    assert time.monotonic() - began < 5
    assert border.daemon.io_counters().write_chars - before < WRITE_BURST
    assert not list(border.applications.glob("guestlink-bad-*"))
    border.stage.host("add", "bad")


def test_a_client_that_takes_no_answers_holds_little(border: Border) -> None:
    with Attacker(border.socket(), preface=PREFACE + frame(4)) as attacker:
        attacker.sock.settimeout(0.5)
        for _ in range(100):
            attacker.send(frame(PING, 0, 0, b"12345678") * 1000)
        border.holds()
