"""The proxy's own connection: which host it reaches, the sandbox for clients, and hosts that answer wrongly."""

from __future__ import annotations

import select
import socket
from pathlib import Path

import pytest

from guestlink.config import Config
from sommelier_shim.core.wire import encode
from sommelier_shim.daemon.host_link import SECURITY_CONTEXT
from support.scaled import Scaled
from support.wayland_peers import GLOBALS, HostConnection, heard_by, stage

WITH_CONTEXT = (*GLOBALS, (SECURITY_CONTEXT, 1))


def _context_requests(own: HostConnection) -> list[str]:
    return [f"{m.interface}.{m.name}" for m in own.requests if m.interface.startswith("wp_security_context")]


def test_clients_connect_inside_a_security_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with stage(tmp_path, Config({}), WITH_CONTEXT) as (between, host), between.client() as client:
        own = host.connection(0, at_least=1)
        between.wait("the sandbox is made", lambda: between.link.is_sandboxed and between.link.is_known)
        assert _context_requests(own) == [
            "wp_security_context_manager_v1.create_listener",
            "wp_security_context_v1.set_sandbox_engine",
            "wp_security_context_v1.set_app_id",
            "wp_security_context_v1.set_instance_id",
            "wp_security_context_v1.commit",
            "wp_security_context_v1.destroy",
            "wp_security_context_manager_v1.destroy",
        ]
        assert own.wait_request(5, "set_sandbox_engine").arguments == [b"org.guestlink"]
        assert own.wait_request(5, "set_app_id").arguments == [b"demo"]
        _, closing = own.fds
        client.start()
        assert "wl_compositor" in client.names
        assert SECURITY_CONTEXT not in client.names
        assert len(host.connections) == 3, "the proxy's own, the one that looks into the sandbox, the client's"

        poll = select.poll()
        poll.register(closing, 0)
        assert poll.poll(0) == [], "the context lives as long as the proxy"
        between.do(between.link.close)
        assert poll.poll(60_000)[0][1] & select.POLLHUP
    assert not list(tmp_path.glob("guestlink-*")), "the sandbox's directory is removed"


def test_a_host_that_refuses_a_context_is_used_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with stage(tmp_path, Config({}), WITH_CONTEXT) as (between, host):
        host.refused = ("wp_security_context_v1", "commit")
        with between.client() as client:
            client.start()
            assert "wl_compositor" in client.names
            assert host.connection(0).wait_request(5, "commit")
        assert not between.do(lambda: between.link.is_sandboxed)
    assert not list(tmp_path.glob("guestlink-*"))


def test_an_error_of_later_does_not_end_the_sandbox_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with stage(tmp_path, Config({}), WITH_CONTEXT) as (between, host):

        def sandboxed() -> bool:
            between.link.when_known(lambda trouble: None)
            return between.link.is_known and between.link.is_sandboxed

        between.wait("the sandbox is made", sandboxed)
        host.connection(0, at_least=1).event(1, "error", 1, 2, "no memory")
        between.wait("the proxy has noticed", lambda: not between.link.is_known)
        between.wait("the sandbox is made again", sandboxed)


def test_a_sandbox_that_cannot_be_made_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "missing"))
    with stage(tmp_path, Config({}), WITH_CONTEXT) as (between, _), between.client() as client:
        client.start()
        assert "wl_compositor" in client.names
        assert not between.do(lambda: between.link.is_sandboxed)


@pytest.mark.parametrize(
    "nonsense",
    [
        encode(1, 0, "ous", 1, 3, "out of memory"),
        (2).to_bytes(4, "little") + (4 << 16).to_bytes(4, "little"),
        encode(2, 0, "u", 1),
        encode(2, 0, "uuu", 1, 0xFFFFFFFF, 1),
    ],
    ids=["error", "size", "short", "string"],
)
def test_a_host_that_answers_badly_costs_the_client_its_connection_alone(tmp_path: Path, nonsense: bytes) -> None:
    host = _Mute(tmp_path / "mute")
    with stage(tmp_path) as (between, good):
        good.path.rename(tmp_path / "good")
        host.path.rename(good.path)
        with between.client() as client:
            host.say(nonsense)
            error = client.error_in(client.until_end())
            assert error is not None
            assert "the host compositor" in error[2]
        good.path.unlink()
        (tmp_path / "good").rename(good.path)
        with between.client() as client:
            client.start()
    host.close()


