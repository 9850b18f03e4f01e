"""The garcon daemon as a real process, and a host that this test plays over a real socket."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from guestlink.address import UnixAddress
from guestlink.pb import common_pb2
from guestlink.pb import container_guest_pb2 as guest_pb
from guestlink.pb import container_host_pb2 as host_pb
from guestlink.rpc import (
    CONTAINER_LISTENER,
    GARCON,
    LINUX_HOST,
    CallFailed,
    Refusal,
    RpcChannel,
    RpcServer,
    service_methods,
)
from guestlink.sockets import connect
from support.needs import need
from support.stage import Stage

LIMIT = 60
TOKEN = "8a3f2b1c-0d4e-4f5a-9b6c-7d8e9f0a1b2c"


class Host:
    """A ContainerListener that stores every request."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.tokens = {TOKEN}
        self.answers: dict[str, Any] = {}
        self.refusals: dict[str, list[str]] = {}
        """By method: the status codes of its next calls, which the host refuses."""
        self.reasons: dict[str, str] = {}
        """By method: the error text of every call, which the host refuses."""

    def __getattr__(self, name: str) -> Any:
        without = {"select_file", "report_metrics", "forward_security_key_message"} - self.answers.keys()
        if name.startswith("_") or name in without:
            raise AttributeError(name)

        async def note(request: Any) -> Any:
            self.calls.append((name, request))
            if refusals := self.refusals.get(name):
                raise Refusal(refusals.pop(0), "not now")
            if request.token not in self.tokens:
                raise Refusal("FAILED_PRECONDITION", "unknown token")
            if name in self.reasons:
                raise Refusal("FAILED_PRECONDITION", self.reasons[name])
            return self.answers.get(name, common_pb2.EmptyMessage())

        return note

    def requests(self, name: str) -> list[Any]:
        return [request for called, request in self.calls if called == name]

    def last_ids(self) -> list[str]:
        lists = self.requests("update_application_list")
        return [app.desktop_file_id for app in lists[-1].application] if lists else []


class Rig:
    """A garcon process and the host that it connects to."""

    def __init__(self) -> None:
        self.stage = Stage("flow", system_applications=False)
        self.carried = Path(self.stage.guest_environ["GUESTLINK_TOKEN_FILE"]).parent
        self.carried.mkdir(parents=True)
        # garcon listens for this host, which is no guestlink-host and takes no parked connections.
        self.stage.guest_environ["GUESTLINK_GARCON_ADDRESS"] = f"unix:{self.carried}/garcon.sock"
        (self.carried / "token").write_text(TOKEN)
        self.host = Host()
        self.takes_failures = True
        self.server: RpcServer | None = None
        self.channels: list[RpcChannel] = []

    async def start_host(self) -> None:
        self.server = RpcServer(CONTAINER_LISTENER, self.host)
        if self.takes_failures:
            self.server.add(LINUX_HOST, self.host)
        self.server.bind(UnixAddress(str(self.carried / "listener.sock")))
        await self.server.start()

    async def stop_host(self) -> None:
        if self.server is not None:
            await self.server.stop(0)
            self.server = None

    def garcon(self) -> RpcChannel:
        self.channels.append(RpcChannel(UnixAddress(str(self.carried / "garcon.sock")), GARCON))
        return self.channels[-1]

    async def call(self, method: str, **fields: Any) -> Any:
        request, _ = service_methods(GARCON)[method]
        return await self.garcon().call(method, request(**fields), timeout=LIMIT)

    async def until(self, what: str, condition: Callable[[], Any]) -> None:
        try:
            async with asyncio.timeout(LIMIT):
                while not condition():
                    await asyncio.sleep(0.01)
        except TimeoutError:
            pytest.fail(f"it did not happen: {what}\n{self.stage.logs()}")

    async def asked_to_register(self, times: int) -> None:
        """Wait for this many ContainerReady calls; the host may have refused them."""
        await self.until("it registers", lambda: len(self.host.requests("container_ready")) >= times)

    async def registered(self, times: int = 1) -> None:
        """Wait until garcon has the host's answer to this many ContainerReady calls, and serves its commands."""
        await self.until("registered", lambda: self._logged("registered with the host at") >= times)
        await self.until("the control socket", lambda: _serves(self.stage.root / "guest/run/guestlink/garcon.sock"))

    def _logged(self, text: str) -> int:
        path = self.stage.log("garcon")
        return path.read_text().count(text) if path.exists() else 0

    async def status_says(self, text: str) -> None:
        """Wait until ``guestlink status`` prints a text; between two attempts to register it prints others."""
        deadline = asyncio.get_running_loop().time() + LIMIT
        while text not in (said := (await asyncio.to_thread(self.stage.guestlink, "status", check=False)).stdout):
            assert asyncio.get_running_loop().time() < deadline, said

    async def close(self) -> None:
        for channel in self.channels:
            await channel.close()
        await asyncio.to_thread(self.stage.close)
        await self.stop_host()


