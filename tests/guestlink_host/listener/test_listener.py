"""The host's answers to a container: tokens, registration, limits (chromeos-garcon.md §7.1, §9.7)."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import AsyncIterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from garcon.host.garcon_server import GarconServer
from garcon.host.host_calls import calls_parked_with_proof
from garcon.host.host_dialer import host_dialer
from garcon.host.sftp import SftpStream
from guestlink.address import VSOCK_ANY_PORT, UnixAddress, VsockAddress
from guestlink.errors import GuestlinkError
from guestlink.pb import container_host_pb2
from guestlink.rpc import GARCON, CallFailed, RpcServer
from guestlink.sockets import PeerPolicy
from guestlink.vsock_bridge import Bridge
from guestlink_host.containers import garcon_link
from guestlink_host.containers.guest import first_pauses
from support.fake_garcon import FakeGarcon, application
from support.host import LIMIT, Host, host_in_test
from support.loopback import free_address


@pytest.fixture
async def host(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Host]:
    async with host_in_test(monkeypatch) as running:
        yield running


@pytest.fixture
def endless_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the windows of rate limits never end."""
    monkeypatch.setattr("guestlink_host.host_daemon.OPENING_WINDOW", 1e6)
    monkeypatch.setattr("guestlink_host.listener.opening.OPENING_WINDOW", 1e6)
    monkeypatch.setattr("guestlink_host.listener.registration.REGISTRATION_WINDOW", 1e6)
    monkeypatch.setattr("guestlink_host.listener.application_lists.LIST_WINDOW", 1e6)


async def refused(guest: FakeGarcon, method: str, **fields: object) -> tuple[str, str]:
    """Make a call that must fail; returns its status code and message."""
    with pytest.raises(CallFailed) as caught:
        await guest.call(method, **fields)
    return caught.value.code, caught.value.message


NEVER_ISSUED = str(uuid.uuid4())
WRONG = [NEVER_ISSUED, "", "x" * 100_000, "ä", "\0" * 36]


@pytest.mark.parametrize("token", WRONG, ids=range(len(WRONG)))
async def test_a_token_that_was_never_issued_does_not_register(host: Host, token: str) -> None:
    """Case T1 (chromeos-garcon.md §9.7)."""
    guest = await host.add()
    code, text = await refused(guest, "ContainerReady", garcon_port=1, token=token)
    assert (code, text) == ("FAILED_PRECONDITION", "Cannot find VM for ContainerListener")
    assert not (await host.entry())["registered"]


async def test_registering_again_replaces_the_connection(host: Host) -> None:
    """Case T2 (chromeos-garcon.md §9.7)."""
    guest = await host.registered()
    await guest.vanish()
    await guest.register(port=2)
    await host.until(lambda: host._reachable("demo"))
    await host.ask("launch", name="demo", id="x", files=[])
    assert guest.calls[-1][0] == "launch_application"


async def test_after_shutdown_the_token_is_worthless_and_a_new_one_is_there(host: Host) -> None:
    """Case T3 (chromeos-garcon.md §9.7)."""
    guest = await host.registered()
    old = guest.token
    await guest.call("ContainerShutdown")
    assert not (await host.entry())["registered"]
    assert (await refused(guest, "ContainerReady", garcon_port=1, token=old))[0] == "FAILED_PRECONDITION"
    assert uuid.UUID(guest.token).version == 4
    assert guest.token != old
    await guest.register()
    assert (await host.entry())["registered"]


async def test_of_two_tokens_the_other_stays_valid(host: Host) -> None:
    """Case T4 (chromeos-garcon.md §9.7)."""
    one, two = await host.registered("one"), await host.registered("two")
    await one.call("ContainerShutdown")
    await two.call("PendingUpdateApplicationListCalls", count=1)
    assert (await host.entry("two"))["pending"] == 1


async def test_only_registered_containers_count(host: Host) -> None:
    """Case T5 (chromeos-garcon.md §9.7)."""
    guest = await host.add()
    assert await refused(guest, "OpenUrl", url="https://example.org/") == (
        "FAILED_PRECONDITION", "Failure in OpenUrl",
    )  # fmt: skip
    await guest.register()
    await guest.call("OpenUrl", url="https://example.org/")