class _Mute:
    """A host that accepts connections and sends only the bytes that the test passes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        self._listener.settimeout(60)
        self._accepted: list[socket.socket] = []

    def say(self, data: bytes) -> None:
        sock, _ = self._listener.accept()
        self._accepted.append(sock)
        sock.sendall(data)

    def close(self) -> None:
        for sock in (self._listener, *self._accepted):
            sock.close()


def test_names_of_globals_are_bounded(tmp_path: Path) -> None:
    with stage(tmp_path, globals_=(*GLOBALS, ("x" * 60_000, 1))) as (between, _), between.client() as client:
        client.start()
        assert set(client.names) == {interface for interface, _ in GLOBALS}
        assert max(len(interface) for interface, _ in between.link.globals.values()) == 256


def test_globals_that_come_and_go_are_followed(tmp_path: Path) -> None:
    with stage(tmp_path) as (between, host), between.client() as client:
        client.start()
        own = host.connection(0, at_least=1)
        own.event(2, "global", 70, "zaura_shell", 38)
        between.wait("it is ChromeOS", lambda: between.link.is_chromeos)
        own.event(2, "global_remove", 70)
        between.wait("it is not", lambda: not between.link.is_chromeos)


def test_a_global_that_appears_later_reaches_clients_that_are_connected(tmp_path: Path) -> None:
    with stage(tmp_path) as (between, host), between.client() as client:
        client.start()
        connection: HostConnection = host.connection(at_least=2)
        connection.event(client.registry, "global", 70, "wl_output", 4)
        heard = client.sync()
        assert [m.arguments for m in heard if m.object_id == client.registry] == [[70, b"wl_output", 4]]
        connection.event(client.registry, "global_remove", 70)
        assert [m.name for m in client.sync() if m.object_id == client.registry] == ["global_remove"]


def test_hosts_are_told_apart_by_what_they_offer(tmp_path: Path) -> None:
    with (
        stage(tmp_path, Config({}), (*GLOBALS, ("zaura_shell", 38))) as (between, host),
        between.client() as client,
    ):
        client.start()
        assert host.connection(0, at_least=1).bound == {}
        assert between.do(lambda: (between.link.is_chromeos, between.link.version_of("zaura_shell"))) == (True, 38)


HIDDEN = "zxdg_output_manager_v1"
SHOWN_OUTPUT = ((0, 0), (1280, 800), (853, 533))
"""Position and pixels of an output, and its size in units at a scale of 1.5."""


def test_decisions_are_made_from_what_the_sandbox_gets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    globals_ = (*WITH_CONTEXT, ("zwlr_screencopy_manager_v1", 3), ("zcr_keyboard_extension_v1", 1))
    settings = Config({"scale": 1.25, "allow": ["zwlr_screencopy_*"], "accelerators": "Super_L"})
    with stage(tmp_path, settings, globals_) as (between, host):
        host.hidden = frozenset({"wp_viewporter", "zwlr_screencopy_manager_v1", "zcr_keyboard_extension_v1"})
        with between.client() as client, between.client() as second:
            client.start()
            second.start()
            surface = client.create(client.bind("wl_compositor"), "create_surface")
            client.request(surface, "set_buffer_scale", 3)
            client.sync()
            inside = host.connection(2, at_least=4)
            made = inside.wait_request(inside.bound["wl_compositor"][-1], "create_surface").arguments[0]
            assert inside.wait_request(made, "set_buffer_scale").arguments == [3], "a scale of 1 is used"
        assert between.do(lambda: between.link.hides("wp_viewporter"))
        assert not between.do(lambda: between.link.hides("wl_compositor"))
        limits = [limit.sentence for limit in between.proxy.limits]
    assert [sentence.partition(",")[0] for sentence in limits] == [
        "a scale of 1.25 needs wp_viewporter",
        "accelerators reach the host only with zcr_keyboard_extension_v1",
        "zwlr_screencopy_manager_v1 is allowed",
    ]
    assert all("from sandboxed clients" in sentence for sentence in limits)
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        f"{sentence}; start the proxy with --security-context=no to connect programs without the sandbox"
        for sentence in limits
    ], "each is logged once"


def test_a_sandbox_that_takes_nobody_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with stage(tmp_path, Config({}), WITH_CONTEXT) as (between, host):
        host.takes_sandboxed = False
        with between.client() as client:
            error = client.error_in(client.until_end())
    assert error is not None
    assert "the host compositor closed the connection" in error[2]


def test_an_output_s_scale_is_known_though_the_sandbox_hides_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    globals_ = (*WITH_CONTEXT, (HIDDEN, 3))
    with stage(tmp_path, Config({"direct_scale": True}), globals_) as (between, host):
        host.hidden = frozenset({HIDDEN})
        with between.client() as client:
            own = host.connection(0, at_least=1)
            manager = own.wait("xdg-output is bound", lambda: own.bound.get(HIDDEN, [0])[-1])
            xdg_output, _ = own.wait_request(manager, "get_xdg_output").arguments
            position, pixels, size = SHOWN_OUTPUT

            def describe(size: tuple[int, int]) -> None:
                own.event(xdg_output, "logical_position", *position)
                own.event(xdg_output, "logical_size", *size)
                own.event(xdg_output, "done")

            client.start()
            describe(size)
            between.wait("it is known", lambda: between.link.outputs.places)
            inside = host.connection(2, at_least=3)
            output = inside.wait("the output is bound", lambda: inside.bound.get("wl_output", [0])[0])
            inside.event(output, "geometry", *position, 344, 193, 0, "maker", "panel", 0)
            inside.event(output, "mode", 3, *pixels, 60000)
            inside.event(output, "scale", 2)
            inside.event(output, "done")
            scaled = Scaled(client, inside)
            toplevel, host_toplevel = scaled.toplevel()
            inside.event(host_toplevel, "configure", *size, b"")
            assert heard_by(client.sync(), toplevel, "configure") == [[*pixels, b""]]

            # The proxy's own connection receives a new scale; the client's connection does not.
            describe((1024, 640))
            between.wait("it is known", lambda: between.link.outputs.places[5].size == (1024, 640))
            inside.event(host_toplevel, "configure", 1024, 640, b"")
            assert heard_by(client.sync(), toplevel, "configure") == [[*pixels, b""]]
            own.event(2, "global_remove", 5)
            between.wait("it is gone", lambda: not between.link.outputs.places)
            assert own.wait_request(xdg_output, "destroy")
        assert not between.proxy.limits