def _serves(path: Path) -> bool:
    """Whether a program accepts connections on a socket."""
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(str(path)) == 0


@pytest_asyncio.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    try:
        yield rig
        rig.stage.check_logs()
    finally:
        await rig.close()


async def test_it_serves_before_it_registers_and_publishes_after(rig: Rig) -> None:
    rig.stage.add_application("first", Name="First", **{"Name[de]": "Erste", "MimeType": "text/plain;"})
    await rig.start_host()
    rig.stage.start_garcon()
    await rig.registered()
    await rig.until("the list", lambda: rig.host.last_ids() == ["first"])
    app = rig.host.requests("update_application_list")[-1].application[0]
    assert [(value.locale, value.value) for value in app.name.values] == [("", "First"), ("de", "Erste")]
    assert app.executable_file_name == "true"
    await rig.until("MIME types", lambda: rig.host.requests("update_mime_types"))
    info = await rig.call("GetGarconSessionInfo")
    assert info.status == guest_pb.GetGarconSessionInfoResponse.SUCCEEDED
    assert info.container_homedir == rig.stage.guest_environ["HOME"]
    ready = rig.host.requests("container_ready")[0]
    assert ready.sftp_port == info.sftp_vsock_port == 1
    # Garcon serves the stream before it registers (chromeos-vsh.md §11.4).
    with connect(UnixAddress(str(rig.carried / "sftp.sock"))) as sock:
        sock.sendall(bytes.fromhex("000000050100000003"))
        assert sock.recv(9, socket.MSG_WAITALL)[4:] == bytes.fromhex("0200000003")


async def test_applications_come_and_go_while_it_runs(rig: Rig) -> None:
    await rig.start_host()
    rig.stage.start_garcon()
    await rig.registered()
    path = rig.stage.add_application("new")
    await rig.until("it appears", lambda: rig.host.last_ids() == ["new"])
    path.unlink()
    await rig.until("it disappears", lambda: rig.host.last_ids() == [])
    counts = [request.count for request in rig.host.requests("pending_update_application_list_calls")]
    assert 1 in counts
    await rig.until(
        "the count is closed",
        lambda: rig.host.requests("pending_update_application_list_calls")[-1].count == 0,
    )


async def test_linked_directories_and_renamed_ones_are_published_as_they_change(rig: Rig) -> None:
    """home-manager, Nix and stow install applications as links to the current generation."""
    home, share = Path(rig.stage.guest_environ["HOME"]), rig.stage.guest_share
    entry = rig.stage.add_application("own").read_text()
    applications = share / "applications"
    for number in (1, 2):
        generation = home / f"generations/{number}/share/applications"
        generation.mkdir(parents=True)
        (generation / f"g{number}.desktop").write_text(entry)
    profile = home / ".profile-link"
    profile.symlink_to("generations/1")
    (applications / "hm").symlink_to(profile / "share/applications")
    await rig.start_host()
    rig.stage.start_garcon()
    await rig.until("the first generation", lambda: rig.host.last_ids() == ["own", "hm-g1"])
    (home / "generations/1/share/applications/late.desktop").write_text(entry)
    await rig.until("a file in it", lambda: rig.host.last_ids() == ["own", "hm-g1", "hm-late"])
    (home / "next").symlink_to("generations/2")
    os.replace(home / "next", profile)
    await rig.until("the second generation", lambda: rig.host.last_ids() == ["own", "hm-g2"])
    share.rename(share.with_name("old"))
    applications.mkdir(parents=True)
    (applications / "new.desktop").write_text(entry)
    await rig.until("another data directory", lambda: rig.host.last_ids() == ["new"])


