"""guestlink-host with a real LXD and a real Incus: a desktop, and unprivileged containers with our packages."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import pytest

from guestlink import acl
from support.desk import CLOUD, NODE, PROFILE, Desk, running_desk
from support.lxd import GUEST, Incus, Lxd, LxdContainer
from support.machine import UID, USER
from support.needs import absent, need
from support.packages import SigningKey

pytestmark = [pytest.mark.container, pytest.mark.slow]

BRIDGE = f"gl{os.getpid()}"
ADDRESS = f"10.{100 + os.getpid() % 100}.{os.getpid() // 100 % 250}.1"
NETWORK = (
    f"ipv4.address={ADDRESS}/24",
    *("ipv4.firewall=false", "ipv4.nat=false", "ipv4.routing=false", "ipv6.address=none"),
)
USER_DATA = "#cloud-config\nlocale: C.UTF-8\nruncmd: [[touch, /root/mine]]\n"


@pytest.fixture(scope="module", params=[Lxd, Incus], ids=["lxd", "incus"])
def desk(packages: Path, request: pytest.FixtureRequest) -> Iterator[Desk]:
    kind: type[Lxd] = request.param
    if missing := kind.missing_tools():
        absent(f"{kind.title} needs {', '.join(missing)}")
    with running_desk(kind, packages) as made:
        yield made


def test_the_three_steps_of_the_readme_arrive(desk: Desk) -> None:
    started, adopted, attached = desk.story
    assert started.returncode == 0, started.stderr
    assert adopted.returncode == 0, adopted.stdout + adopted.stderr
    assert adopted.stdout.splitlines()[-2].startswith(f"made    services: they run for {USER}")
    assert adopted.stdout.splitlines()[-1].strip() == "next, on the host: guestlink-host attach NAME"
    assert attached.returncode == 0, attached.stderr + desk.work.journal()
    assert attached.stdout.startswith("work is attached; it is registered, with ")
    assert desk.state("work") == ("running", True)
    desk.stage.wait("the launchers appear", lambda: desk.launchers("work"))


def test_a_container_without_guestlink_is_named_at_once_and_gets_it_on_demand(desk: Desk, packages: Path) -> None:
    desk.lxd.launch("bare")
    for refused in (desk.host("attach", "bare", check=False), desk.stage.vsh("bare", "--", "true", check=False)):
        assert refused.returncode not in (0, 127), refused.stdout
        assert "Guestlink is not installed in the container bare" in refused.stderr
        assert ("bare is attached, but" in refused.stderr) == ("attach" in refused.args)
        assert "`guestlink-host attach bare --install`" in refused.stderr
    refused = desk.host("ssh-config", "bare", check=False)
    assert "it runs: `guestlink doctor` inside it prints the reason" in refused.stderr
    assert "Traceback" not in desk.stage.logs()
    nowhere = desk.stage.host("attach", "bare", "--install", check=False, timeout=300)
    assert nowhere.returncode == 1
    assert (
        "bare is attached, but installing in bare failed: E: Unable to locate package guestlink" in nowhere.stderr
    )
    settings = Path(desk.stage.host_environ["XDG_CONFIG_HOME"], "guestlink/guestlink-host.conf")
    settings.parent.mkdir(parents=True)
    settings.write_text(f"packages = {shutil.copytree(packages, desk.stage.root / 'to-install')}\n")
    installed = desk.stage.host("attach", "bare", "--install", check=False, timeout=300)
    settings.unlink()
    assert installed.returncode == 0, installed.stderr
    assert installed.stdout.startswith("bare is attached; it is registered, with ")
    assert "installing Guestlink in bare …" in installed.stderr.splitlines()
    assert desk.stage.vsh("bare", "--", "id", "-un").stdout.strip() == USER
    left = LxdContainer(desk.lxd, "bare").root("ls", "/opt").stdout.split()
    assert "guestlink-packages" not in left


def test_a_service_that_does_not_run_is_named_within_seconds(desk: Desk) -> None:
    bare = LxdContainer(desk.lxd, "bare")
    bare.check_user("systemctl", "--user", "stop", "guestlink-garcon.service")
    desk.wait_for("bare", "running", False)
    for refused in (desk.host("attach", "bare", check=False), desk.host("launch", "bare", "foot", check=False)):
        assert refused.returncode == 1
        # systemd may have unloaded a stopped unit; then the message names garcon, which does not answer.
        assert re.search(r"in the container bare: (guestlink-)?garcon.* does not run\n", refused.stderr), (
            refused.stderr
        )
        assert re.search(r"systemctl --user (re)?start guestlink-garcon", refused.stderr), refused.stderr
    desk.host("detach", "bare")
    desk.lxd.client("delete", "-f", "bare")


def test_attach_carries_in_what_a_running_container_needs_and_does_it_once(desk: Desk) -> None:
    desk.host("attach", "work")
    devices = desk.lxd.devices("work")
    assert set(devices) == {"guestlink", "guestlink-token", f"guestlink-gpu-{NODE}"}
    desk.host("attach", "work")
    assert desk.lxd.devices("work") == devices
    assert desk.state("work")[0] == "running"
    [entry] = desk.stage.host_json("list")
    assert entry["manager"] == desk.lxd.kind
    token = desk.work.check_user("cat", "/dev/.container_token")
    assert desk.work.check_user("cat", "/dev/.guestlink/token") == token
    assert desk.work.check_user("sh", "-c", f"head -c 3 /dev/dri/{NODE} | od -An -tx1").split() == ["00"] * 3


def test_nobody_else_in_the_container_or_on_the_host_gets_in(desk: Desk) -> None:
    stranger = ["setpriv", "--reuid=4321", "--regid=4321", "--clear-groups"]
    for path in ("/dev/.container_token", "/dev/.guestlink/token"):
        refused = desk.work.root(*stranger, "cat", path)
        assert "Permission denied" in refused.stderr
    carried = desk.stage.root / "host/run/guestlink-host/containers/work"
    refused = subprocess.run([*stranger, "ls", str(carried)], capture_output=True, text=True, check=False)
    assert "Permission denied" in refused.stderr


def test_a_launcher_opens_a_window(desk: Desk) -> None:
    clicked = desk.click("work", "foot")
    assert clicked.returncode == 0, clicked.stderr
    desk.work.wait("its window is shown", lambda: "guestlink-work-foot" in desk.windows())
    desk.work.check_user("systemctl", "--user", "stop", "app-guestlink-foot@*.service")


def test_a_shell_opens_and_a_file_is_copied_through_it(desk: Desk) -> None:
    done = desk.stage.vsh("work", "--", "sh", "-c", "id -un; exit 7", check=False)
    assert (done.stdout.strip(), done.returncode) == (USER, 7), done.stderr
    letter = "a letter\n" * 100000
    desk.stage.vsh("work", "--", "sh", "-c", "cat > letter", stdin=letter)
    assert desk.stage.vsh("work", "--", "cat", "letter").stdout == letter
    assert desk.work.check_user("stat", "-c", "%s", f"/home/{USER}/letter").strip() == str(len(letter))


def test_sound_of_the_session_is_carried_in(desk: Desk) -> None:
    pulse = Path(desk.stage.host_environ["XDG_RUNTIME_DIR"], "pulse/native")
    pulse.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.settimeout(60)
        server.bind(str(pulse))
        os.chown(pulse, UID, UID)
        pulse.chmod(0o700)
        server.listen()
        desk.work.wait("it is there", lambda: desk.work.user("test", "-S", "/dev/.guestlink/pulse").returncode == 0)
        # AUTH, upon which the daemon connects to the server.
        program = (
            "import socket, struct; sock = socket.socket(socket.AF_UNIX); sock.connect('/dev/.guestlink/pulse'); "
            "body = struct.pack('>cIcIcIcI', b'L', 8, b'L', 0, b'L', 35, b'x', 256) + bytes(256); "
            "sock.sendall(struct.pack('>5I', len(body), 2**32 - 1, 0, 0, 0) + body)"
        )
        desk.work.check_user("python3", "-c", program)
        server.accept()[0].close()
    shutil.rmtree(pulse.parent)


def test_it_comes_back_after_a_restart_of_the_container(desk: Desk) -> None:
    desk.lxd.client("restart", "work")
    desk.work.wait_booted()
    desk.wait_for("work", "running", True)
    token = desk.stage.root / "host/run/guestlink-host/tokens/work"
    assert desk.work.check_user("cat", "/dev/.container_token") == token.read_text()


def test_it_stays_while_the_manager_is_away_and_after_that(desk: Desk) -> None:
    desk.lxd.stop_daemon()
    desk.wait_for("work", "unknown", True)
    assert desk.stage.vsh("work", "--", "id", "-un").stdout.strip() == USER
    assert desk.launchers("work")
    desk.lxd.start_daemon()
    desk.wait_for("work", "running", True)


def test_it_comes_back_after_a_restart_of_the_host_and_after_a_new_login(desk: Desk) -> None:
    for runtime_is_new in (False, True):
        desk.stage.stop("host")
        if runtime_is_new:
            shutil.rmtree(desk.stage.root / "host/run/guestlink-host")
        desk.stage.start_host()
        desk.wait_for("work", "running", True)
    desk.host("launch", "work", "foot")
    desk.work.wait("its window is shown", lambda: "guestlink-work-foot" in desk.windows())
    desk.work.check_user("systemctl", "--user", "stop", "app-guestlink-foot@*.service")


def test_the_directory_of_an_earlier_build_is_exchanged_for_one_that_is_read_only(desk: Desk) -> None:
    runtime = desk.stage.root / "host/run/guestlink-host"
    directory = runtime / "containers/work"
    desk.stage.stop("host")
    # An earlier build let the container write there.
    desk.lxd.client("config", "device", "unset", "work", "guestlink", "readonly")
    (runtime / "made/work").unlink()
    registry = desk.stage.root / "host/home/.local/state/guestlink-host/containers.json"
    users = json.loads(registry.read_text())["containers"]["work"]["users"]
    acl.grant(directory, users, acl.READ | acl.WRITE | acl.ENTER)
    left = desk.work.root("sh", "-c", "cd /dev/.guestlink && mkdir -m 700 -p left/in && echo x > left/in/x")
    assert left.returncode == 0, left.stderr
    desk.stage.start_host()
    desk.wait_for("work", "running", True)
    assert desk.lxd.devices("work")["guestlink"]["readonly"] == "true"
    assert "left" not in desk.work.root("ls", "/dev/.guestlink").stdout
    for command in ("touch /dev/.guestlink/x", "rm /dev/.guestlink/token", "chmod 777 /dev/.guestlink"):
        refused = desk.work.root("sh", "-c", command)
        assert "Read-only file system" in refused.stderr, refused
    assert desk.stage.vsh("work", "--", "id", "-un").stdout.strip() == USER


def test_containers_do_not_mix_even_when_one_is_a_copy(desk: Desk) -> None:
    desk.lxd.client("stop", "work")
    desk.wait_for("work", "stopped", False)
    desk.lxd.client("copy", "work", "play")
    desk.stage.wait("the copy is not the original", lambda: "guestlink" not in desk.devices("play"), 0.2)
    desk.host("attach", "play")
    desk.lxd.client("start", "play")
    desk.wait_for("play", "running", True)
    assert desk.state("work") == ("stopped", False)
    play = LxdContainer(desk.lxd, "play")
    assert play.check_user("cat", "/dev/.guestlink/name") == "play"
    tokens = desk.stage.root / "host/run/guestlink-host/tokens"
    assert play.check_user("cat", "/dev/.container_token") == (tokens / "play").read_text()
    assert (tokens / "play").read_text() != (tokens / "work").read_text()
    desk.stage.wait("both have launchers", lambda: desk.launchers("play") and desk.launchers("work"))


def test_a_click_starts_a_stopped_container(desk: Desk) -> None:
    assert desk.state("work") == ("stopped", False)
    clicked = desk.click("work", "foot")
    assert clicked.returncode == 0, clicked.stderr
    assert desk.state("work") == ("running", True)
    desk.work.wait("its window is shown", lambda: "guestlink-work-foot" in desk.windows())
    assert "started" in {event["event"] for event in desk.stage.host_json("events", "work")}


def test_a_container_that_cannot_start_says_why(desk: Desk) -> None:
    desk.lxd.client("stop", "-f", "play")
    missing = desk.stage.root / "missing"
    missing.mkdir()
    desk.lxd.client("config", "device", "add", "play", "broken", "disk", f"source={missing}", "path=/mnt")
    missing.rmdir()
    failed = desk.host("launch", "play", "foot", check=False)
    assert failed.returncode == 1
    assert str(missing) in failed.stderr
    assert "Traceback" not in failed.stderr


def test_a_deleted_container_loses_its_launchers_and_can_be_forgotten(desk: Desk) -> None:
    assert desk.launchers("play")
    desk.lxd.client("delete", "-f", "play")
    desk.wait_for("play", "gone", False)
    desk.stage.wait("its launchers go", lambda: not desk.launchers("play"))
    failed = desk.host("launch", "play", "foot", check=False)
    assert "is gone" in failed.stderr
    desk.host("detach", "play")
    assert desk.state("play") == ("", False)


def test_a_container_with_the_profile_attaches_by_itself_and_is_forgotten_by_itself(desk: Desk) -> None:
    edit = desk.host("profile", "--no-gpu").stdout
    desk.lxd.client("profile", "edit", PROFILE, stdin=edit)
    desk.lxd.client("init", GUEST, "fresh", "-p", "default", "-p", PROFILE)
    desk.stage.wait("it is attached", lambda: "guestlink" in desk.devices("fresh"), 0.2)
    assert desk.state("fresh") == ("stopped", False)
    desk.host("detach", "fresh")
    assert not desk.lxd.devices("fresh")
    desk.host("attach", "fresh")
    desk.host("detach", "fresh")
    assert desk.state("fresh") == ("", False)
    desk.lxd.client("config", "unset", "fresh", "user.guestlink")
    desk.stage.wait("the profile counts again", lambda: "guestlink" in desk.devices("fresh"), 0.2)
    desk.lxd.client("delete", "fresh")
    desk.lxd.client("init", GUEST, "fresh", "-p", "default", "-p", PROFILE)
    desk.stage.wait("another of its name is attached", lambda: "guestlink" in desk.devices("fresh"), 0.2)
    desk.lxd.client("delete", "fresh")
    desk.stage.wait("it is forgotten", lambda: desk.state("fresh") == ("", False), 0.2)


class Source(NamedTuple):
    """The source of our packages for containers with the profile: arguments for ``profile`` and for ``launch``."""

    profile: Sequence[str]
    launch: Sequence[str] = ()


@pytest.fixture(scope="class")
def source(desk: Desk, packages: Path) -> Iterator[Source]:
    """For LXD a repository on a bridge; for Incus a directory, without a network."""
    if desk.lxd.kind == "incus":
        yield Source(["--packages", str(shutil.copytree(packages, desk.stage.root / "packages"))])
        return
    need("apt-ftparchive", packages="apt-utils")
    with ExitStack() as contexts:
        directory = desk.stage.root / "repository"
        key = SigningKey(desk.stage.root / "gnupg")
        contexts.callback(key.close)
        key.repository("apt", directory, sorted(packages.glob("*.deb")))
        desk.lxd.client("network", "create", BRIDGE, *NETWORK)
        contexts.callback(desk.lxd.client, "network", "delete", BRIDGE)
        handler = partial(SimpleHTTPRequestHandler, directory=str(directory))
        server = contexts.enter_context(ThreadingHTTPServer((ADDRESS, 0), handler))
        thread = Thread(target=server.serve_forever)
        thread.start()
        contexts.callback(thread.join)
        contexts.callback(server.shutdown)
        line = f"http://{ADDRESS}:{server.server_port} stable main"
        yield Source(["--apt", line, "--key", str(directory / "guestlink.asc")], ["-n", BRIDGE])


@pytest.fixture(scope="class")
def new(desk: Desk, source: Source) -> Iterator[LxdContainer]:
    """A container with the profile, from an image with cloud-init."""
    edit = desk.host("profile", "--no-gpu", *source.profile).stdout
    desk.lxd.client("profile", "edit", PROFILE, stdin=edit)
    words = ["-p", "default", "-p", PROFILE, "-c", f"cloud-init.user-data={USER_DATA}", *source.launch]
    desk.lxd.client("-q", "launch", CLOUD, "new", *words)
    yield LxdContainer(desk.lxd, "new")
    desk.lxd.client("delete", "-f", "new")
    desk.stage.wait("it is forgotten", lambda: desk.state("new") == ("", False), 0.2)


class TestNewContainer:
    """A container that has the profile from its first boot."""

    def test_it_installs_adopts_and_registers_by_itself(self, desk: Desk, new: LxdContainer) -> None:
        done = new.root("cloud-init", "status", "--wait", "--long", timeout=300)
        said = new.root("cat", "/var/log/cloud-init-output.log").stdout
        assert "status: done" in done.stdout, done.stdout + said
        desk.wait_for("new", "running", True)
        assert desk.stage.vsh("new", "--", "id", "-un").stdout.strip() == "debian"
        assert new.root("test", "-e", "/root/mine").returncode == 0
        assert "guestlink-host" not in new.root("dpkg-query", "-W", "-f", "${Package}\n").stdout.split()

    def test_a_launcher_opens_a_window(self, desk: Desk, new: LxdContainer) -> None:
        desk.stage.wait("its launchers appear", lambda: desk.launchers(new.name))
        clicked = desk.click(new.name, "foot")
        assert clicked.returncode == 0, clicked.stderr
        desk.stage.wait("its window is shown", lambda: "guestlink-new-foot" in desk.windows(), 0.2)

    def test_ssh_and_a_folder_lead_into_it(self, desk: Desk, new: LxdContainer) -> None:
        need("ssh", "sftp", "sshfs", "fusermount3", packages="openssh-client sshfs fuse3")
        guestlink_host = f"{sys.executable} -m guestlink_host"
        done = desk.person(f"""
            {guestlink_host} ssh-config {new.name} > config
            echo by ssh | ssh -F config {new.name}.guestlink 'cat > letter; id -un'
            echo get letter | sftp -q -b - -F config {new.name}.guestlink
            cat letter
            folder=$({guestlink_host} files {new.name})
            cat "$folder/letter"
            echo by sshfs > "$folder/letter"
            {guestlink_host} files {new.name} --unmount
        """)
        said = [line for line in done.splitlines() if not line.startswith("sftp>")]
        assert said == ["debian", "by ssh", "by ssh"]
        assert new.root("cat", "/home/debian/letter").stdout == "by sshfs\n"


def test_detach_leaves_nothing(desk: Desk) -> None:
    desk.host("detach", "work")
    assert desk.lxd.devices("work") == {}
    assert not desk.launchers("work")
    assert desk.stage.host_json("list") == []
    assert desk.work.user("test", "-e", "/dev/.guestlink/token").returncode != 0
    refused = desk.host("detach", "work", check=False)
    assert refused.returncode == 1
    assert "is not attached" in refused.stderr
