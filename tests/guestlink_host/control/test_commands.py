"""The commands as a user types them, each in its own process, with a real daemon."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from guestlink.errors import GuestlinkError, run_command
from guestlink_host.border.policies import POLICIES
from guestlink_host.control import parser
from guestlink_host.launchers.launcher_publisher import LauncherPublisher
from support.fake_garcon import application, png
from support.host import Host, host_in_test
from support.needs import need_status_0

CHECKED = "guestlink_host.control.parser"


@pytest.fixture
async def host(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Host]:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    async with host_in_test(monkeypatch) as running:
        yield running


async def run(*words: str, cwd: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command while the daemon runs in this process."""
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "guestlink_host", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
    )


async def test_a_first_walk_through_the_commands(host: Host) -> None:
    added = await run("add", "demo")
    assert added.returncode == 0
    assert "/dev/.guestlink" in added.stdout
    listed = json.loads((await run("list", "--json")).stdout)
    assert [(entry["name"], entry["registered"]) for entry in listed] == [("demo", False)]
    assert (await run("apps", "demo")).stdout.startswith("no applications of demo are known")
    assert (await run("remove", "demo")).returncode == 0
    assert "guestlink-host attach NAME" in (await run("list")).stdout
    assert (await run("apps")).stdout.startswith("no applications are known")
    guest = await host.registered()
    guest.icons = {"org.x": (False, png(48))}
    await guest.publish(application("org.x", names={"": "The X"}, no_display=True))
    await host.until(host.icons)
    assert (await run("apps", "demo")).stdout == "org.x  The X  (not shown)\n"
    assert json.loads((await run("apps", "--json")).stdout)[0]["id"] == "org.x"
    assert "registered, 1 applications" in (await run("list")).stdout
    shown = (await run("status")).stdout
    assert shown.startswith("1 of 1 containers registered\n")
    assert "\n  windows: none: " in shown
    assert "\n  sound: none: neither PulseAudio nor pipewire-pulse runs in the host's session\n" in shown
    assert json.loads((await run("status", "--json")).stdout)["pid"] == os.getpid()
    assert "demo: registered" in (await run("events", "demo")).stdout
    assert json.loads((await run("events", "--json")).stdout)[-1]["event"] == "registered"


async def test_launch_passes_the_id_and_the_files(host: Host) -> None:
    guest = await host.registered()
    (host.root / "a b").write_text("")
    folder = str(host.root)
    assert (await run("share", "demo", ".", "/mnt/host", cwd=folder)).stdout == f"{folder}  as  /mnt/host\n"
    files = ["a b", f"file://{folder}/%C3%A4", "https://example.org/", "mailto:x", "new", "/inside/only"]
    done = await run("launch", "demo", "org.x", *files, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    request = guest.calls[-1][1]
    assert request.desktop_file_id == "org.x"
    assert list(request.files) == [
        "/mnt/host/a b", "/mnt/host/ä", "https://example.org/", "mailto:x", "/mnt/host/new", "/inside/only",
    ]  # fmt: skip
    assert json.loads((await run("share", "demo", "--forget", ".", "--json", cwd=folder)).stdout) == []


@pytest.mark.parametrize("name", ["org.x", "a b", "-x", 'q"uo$te', "100%", "Übung"])
async def test_the_command_in_a_launcher_starts_what_the_container_published(host: Host, name: str) -> None:
    """Run the launcher as a desktop does, with GLib's parser of the file."""
    program = (
        "import sys, gi; gi.require_version('Gio', '2.0'); from gi.repository import Gio\n"
        "context = Gio.AppLaunchContext()\n"
        "context.setenv('PYTHONPATH', sys.argv[2])\n"
        "launcher = Gio.DesktopAppInfo.new_from_filename(sys.argv[1])\n"
        "sys.exit(not launcher.launch_uris(['file:///tmp/%C3%A4'], context))"
    )
    environ = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}

    def run_glib(*argv: str) -> int:
        argv = ("/usr/bin/python3", "-c", *argv)
        return subprocess.run(argv, check=False, capture_output=True, env=environ, timeout=60).returncode

    need_status_0("/usr/bin/python3", "-c", "import gi", packages="python3-gi gir1.2-glib-2.0")
    guest = await host.registered()
    await guest.publish(application(name, exec="x %U"))
    await host.until(host.launchers)
    (path,) = (host.data / "applications").glob("guestlink-*.desktop")
    before = len(guest.calls)
    # In a checkout that is not installed, the launcher's command needs the path of the sources.
    assert await asyncio.to_thread(run_glib, program, str(path), os.environ["PYTHONPATH"]) == 0

    def launched() -> list[tuple[str, list[str]]]:
        calls = [request for what, request in guest.calls[before:] if what == "launch_application"]
        return [(request.desktop_file_id, list(request.files)) for request in calls]

    assert await host.until(launched) == [(name, ["/tmp/ä"])]


