"""The user units, checked by systemd's own tools."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.stage import CHECKOUT


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed units; their Exec lines name the programs in the installation's directory."""
    if shutil.which("systemd-analyze") is None:
        assert os.environ.get("CI") != "true", "systemd-analyze is missing"
        pytest.skip("systemd-analyze is not installed")
    root = tmp_path_factory.mktemp("installed")
    subprocess.run(
        ["make", "-s", "install", f"DESTDIR={root}", "COMPILE=no"], cwd=CHECKOUT, check=True, timeout=120
    )
    directory = root / "usr/lib/systemd/user"
    for path in directory.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.write_text(re.sub(r"^(Exec\w+)=/usr/", rf"\1={root}/usr/", path.read_text(), flags=re.MULTILINE))
    return directory


def _instances(directory: Path) -> list[str]:
    names = []
    for path in sorted(directory.iterdir()):
        if path.name.startswith("guestlink-") and path.suffix in (".service", ".socket", ".path", ".target"):
            stem, at, rest = path.name.partition("@.")
            names += [f"{stem}@0.{rest}", f"{stem}@1.{rest}"] if at else [path.name]
    return names


def test_systemd_finds_nothing_to_complain_about(units: Path, tmp_path: Path) -> None:
    names = _instances(units)
    assert {"guestlink-garcon.service", "guestlink-sommelier-x@1.service"} <= set(names)
    environ = os.environ | {"SYSTEMD_UNIT_PATH": f"{units}:/usr/lib/systemd/user", "XDG_RUNTIME_DIR": str(tmp_path)}
    for name in names:
        done = subprocess.run(
            ["systemd-analyze", "--user", "--man=no", "verify", name],
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        said = [line for line in done.stderr.splitlines() if str(units) in line or "guestlink" in line]
        assert done.returncode == 0, done.stderr
        assert not said, said


def test_units_never_stay_down_and_do_nothing_outside_a_container(units: Path) -> None:
    for path in sorted(units.glob("guestlink-*.service")):
        if path.name.startswith("guestlink-host"):
            continue
        text = path.read_text()
        assert "StartLimitIntervalSec=0" in text, path
        for line in ("ConditionVirtualization=|container", "ConditionPathExists=|/dev/.container_token"):
            assert line in text, path


EXPOSURE = {
    "guestlink-host.service": 3.6,
    "guestlink-host-access@.service": 5.9,
    "guestlink-sommelier@.service": 7.0,
}
"""The highest exposure that systemd-analyze(1) may report, 0 to 10, for units with a sandbox."""


@pytest.mark.parametrize(("name", "highest"), EXPOSURE.items())
def test_a_sandbox_stays_as_tight_as_it_was(units: Path, tmp_path: Path, name: str, highest: float) -> None:
    words = ("--user", "--no-pager", "security", "--offline=true", f"--threshold={highest * 10:.0f}")
    done = subprocess.run(
        ["systemd-analyze", *words, units / name],
        env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_every_service_says_what_happens_when_memory_runs_out(units: Path) -> None:
    """By default systemd stops a whole service if the kernel kills one of its processes."""
    for path in sorted(units.glob("guestlink-*.service")):
        assert "OOMPolicy=continue" in path.read_text(), path


def test_daemons_that_start_programs_have_no_sandbox(units: Path) -> None:
    """Child processes would inherit the sandbox, and sudo would refuse to run (packaging.md §2.6)."""
    for name in ("guestlink-garcon.service", "guestlink-vshd.service", "guestlink-sommelier-x@.service"):
        text = (units / name).read_text()
        for word in ("NoNewPrivileges=", "Protect", "Private", "Restrict", "SystemCall", "LockPersonality"):
            lines = [line for line in text.splitlines() if line.startswith(word)]
            assert all(line.startswith("RestartPrevent") for line in lines), (name, lines)


def test_every_enabled_unit_exists_and_every_unit_can_be_enabled(units: Path) -> None:
    preset = (units.parent / "user-preset/80-guestlink.preset").read_text()
    enabled = [line.split()[1] for line in preset.splitlines() if line.startswith("enable ")]
    for name in enabled:
        stem, at, rest = name.partition("@")
        unit = units / (f"{stem}@.{rest.partition('.')[2]}" if at else name)
        assert "[Install]" in unit.read_text(), name


def test_the_original_units_names_lead_to_ours(units: Path) -> None:
    aliases = units.parents[2] / "share/systemd/user"
    for name in ("cros-garcon.service", "sommelier@.service", "sommelier-x@.service"):
        assert (aliases / name).resolve().parent == units
        assert (aliases / name).exists()


def _generated(tmp_path: Path, **environ: str) -> dict[str, str]:
    """The environment generator's output, as if this machine were a container."""
    script = (CHECKOUT / "guest/systemd-units/environment-generators/20-guestlink").read_text()
    marker = tmp_path / "container"
    marker.touch()
    script = script.replace("/run/systemd/container", str(marker)).replace('"$(id -u)" -ge 1000', "1 -ge 0")
    done = subprocess.run(
        ["sh"],
        input=script,
        env={"HOME": "/home/user", "PATH": "/usr/local/bin:/usr/bin:/bin"} | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def test_programs_get_the_original_units_environment(tmp_path: Path) -> None:
    """The expected variables are those of chromeos-garcon.md §2.6."""
    assert _generated(tmp_path) == {
        "BROWSER": "/usr/bin/garcon-url-handler",
        "NCURSES_NO_UTF8_ACS": "1",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/local/games:/usr/sbin:/usr/bin:/usr/games:/sbin:/bin",
        "QT_AUTO_SCREEN_SCALE_FACTOR": "1",
        "QT_QPA_PLATFORMTHEME": "gtk2",
        "XCURSOR_THEME": "Adwaita",
        "XDG_CONFIG_HOME": "/home/user/.config",
        "XDG_CURRENT_DESKTOP": "X-Generic",
        "XDG_DATA_DIRS": "/home/user/.local/share:/home/user/.local/share/flatpak/exports/share"
        ":/var/lib/flatpak/exports/share:/usr/local/share:/usr/share:/var/lib/snapd/desktop",
        "XDG_SESSION_TYPE": "wayland",
    }


def test_what_is_set_before_us_stays(tmp_path: Path) -> None:
    got = _generated(
        tmp_path, BROWSER="/usr/bin/firefox", PATH="/run/current-system/sw/bin:/usr/bin", XDG_DATA_DIRS="/nix/share"
    )
    assert got["BROWSER"] == "/usr/bin/firefox"
    assert got["PATH"].endswith(":/bin:/run/current-system/sw/bin")
    assert got["XDG_DATA_DIRS"].endswith(":/var/lib/snapd/desktop:/nix/share")


def test_a_home_directory_with_any_name_is_quoted(tmp_path: Path) -> None:
    """According to the rules of systemd's EnvironmentFile=."""
    got = _generated(tmp_path, HOME='/home/a "b$c\\d')
    assert got["XDG_CONFIG_HOME"] == '"/home/a \\"b\\$c\\\\d/.config"'
    assert got["XDG_SESSION_TYPE"] == "wayland"


def test_outside_a_container_no_variable_is_set() -> None:
    if Path("/run/systemd/container").exists() or Path("/dev/.container_token").exists():
        pytest.skip("this is a container")
    generator = CHECKOUT / "guest/systemd-units/environment-generators/20-guestlink"
    done = subprocess.run([generator], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == ""