@pytest.mark.parametrize("code", ["FAILED_PRECONDITION", "INTERNAL", "DEADLINE_EXCEEDED"])
async def test_lists_that_the_host_refused_are_sent_again(rig: Rig, code: str) -> None:
    rig.host.refusals = {name: [code, code] for name in ("update_application_list", "update_mime_types")}
    rig.stage.add_application("first")
    await rig.start_host()
    rig.stage.start_garcon()
    for name in rig.host.refusals:
        await rig.until(f"three times {name}", lambda name=name: len(rig.host.requests(name)) == 3)
    assert rig.host.last_ids() == ["first"]
    assert len(rig.host.requests("container_ready")) == 1


async def test_a_broken_file_costs_only_itself(rig: Rig) -> None:
    applications = rig.stage.guest_share / "applications"
    (applications / "latin.desktop").write_bytes(b"[Desktop Entry]\nType=Application\nName=Caf\xe9\nExec=true\n")
    (applications / "noname.desktop").write_text("[Desktop Entry]\nType=Application\nExec=true\n")
    (applications / "noexec.desktop").write_text("[Desktop Entry]\nType=Application\nName=N\n")
    (applications / "dir.desktop").mkdir()
    (applications / "loop.desktop").symlink_to("loop.desktop")
    (applications / "up").symlink_to("..")
    os.mkfifo(applications / "fifo.desktop")
    with open(applications / "huge.desktop", "wb") as huge:
        huge.write(b"[Desktop Entry]\nType=Application\nName=N\nExec=true\n")
        huge.truncate(11 * 1024 * 1024)
    (applications.parent.parent / "home" / ".local" / "share" / "applications").mkdir(parents=True)
    rig.stage.add_application("good")
    await rig.start_host()
    rig.stage.start_garcon()
    await rig.until("the list", lambda: "good" in rig.host.last_ids())
    assert sorted(rig.host.last_ids()) == ["good", "latin"]
    names = {
        a.desktop_file_id: a.name.values[0].value
        for a in rig.host.requests("update_application_list")[-1].application
    }
    assert names["latin"] == "Caf\ufffd"


async def test_launching_runs_the_program_with_its_files(rig: Rig) -> None:
    mark = rig.stage.root / "mark"
    script = rig.stage.root / "program"
    script.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$PWD" "$DESKTOP_STARTUP_ID" "$@" > {mark}.new\nmv {mark}.new {mark}\n'
    )
    script.chmod(0o755)
    rig.stage.add_application("prog", Exec=f"{script} --open %F", Path=str(rig.stage.root), StartupNotify="true")
    await rig.start_host()
    rig.stage.start_garcon()
    await rig.until("the list", lambda: rig.host.last_ids() == ["prog"])
    answer = await rig.call("LaunchApplication", desktop_file_id="prog", files=["/a b", "https://x"])
    assert (answer.success, answer.failure_reason) == (True, "")
    await rig.until("it ran", mark.exists)
    assert mark.read_text().splitlines() == [str(rig.stage.root), "prog", "--open", "/a b", "https://x"]


