"""WLCS, Mir's conformance tests for compositors: every test that passes on Mir must pass through the proxy too."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeAlias
from xml.etree import ElementTree

import pytest

pytestmark = [pytest.mark.interop, pytest.mark.slow]

CHECKOUT = Path(__file__).resolve().parents[2]
SHIM = CHECKOUT / "tests/interop/wlcs/shim.c"
SHARDS = 4
"""Number of processes on each side: the tests mostly wait."""
TRIES = 3
"""Number of runs of a test whose results differ, and of a suite that crashes: a few tests depend on the machine's
speed, and Mir itself may crash at exit, both without the proxy as well."""
LIMIT = 300.0

_Kind: TypeAlias = Callable[["Suite", Path, dict[str, str]], dict[str, bool]]

DIFFERENCES: dict[str, str] = {}
"""Tests whose results differ with and without the proxy, with the reason: none at present."""


class _Crash(AssertionError):
    """The suite crashed."""


class Suite(NamedTuple):
    """The files of the conformance suite.

    :ivar runner: the program; :ivar module: the module that starts Mir; :ivar shim: what inserts the proxy.
    """

    runner: Path
    module: Path
    shim: Path


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    runner = next(Path("/usr/lib").glob("*/wlcs/wlcs"), None)
    module = next(Path("/usr/lib").glob("*/mir/miral_wlcs_integration.so"), None)
    tools = [shutil.which("cc"), shutil.which("pkg-config")]
    if runner is None or module is None or None in tools:
        reason = f"WLCS is missing: apt install {(CHECKOUT / 'tests/apt/wlcs.txt').read_text().strip()}"
        assert os.environ.get("CI") != "true", reason
        pytest.skip(reason)
    shim = tmp_path_factory.mktemp("wlcs") / "shim.so"
    flags = subprocess.run(
        ["pkg-config", "--cflags", "wlcs", "wayland-client"], capture_output=True, text=True, check=True
    ).stdout.split()
    subprocess.run(
        ["cc", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", *flags, str(SHIM), "-o", str(shim), "-ldl"],
        check=True,
        timeout=LIMIT,
    )
    return Suite(runner, module, shim)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory for sockets, because pytest's directories have long names."""
    with tempfile.TemporaryDirectory(prefix="wlcs-") as directory:
        yield Path(directory)


def test_what_passes_without_the_proxy_passes_through_it(suite: Suite, short_path: Path) -> None:
    shards = [{"GTEST_TOTAL_SHARDS": str(SHARDS), "GTEST_SHARD_INDEX": str(index)} for index in range(SHARDS)]
    direct, through = _both(suite, short_path / "all", shards)
    assert len(direct) > 900
    passed = [{name for name, result in results.items() if result} for results in (direct, through)]
    assert direct.keys() == through.keys()
    for number in range(TRIES):
        differing = passed[0] ^ passed[1]
        if not differing - DIFFERENCES.keys():
            break
        again = _both(suite, short_path / f"again{number}", [{"GTEST_FILTER": ":".join(sorted(differing))}])
        for names, results in zip(passed, again, strict=True):
            names |= {name for name, result in results.items() if result}
    assert passed[0] ^ passed[1] == DIFFERENCES.keys()
    assert len(passed[1]) > 900


def _both(
    suite: Suite, directory: Path, environs: Iterable[dict[str, str]]
) -> tuple[dict[str, bool], dict[str, bool]]:
    """The result of each test: without the proxy and through it."""
    runs = [
        (kind, environ, directory / f"{name}{number}")
        for number, environ in enumerate(environs)
        for name, kind in (("direct", _direct), ("through", _through))
    ]
    found: dict[object, dict[str, bool]] = {_direct: {}, _through: {}}
    with ThreadPoolExecutor(len(runs)) as pool:
        for kind, results in pool.map(lambda run: (run[0], _try(run[0], suite, run[2], run[1])), runs):
            found[kind] |= results
    return found[_direct], found[_through]


def _try(kind: _Kind, suite: Suite, directory: Path, environ: dict[str, str]) -> dict[str, bool]:
    for number in range(TRIES - 1):
        try:
            return kind(suite, directory / str(number), environ)
        except _Crash:
            continue
    return kind(suite, directory / "last", environ)


def _direct(suite: Suite, directory: Path, environ: dict[str, str]) -> dict[str, bool]:
    directory.mkdir(mode=0o700, parents=True)
    return _run(suite, suite.module, directory, environ)


def _through(suite: Suite, directory: Path, environ: dict[str, str]) -> dict[str, bool]:
    directory.mkdir(mode=0o700, parents=True)
    proxy = directory / "proxy"
    proxy.mkdir(mode=0o700)
    host, served = directory / "host", proxy / "wayland-0"
    log = directory / "log"
    with (
        open(log, "wb") as output,
        subprocess.Popen(
            [sys.executable, "-m", "sommelier_shim", "--parent", f"--display={host}", "--allow=*"],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(directory),
                "XDG_RUNTIME_DIR": str(proxy),
                "PYTHONPATH": f"{CHECKOUT}/lib:{CHECKOUT}/guest",
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        ) as process,
    ):
        try:
            deadline = time.monotonic() + LIMIT
            while not served.exists():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.02)
            return _run(
                suite,
                suite.shim,
                directory,
                environ
                | {
                    "GUESTLINK_WLCS_MODULE": str(suite.module),
                    "GUESTLINK_WLCS_PROXY": str(served),
                    "GUESTLINK_WLCS_HOST": str(host),
                },
            )
        finally:
            process.terminate()
            assert process.wait(LIMIT) == 0, log.read_text()
            assert "Traceback" not in log.read_text()


def _run(suite: Suite, module: Path, directory: Path, environ: dict[str, str]) -> dict[str, bool]:
    report = directory / "report.xml"
    done = subprocess.run(
        [str(suite.runner), str(module), f"--gtest_output=xml:{report}"],
        env={"PATH": os.environ["PATH"], "HOME": str(directory), "XDG_RUNTIME_DIR": str(directory)} | environ,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=LIMIT,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise _Crash(f"status {done.returncode}: {done.stdout[-4000:].decode(errors='replace')}")
    return {
        f"{case.get('classname')}.{case.get('name')}": case.find("failure") is None
        for case in ElementTree.parse(report).iter("testcase")
        if case.get("status") == "run"
    }