async def test_a_token_is_good_on_its_own_containers_socket_only(host: Host) -> None:
    one, two = await host.registered("one"), await host.registered("two")
    code, _ = await refused(two, "UpdateApplicationList", token=one.token, application=[application("evil")])
    assert code == "FAILED_PRECONDITION"
    assert (await refused(two, "ContainerShutdown", token=one.token))[0] == "FAILED_PRECONDITION"
    assert (await host.entry("one"))["registered"]


ANSWERS = [
    ("ContainerReady", {"garcon_port": 1}, "FAILED_PRECONDITION", "Cannot find VM for ContainerListener"),
    ("ContainerShutdown", {}, "FAILED_PRECONDITION", "Cannot find VM for ContainerListener"),
    ("PendingUpdateApplicationListCalls", {"count": 1}, "FAILED_PRECONDITION",
     "Cannot find VM for ContainerListener"),
    ("UpdateApplicationList", {"application": [application("evil")]}, "FAILED_PRECONDITION",
     "Failure in UpdateApplicationList"),
    ("UpdateMimeTypes", {"mime_type_mappings": {"a": "b/c"}}, "FAILED_PRECONDITION", "Failure in UpdateMimeTypes"),
    ("OpenUrl", {"url": "https://example.org/"}, "FAILED_PRECONDITION", "Failure in OpenUrl"),
    ("OpenTerminal", {"params": ["true"]}, "FAILED_PRECONDITION", "Failure in OpenTerminal"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "fields", "code", "text"), ANSWERS, ids=[case[0] for case in ANSWERS])
async def test_bad_tokens_are_answered_as_cicerone_does_and_nothing_happens(
    host: Host, method: str, fields: dict[str, object], code: str, text: str
) -> None:
    guest = await host.registered()
    before = await host.entry()
    events = (await host.ask("events"))["events"]
    assert await refused(guest, method, token=NEVER_ISSUED, **fields) == (code, text)
    assert await host.entry() == before
    assert (await host.ask("events"))["events"] == events
    assert not host.opened.exists()
    assert not host.launchers()


@pytest.mark.parametrize("method", ["ContainerShutdown", "PendingUpdateApplicationListCalls"])
async def test_an_empty_token_is_an_invalid_argument_where_cicerone_says_so(host: Host, method: str) -> None:
    guest = await host.registered()
    assert (await refused(guest, method, token=""))[0] == "INVALID_ARGUMENT"


LATER = [
    "ApplyAnsiblePlaybookProgress", "SelectFile", "ReportMetrics", "InstallShaderCache", "UninstallShaderCache",
    "UnmountShaderCache",
]  # fmt: skip


@pytest.mark.parametrize("method", LATER)
async def test_what_is_not_there_yet_is_unimplemented_and_never_a_false_success(host: Host, method: str) -> None:
    guest = await host.registered()
    assert (await refused(guest, method))[0] == "UNIMPLEMENTED"


@pytest.mark.usefixtures("endless_windows")
async def test_the_eleventh_opening_in_fifteen_seconds_is_refused_for_all_containers(host: Host) -> None:
    """Case H3 (chromeos-garcon.md §9.7). Here the window never ends, however slow the machine is."""
    one, two = await host.registered("one"), await host.registered("two")
    for number in range(5):
        await one.call("OpenUrl", url=f"https://example.org/{number}")
        await two.call("OpenTerminal", params=[str(number)])
    assert (await refused(one, "OpenUrl", url="https://example.org/"))[0] == "RESOURCE_EXHAUSTED"
    assert (await refused(two, "OpenTerminal"))[0] == "RESOURCE_EXHAUSTED"


@pytest.mark.usefixtures("endless_windows")
@pytest.mark.parametrize("url", ["https://example.org/", "file:///etc/passwd"], ids=["policy", "file"])
async def test_refused_requests_of_one_container_use_up_nobodys_openings(host: Host, url: str) -> None:
    flooder, other = await host.registered("flooder"), await host.registered("other")
    await host.ask("policy", name="flooder", url="deny")
    for _ in range(12):
        assert (await refused(flooder, "OpenUrl", url=url))[0] == "FAILED_PRECONDITION"
    await other.call("OpenUrl", url="https://example.org/")