async def test_a_program_that_fails_right_after_its_start_is_not_called_launched(rig: Rig) -> None:
    need("xterm", packages="xterm")
    for name, command in (("fails", "sh -c 'exit 3'"), ("dies", "sh -c 'kill -SEGV $$'"), ("x11", "xterm")):
        rig.stage.add_application(name, Exec=command.replace("'", '"').replace("$$", "\\\\$\\\\$"))
    rig.stage.add_application("ends", Exec="true")
    rig.stage.add_application("goes-on", Exec="sleep 600")
    rig.stage.guest_environ["WAYLAND_DISPLAY"] = "wayland-0"
    await rig.start_host()
    rig.stage.start_garcon()
    await rig.registered()

    async def reason(name: str) -> str:
        answer = await rig.call("LaunchApplication", desktop_file_id=name)
        assert answer.success == (not answer.failure_reason)
        return str(answer.failure_reason.removeprefix("Failure in execution of application: "))

    reasons = {name: await reason(name) for name in ("fails", "dies", "x11", "ends", "goes-on")}
    deadline = asyncio.get_running_loop().time() + LIMIT
    while late := [name for name in ("fails", "dies", "x11") if not reasons[name]]:
        # On a busy machine a program may need longer than garcon waits for its end.
        assert asyncio.get_running_loop().time() < deadline, late
        reasons |= {name: await reason(name) for name in late}
    assert reasons == {
        "fails": "sh ended with status 3 right after its start",
        "dies": "sh was killed by SIGSEGV right after its start",
        "x11": "xterm needs X11, and this container has no X server: install the package xwayland in it",
        "ends": "",
        "goes-on": "",
    }
    for child in psutil.Process(rig.stage.processes["garcon"].pid).children():
        child.kill()


LATE = {
    "fails": ("exit 3", (3, 0)),
    "dies": ("kill -SEGV $$", (0, 11)),
    "ends": ("exit 0", None),
    "closed": ("kill -TERM $$", None),
    "closed-by-shell": ("exit 143", None),
    "terminal": ("exit 1", None),
}
"""Shell commands by application, and the exit status and signal that garcon reports."""


async def launch_until_they_end(rig: Rig) -> None:
    """Launch the applications of :data:`LATE`, and let them go on when all count as launched."""
    go = rig.stage.root / "go"
    for name, (command, _) in LATE.items():
        script = rig.stage.root / name
        script.write_text(f"#!/bin/sh\nuntil [ -e {go} ]; do sleep 0.05; done\n{command}\n")
        script.chmod(0o755)
        keys = {"Categories": "System;TerminalEmulator;"} if name == "terminal" else {}
        rig.stage.add_application(name, Exec=str(script), **keys)
    await rig.start_host()
    rig.stage.start_garcon()
    await rig.registered()
    answers = await asyncio.gather(*(rig.call("LaunchApplication", desktop_file_id=name) for name in LATE))
    assert all(answer.success for answer in answers)
    children = psutil.Process(rig.stage.processes["garcon"].pid).children()
    programs = [child for child in children if child.name() in LATE]
    assert len(programs) == len(LATE)
    go.touch()
    _, running = await asyncio.to_thread(psutil.wait_procs, programs, LIMIT)
    assert not running


async def test_a_program_that_fails_later_is_reported_to_a_linux_host(rig: Rig) -> None:
    await launch_until_they_end(rig)
    expected = {name: end for name, (_, end) in LATE.items() if end is not None}

    def reported() -> dict[str, tuple[int, int]]:
        requests = rig.host.requests("report_application_failure")
        return {request.desktop_file_id: (request.exit_status, request.signal) for request in requests}

    await rig.until("the failures are reported", lambda: expected.items() <= reported().items())
    assert reported() == expected
    assert len(rig.host.requests("report_application_failure")) == len(expected)


async def test_a_host_that_takes_no_failures_is_not_troubled(rig: Rig) -> None:
    rig.takes_failures = False
    await launch_until_they_end(rig)
    await rig.until("garcon has noticed", lambda: rig.stage.logs().count("has failed") >= 2)
    assert (await rig.call("GetGarconSessionInfo")).container_homedir
    assert len(rig.host.requests("container_ready")) == 1