async def test_icon_writes_a_picture(host: Host) -> None:
    guest = await host.registered()
    guest.icons = {"a": (False, png(48))}
    done = await run("icon", "demo", "a", "--json", cwd=str(host.root))
    assert json.loads(done.stdout) == {
        "path": "a.png",
        "format": "png",
        "bytes": (host.root / "a.png").stat().st_size,
    }
    assert (await run("icon", "demo", "a", "-o", "x.png", cwd=str(host.root))).stdout == "x.png\n"
    assert (await run("icon", "demo", "b")).returncode == 1


async def test_policy_shows_and_sets(host: Host) -> None:
    await host.add()
    shown = (await run("policy", "demo")).stdout.splitlines()
    assert [line.partition(":")[0] for line in shown] == list(POLICIES)
    assert {"url: allow", "terminal: allow", "mime: deny"} <= set(shown)
    changed = (await run("policy", "demo", "terminal", "deny")).stdout.splitlines()
    assert set(changed) - set(shown) == {"terminal: deny"}
    assert json.loads((await run("policy", "demo", "--json")).stdout)["terminal"] == "deny"
    assert (await run("policy", "demo", "url")).stdout == "url: allow\n"
    assert "mime: allow\n" in (await run("policy", "demo", "mime", "allow")).stdout
    assert "use allow or deny" in (await run("policy", "demo", "mime", "ask")).stderr


