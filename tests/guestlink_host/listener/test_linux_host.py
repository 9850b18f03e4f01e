"""Failures of launched applications that a container reports to guestlink-host alone."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from guestlink.rpc import CallFailed
from guestlink_host.listener.linux_host import DETAIL_LIMIT, FAILURES
from support.fake_garcon import FakeGarcon, application
from support.host import Host, host_in_test

METHOD = "ReportApplicationFailure"


@pytest.fixture
async def host(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Host]:
    async with host_in_test(monkeypatch) as running:
        yield running


@pytest.fixture
def shown(host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file to which notify-send writes a line per word."""
    shown, program = tmp_path / "shown", tmp_path / "notify-send"
    program.write_text(f'#!/bin/sh\nshift 2; for word; do echo "$word"; done >> {shown}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-none")
    return shown


async def code_of(guest: FakeGarcon, **fields: object) -> str:
    """The status code with which the host refuses a report."""
    with pytest.raises(CallFailed) as caught:
        await guest.call(METHOD, **fields)
    return caught.value.code


ENDS = [
    ({"exit_status": 3}, "ended with status 3"),
    ({"exit_status": 1, "detail": "cannot open display"}, "ended with status 1: cannot open display"),
    ({"signal": 11}, "was killed by SIGSEGV"),
    ({"detail": "there is no program x"}, "could not be started: there is no program x"),
    ({"signal": 6, "detail": "a\x1b[31m\u202eb\nc\0"}, "was killed by SIGABRT: a[31mb c"),
    ({"exit_status": 2, "detail": "x" * 5000}, "ended with status 2: " + "x" * DETAIL_LIMIT),
]


@pytest.mark.parametrize(("fields", "said"), ENDS, ids=range(len(ENDS)))
async def test_a_failure_reaches_the_events_and_the_user(
    host: Host, shown: Path, fields: dict[str, object], said: str
) -> None:
    guest = await host.registered()
    await guest.publish(application("org.example.App", names={"": "Example"}))
    await host.until(lambda: _known(host, "org.example.App"))
    await guest.call(METHOD, desktop_file_id="org.example.App", **fields)
    assert await host.events("failed") == [f"org.example.App: {said}"]
    lines = await host.until(lambda: shown.exists() and len(shown.read_text().splitlines()) == 2)
    assert lines
    assert shown.read_text().splitlines() == ["Example in the container demo failed", f"It {said}"]


async def _known(host: Host, name: str) -> bool:
    return name in [entry["id"] for entry in (await host.ask("apps", name="demo"))["applications"]]


BAD = [
    {"exit_status": 256},
    {"signal": 65},
    {"exit_status": 1, "signal": 11},
    {},
    {"detail": "\n\0\u202e"},
    {"exit_status": 1, "desktop_file_id": ""},
    {"exit_status": 1, "desktop_file_id": "a\nb"},
    {"exit_status": 1, "desktop_file_id": "x" * 5000},
]


@pytest.mark.parametrize("fields", BAD, ids=range(len(BAD)))
async def test_what_is_no_failure_is_refused_and_nothing_is_shown(
    host: Host, shown: Path, fields: dict[str, object]
) -> None:
    guest = await host.registered()
    assert await code_of(guest, **{"desktop_file_id": "a", **fields}) == "INVALID_ARGUMENT"
    assert not await host.events("failed")
    assert not shown.exists()


async def test_only_a_registered_container_with_its_own_token_reports(host: Host, shown: Path) -> None:
    one, two = await host.registered("one"), await host.add("two")
    failure = {"desktop_file_id": "a", "exit_status": 1}
    for token in (str(uuid.uuid4()), "", two.token):
        assert await code_of(one, token=token, **failure) == "FAILED_PRECONDITION"
    assert await code_of(two, **failure) == "FAILED_PRECONDITION", "it is not registered"
    assert not await host.events("failed")
    assert not shown.exists()


async def test_a_container_cannot_flood_the_user_and_holds_up_no_other(host: Host, shown: Path) -> None:
    one, two = await host.registered("one"), await host.registered("two")
    for number in range(FAILURES):
        await one.call(METHOD, desktop_file_id=f"a{number}", exit_status=1)
    for _ in range(20):
        assert await code_of(one, desktop_file_id="a", exit_status=1) == "RESOURCE_EXHAUSTED"
    await two.call(METHOD, desktop_file_id="b", exit_status=1)
    assert len(await host.events("failed")) == FAILURES + 1
    await host.until(lambda: shown.exists() and len(shown.read_text().splitlines()) == 2 * (FAILURES + 1))


async def test_without_a_desktop_a_failure_is_an_event_alone(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("WAYLAND_DISPLAY", "DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    guest = await host.registered()
    await guest.call(METHOD, desktop_file_id="a", exit_status=1)
    assert await host.events("failed") == ["a: ended with status 1"]


@pytest.mark.parametrize(("method", "field"), [("DescribeWindows", "wayland"), ("DescribeSound", "sound")])
async def test_a_container_learns_by_which_way_its_windows_and_its_sound_go(
    host: Host, method: str, field: str
) -> None:
    guest, other = await host.registered("one"), await host.add("two")
    answer = await guest.call(method)
    assert {"way": answer.way, "why": answer.why} == (await host.entry("one"))[field]
    assert answer.way == "none"
    assert "/" not in answer.why, "it names no path of the host"
    with pytest.raises(CallFailed):
        await guest.call(method, token=other.token)