async def test_scaling_and_features_reach_the_program(rig: Rig) -> None:
    mark = rig.stage.root / "mark"
    script = rig.stage.root / "program"
    script.write_text(f"#!/bin/sh\nenv > {mark}.new\nmv {mark}.new {mark}\n")
    script.chmod(0o755)
    rig.stage.guest_environ |= {
        "DISPLAY": ":0",
        "WAYLAND_DISPLAY": "wayland-0",
        "DISPLAY_LOW_DENSITY": ":1",
        "WAYLAND_DISPLAY_LOW_DENSITY": "wayland-1",
        "QT_IM_MODULE": "own",
    }
    rig.stage.add_application("prog", Exec=str(script))
    await rig.start_host()
    rig.stage.start_garcon()
    await rig.registered()
    for scaling, displays in ((guest_pb.LaunchApplicationRequest.SCALED, "1"), (0, "0")):
        answer = await rig.call(
            "LaunchApplication", desktop_file_id="prog", display_scaling=scaling, container_features=[1, 2, 3, 99]
        )
        assert (answer.success, answer.failure_reason) == (True, "")
        await rig.until("it ran", mark.exists)
        environ = dict(line.partition("=")[::2] for line in mark.read_text().splitlines())
        assert (environ["DISPLAY"], environ["WAYLAND_DISPLAY"]) == (f":{displays}", f"wayland-{displays}")
        assert (environ["GTK_IM_MODULE"], environ["QT_IM_MODULE"]) == ("cros", "own")
        assert environ["CROS_IM_VIRTUAL_KEYBOARD"] == "1"
        assert not {"NOTIFY_SOCKET", "DESKTOP_STARTUP_ID"} & environ.keys()
        assert not [name for name in environ if name.startswith("GRPC_")]
        mark.unlink()


async def test_a_list_that_is_too_long_for_the_host_is_cut_and_said(rig: Rig) -> None:
    for number in range(500):
        rig.stage.add_application(f"app{number:03}", Comment=f"{number} " + "words " * 2500)
    await rig.start_host()
    rig.stage.start_garcon()
    await rig.until("the list", lambda: len(rig.host.last_ids()) == 500)
    sentence = "the application list is too long for the host; left out: comments of"
    assert sentence in rig.stage.log("garcon").read_text()
    await rig.status_says(sentence)


async def test_a_launch_that_cannot_work_says_why(rig: Rig) -> None:
    """Cases L1 and L2 (chromeos-garcon.md §9.7)."""
    rig.stage.add_application("missing", Exec="no-such-program-anywhere")
    rig.stage.add_application("badpath", Path="/no/such/directory")
    rig.stage.add_application("noexec", Exec="")
    rig.stage.add_application("takes-many", Exec="true %F")
    (rig.stage.guest_share / "applications" / "broken.desktop").write_text("nonsense")
    (rig.stage.guest_share / "applications" / "link.desktop").write_text(
        "[Desktop Entry]\nType=Link\nName=L\nURL=x:y\n"
    )
    await rig.start_host()
    rig.stage.start_garcon()
    await rig.registered()
    with pytest.raises(CallFailed) as refused:
        await rig.call("LaunchApplication")
    assert refused.value.code == "INVALID_ARGUMENT"
    for desktop_file_id, reason in {
        "unknown": "does not exist",
        "../../etc/passwd": "does not exist",
        "a\0b": "does not exist",
        "broken": "contents are invalid",
        "link": "not for an application",
        "noexec": "argv",
        "missing": "no program no-such-program-anywhere",
        "badpath": "/no/such/directory does not exist",
    }.items():
        answer = await rig.call("LaunchApplication", desktop_file_id=desktop_file_id)
        assert not answer.success
        assert reason in answer.failure_reason, desktop_file_id
    many = await rig.call("LaunchApplication", desktop_file_id="takes-many", files=["/x"] * 10_000)
    assert not many.success
    assert "10000 files" in many.failure_reason
    nul = await rig.call("LaunchApplication", desktop_file_id="takes-many", files=["a\0b"])
    assert not nul.success