@pytest.mark.usefixtures("endless_windows")
async def test_one_container_leaves_openings_to_the_others(host: Host) -> None:
    one, two = await host.registered("one"), await host.registered("two")
    for number in range(8):
        await one.call("OpenUrl", url=f"https://example.org/{number}")
    code, text = await refused(one, "OpenUrl", url="https://example.org/")
    assert (code, text.splitlines()) == (
        "RESOURCE_EXHAUSTED",
        [
            "Failure in OpenUrl: the host opens at most 8 links and terminals of one container in 1e+06 s",
            "try again in a few seconds",
        ],
    )
    assert "at most 8 links" in (await host.events("refused"))[0]
    await two.call("OpenUrl", url="https://example.org/")


async def _opens(guest: FakeGarcon) -> bool:
    try:
        await guest.call("OpenUrl", url="https://example.org/")
    except CallFailed:
        return False
    return True


@pytest.mark.usefixtures("endless_windows")
async def test_two_containers_that_open_all_they_may_leave_something_to_a_third(host: Host) -> None:
    one, two, three = [await host.registered(name) for name in ("one", "two", "three")]
    for guest in (one, two):
        while await _opens(guest):
            pass
    await three.call("OpenUrl", url="https://example.org/")
    assert (await refused(three, "OpenUrl", url="https://example.org/"))[0] == "RESOURCE_EXHAUSTED"


async def test_refused_requests_of_one_container_do_not_fill_the_event_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("guestlink_host.listener.opening.EVENT_WINDOW", 1e6)
    async with host_in_test(monkeypatch) as host:
        guest = await host.registered()
        await host.ask("policy", name="demo", url="deny")
        for number in range(12):
            await refused(guest, "OpenUrl", url=f"https://example.org/{number}")
        assert len(await host.events("refused")) == 10


@pytest.mark.usefixtures("endless_windows")
async def test_wrong_tokens_use_up_nobodys_openings(host: Host) -> None:
    guest = await host.registered()
    for _ in range(12):
        await refused(guest, "OpenUrl", url="https://example.org/", token=NEVER_ISSUED)
    await guest.call("OpenUrl", url="https://example.org/")


async def test_a_url_is_opened_without_a_shell(host: Host) -> None:
    guest = await host.registered()
    url = "https://example.org/$(touch%20/tmp/x);a&b='c'|d"
    await guest.call("OpenUrl", url=url)
    assert await host.until(lambda: host.opened.exists() and host.opened.read_text()) == f"{url}\n"
    assert await host.events("opened") == [url]


BAD_URLS = ["", "example.org", "javascript:alert(1)", "data:text/html,x", "https://a\nb/", "https:// b/",
            "--help:x", "https://", "https:///", "file:///etc/passwd", "file://../x", "http://[", "x" * 9000 + "://y",
            "http://a\u202egnp.exe/", "smb://server/share", "vbscript:x", "https:"]  # fmt: skip


@pytest.mark.parametrize("url", BAD_URLS, ids=range(len(BAD_URLS)))
async def test_other_urls_are_refused_with_a_reason(host: Host, url: str) -> None:
    guest = await host.registered()
    code, text = await refused(guest, "OpenUrl", url=url)
    assert code == "FAILED_PRECONDITION"
    assert text.startswith("Failure in OpenUrl: ")
    assert not host.opened.exists()
    assert len(await host.events("refused")) == 1


async def test_a_terminal_gets_the_words_behind_the_shell_command(monkeypatch: pytest.MonkeyPatch) -> None:
    async with host_in_test(monkeypatch, shell="/opt/vsh --quiet") as host:
        guest = await host.registered()
        await guest.call("OpenTerminal", params=["vim", "-x", "a b"])
        lines = await host.until(lambda: host.opened.exists() and host.opened.read_text().splitlines())
        assert lines == ["/opt/vsh", "--quiet", "demo", "--", "vim", "-x", "a b"]


