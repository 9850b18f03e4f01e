"""A container shows its windows on the host's compositor, and sees or controls nothing else there."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from guestlink.wayland_globals import FOR_APPLICATIONS, SECURITY_CONTEXT
from support.compositor import LIMIT, UNPRIVILEGED, Compositor, Headless
from support.needs import need
from support.newer_compositors import Labwc, NewSway, need_debian_13
from support.stage import Stage
from support.toplevel import client_of
from support.virtual_input import WlrootsInput
from support.wayland_peers import GLOBALS, Host, HostConnection

INSIDE_ROOT, INSIDE = 200000, 201000
"""The container's root and its user, as ids of the host."""
ANOTHER = 4600
"""Another user of the host."""
NAME = "work"
pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="a container needs id-mapped users")

OLD, NEW = Compositor, NewSway
"""A compositor without security contexts, and one with them."""


class Border:
    """A host with a compositor, and a container whose programs run as an id-mapped user."""

    def __init__(self, stage: Stage, compositor: Headless) -> None:
        self.stage = stage
        self.compositor = compositor
        self.carried = stage.root / "host/run/guestlink-host/containers" / NAME
        self.socket = self.carried / "wayland-0"
        self.mounted = stage.root / "inside"
        self.mounted.mkdir(mode=0o755)
        self.home = stage.root / "inside-home"
        self.home.mkdir(mode=0o700)
        os.chown(self.home, INSIDE, INSIDE)
        self._programs: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start guestlink-host, and make the container known to it as a manager does."""
        if "GUESTLINK_HOST_COMPOSITOR" not in self.stage.host_environ:
            self.stage.host_environ |= self.compositor.environ
        self.stage.start_host()
        self.ask("attach", manager="lxc", place="/nowhere", uid=1000, users=[INSIDE_ROOT, INSIDE])

    def ask(self, call: str, **fields: Any) -> dict[str, Any]:
        return self.stage.ask_host(call, name=NAME, **fields)

    def way(self) -> str:
        """By which way the container reaches the compositor; the socket is in place once it is not "none"."""
        return str(self.stage.host_json("list")[0]["wayland"]["way"])

    def wait_for(self, way: str) -> None:
        self.stage.wait(f"the way is {way}", lambda: self.way() == way)

    def argv(self, *words: str, uid: int = INSIDE) -> list[str]:
        """The command line of a program that sees the host's directory where the container mounts it."""
        script = f'mount --bind {shlex.quote(str(self.carried))} {shlex.quote(str(self.mounted))} && exec "$@"'
        own = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"]
        return [*own, "setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *words]

    @property
    def environ(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.home),
            "WAYLAND_DISPLAY": str(self.mounted / "wayland-0"),
            "LANG": "C.UTF-8",
        }

    def run(self, *words: str, uid: int = INSIDE) -> subprocess.CompletedProcess[str]:
        """Run a program in the container until it exits."""
        return subprocess.run(
            self.argv(*words, uid=uid),
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )

    def program(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a program in the container."""
        program = subprocess.Popen(
            self.argv(*words),
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._programs.append(program)
        return program

    def window(self, name: str) -> subprocess.Popen[bytes]:
        """Start a program in the container and wait for its window."""
        program = self.program("foot", "-a", name, "sleep", "1000")
        self.stage.wait(f"the window {name}", lambda: name in self.windows())
        return program

    def windows(self) -> list[str]:
        assert isinstance(self.compositor, Compositor)
        return [window["app_id"].removeprefix(f"guestlink-{NAME}-") for window in self.compositor.windows()]

    def interfaces(self) -> set[str]:
        """The interfaces that the compositor offers to the container's programs; empty if none can connect."""
        lines = [line for line in self.run("wayland-info").stdout.splitlines() if line.startswith("interface: ")]
        return {line.split("'")[1] for line in lines}

    @contextmanager
    def clipboard(self, text: bytes) -> Iterator[None]:
        """Let a program of the host own the clipboard."""
        environ = self.environ | self.compositor.environ
        argv = ["setpriv", f"--reuid={UNPRIVILEGED}", f"--regid={UNPRIVILEGED}", "--clear-groups"]
        copy = subprocess.Popen([*argv, "wl-copy", "--foreground"], env=environ, stdin=subprocess.PIPE)
        assert copy.stdin is not None
        with copy.stdin as stream:
            stream.write(text)
        try:
            self.stage.wait("the clipboard is full", lambda: self._host_paste() == text)
            yield
        finally:
            copy.kill()
            copy.wait(LIMIT)

    def _host_paste(self) -> bytes:
        environ = self.environ | self.compositor.environ
        return subprocess.run(
            ["wl-paste", "-n"], env=environ, stdin=subprocess.DEVNULL, capture_output=True, check=False
        ).stdout

    def proxies(self) -> list[int]:
        """The ids of the processes that are the container's proxy."""
        switch = f"--for-container={NAME}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                words = (path / "cmdline").read_bytes().split(b"\0")
                if switch in words and str(self.stage.root).encode() in (path / "environ").read_bytes():
                    found.append(int(path.name))
        return found

    def close(self) -> None:
        for program in self._programs:
            program.kill()
            program.wait(LIMIT)


@contextmanager
def border(kind: Callable[[Path], Headless]) -> Iterator[Border]:
    need("sway", "swaymsg", "grim", "foot", packages="sway grim foot")
    need("wtype", "wl-paste", "wayland-info", packages="wtype wl-clipboard wayland-utils")
    if kind is not OLD:
        need_debian_13()
    with ExitStack() as stack:
        stage = Stage(NAME, as_uid=UNPRIVILEGED)
        stack.callback(stage.close)
        compositor = stack.enter_context(kind(stage.root / "compositor"))
        made = Border(stage, compositor)
        stack.callback(made.close)
        yield made
        stage.check_logs()


@pytest.fixture(params=[OLD, NEW, Labwc], ids=["proxy", "sway", "labwc"])
def any_way(request: pytest.FixtureRequest) -> Iterator[Border]:
    """A border whose container connects by a proxy, or directly in a security context of two compositors."""
    with border(request.param) as made:
        made.start()
        made.wait_for("proxy" if request.param is OLD else "direct")
        yield made


@pytest.fixture
def proxied() -> Iterator[Border]:
    with border(OLD) as made:
        made.start()
        made.wait_for("proxy")
        yield made


@pytest.fixture
def direct() -> Iterator[Border]:
    with border(NEW) as made:
        made.start()
        made.wait_for("direct")
        yield made


@pytest.fixture
def played() -> Iterator[tuple[Border, Host]]:
    """A border whose compositor is the test; it has security contexts, which hide what they should."""
    stage = Stage(NAME, as_uid=UNPRIVILEGED)
    try:
        host = Host(stage.root / "compositor", (*GLOBALS, (SECURITY_CONTEXT, 1), ("zwlr_layer_shell_v1", 1)))
        host.hidden = frozenset({SECURITY_CONTEXT, "zwlr_layer_shell_v1"})
        host.path.chmod(0o777)
        try:
            made = Border(stage, Headless(stage.root / "none"))
            stage.host_environ["GUESTLINK_HOST_COMPOSITOR"] = str(host.path)
            made.start()
            yield made, host
            stage.check_logs()
        finally:
            stage.stop("host")
            host.close()
    finally:
        stage.close()


def test_it_sees_no_screen_types_nothing_and_gets_only_what_applications_use(any_way: Border) -> None:
    assert any_way.run("grim", str(any_way.home / "picture.png")).returncode != 0
    assert not (any_way.home / "picture.png").exists()
    assert any_way.run("wtype", "x").returncode != 0
    offered = any_way.interfaces()
    assert {"wl_compositor", "wl_shm", "wl_seat", "xdg_wm_base"} <= offered
    assert offered <= FOR_APPLICATIONS
    # The host itself has more than that, so that there is something to hide.
    with client_of(any_way.compositor.socket) as client:
        client.start()
        assert {"zwlr_screencopy_manager_v1", "zwp_virtual_keyboard_manager_v1"} <= client.names.keys()


def test_the_socket_is_never_the_compositors_own(any_way: Border) -> None:
    """Not even for a moment after an older guestlink-host, which linked it into the directory."""
    assert any_way.socket.stat().st_ino != any_way.compositor.socket.stat().st_ino
    any_way.stage.stop("host")
    any_way.socket.unlink()
    os.link(any_way.compositor.socket, any_way.socket)
    any_way.stage.start_host()
    any_way.stage.wait("the socket is another one", lambda: any_way.way() != "none")
    assert any_way.socket.stat().st_ino != any_way.compositor.socket.stat().st_ino


def test_programs_without_the_focus_get_no_clipboard(any_way: Border) -> None:
    """wl-paste opens a window if it has to; so this client asks as wl-paste does, and opens none."""
    with any_way.clipboard(b"secret of the host"), client_of(any_way.socket) as client:
        client.start()
        seat, manager = client.bind("wl_seat"), client.bind("wl_data_device_manager")
        client.create(manager, "get_data_device", seat)
        client.sync()
        assert not [event for event in client.events if event.name in ("data_offer", "selection")]


def test_the_compositor_knows_the_container_by_its_name(played: tuple[Border, Host]) -> None:
    """The host names the sandbox; what the container says about itself there would be refused as nested."""
    made, host = played
    made.wait_for("direct")
    requests = {name: value for one in host.connections for name, value in _texts(one)}
    assert requests["set_sandbox_engine"] == b"org.guestlink"
    assert requests["set_app_id"] == NAME.encode()
    assert requests["set_instance_id"]
    assert SECURITY_CONTEXT not in FOR_APPLICATIONS


def _texts(connection: HostConnection) -> list[tuple[str, bytes]]:
    return [(m.name, m.arguments[0]) for m in connection.requests if m.name.startswith("set_")]


def test_its_windows_have_the_names_of_its_launchers(proxied: Border) -> None:
    """The dock shows the container's launcher, not a program of the host with the same id."""
    applications = Path(proxied.stage.host_environ["XDG_DATA_HOME"], "applications")
    applications.mkdir(parents=True, exist_ok=True)
    (applications / f"guestlink-{NAME}-known.desktop").touch()
    (applications / "other.desktop").touch()
    proxied.window("known")
    proxied.window("other")
    assert isinstance(proxied.compositor, Compositor)
    assert {window["app_id"] for window in proxied.compositor.windows()} == {f"guestlink-{NAME}-known", "other"}


def test_ending_one_window_ends_one_program(proxied: Border) -> None:
    one, other = proxied.window("one"), proxied.window("other")
    assert isinstance(proxied.compositor, Compositor)
    (pid,) = {window["pid"] for window in proxied.compositor.windows() if window["app_id"] == "one"}
    os.kill(pid, 9)  # what a compositor does with a window that hangs
    one.wait(LIMIT)
    assert other.poll() is None
    assert proxied.windows() == ["other"]


def test_after_a_restart_of_the_compositor_windows_open_again(any_way: Border) -> None:
    way = any_way.way()
    for _ in range(2):
        any_way.compositor.stop()
        any_way.wait_for("none")
        assert not any_way.interfaces()
        any_way.compositor.start()
        any_way.wait_for(way)
        assert "xdg_wm_base" in any_way.interfaces()


def test_a_proxy_that_is_killed_is_started_again(proxied: Border) -> None:
    program = proxied.window("first")
    (proxy,) = proxied.proxies()
    os.kill(proxy, 9)
    program.wait(LIMIT)
    proxied.window("second")
    assert proxied.proxies() != [proxy]


def test_a_container_without_windows_has_no_proxy(proxied: Border) -> None:
    assert proxied.proxies() == []


def test_the_proxy_ends_with_the_daemon_and_its_windows(proxied: Border) -> None:
    """Windows survive a restart of guestlink-host; nobody else gets in meanwhile."""
    program = proxied.window("open")
    (proxy,) = proxied.proxies()
    proxied.stage.stop("host")
    assert not proxied.interfaces()
    assert proxied.windows() == ["open"]
    program.kill()
    proxied.compositor.wait("the proxy ends", lambda: not Path(f"/proc/{proxy}").exists())
    proxied.stage.start_host()
    proxied.wait_for("proxy")
    proxied.window("after")


def test_a_denied_container_opens_no_window_and_keeps_those_that_are_open(any_way: Border) -> None:
    way = any_way.way()
    with client_of(any_way.socket) as client:
        client.start()
        any_way.stage.host("policy", NAME, "wayland", "deny")
        any_way.wait_for("none")
        assert not any_way.interfaces()
        client.bind("wl_seat")
        client.sync()
    any_way.stage.host("policy", NAME, "wayland", "allow")
    any_way.wait_for(way)
    assert any_way.interfaces()


def test_a_clipboard_policy_puts_a_proxy_in_between(direct: Border) -> None:
    # Without a keyboard no window gets the focus, and with it the clipboard.
    with WlrootsInput(direct.compositor.socket, direct.compositor.size), direct.clipboard(b"secret of the host"):
        assert direct.run("wl-paste", "-n").stdout == "secret of the host"
        for value in ("deny", "to-host"):
            direct.stage.host("policy", NAME, "clipboard", value)
            direct.wait_for("proxy")
            said = direct.run("wl-paste", "-n")
            assert said.returncode != 0
            assert "secret" not in said.stdout
        direct.stage.host("policy", NAME, "clipboard", "allow")
        direct.wait_for("direct")
        assert direct.run("wl-paste", "-n").stdout == "secret of the host"


def test_a_compositor_whose_security_contexts_leak_gets_a_proxy(played: tuple[Border, Host]) -> None:
    """KWin 6, for instance, offers layer-shell to sandboxed programs as well."""
    made, host = played
    made.wait_for("direct")
    made.stage.stop("host")
    host.hidden = frozenset()
    made.stage.start_host()
    made.wait_for("proxy")
    why = made.stage.host_json("list")[0]["wayland"]["why"]
    assert why == (
        "the compositor offers wp_security_context_manager_v1, zwlr_layer_shell_v1 also in a security context"
    )


def test_a_compositor_that_refuses_a_security_context_gets_a_proxy(played: tuple[Border, Host]) -> None:
    made, host = played
    made.wait_for("direct")
    made.stage.stop("host")
    host.refused = ("wp_security_context_v1", "commit")
    made.stage.start_host()
    made.wait_for("proxy")
    assert made.stage.host_json("list")[0]["wayland"]["why"].endswith("has refused: refused")


def test_one_container_uses_up_no_connections_of_the_compositor(proxied: Border) -> None:
    with ExitStack() as stack:
        for _ in range(300):
            sock = stack.enter_context(socket.socket(socket.AF_UNIX))
            sock.connect(str(proxied.socket))
        sock.settimeout(LIMIT)
        assert b"there are 256 clients already" in sock.recv(4096)
        with client_of(proxied.compositor.socket) as client:
            client.start()
            assert "xdg_wm_base" in client.names


def test_nobody_but_the_container_reaches_its_socket(any_way: Border) -> None:
    """Other users of the host may not enter the directory, even where they see it mounted."""
    assert any_way.run("wayland-info", uid=INSIDE_ROOT).stdout
    for uid in (ANOTHER, INSIDE + 1):
        assert not any_way.run("wayland-info", uid=uid).stdout


@pytest.mark.parametrize("kind", [OLD, NEW], ids=["sway 1.7", "sway 1.10"])
def test_what_the_user_sets_for_all_containers_holds(kind: type[Compositor]) -> None:
    """A user may give containers screenshots; nothing else comes with them."""
    with border(kind) as made:
        made.stage.host_environ |= {
            "GUESTLINK_HOST_WAYLAND_ALLOW": "zwlr_screencopy_*",
            "GUESTLINK_HOST_WAYLAND_DENY": "zwp_primary_selection_*",
            "GUESTLINK_HOST_TITLE_PREFIX": "[{name}] ",
        }
        made.start()
        made.wait_for("proxy")
        offered = made.interfaces()
        assert offered - FOR_APPLICATIONS == {"zwlr_screencopy_manager_v1"}
        assert "zwp_primary_selection_device_manager_v1" not in offered
        made.window("one")
        assert isinstance(made.compositor, Compositor)
        made.stage.wait("its title", lambda: made.compositor.windows()[0]["name"].startswith(f"[{NAME}] "))


def test_a_killed_proxy_leaves_nothing_in_the_sessions_directory(direct: Border) -> None:
    direct.stage.host("policy", NAME, "wayland", "proxy")
    direct.wait_for("proxy")
    run = direct.stage.root / "host/run"
    before = sorted(run.iterdir())
    for _ in range(3):
        assert direct.interfaces()
        for proxy in direct.proxies():
            os.kill(proxy, 9)
        direct.stage.wait("its directory is gone", lambda: not list((run / "guestlink-host/wayland").iterdir()))
    assert sorted(run.iterdir()) == before
