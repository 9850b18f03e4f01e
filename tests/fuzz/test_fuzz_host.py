"""The reference host against containers and commands that send arbitrary data."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import grpc.aio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guestlink.pb import service_methods
from guestlink.rpc import CONTAINER_LISTENER, LINUX_HOST, CallFailed
from support.fake_garcon import SVG, FakeGarcon, application, png
from support.fuzzing import ROUND
from support.host import Host, host_in_test

METHODS = service_methods(CONTAINER_LISTENER)
PATHS = [f"/{service}/{name}" for service in (CONTAINER_LISTENER, LINUX_HOST) for name in service_methods(service)]
SETTINGS = settings(
    ROUND,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


class Rig:
    """A daemon and a container with arbitrary icons; shared by all examples of a test."""

    def __init__(self, runner: asyncio.Runner, host: Host, guest: FakeGarcon) -> None:
        self.runner = runner
        self.host = host
        self.guest = guest


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Rig]:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        # Examples open and register without limits here, because the limits have tests of their own.
        monkeypatch.setattr("guestlink_host.host_daemon.OPENING_LIMIT", 10**9)
        monkeypatch.setattr("guestlink_host.listener.opening.CONTAINER_OPENING_LIMIT", 10**9)
        monkeypatch.setattr("guestlink_host.listener.registration.REGISTRATION_LIMIT", 10**9)
        monkeypatch.setattr("guestlink_host.listener.application_lists.LIST_LIMIT", 10**9)
        monkeypatch.setattr("guestlink_host.listener.linux_host.FAILURES", 10**9)
        monkeypatch.setattr("guestlink_host.border.user_notifications.notify", lambda summary, text: None)
        host = runner.run(
            stack.enter_async_context(host_in_test(monkeypatch, opener="/bin/true", terminal="/bin/true"))
        )
        try:
            yield Rig(runner, host, runner.run(host.registered()))
        finally:
            runner.run(stack.aclose())
    bugs = [record.getMessage() for record in caplog.records if record.exc_info and record.levelno >= logging.ERROR]
    assert not bugs


TEXTS = st.one_of(
    st.text(max_size=30), st.sampled_from(["", "\0", "a\nb", "../x", "-x", "%", "https://example.org/"])
)
IDS = st.one_of(st.sampled_from(["a", "b", "c-d", "é", "x" * 300, "../../x"]), TEXTS)
APPLICATIONS = st.lists(
    st.builds(
        lambda name, names, **fields: application(name, names=names, **fields),
        IDS,
        st.dictionaries(st.one_of(st.just(""), TEXTS), TEXTS, max_size=3),
        mime_types=st.lists(TEXTS, max_size=3),
        exec=TEXTS,
        startup_wm_class=TEXTS,
        package_id=TEXTS,
        no_display=st.booleans(),
    ),
    max_size=6,
)
CALLS = st.one_of(
    st.tuples(st.just("ContainerReady"), st.fixed_dictionaries({"garcon_port": st.integers(0, 2**32 - 1)})),
    st.tuples(st.just("UpdateApplicationList"), st.fixed_dictionaries({"application": APPLICATIONS})),
    st.tuples(
        st.just("UpdateMimeTypes"),
        st.fixed_dictionaries({"mime_type_mappings": st.dictionaries(TEXTS, TEXTS, max_size=5)}),
    ),
    st.tuples(st.just("OpenUrl"), st.fixed_dictionaries({"url": TEXTS})),
    st.tuples(st.just("OpenTerminal"), st.fixed_dictionaries({"params": st.lists(TEXTS, max_size=4)})),
    st.tuples(
        st.just("PendingUpdateApplicationListCalls"),
        st.fixed_dictionaries({"count": st.integers(0, 2**32 - 1)}),
    ),
    st.tuples(
        st.just("ReportApplicationFailure"),
        st.fixed_dictionaries(
            {
                "desktop_file_id": IDS,
                "exit_status": st.integers(0, 2**32 - 1),
                "signal": st.integers(0, 70),
                "detail": TEXTS,
            }
        ),
    ),
    st.tuples(st.sampled_from(sorted(METHODS)), st.just({})),
)
ICONS = st.dictionaries(
    IDS,
    st.tuples(st.booleans(), st.one_of(st.just(png(48)), st.just(SVG), st.binary(max_size=100))),
    max_size=5,
)


@given(st.lists(st.tuples(CALLS, st.booleans()), max_size=8), ICONS)
@SETTINGS
def test_whatever_a_container_says_the_host_stays_up_and_its_files_stay_ours(
    rig: Rig, calls: list[tuple[tuple[str, dict[str, Any]], bool]], icons: dict[str, tuple[bool, bytes]]
) -> None:
    rig.guest.icons = icons
    rig.runner.run(_say(rig, calls))


async def _say(rig: Rig, calls: list[tuple[tuple[str, dict[str, Any]], bool]]) -> None:
    for (method, fields), honest in calls:
        if method == "ForwardSecurityKeyMessage":
            fields = {"message": "x", "token": None}  # the only one without a token (chromeos-garcon.md §1.6)
        with contextlib.suppress(CallFailed):
            await _call(rig.guest, method, fields if honest else {"token": "wrong"} | fields)
    await rig.guest.register()
    await rig.guest.publish(application("marker"), application("c-d", exec="x %f"))
    name = "guestlink-demo-marker.desktop"
    await rig.host.until(lambda: set(rig.host.launchers()) == {name, "guestlink-demo-c-d.desktop"})
    entry = await rig.host.entry()
    assert entry["registered"]
    assert all("guestlink-demo-" in path for path in rig.host.icons())


async def _call(guest: FakeGarcon, method: str, fields: dict[str, Any]) -> None:
    if fields.get("token", "") is None:
        path = f"unix:{guest.directory}/listener.sock"
        async with grpc.aio.insecure_channel(path) as channel:
            with contextlib.suppress(grpc.aio.AioRpcError):
                await channel.unary_unary(f"/{CONTAINER_LISTENER}/{method}", None, None)(b"\x0a\x01x")
        return
    await guest.call(method, **fields)


@given(st.lists(st.tuples(st.sampled_from(sorted(PATHS)), st.binary(max_size=200)), max_size=10))
@SETTINGS
def test_bytes_that_are_no_messages_are_refused(rig: Rig, calls: list[tuple[str, bytes]]) -> None:
    async def send() -> None:
        async with grpc.aio.insecure_channel(f"unix:{rig.guest.directory}/listener.sock") as channel:
            for path, content in calls:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    await channel.unary_unary(path, None, None)(content)
                    raise AssertionError(f"{path} accepted {content!r} without a token")
        assert (await rig.host.entry())["registered"]

    rig.runner.run(send())


NOT_UTF8 = st.sampled_from(["b\udce9", "/tmp/b\udce9.txt", "file:///tmp/b%E9.txt", "tcp:\udce9:1", "\ud800"])
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-5, 2**33),
        TEXTS,
        NOT_UTF8,
        st.sampled_from(["demo", "allow", "/tmp"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=4,
)
KEYS = st.sampled_from(
    [
        "name",
        "id",
        "files",
        "size",
        "scale",
        "url",
        "terminal",
        "host",
        "inside",
        "forget",
        "port",
        "ip",
        "garcon",
        "features",
    ]
)
NAMES = [
    "list",
    "apps",
    "launch",
    "start_and_wait",
    "launch_vshd",
    "shell_endpoint",
    "sftp_endpoint",
    "icon",
    "policy",
    "share",
    "status",
    "events",
    "add",
    "nonsense",
]


@given(st.sampled_from(NAMES), st.dictionaries(KEYS, VALUES, max_size=6))
@SETTINGS
def test_whatever_a_command_asks_it_gets_an_answer(rig: Rig, name: str, fields: dict[str, Any]) -> None:
    if name == "add":
        fields["name"] = "demo"  # this name is in use; otherwise the test would add thousands of containers

    def ask() -> Any:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(60)
            sock.connect(str(rig.host.root / "run/guestlink-host/control.sock"))
            sock.sendall(json.dumps({**fields, "call": name}).encode() + b"\n")
            with sock.makefile("rb") as stream:
                return json.loads(stream.readline())

    async def asked() -> Any:
        return await asyncio.to_thread(ask)

    answer = rig.runner.run(asked())
    assert set(answer) <= {"ok", "error", "hint", "exit_code"}
    assert "in the daemon" not in str(answer.get("error"))