async def test_no_terminal_can_replace_a_variable_in_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    async with host_in_test(monkeypatch, shell="/opt/vsh") as host:
        guest = await host.registered()
        await guest.call("OpenTerminal", params=["vim", "a$HOME"])
        line = await host.until(lambda: host.opened.exists() and host.opened.read_text())
        assert "/opt/vsh" in line
        assert "$HOME" not in line


async def test_a_host_without_a_shell_program_refuses_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guestlink_host.host_daemon.suite_program", lambda *names: [] if names else ["/bin/true"])
    async with host_in_test(monkeypatch, shell="") as host:
        guest = await host.registered()
        code, text = await refused(guest, "OpenTerminal")
        assert code == "FAILED_PRECONDITION"
        assert "no program that opens a shell" in text
        assert not host.opened.exists()


@pytest.mark.usefixtures("endless_windows")
async def test_a_container_cannot_keep_the_host_busy_with_registrations(host: Host) -> None:
    guest = await host.registered()
    codes = set()
    for _ in range(60):
        try:
            await guest.call("ContainerReady", garcon_port=1)
        except CallFailed as error:
            codes.add(error.code)
    assert codes == {"RESOURCE_EXHAUSTED"}
    await host.until(lambda: host._reachable("demo"))


async def test_what_a_killed_daemon_left_among_the_private_sockets_goes(host: Host) -> None:
    await host.stop()
    stale = host.root / "run/guestlink-host/private/7-garcon-3"
    stale.touch()
    await host.start()
    assert not stale.exists()


@pytest.mark.parametrize("params", [["a\0b"], ["x"] * 1001, ["x" * 200_000]], ids=["NUL", "many", "long"])
async def test_a_terminals_command_is_bounded(host: Host, params: list[str]) -> None:
    guest = await host.registered()
    assert (await refused(guest, "OpenTerminal", params=params))[0] == "FAILED_PRECONDITION"
    assert not host.opened.exists()


async def test_policies_allow_ask_and_deny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guestlink_host.border.question_pause.FIRST_PAUSE", 0.0)
    monkeypatch.setattr("guestlink_host.border.open_requests.OUTCOME_TIME", LIMIT)
    async with host_in_test(monkeypatch, ask="sh -c 'case $0 in *good*) exit 0;; esac; exit 1'") as host:
        guest = await host.registered()
        await host.ask("policy", name="demo", url="deny")
        code, text = await refused(guest, "OpenUrl", url="https://good.example/")
        assert code == "FAILED_PRECONDITION"
        assert "the host's policy does not let this container open URLs" in text
        await host.ask("policy", name="demo", url="ask")
        code, text = await refused(guest, "OpenUrl", url="https://bad.example/")
        assert (code, text) == (
            "FAILED_PRECONDITION",
            "Failure in OpenUrl: the host's user refused to open the link",
        )
        await host.ask("policy", name="demo", terminal="ask")
        text = (await refused(guest, "OpenTerminal", params=["true"]))[1]
        assert text == "Failure in OpenTerminal: the host's user refused to open the terminal"
        await guest.call("OpenUrl", url="https://good.example/")
        assert await host.events("opened") == ["https://good.example/"]
        await host.until(lambda: host.opened.exists() and host.opened.read_text() == "https://good.example/\n")
        assert (await host.ask("policy", name="demo"))["url"] == "ask"


ANSWERED_LATE = [
    (0, "true", "opened", "https://example.org/"),
    (1, "true", "refused", "https://example.org/: the host's user refused to open the link"),
    (0, "sh -c 'exit 4'", "failed", "https://example.org/: sh on the host failed with 4"),
    (
        0,
        "/nonexistent/opener",
        "failed",
        "https://example.org/: the host cannot start /nonexistent/opener: no such",
    ),
]