async def test_icons_are_found_and_ids_without_one_are_left_out(rig: Rig) -> None:
    icons = rig.stage.guest_share / "icons" / "hicolor" / "48x48" / "apps"
    icons.mkdir(parents=True)
    png = b"\x89PNG\r\n\x1a\n" + b"x" * 100
    (icons / "mine.png").write_bytes(png)
    rig.stage.add_application("with", Icon="mine")
    rig.stage.add_application("without")
    await rig.start_host()
    rig.stage.start_garcon()
    await rig.registered()
    answer = await rig.call("GetIcon", desktop_file_ids=["with", "without", "unknown", ""], icon_size=48, scale=1)
    assert [(icon.desktop_file_id, icon.icon, icon.format) for icon in answer.desktop_icons] == [("with", png, 0)]


async def test_rpcs_of_later_say_that_they_are_not_there(rig: Rig) -> None:
    await rig.start_host()
    rig.stage.start_garcon()
    await rig.registered()
    for method in ("ApplyAnsiblePlaybook", "ConfigureForArcSideload"):
        with pytest.raises(CallFailed, match=method) as caught:
            await rig.call(method)
        assert caught.value.code == "UNIMPLEMENTED"


async def test_package_calls_check_their_requests_and_name_a_missing_packagekit(rig: Rig) -> None:
    """P5; there is no system bus in this session."""
    package = rig.stage.root / "a.deb"
    package.write_text("")
    await rig.start_host()
    rig.stage.start_garcon()
    await rig.registered()
    for method, fields in (
        ("GetLinuxPackageInfo", {}),
        ("GetLinuxPackageInfo", {"file_path": "/nonexistent.deb"}),
        ("InstallLinuxPackage", {}),
        ("InstallLinuxPackage", {"file_path": "a.deb", "package_id": "a;1;all;x"}),
        ("UninstallPackageOwningFile", {}),
        ("UninstallPackageOwningFile", {"desktop_file_id": "unknown"}),
    ):
        with pytest.raises(CallFailed) as caught:
            await rig.call(method, **fields)
        assert caught.value.code == "INVALID_ARGUMENT", (method, fields)
    info = await rig.call("GetLinuxPackageInfo", file_path=str(package))
    assert (info.success, info.failure_reason.partition(":")[0]) == (False, "the container has no system bus")
    install = await rig.call("InstallLinuxPackage", file_path=str(package))
    assert install.status == guest_pb.InstallLinuxPackageResponse.FAILED
    assert install.failure_reason == "PackageKit is not installed in the container"


async def test_a_feedback_report_is_answered_without_names_and_secrets(rig: Rig) -> None:
    await rig.start_host()
    rig.stage.start_garcon()
    await rig.registered()
    answer = await rig.call("GetDebugInformation")
    text = answer.debug_information
    headings = [line.rstrip(":") for line in text.splitlines() if not line.startswith("\t")]
    assert headings[:3] == ["Installed Crostini Packages", "systemctl status", "systemctl user status"]
    assert {"guestlink doctor", "System", "Variables", "garcon's last messages"} <= set(headings)
    assert "registered with the host at" in text
    assert rig.stage.guest_environ["HOME"] not in text
    assert Path(rig.stage.guest_environ["GUESTLINK_TOKEN_FILE"]).read_text().strip() not in text


async def test_the_host_goes_and_returns(rig: Rig) -> None:
    rig.stage.add_application("app")
    await rig.start_host()
    rig.stage.start_garcon()
    await rig.until("the list", lambda: rig.host.last_ids() == ["app"])
    await rig.stop_host()
    await rig.until("it notices", lambda: "waiting for the host" in rig.stage.log("garcon").read_text())
    await rig.status_says("waiting for the host")
    rig.host.calls.clear()
    await rig.start_host()
    await rig.until("the list again", lambda: rig.host.last_ids() == ["app"])
    await rig.status_says("registered with the host")


