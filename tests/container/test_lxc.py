"""guestlink-host with plain LXC: an unprivileged container that belongs to root, without a network."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.compositor import Compositor
from support.lxc import LxcContainer, missing_tools, root_ids
from support.machine import UID, USER, build_rootfs, install_packages
from support.needs import absent
from support.readme import follow_readme, nobody_has_logged_in
from support.stage import Stage

pytestmark = [pytest.mark.container, pytest.mark.slow]


class Desk:
    """Root's desktop, and the container ``work``, which is not running."""

    def __init__(self, stage: Stage, compositor: Compositor, work: LxcContainer) -> None:
        self.stage = stage
        self.compositor = compositor
        self.work = work

    def attach(self) -> str:
        return self.stage.host("attach", "work", "--place", str(self.work.directory)).stdout

    def state(self) -> tuple[str, bool]:
        [entry] = self.stage.host_json("list")
        return entry["instance"], entry["registered"]

    def launch_foot(self) -> None:
        self.stage.host("launch", "work", "foot")
        self.stage.wait(
            "its window is shown",
            lambda: "guestlink-work-foot" in {window["app_id"] for window in self.compositor.windows()},
            0.2,
        )


@pytest.fixture(scope="module")
def desk(packages: Path) -> Iterator[Desk]:
    if missing := missing_tools():
        absent(f"LXC needs {', '.join(missing)}")
    built = build_rootfs("bookworm")
    directory = Path(tempfile.mkdtemp(prefix="glxc-"))
    directory.chmod(0o711)
    stage = Stage("work")
    contexts = ExitStack()
    try:
        root = directory / "root"
        subprocess.run(["cp", "-ax", "--reflink=auto", str(built), str(root)], check=True, timeout=300)
        install_packages(root, packages)
        compositor = contexts.enter_context(Compositor(stage.root / "compositor"))
        stage.host_environ |= compositor.environ
        stage.start_host()
        first = contexts.enter_context(root_ids())
        yield Desk(stage, compositor, contexts.enter_context(LxcContainer(directory, "work", root, first)))
    finally:
        contexts.close()
        stage.close()
        shutil.rmtree(directory)


def test_attach_changes_the_configuration_once(desk: Desk) -> None:
    before = desk.work.config.read_text()
    assert "it registers at its next start" in desk.attach()
    after = desk.work.config.read_text()
    assert after.startswith(before)
    assert len(after.splitlines()) == len(before.splitlines()) + 1
    desk.attach()
    assert desk.work.config.read_text() == after
    assert desk.state() == ("stopped", False)


def test_a_launch_starts_the_container_and_its_window_is_shown(desk: Desk) -> None:
    desk.launch_foot()
    assert desk.state() == ("running", True)
    token = Path(desk.stage.host_environ["XDG_RUNTIME_DIR"], "guestlink-host/tokens/work").read_text()
    assert desk.work.check_user("cat", "/dev/.container_token") == token
    stranger = ["setpriv", "--reuid=4321", "--regid=4321", "--clear-groups"]
    assert "Permission denied" in desk.work.root(*stranger, "cat", "/dev/.container_token").stderr


def test_it_comes_back_after_a_stop_and_after_a_restart_of_the_host(desk: Desk) -> None:
    desk.work.lxc("lxc-stop", "-t", "30")
    desk.stage.wait("it has stopped", lambda: desk.state() == ("stopped", False), 0.2)
    assert not Path("/run/guestlink-lxc").exists()
    desk.stage.stop("host")
    desk.stage.start_host()
    desk.launch_foot()


def test_a_new_login_needs_a_restart_and_is_told(desk: Desk) -> None:
    desk.stage.stop("host")
    shutil.rmtree(Path(desk.stage.host_environ["XDG_RUNTIME_DIR"], "guestlink-host"))
    desk.stage.start_host()
    desk.stage.wait("it is told", lambda: "restart it" in desk.stage.host_json("list")[0]["problem"], 0.2)
    desk.work.lxc("lxc-stop", "-t", "30")
    desk.launch_foot()
    assert desk.stage.host_json("list")[0]["problem"] == ""


def test_a_directory_that_is_no_more_the_users_is_not_shown(desk: Desk) -> None:
    desk.work.lxc("lxc-stop", "-t", "30")
    hook = desk.work.config.with_name("guestlink-hook")
    carried = next(line for line in hook.read_text().splitlines() if line.startswith("# carries "))
    directory = Path(carried.removeprefix("# carries "))
    kept = directory.with_name("kept")
    directory.rename(kept)
    foreign = desk.stage.root / "foreign"
    foreign.mkdir()
    os.chown(foreign, 1234, 1234)
    (foreign / "secret").write_text("")
    directory.symlink_to(foreign)
    try:
        desk.work.lxc("lxc-start", "-d")
        desk.work.wait("it runs", lambda: desk.work.root("true").returncode == 0)
        assert desk.work.root("ls", "-A", "/dev/.guestlink").stdout == ""
    finally:
        directory.unlink()
        kept.rename(directory)
        desk.work.lxc("lxc-stop", "-k")


def test_detach_leaves_nothing(desk: Desk) -> None:
    desk.stage.host("detach", "work")
    assert "guestlink" not in desk.work.config.read_text()
    assert [path.name for path in desk.work.config.parent.iterdir()] == ["config"]
    assert desk.stage.host_json("list") == []
    assert desk.stage.launchers() == []


def test_the_three_steps_of_the_readme_arrive_after_a_restart(desk: Desk) -> None:
    desk.work.lxc("lxc-start", "-d")
    desk.work.wait("it runs", lambda: desk.work.root("systemctl", "is-active", f"user@{UID}").returncode == 0)
    nobody_has_logged_in(desk.work)
    lxc_config = f"echo {desk.work.directory}"  # the directory with this machine's containers
    started, adopted, attached = follow_readme(desk.stage, desk.work, "work", {"lxc-config": lxc_config})
    assert started.returncode == 0, started.stderr
    assert adopted.returncode == 0, adopted.stdout + adopted.stderr
    assert f"services: they run for {USER}" in adopted.stdout
    assert attached.returncode == 0, attached.stderr
    sentence, _, command = attached.stdout.strip().partition(": ")
    assert sentence == "work is attached; restart the container to pick up the mounts"
    restarted = desk.stage.host_shell(command, stand_ins={"sudo": 'exec "$@"'})
    assert restarted.returncode == 0, restarted.stderr
    desk.stage.wait("it is registered", lambda: desk.state() == ("running", True), 0.2)
    desk.stage.host("detach", "work")