@pytest.mark.parametrize(("status", "opener", "event", "detail"), ANSWERED_LATE, ids=range(len(ANSWERED_LATE)))
async def test_what_the_user_decides_later_reaches_the_events(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: int, opener: str, event: str, detail: str
) -> None:
    go = tmp_path / "go"
    asker = tmp_path / "asker"
    asker.write_text(f"#!/bin/sh\nuntil [ -e {go} ]; do sleep 0.05; done; exit {status}\n")
    asker.chmod(0o755)
    monkeypatch.setattr("guestlink_host.border.open_requests.OUTCOME_TIME", 0.05)
    async with host_in_test(monkeypatch, ask=str(asker), opener=opener) as host:
        guest = await host.registered()
        await host.ask("policy", name="demo", url="ask")
        await guest.call("OpenUrl", url="https://example.org/")
        assert (
            "has not answered an earlier question"
            in (await refused(guest, "OpenUrl", url="https://other.example/"))[1]
        )
        before = len((await host.ask("events"))["events"])
        go.touch()
        events = await host.until(lambda: _events_after(host, before))
        assert len(events) == 1
        assert events[0]["event"] == event
        assert events[0]["detail"].startswith(detail)


async def _events_after(host: Host, count: int) -> list[dict[str, object]]:
    return list((await host.ask("events"))["events"][count:])


@pytest.mark.parametrize(("asker_name", "shown"), [("asker", r"\n\x"), ("kdialog", r"\\n\\x")])
async def test_a_question_is_short_plain_text(monkeypatch: pytest.MonkeyPatch, asker_name: str, shown: str) -> None:
    monkeypatch.setattr("guestlink_host.border.open_requests.OUTCOME_TIME", LIMIT)
    async with host_in_test(monkeypatch) as host:
        asked = host.root / "asked"
        asker = host.root / asker_name
        asker.write_text(f'#!/bin/sh\nprintf %s "$1" > {asked}.new; mv {asked}.new {asked}; exit 1\n')
        asker.chmod(0o755)
        monkeypatch.setenv("GUESTLINK_HOST_ASK", str(asker))
        await host.stop()
        await host.start()
        guest = await host.registered()
        await host.ask("policy", name="demo", url="ask")
        await refused(guest, "OpenUrl", url=r"https://example.org/\n\x<h1>Harmless</h1>" + "x" * 8000)
        await host.until(asked.exists)
        text = asked.read_text()
        assert f"https://example.org/{shown}‹h1>" in text
        assert text.startswith("Open this link from the container demo?\n\nhttps://example.org/")
        assert "<" not in text
        assert len(text) < 500