async def test_a_restart_does_not_end_the_registration(rig: Rig) -> None:
    await rig.start_host()
    rig.stage.start_garcon()
    await rig.registered()
    assert await asyncio.to_thread(rig.stage.stop, "garcon") == 0
    assert not rig.host.requests("container_shutdown")
    rig.stage.start_garcon()
    await rig.registered(2)
    rig.stage.stop("garcon", signal.SIGKILL)
    rig.stage.start_garcon()
    await rig.registered(3)


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe" * 18])
async def test_a_bad_token_is_waited_out(rig: Rig, content: bytes | None) -> None:
    token = rig.carried / "token"
    token.unlink()
    if content is not None:
        token.write_bytes(content)
    await rig.start_host()
    rig.stage.start_garcon()
    await rig.until("it says so", lambda: "waiting for a token" in rig.stage.log("garcon").read_text())
    token.write_text(TOKEN + "\n")
    await rig.registered()


async def test_a_rejected_token_is_told_and_a_new_one_is_taken_up(rig: Rig) -> None:
    (rig.carried / "token").write_text("short")
    await rig.start_host()
    rig.stage.start_garcon()
    await rig.until("it says so", lambda: "does not accept this container" in rig.stage.log("garcon").read_text())
    (rig.carried / "token").write_text(TOKEN)
    await rig.until("registered", lambda: TOKEN in [r.token for r in rig.host.requests("container_ready")])


async def test_opening_urls_and_terminals_from_inside(rig: Rig) -> None:
    await rig.start_host()
    rig.stage.start_garcon()
    await rig.registered()
    garcon = [sys.executable, "-m", "garcon", "--client"]
    await asyncio.to_thread(rig.stage.guest, *garcon, "--url", "https://a", "https://b")
    assert [request.url for request in rig.host.requests("open_url")] == ["https://a", "https://b"]
    await asyncio.to_thread(rig.stage.guest, *garcon, "--terminal", "-e", "sh", "-c", "ls")
    await asyncio.to_thread(rig.stage.guestlink, "terminal")
    assert [list(request.params) for request in rig.host.requests("open_terminal")] == [["sh", "-c", "ls"], []]
    refused = await asyncio.to_thread(rig.stage.guest, *garcon, "--selectfile", check=False)
    assert refused.returncode == 255
    assert "SelectFile" in refused.stderr


async def test_a_refusal_of_the_host_is_one_sentence_and_its_advice(rig: Rig) -> None:
    await rig.start_host()
    rig.stage.start_garcon()
    await rig.registered()
    rig.host.reasons["open_url"] = "Failure in OpenUrl: xdg-open on the host failed with 3\ninstall a browser"
    done = await asyncio.to_thread(rig.stage.guestlink, "open", "https://a", check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "guestlink: the host refused OpenUrl: xdg-open on the host failed with 3\n  install a browser\n"
    )
    del rig.host.reasons["open_url"]
    for what in ("/nonexist", "./nonexist", "nonexist.pdf"):
        done = await asyncio.to_thread(rig.stage.guestlink, "open", what, check=False)
        assert done.returncode == 1
        assert f"there is no file {what} here" in done.stderr
    assert len(rig.host.requests("open_url")) == 1


