"""Fixtures of every test: nothing may be left running, and what people do by accident is fenced off."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, settings

from guestlink.service import leave
from support import parallel
from vshd.fork_server import SPARE_NAME

# How long an example takes says something about the machine, not about the code. Continuous integration tries the
# same examples every time, so that a change answers only for itself.
settings.register_profile(
    "guestlink",
    deadline=None,
    derandomize=os.environ.get("CI") == "true",
    max_examples=int(os.environ.get("GUESTLINK_TEST_EXAMPLES", "100")),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("guestlink")

_Item = tuple[int, str]
_status = pytest.StashKey[int]()


def pytest_configure() -> None:
    """Let programs get the signals that nohup or a shell's background ignores: what is ignored is inherited."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[_status] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave as the daemons do, where gRPC is loaded: its threads can keep the interpreter from ever ending."""
    if "grpc" in sys.modules and _status in config.stash:
        if sys.__stdout__ is not None:
            sys.__stdout__.flush()  # pytest captures the other one
        leave(config.stash[_status])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort tests for several processes, the longest first; see :func:`parallel.may_repeat` for the second try."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: (parallel.rank(item.nodeid), parallel.unit(item.nodeid)))
    repeats = "true" in (os.environ.get("CI"), os.environ.get("GUESTLINK_TEST_REPEAT"))
    if repeats and config.pluginmanager.hasplugin("rerunfailures"):
        for item in items:
            if parallel.may_repeat(item.nodeid):
                item.add_marker(pytest.mark.flaky(reruns=1))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print why each test that passed at the second try failed at the first."""
    failed = {report.nodeid for kind in ("failed", "error") for report in terminalreporter.stats.get(kind, ())}
    repeated = [report for report in terminalreporter.stats.get("rerun", ()) if report.nodeid not in failed]
    if repeated:
        terminalreporter.section("passed at the second try: each is a race in a test or in Guestlink, to be mended")
    for report in repeated:
        terminalreporter.section(report.nodeid, "_")
        report.toterminal(terminalreporter._tw)


def pytest_collection_finish() -> None:
    """The tests themselves stay to the end: no collection of garbage looks at them again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """See :mod:`support.parallel`."""
    return parallel.scheduler(config, log)


class _Faults(logging.Handler):
    """Keeps what a program of ours logs about an exception that it did not expect."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """See :class:`logging.Handler`."""
        if record.exc_info and record.name.partition(".")[0] in _OURS:
            self.found.append(self.format(record))


_OURS = ("guestlink", "garcon", "vshd", "sommelier_shim", "guestlink_host")


@pytest.fixture(autouse=True)
def _no_fault_of_ours(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test during which code of ours met an exception that it did not expect, and went on."""
    faults = _Faults()
    logging.getLogger().addHandler(faults)
    yield
    logging.getLogger().removeHandler(faults)
    if request.node.get_closest_marker("expects_fault") is None:
        assert not faults.found, "\n".join(faults.found)


@pytest.fixture(autouse=True)
def _nothing_left_running(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a child process or a descriptor behind."""
    if request.node.get_closest_marker("container") is not None:
        yield  # Processes of a booted container come and go as it pleases; the machine ends them all.
        return
    before = _children()
    descriptors = _descriptors()
    yield
    if _opened_since(descriptors):
        gc.collect()  # It takes longer than most tests.
    # Compared by id alone: a process has another command line before it has executed its program.
    known = {pid for pid, _ in before}
    leftovers = _settle(lambda: {child for child in _children() if child[0] not in known})
    assert not leftovers, f"still running: {sorted(leftovers)}"
    opened = _settle(lambda: _opened_since(descriptors))
    assert not opened, f"descriptors left open: {sorted(opened)}"


def _opened_since(before: dict[int, str]) -> set[tuple[int, str]]:
    opened = set(_descriptors().items()) - set(before.items())
    if "grpc" in sys.modules and len(opened) == 2 and all(target.startswith("socket:") for _, target in opened):
        return set()  # gRPC's poller keeps one socket pair for each event loop that it has seen.
    return opened


def _settle(left: Callable[[], set[_Item]], limit: float = 30.0) -> set[_Item]:
    """Ask again until nothing is left or the limit has passed: a process takes a moment to be gone."""
    deadline = time.monotonic() + limit
    while (rest := left()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return rest


def _children() -> set[tuple[int, str]]:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # There are none. psutil would look at every process of the machine.
        return set()
    found = set()
    for child in psutil.Process().children(recursive=True):
        try:
            if child.name() == SPARE_NAME:
                continue  # A vshd that runs has made it for the next session, and takes it along when it ends.
            found.add((child.pid, " ".join(child.cmdline())[:200] or child.name()))
        except psutil.Error:
            continue
    return found


_IGNORED = ("anon_inode:", "/dev/urandom", "/dev/null", "pipe:", "/dev/pts/")
"""gRPC keeps epoll and event descriptors of its own for the life of the process."""


def _descriptors() -> dict[int, str]:
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue
        if not target.startswith(_IGNORED):
            found[int(entry.name)] = target
    return found


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Private XDG directories for a test; returns the directory that holds them all."""
    # Unix socket paths are short; pytest's own directories are not.
    for variable, name in (
        ("HOME", "home"),
        ("XDG_RUNTIME_DIR", "run"),
        ("XDG_CONFIG_HOME", "home/.config"),
        ("XDG_DATA_HOME", "home/.local/share"),
        ("XDG_STATE_HOME", "home/.local/state"),
    ):
        path = tmp_path / name
        path.mkdir(parents=True, exist_ok=True)
        monkeypatch.setenv(variable, str(path))
    (tmp_path / "run").chmod(0o700)
    for variable in ("DBUS_SESSION_BUS_ADDRESS", "WAYLAND_DISPLAY", "DISPLAY", "NOTIFY_SOCKET"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path