async def test_a_host_without_a_dialogue_program_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async with host_in_test(monkeypatch) as host:
        monkeypatch.setenv("PATH", str(tmp_path_factory.mktemp("empty")))
        guest = await host.registered()
        await host.ask("policy", name="demo", url="ask")
        assert "zenity" in (await refused(guest, "OpenUrl", url="https://example.org/"))[1]
        (detail,) = await host.events("refused")
        assert "zenity" in detail


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for the program that the host has started: a busy machine may need seconds to start it."""
    monkeypatch.setattr("guestlink_host.border.desktop.OUTCOME_TIME", 240.0)


async def test_a_missing_opener_is_the_callers_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async with host_in_test(monkeypatch, opener="/nonexistent/opener") as host:
        guest = await host.registered()
        code, text = await refused(guest, "OpenUrl", url="https://example.org/")
        assert code == "FAILED_PRECONDITION"
        assert "/nonexistent/opener" in text


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(("status", "said"), [(3, "failed with 3: it finds no program"), (1, "failed with 1")])
async def test_an_opener_that_fails_at_once_is_the_callers_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: int, said: str
) -> None:
    opener = tmp_path / "xdg-open"
    opener.write_text(f"#!/bin/sh\nexit {status}\n")
    opener.chmod(0o755)
    async with host_in_test(monkeypatch, opener=str(opener)) as host:
        guest = await host.registered()
        code, text = await refused(guest, "OpenUrl", url="https://example.org/")
        assert (code, text.partition(": ")[0]) == ("FAILED_PRECONDITION", "Failure in OpenUrl")
        assert f"xdg-open on the host {said}" in text
        assert [detail.partition(": ")[0] for detail in await host.events("failed")] == ["https://example.org/"]
        assert not await host.events("opened")


@pytest.mark.usefixtures("patient")
async def test_a_terminal_that_fails_at_once_is_the_callers_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async with host_in_test(monkeypatch, terminal="/bin/false") as host:
        guest = await host.registered()
        code, text = await refused(guest, "OpenTerminal", params=["vi"])
        assert code == "FAILED_PRECONDITION"
        assert "false on the host failed with 1" in text
        assert len(await host.events("failed")) == 1


async def test_an_opener_that_fails_later_reaches_the_events_and_the_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told, go = tmp_path / "told", tmp_path / "go"
    scripts = {
        "notify-send": f'for word; do echo "$word"; done > {told}.new; mv {told}.new {told}',
        "opener": f"until [ -e {go} ]; do sleep 0.05; done; exit 4",
    }
    for name, text in scripts.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-none")
    monkeypatch.setattr("guestlink_host.border.desktop.OUTCOME_TIME", 0.01)
    async with host_in_test(monkeypatch, opener=str(tmp_path / "opener"), compositor="off") as host:
        guest = await host.registered()
        await guest.call("OpenUrl", url="https://example.org/")
        assert await host.events("opened") == ["https://example.org/"]
        go.touch()
        (detail,) = await host.until(lambda: host.events("failed"))
        assert detail == "https://example.org/: opener on the host failed with 4"
        words = await host.until(lambda: told.exists() and told.read_text().splitlines())
        assert words[-2:] == [
            "The container demo wanted to open https://example.org/", "opener on the host failed with 4",
        ]  # fmt: skip


async def test_localhost_becomes_the_containers_address(host: Host) -> None:
    """Case H5 (chromeos-garcon.md §9.7)."""
    guest = await host.registered(ip="10.0.3.15")
    for url in ("http://localhost/", "http://localhost:8080/", "http://127.0.0.1:80/x"):
        await guest.call("OpenUrl", url=url)
    assert await host.events("opened") == [
        "http://10.0.3.15/", "http://localhost:8080/", "http://10.0.3.15:80/x",
    ]  # fmt: skip


async def test_files_in_shared_folders_are_translated_and_looked_at(host: Host) -> None:
    """Case H4 (chromeos-garcon.md §9.7)."""
    guest = await host.registered()
    folder = host.root / "shared"
    folder.mkdir()
    (folder / "ä b.pdf").write_text("x")
    (folder / "run.sh").write_text("x")
    (folder / "run.sh").chmod(0o755)
    (folder / "evil.desktop").write_text("x")
    (folder / "out").symlink_to("/etc/hostname")
    await host.ask("share", name="demo", host=str(folder), inside="/home/u")
    await guest.call("OpenUrl", url="file:///home/u/%C3%A4%20b.pdf")
    assert await host.events("opened") == [f"file://{folder}/%C3%A4%20b.pdf"]
    (folder / os.fsdecode(b"b\xe9t.txt")).touch()
    await guest.call("OpenUrl", url="file:///home/u/b%E9t.txt#part")
    assert (await host.events("opened"))[-1] == f"file://{folder}/b%E9t.txt#part"
    for bad in ("run.sh", "evil.desktop", "out", "missing", "../x", "%00"):
        assert (await refused(guest, "OpenUrl", url=f"file:///home/u/{bad}"))[0] == "FAILED_PRECONDITION"


async def test_mime_types_are_kept_and_bounded(host: Host) -> None:
    guest = await host.registered()
    await guest.call("UpdateMimeTypes", mime_type_mappings={"txt": "text/plain", "x\ny": "a/b", "l" * 300: "a/b"})
    assert (await host.entry())["mime_types"] == 1
    code, _ = await refused(guest, "UpdateMimeTypes", mime_type_mappings={str(n): "a/b" for n in range(10_001)})
    assert code == "FAILED_PRECONDITION"


@pytest.mark.usefixtures("endless_windows")
async def test_a_container_cannot_keep_the_host_busy_with_lists(host: Host) -> None:
    guest, other = await host.registered(), await host.registered("other")
    for _ in range(25):
        await guest.call("UpdateApplicationList")
        await guest.call("UpdateMimeTypes")
    for method in ("UpdateApplicationList", "UpdateMimeTypes"):
        code, text = await refused(guest, method)
        assert code == "RESOURCE_EXHAUSTED"
        assert text.startswith(f"Failure in {method}: the host accepts at most 50 lists in")
        await other.call(method)


async def test_session_info_is_asked_after_registration(host: Host) -> None:
    guest = await host.registered()
    assert guest.calls[0][0] == "get_garcon_session_info"
    entry = await host.entry()
    assert (entry["username"], entry["homedir"]) == ("user", "/home/user")


def test_a_garcon_that_does_not_answer_is_called_less_and_less_often() -> None:
    pauses = list(islice(first_pauses(), 20))
    assert pauses == sorted(pauses)
    assert pauses[0] == 0.0
    assert pauses[-1] == 30.0


async def test_a_container_whose_garcon_ends_is_not_registered_any_more(host: Host) -> None:
    guest = await host.registered()
    await guest.vanish()

    async def gone() -> bool:
        return not (await host.entry())["registered"]

    await host.until(gone)
    assert await host.events("lost") == [""]


async def test_state_survives_a_restart_but_registration_is_made_anew(host: Host) -> None:
    guest = await host.registered()
    await host.ask("policy", name="demo", url="ask")
    await guest.publish(application("kept"))
    await host.until(host.launchers)
    await host.until((host.root / "state/guestlink-host/applications/demo.json").exists)
    token = guest.token
    await host.stop()
    await guest.close()
    await host.start()
    entry = await host.entry()
    assert not entry["registered"]
    assert entry["policies"]["url"] == "ask"
    assert guest.token == token
    assert host.launchers()
    applications = (await host.ask("apps", name="demo"))["applications"]
    assert [entry["id"] for entry in applications] == ["kept"]
    assert (await refused(guest, "OpenUrl", url="https://example.org/"))[0] == "FAILED_PRECONDITION"
    await guest.register()


async def test_a_container_on_tcp(host: Host) -> None:
    """The host listens on the address that its user gave; garcon registers there, and parks connections there."""
    address = free_address()
    guest = await host.add(listen=str(address))
    token_file = str(guest.directory / "token")
    guest.sftp_port = 1
    dialer = host_dialer(address, token_file, host.root, handshake=True)
    server = GarconServer([guest], host.root)
    calls = calls_parked_with_proof(server, SftpStream("/bin/cat", 1, {}), address, token_file)
    await dialer.probe()
    channel = await dialer.dial()
    try:
        garcon_port, sftp_port = await calls.serve()
        ready = partial(container_host_pb2.ContainerStartupInfo, garcon_port=garcon_port, sftp_port=sftp_port)
        with pytest.raises(CallFailed, match="Cannot find VM"):
            await channel.call("ContainerReady", ready(token="wrong"), timeout=30)
        await channel.call("ContainerReady", ready(token=guest.token), timeout=30)
        await host.until(lambda: host._reachable("demo"))
        await host.ask("launch", name="demo", id="x", files=[])
        assert guest.calls[-1][0] == "launch_application"
        # The host waits for a shell on the same address, and its client needs the token for the handshake there.
        place = {"address": f"tcp:{address.host}:0", "token": guest.token}
        assert await host.ask("shell_endpoint", name="demo") == place
        private = host.root / "run/guestlink-host/private"
        assert await host.ask("sftp_endpoint", name="demo") == {"handover": f"{private}/1-handover"}
    finally:
        await channel.close()
        await dialer.close()
        await calls.close()
        await server.close()


async def test_a_garcon_that_listens_at_a_socket_of_its_own_is_called_there(host: Host) -> None:
    address = UnixAddress(str(host.root / "garcon.sock"))
    guest = await host.add(garcon=str(address))
    guest.sftp_port = 1
    garcon = RpcServer(GARCON, guest)
    garcon.bind(address)
    await garcon.start()
    try:
        await guest.call("ContainerReady", garcon_port=1, sftp_port=1)
        await host.until(lambda: host._reachable("demo"))
        await host.ask("launch", name="demo", id="x", files=[])
        assert guest.calls[-1][0] == "launch_application"
        assert await host.ask("sftp_endpoint", name="demo") == {"address": f"unix:{host.root}/sftp.sock"}
        place = await host.ask("shell_endpoint", name="demo")
        assert place == {"address": f"unix:{guest.directory}/vsh-{{port}}.sock", "uids": [os.getuid()]}
    finally:
        await garcon.stop(0)


async def test_a_link_in_the_place_of_such_a_socket_leads_nowhere(host: Host) -> None:
    """A container must not make the host connect to the host's own sockets."""
    guest = await host.add(garcon=f"unix:{host.root}/garcon.sock")
    with socket.socket(socket.AF_UNIX) as precious:
        precious.bind(str(host.root / "precious.sock"))
        precious.listen()
        precious.settimeout(0.5)
        (host.root / "garcon.sock").symlink_to(host.root / "precious.sock")
        await guest.call("ContainerReady", garcon_port=1)

        async def troubled() -> bool:
            return "socket" in (await host.entry())["state"]

        await host.until(troubled)
        with pytest.raises(TimeoutError):
            precious.accept()