async def test_while_a_container_is_removed_the_other_calls_are_answered(
    host: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answers: list[str] = []
    remove_files = LauncherPublisher.remove_files

    async def ask_meanwhile(self: LauncherPublisher) -> None:
        for what in ("list", "status"):
            assert [entry["name"] for entry in (await host.ask(what))["containers"]] == ["other"]
        calls = [("apps", {}), ("policy", {"mime": "allow"}), ("share", {"host": "/tmp"}), ("ports", {})]
        for what, fields in calls:
            with pytest.raises(GuestlinkError) as caught:
                await host.ask(what, name="demo", **fields)
            answers.append(caught.value.message)
        await host.ask("policy", name="demo", ports="auto")
        await remove_files(self)

    await host.registered("other")
    await host.registered("demo")
    await host.ask("policy", name="demo", mime="deny")
    monkeypatch.setattr(LauncherPublisher, "remove_files", ask_meanwhile)
    await host.ask("remove", name="demo")
    assert answers == ["the container demo is being removed"] * 4
    assert not [record for record in caplog.records if record.exc_info]


async def test_an_application_with_another_id_is_suggested(host: Host) -> None:
    guest = await host.registered()
    guest.failure = "Desktop file does not exist"
    await guest.publish(application("foot"), application("org.gnome.Maps"))
    await host.until(lambda: len(host.launchers()) == 2)
    for wrong, right in (("foot.desktop", "foot"), ("org.gnome.maps", "org.gnome.Maps")):
        for command in ("launch", "icon"):
            done = await run(command, "demo", wrong)
            assert done.returncode == 1
            assert f"did you mean {right}?" in done.stderr
    assert "did you mean" not in (await run("launch", "demo", "foot")).stderr


async def test_the_containers_words_about_a_failure_are_shown_cleaned(host: Host) -> None:
    guest = await host.registered()
    guest.failure = "no \x1b[31msuch\nthing" + "x" * 10_000
    done = await run("launch", "demo", "org.x")
    assert done.returncode == 1
    assert "no [31msuch thing" in done.stderr
    assert "\x1b" not in done.stderr
    assert len(done.stderr) < 1000
    assert len(done.stderr.splitlines()) == 2


FAILURES = [
    (("launch", "nobody", "x"), "no container 'nobody' is known here", "guestlink-host attach nobody"),
    (("launch", "demo", "x"), "the container demo is not registered", "start it"),
    (("icon", "demo", "x"), "the container demo is not registered", "start it"),
    (("apps", "nobody"), "no container 'nobody' is known here", "known: demo"),
    (("remove", "nobody"), "no container 'nobody' is known here", "guestlink-host attach nobody"),
    (("detach", "demo"), "the container demo was added by hand", "guestlink-host remove demo"),
    (("add", "demo"), "a container 'demo' is known already", "remove demo"),
    (("add", "a/b"), "'a/b' cannot be a container's name", "letters"),
    (("add", "x", "--ip", "localhost"), "'localhost' is not an IP address", "10.0.3.15"),
    (("add", "x", "--garcon", "nonsense"), "'nonsense' is not an address", "vsock:"),
    (("add", "x", "--listen", "unix:/x"), "a container has a Unix socket already", "tcp:"),
    (("add", "x", "--listen", "tcp:127.0.0.1:0"), "the listening address needs a port", "PORT"),
    (("add", "x", "--listen", "vsock:any:9000"), "--listen vsock:… needs --garcon vsock:CID:0", "context id"),
    (("share", "demo", "/nowhere"), "/nowhere is no folder of this machine", "create it first"),
    (("share", "demo", "/etc/passwd"), "/etc/passwd is no folder of this machine", "spelling"),
    (("launch", "demo", "x", ""), "the file's name is empty", "leave it out"),
    (("share", "demo", ""), "the folder's name is empty", "leave it out"),
    (("share", "demo", "--forget", ""), "the folder's name is empty", "leave it out"),
    (("launch", "a b", "x"), "no container 'a b' is known here", "guestlink-host attach NAME"),
    (("profile", "--apt", "stable"), "'stable' is no apt repository", "stable main"),
    (("profile", "--dnf", "nothing"), "'nothing' is no dnf repository", "https:"),
    (("share", "demo", "--forget", "/nowhere"), "/nowhere is not shared with demo", "share demo"),
    (("launch", "demo", "a" * 100_000), "the container demo is not registered", ""),
]


@pytest.mark.parametrize(("words", "message", "hint"), FAILURES, ids=[" ".join(f[0])[:40] for f in FAILURES])
async def test_errors_name_the_remedy(host: Host, words: tuple[str, ...], message: str, hint: str) -> None:
    await host.add()
    done = await run(*words)
    assert done.returncode == 1
    assert message in done.stderr
    assert hint in done.stderr
    assert "Traceback" not in done.stderr
    assert [entry["name"] for entry in (await host.ask("list"))["containers"]] == ["demo"]


BAD = "b\udce9t"
NOT_UTF8 = [
    f"{BAD}", f"add {BAD}", f"add x --ip {BAD}", f"add x --listen tcp:{BAD}:1", f"add x --garcon vsock:{BAD}:1",
    f"attach {BAD}", f"attach demo --manager {BAD}", f"attach demo --place {BAD}", f"detach {BAD}", f"remove {BAD}",
    f"apps {BAD}", f"launch {BAD} x", f"launch demo {BAD}", f"launch demo x /tmp/{BAD}",
    "launch demo x file:///tmp/b%E9t", "launch --percent-encoded demo b%E9t", f"icon {BAD} a", f"icon demo {BAD}",
    f"policy {BAD}", f"policy demo {BAD}", f"share {BAD}", f"share demo --forget /{BAD}", f"events {BAD}",
    f"files {BAD}", f"files demo --unmount --at /{BAD}", f"ssh-config {BAD}", f"sftp-stream {BAD}",
    f"profile --packages /{BAD}", f"profile --key /{BAD}",
]  # fmt: skip


async def test_a_word_that_is_not_utf8_is_one_sentence(
    host: Host, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    guest = await host.registered()
    guest.icons = {"a": (False, png(48))}
    for line in NOT_UTF8:
        try:
            status = await asyncio.to_thread(run_command, "guestlink-host", parser.run, line.split())
        except SystemExit as end:
            status = int(str(end.code))
        shown = capsys.readouterr().err
        assert status != 0, line
        assert shown.strip(), line
        assert "Traceback" not in shown, (line, shown)
        assert "in the daemon" not in shown, (line, shown)
    assert "its name is not UTF-8" in (await run("launch", "demo", "x", f"/tmp/{BAD}")).stderr
    # A path that stays on this machine is used unchanged.
    folder = str(host.root / BAD)
    os.mkdir(folder)
    shared = await run("share", "demo", folder)
    assert (shared.returncode, shared.stderr) == (0, "")
    assert json.loads((await run("share", "demo", "--json")).stdout)[0]["host"] == folder
    assert (await run("icon", "demo", "a", "-o", f"{BAD}.png", cwd=str(host.root))).returncode == 0
    for words in (("shell", BAD), ("shell", f"--connect={BAD}"), ("shell", "demo", f"--cid={BAD}")):
        done = await run(*words)
        assert done.returncode != 0
        assert "Traceback" not in done.stderr
    assert not [record.getMessage() for record in caplog.records if record.exc_info]


async def test_without_a_daemon_every_command_says_how_to_start_it(host: Host) -> None:
    await host.stop()
    for words in (("list",), ("status",), ("apps",), ("launch", "a", "b"), ("add", "a"), ("events",)):
        done = await run(*words)
        assert done.returncode == 1
        assert "guestlink-host is not running" in done.stderr
        assert "guestlink-host serve" in done.stderr


async def test_help_has_examples(host: Host) -> None:
    text = (await run("--help")).stdout
    assert "examples:" in text
    for command in (
        "serve",
        "add",
        "remove",
        "list",
        "apps",
        "launch",
        "icon",
        "policy",
        "share",
        "status",
        "events",
    ):
        assert f"guestlink-host {command}" in text or f"  {command} " in text
        assert (await run(command, "--help")).returncode == 0


async def test_commands_import_nothing_slow() -> None:
    program = (
        f"import sys, {CHECKED}; "
        "slow = {'grpc', 'google.protobuf', 'asyncio', 'dbus_fast', 'logging'} & set(sys.modules); "
        "sys.exit(str(slow) if slow else 0)"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program], check=False, capture_output=True, text=True, env=environ
    )
    assert (done.returncode, done.stderr) == (0, "")


async def test_launch_takes_ten_thousand_files_and_no_nul(host: Host) -> None:
    guest = await host.registered()
    files = [f"/tmp/file {number}" for number in range(10_000)]
    await host.ask("launch", name="demo", id="x", files=files)
    assert list(guest.calls[-1][1].files) == files
    for name, wrong in (("", []), ("a\0b", []), (None, []), ("x", ["a\0b"]), ("x", [3]), ("x", "text")):
        with pytest.raises(GuestlinkError):
            await host.ask("launch", name="demo", id=name, files=wrong)
    assert len([call for call in guest.calls if call[0] == "launch_application"]) == 1
