"""Which proxy the user units start, and with which arguments."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from guestlink import socket_directory
from guestlink.config import Config, ConfigError
from guestlink.errors import GuestlinkError
from sommelier_shim import options, unit
from sommelier_shim.daemon.display_socket import DisplaySocket
from sommelier_shim.direct_display import link_display, unlink_display
from sommelier_shim.unit import NATIVE, plan
from support.privileges import unprivileged

CHECKOUT = Path(__file__).resolve().parents[2]
UNIT = {"WAYLAND_DISPLAY_VAR": "WAYLAND_DISPLAY", "HOME": "/home/user"}


def _config(**values: str) -> Config:
    return Config(values)


def test_ours_runs_where_the_host_brings_none_and_waits_for_the_mounted_socket() -> None:
    decided = plan("wayland", 0, _config(), UNIT, native_there=False)
    assert not decided.native
    assert decided.argv == [
        "--parent", "--socket=wayland-0", "--publish=WAYLAND_DISPLAY", "--display=/dev/.guestlink/wayland-0",
    ]  # fmt: skip


def test_a_display_that_is_set_is_not_overridden() -> None:
    decided = plan("wayland", 0, _config(display="/run/other"), UNIT, native_there=False)
    assert not [word for word in decided.argv if word.startswith("--display")]


@pytest.mark.parametrize("implementation", ["auto", "native"])
def test_the_hosts_own_proxy_runs_with_the_original_units_command_line(implementation: str) -> None:
    decided = plan(
        "wayland", 1, _config(implementation=implementation), UNIT, native_there=True, render_node=True, token="t"
    )
    assert decided.native
    assert decided.argv[:4] == [NATIVE, "--parent", "--sd-notify=READY=1", "--socket=wayland-1"]
    assert decided.environ == {
        "SOMMELIER_ACCELERATORS": "Super_L,<Alt>bracketleft,<Alt>bracketright",
        "SOMMELIER_VM_IDENTIFIER": "t",
        "SOMMELIER_DRM_DEVICE": "/dev/dri/renderD128",
    }


def test_the_hosts_own_proxy_serves_x11() -> None:
    decided = plan("x", 0, _config(), UNIT, native_there=True, render_node=True)
    assert decided.argv[1:3] == ["-X", "--x-display=0"]
    assert "--x-auth=/home/user/.Xauthority" in decided.argv
    assert decided.environ["SOMMELIER_GLAMOR"] == "1"
    assert decided.environ["SOMMELIER_XFONT_PATH"].endswith(",built-ins")


def test_ours_runs_beside_the_hosts_own_when_it_is_set() -> None:
    assert not plan("wayland", 0, _config(implementation="guestlink"), UNIT, native_there=True).native
    with pytest.raises(GuestlinkError, match="X11 programs on ChromeOS"):
        plan("x", 0, _config(implementation="guestlink"), UNIT, native_there=True, xwayland_there=True)


def test_ours_serves_one_x_display_where_xwayland_is() -> None:
    decided = plan("x", 0, _config(), UNIT | {"DISPLAY_VAR": "DISPLAY"}, native_there=False, xwayland_there=True)
    assert decided.argv[:4] == [
        "-X",
        "--publish=DISPLAY",
        "--display=/dev/.guestlink/wayland-0",
        "--no-exit-with-child",
    ]
    assert decided.argv[4:6] == ["/bin/sh", "-c"]
    assert "/etc/sommelierrc" in decided.argv[6]
    with pytest.raises(GuestlinkError, match="no Linux host has mounted"):
        plan("x", 0, _config(), UNIT, native_there=False, xwayland_there=True, mounted_there=False)
    with pytest.raises(GuestlinkError, match="no low density"):
        plan("x", 1, _config(), UNIT, native_there=False, xwayland_there=True)


def test_keys_are_kept_for_chromeos_alone_and_the_setting_wins() -> None:
    def accelerators(native_there: bool, **settings: str) -> list[str]:
        decided = plan("wayland", 0, _config(**settings), UNIT, native_there=native_there)
        given = [word for word in decided.argv if word.startswith("--accelerators=")]
        return given + [value for key, value in decided.environ.items() if key == "SOMMELIER_ACCELERATORS"]

    usual = "Super_L,<Alt>bracketleft,<Alt>bracketright"
    assert accelerators(False) == []
    assert accelerators(True) == [usual]
    assert accelerators(True, accelerators="Super_R") == ["Super_R"]
    assert accelerators(True, implementation="guestlink") == [f"--accelerators={usual}"]
    # The proxy reads a setting from the file itself; a switch would override the file.
    assert accelerators(True, implementation="guestlink", accelerators="Super_R") == []
    # The units must not set the variable either, because a variable overrides the file.
    units = CHECKOUT / "guest/systemd-units"
    assert not [unit for unit in units.glob("*.service") if "SOMMELIER_ACCELERATORS" in unit.read_text()]


def test_a_proxy_that_is_set_and_missing_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigError, match="there is no /opt/google"):
        plan("wayland", 0, _config(implementation="native"), UNIT, native_there=False)


def _run(tmp_path: Path, *words: str, native: str, **environ: str) -> subprocess.CompletedProcess[str]:
    program = f"from sommelier_shim import unit; unit.NATIVE = {native!r}; raise SystemExit(unit.main())"
    kept = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-c", program, *words], env=kept | environ, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip


def test_the_hosts_program_is_executed_and_systemd_expects_no_signs_of_life_of_it(tmp_path: Path) -> None:
    native = tmp_path / "sommelier"
    native.write_text('#!/bin/sh\nprintf "%s " "$@" "${WATCHDOG_USEC-none}"\n')
    native.chmod(0o755)
    done = _run(tmp_path, "wayland", "0", native=str(native), WATCHDOG_USEC="60000000")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("--parent --sd-notify=READY=1 --socket=wayland-0 /bin/sh -c ")
    assert done.stdout.rstrip().endswith("none")


def test_x11_without_a_host_or_an_x_server_is_a_sentence(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    for variables, said in (
        ({}, "X11 programs cannot be shown: no Linux host has mounted a compositor's socket"),
        ({"SOMMELIER_DISPLAY": "wayland-9"}, f"X11 programs need the X server {missing}, which is not installed"),
    ):
        done = _run(tmp_path, "--check", "x", "0", native=missing, SOMMELIER_XWAYLAND_PATH=missing, **variables)
        assert done.returncode == 1
        assert done.stderr.startswith(f"sommelier-unit: {said}")


def test_the_setting_is_read_from_the_users_file(tmp_path: Path) -> None:
    (tmp_path / ".config/guestlink").mkdir(parents=True)
    (tmp_path / ".config/guestlink/guestlink.conf").write_text("[sommelier]\nimplementation = native\n")
    done = _run(tmp_path, "wayland", "0", native=str(tmp_path / "missing"))
    assert done.returncode == 78
    assert "implementation = native, and there is no" in done.stderr


def test_scripts_for_the_hosts_program_are_valid_shell() -> None:
    for script in (unit._WAYLAND_IS_UP, unit._X11_IS_UP, unit._HOOKS):
        done = subprocess.run(["sh", "-n"], input=script, text=True, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr


def test_the_setting_has_three_values() -> None:
    for value in ("auto", "guestlink", "native"):
        assert options.IMPLEMENTATION.parse(value) == value
    with pytest.raises(ValueError, match="auto"):
        options.IMPLEMENTATION.parse("both")


class Session:
    """A user's session whose user manager is a script that stores what it is told."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.run, self.mounted = root / "run", root / "mounted"
        (self.run / "systemd").mkdir(parents=True)
        (self.run / "systemd/private").touch()
        (self.run / "bus").touch()
        self.mounted.mkdir()
        (root / "bin").mkdir()
        self.told = root / "told"
        for name in ("systemctl", "dbus-update-activation-environment"):
            program = root / "bin" / name
            program.write_text(f'#!/bin/sh\necho "${{0##*/}} $*" >> {self.told}\n')
            program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{root}/bin:{os.environ['PATH']}")
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(self.run))
        monkeypatch.setenv("XDG_CONFIG_HOME", str(root))
        monkeypatch.setenv("WAYLAND_DISPLAY_VAR", "WAYLAND_DISPLAY")
        monkeypatch.setattr(socket_directory, "MOUNT_POINT", str(self.mounted))
        monkeypatch.setattr(options, "MOUNTED_SOCKET", str(self.mounted / "wayland-0"))
        monkeypatch.setattr(unit, "NATIVE", str(root / "native"))
        self.display = self.run / "wayland-0"
        self.settings = root / "guestlink/guestlink.conf"
        self.settings.parent.mkdir()

    def needed(self) -> bool:
        """Whether the unit has to run a proxy."""
        return unit._main(["--needed", "wayland", "0"]) == 0


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    return Session(tmp_path, monkeypatch)