async def test_the_originals_other_commands_and_their_statuses(rig: Rig) -> None:
    files = ["file:///home/u/a%20b", "file:///home/u/c"]
    rig.host.answers["select_file"] = host_pb.SelectFileResponse(files=files)
    rig.host.answers["report_metrics"] = host_pb.ReportMetricsResponse()
    await rig.start_host()
    rig.stage.start_garcon()
    await rig.registered()

    async def run(*words: str) -> tuple[int, str]:
        argv = [sys.executable, "-m", "garcon", "--client", *words]
        done = await asyncio.to_thread(rig.stage.guest, *argv, check=False)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout

    selected = await run("--selectfile", "--type=open-multi-file", "--title=T", "--path=/p", "--extensions=txt")
    assert selected == (0, "".join(f"{file}\n" for file in files))
    (request,) = rig.host.requests("select_file")
    assert (request.type, request.title, request.default_path, request.allowed_extensions) == (
        "open-multi-file",
        "T",
        "/p",
        "txt",
    )
    rig.host.answers["select_file"] = host_pb.SelectFileResponse()
    assert await run("--selectfile") == (0, "")  # the user cancelled

    assert await run("--metrics", f"a=1,b={2**64 - 1}") == (0, "")
    sent = [(metric.name, metric.value) for metric in rig.host.requests("report_metrics")[0].metric]
    assert sent == [("a", 1), ("b", -1)]
    rig.host.answers["report_metrics"] = host_pb.ReportMetricsResponse(error=1)
    assert await run("--metrics", "a=1") == (255, "")
    rig.host.tokens.clear()
    assert await run("--metrics", "a=1") == (1, "")  # the call failed, so the caller may retry
    await rig.asked_to_register(2)  # the host refuses, because it does not know the token
    rig.host.tokens.add(TOKEN)
    await rig.registered(2)

    cache = ("--borealis-shader-cache", "--app-id=620")
    assert await run(*cache, "--install", "--mount", "--wait") == (0, "")
    assert await run(*cache, "--unmount", "--wait") == (0, "")
    assert await run(*cache, "--uninstall") == (0, "")
    (install,) = rig.host.requests("install_shader_cache")
    assert (install.steam_app_id, install.mount, install.wait) == (620, True, True)
    (unmount,) = rig.host.requests("unmount_shader_cache")
    assert (unmount.steam_app_id, unmount.wait) == (620, True)
    assert [request.steam_app_id for request in rig.host.requests("uninstall_shader_cache")] == [620]


async def test_a_second_daemon_says_that_it_is_the_second(rig: Rig) -> None:
    await rig.start_host()
    rig.stage.start_garcon()
    await rig.registered()
    second = await asyncio.to_thread(
        rig.stage.guest, sys.executable, "-m", "garcon", "--server", "--allow_any_user", check=False
    )
    assert second.returncode == 255
    assert "in use" in second.stderr
    assert "Traceback" not in second.stderr
    await rig.status_says("registered with the host")


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("GUESTLINK_HOST_ADDRESS", "nonsense", "GUESTLINK_HOST_ADDRESS: 'nonsense' is not an address"),
        ("GUESTLINK_GARCON_ADDRESS", "unix:/proc/nonexistent/garcon.sock", "cannot listen on"),
        ("GUESTLINK_LOG", "loud", "no log level"),
    ],
)
async def test_a_wrong_setting_is_one_sentence(rig: Rig, variable: str, value: str, said: str) -> None:
    environ = rig.stage.guest_environ | {variable: value}
    argv = [sys.executable, "-m", "garcon", "--server", "--allow_any_user"]
    done = await asyncio.to_thread(
        subprocess.run, argv, env=environ, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_socket_in_use_is_named(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "taken.sock"
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(str(path))
        taken.listen()
        environ = rig.stage.guest_environ | {"GUESTLINK_GARCON_ADDRESS": f"unix:{path}"}
        argv = [sys.executable, "-m", "garcon", "--server", "--allow_any_user"]
        done = await asyncio.to_thread(
            subprocess.run, argv, env=environ, capture_output=True, text=True, timeout=LIMIT, check=False
        )
    assert done.returncode == 255
    assert f"unix:{path} is in use" in done.stderr
    assert "Traceback" not in done.stderr


async def test_on_a_vsock_without_a_host_it_serves_and_waits(rig: Rig) -> None:
    try:
        socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).close()
    except OSError:
        pytest.skip("this kernel has no vsock")
    rig.stage.guest_environ |= {
        "GUESTLINK_HOST_ADDRESS": "vsock:2:8889",
        "GUESTLINK_GARCON_ADDRESS": "vsock:any:10000",
    }
    first = rig.stage.start_garcon()
    await rig.until("it says so", lambda: "waiting for the host" in rig.stage.log("garcon").read_text())
    await rig.status_says("vsock:2:8889")
    assert first.poll() is None
    assert await asyncio.to_thread(rig.stage.stop, "garcon") == 0


@pytest.mark.parametrize(("argv", "said"), [([], "use either"), (["--server", "--client"], "use either")])
def test_exactly_one_mode_is_wanted(argv: list[str], said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "garcon", *argv], capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert done.returncode == 255
    assert said in done.stderr