async def test_a_virtual_machines_garcon_is_reached_through_a_private_bridge(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no vsock peer here, so the bridge connects to garcon's Unix socket."""
    guest = await host.add(garcon="vsock:7:10003")
    dialled: list[object] = []

    def bridge(listener: socket.socket, target: object, policy: PeerPolicy, **more: Any) -> Bridge:
        dialled.append(target)
        return Bridge(listener, guest.server_socket, policy, **more)

    monkeypatch.setattr(garcon_link, "Bridge", bridge)
    await guest.register()
    await host.until(lambda: host._reachable("demo"))
    assert dialled == [VsockAddress(7, 10003)]
    private = host.root / "run/guestlink-host/private"
    assert (private / "1-1").is_socket()
    await host.ask("launch", name="demo", id="x", files=[])
    place = await host.ask("shell_endpoint", name="demo")
    assert place == {"address": f"vsock:any:{VSOCK_ANY_PORT}", "cid": 7}
    await guest.call("ContainerShutdown")
    await host.until(lambda: not (private / "1-1").exists())


async def test_launch_vshd_passes_the_port(host: Host) -> None:
    guest = await host.registered()
    await host.ask("launch_vshd", name="demo", port=2**32 - 1)
    assert guest.calls[-1][1].port == 2**32 - 1
    guest.failure = "no vshd"
    with pytest.raises(GuestlinkError, match="no vshd"):
        await host.ask("launch_vshd", name="demo", port=5)
    for port in (0, 2**32, "5", None):
        with pytest.raises(GuestlinkError, match="port"):
            await host.ask("launch_vshd", name="demo", port=port)
    guest.failure = ""
    await host.ask("launch_vshd", name="demo", port=5, features=[1, 3])
    assert list(guest.calls[-1][1].container_features) == [1, 3]
    for features in ("1", [-1], [256], ["1"], [1] * 65):
        with pytest.raises(GuestlinkError, match="features"):
            await host.ask("launch_vshd", name="demo", port=5, features=features)


async def test_a_shell_is_awaited_and_files_are_found_in_the_containers_directory(host: Host) -> None:
    guest = await host.registered()
    place = await host.ask("shell_endpoint", name="demo")
    assert place == {"address": f"unix:{guest.directory}/vsh-{{port}}.sock", "uids": [os.getuid()]}
    with pytest.raises(GuestlinkError, match="serves no files"):
        await host.ask("sftp_endpoint", name="demo")
    guest.sftp_port = 1
    await guest.register()
    await host.until(lambda: host.sftp_port("demo"))
    private = host.root / "run/guestlink-host/private"
    assert await host.ask("sftp_endpoint", name="demo") == {"handover": f"{private}/1-handover"}
    await guest.call("ContainerShutdown")
    for call in ("shell_endpoint", "sftp_endpoint"):
        with pytest.raises(GuestlinkError, match="not registered"):
            await host.ask(call, name="demo")