def test_programs_use_the_mounted_socket_where_no_setting_needs_a_proxy(session: Session) -> None:
    assert not session.needed()
    assert session.told.read_text() == (
        "systemctl --user set-environment WAYLAND_DISPLAY=wayland-0\n"
        "dbus-update-activation-environment WAYLAND_DISPLAY=wayland-0\n"
    )
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(session.mounted / "wayland-0"))
        server.listen()
        client.connect(str(session.display))
    assert not session.needed(), "the unit may start again"


@pytest.mark.parametrize(
    "line",
    ["scale = 0.5", "clipboard = off", "implementation = guestlink", "accelerators = Super_L", "scale = wrong"],
)
def test_a_setting_for_a_proxy_needs_one_and_so_does_a_wrong_one(session: Session, line: str) -> None:
    session.settings.write_text(f"[sommelier]\n{line}\n")
    assert session.needed()
    assert not os.path.lexists(session.display)
    assert not session.told.exists()


def test_chromeos_and_a_host_that_mounts_nothing_need_a_proxy(session: Session) -> None:
    session.mounted.rmdir()
    assert session.needed()
    session.mounted.mkdir()
    Path(unit.NATIVE).write_text("#!/bin/sh\n")
    Path(unit.NATIVE).chmod(0o755)
    assert session.needed()


def test_a_proxy_takes_the_displays_place_and_gives_it_back(session: Session) -> None:
    """The user sets a scale, restarts the unit, and takes the setting back."""
    assert not session.needed()
    unlink_display(str(session.display))
    own = DisplaySocket(str(session.display))
    own.listener.close()
    own.close()
    assert not session.needed()
    assert session.display.is_symlink()


def test_another_compositor_on_the_display_stays(session: Session) -> None:
    own = DisplaySocket(str(session.display))
    try:
        assert session.needed(), "the proxy reports that the display is taken"
        assert not session.display.is_symlink()
    finally:
        own.listener.close()
        own.close()


def test_no_nested_compositor_takes_the_links_place() -> None:
    """libwayland gives up a name whose lock file it cannot open for writing, as DisplaySocket does."""
    with tempfile.TemporaryDirectory(prefix="guestlink-") as directory:
        os.chmod(directory, 0o777)  # for the unprivileged user
        display = f"{directory}/wayland-0"
        with unprivileged():
            link_display(display, "/nowhere")
            with pytest.raises(GuestlinkError, match="permission denied"):
                DisplaySocket(display)
            assert os.readlink(display) == "/nowhere"
            unlink_display(display)
            assert os.listdir(directory) == []
