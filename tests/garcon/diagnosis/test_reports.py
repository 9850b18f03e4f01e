"""Reports: what they must contain, and what they must not."""

from __future__ import annotations

import io
import json
import sys
import tarfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garcon.diagnosis.commands import OUTPUT_LIMIT, Commands
from garcon.diagnosis.redaction import Redaction
from garcon.diagnosis.report import TEXT_LIMIT, Section, installed_packages, join
from support.stage import Stage, stage

TOKEN = "01234567-89ab-cdef-0123-456789abcdef"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("anna owns /home/anna/x on box", "$USERNAME owns $HOME/x on $HOSTNAME"),
        ("file:///home/anna/x", "file://$HOME/x"),
        ("susanna and annabel stay", "susanna and annabel stay"),
        (f"token {TOKEN}.", "token $SECRET."),
        ("old aaaaaaaa-1111-2222-3333-bbbbbbbbbbbb", "old $UUID"),
        ("api_key = abc\nPASSWORD=x y", "api_key = $SECRET\nPASSWORD=$SECRET"),
        ("token_file = /dev/.container_token", "token_file = /dev/.container_token"),
        ("https://me:pw@example.org/", "https://$SECRET@example.org/"),
    ],
)
def test_names_and_secrets_are_replaced(text: str, expected: str) -> None:
    assert Redaction("anna", "/home/anna", "box", [TOKEN]).apply(text) == expected


@given(st.text(), st.text())
def test_a_secret_never_survives(before: str, after: str) -> None:
    assert TOKEN not in Redaction("", "", "", [TOKEN]).apply(f"{before}{TOKEN}{after}")


def test_a_section_is_indented_by_a_tab_under_its_heading() -> None:
    parts = [Section("systemctl status", "a\nb\n"), Section("systemctl user status", "of user\n")]
    text = join(parts, Redaction("user", "", ""))
    assert text == "systemctl status:\n\ta\n\tb\nsystemctl user status:\n\tof $USERNAME\n"


def test_the_text_is_bounded() -> None:
    parts = [Section(str(number), "ö" * 400_000) for number in range(20)]
    text = join(parts, Redaction("", "", "")).encode()
    assert len(text) <= TEXT_LIMIT


def test_a_command_that_hangs_does_not_hold_up_the_report() -> None:
    commands = Commands(0.3)
    started = time.monotonic()
    assert "did not end within" in commands.run(["sleep", "60"]).text
    assert "was not run" in commands.run(["true"]).text
    assert time.monotonic() - started < 30


def test_the_end_of_a_long_output_is_kept() -> None:
    ran = Commands(60).run([sys.executable, "-c", f"print('x' * {OUTPUT_LIMIT}); print('end')"])
    assert ran.status == 0
    assert len(ran.text) == OUTPUT_LIMIT
    assert ran.text.endswith("end\n")


@pytest.mark.parametrize(
    ("program", "printed", "expected"),
    [
        ("dpkg-query", "ii \\tguestlink-1\\nrc \\tcros-garcon-0.28\\n", "guestlink-1"),
        ("rpm", "ii \\tguestlink-1-1.fc43\\n", "guestlink-1-1.fc43"),
        ("pacman", "zlib 1.3\\ncros-im 2-1\\nguestlink 1-1\\n", "cros-im-2-1\nguestlink-1-1"),
        ("other", "", "(no package manager is known here)"),
    ],
)
def test_packages_are_listed_by_whatever_package_manager_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, printed: str, expected: str
) -> None:
    (tmp_path / program).write_text(f"#!/bin/sh\nprintf '{printed}'\n")
    (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert installed_packages(Commands(60)) == expected


def test_a_missing_command_is_a_sentence() -> None:
    assert Commands(5).run(["guestlink-no-such-program"]).text == "(there is no guestlink-no-such-program)"


def _report(played: Stage, path: Path) -> dict[str, str]:
    done = played.guestlink("bugreport", "--output", str(path))
    assert str(path) in done.stdout
    with tarfile.open(fileobj=io.BytesIO(path.read_bytes())) as archive:
        members = {member.name.removeprefix("guestlink-report/"): member for member in archive.getmembers()}
        files = {name: archive.extractfile(member) for name, member in members.items()}
        return {name: file.read().decode() for name, file in files.items() if file is not None}


def test_a_bug_report_of_running_programs_holds_logs_versions_and_settings_but_no_token(tmp_path: Path) -> None:
    with stage("reported") as played:
        played.start_host()
        played.host("add", "reported")
        played.start_garcon()
        played.wait_registered()
        token = Path(played.guest_environ["GUESTLINK_TOKEN_FILE"]).read_text().strip()
        settings = Path(played.guest_environ["XDG_CONFIG_HOME"], "guestlink")
        settings.mkdir(parents=True)
        (settings / "guestlink.conf").write_text(f"[garcon]\nicon_theme = Papirus\n# {token}\n")
        files = _report(played, tmp_path / "report.tar.gz")
        assert (tmp_path / "report.tar.gz").stat().st_mode & 0o777 == 0o600
        assert {"report.txt", "doctor.json", "garcon.json", "user.guestlink.conf"} <= files.keys()
        assert not [name for name, content in files.items() if token in content]
        assert "icon_theme = Papirus" in files["user.guestlink.conf"]
        assert json.loads(files["garcon.json"])["registered"] is True
        report = files["report.txt"]
        for heading in (
            "Installed Crostini Packages:", "systemctl status:", "systemctl user status:", "guestlink doctor:",
            "garcon's last messages:",
        ):  # fmt: skip
            assert f"{heading}\n\t" in report or f"{heading}\n" in report, heading
        assert "registered with the host" in report.partition("garcon's last messages:")[2]
        home = played.guest_environ["HOME"]
        assert not [name for name, content in files.items() if home in content]


def test_a_report_goes_to_standard_output_as_to_a_file(tmp_path: Path) -> None:
    with stage("reported") as played:
        # Without a garcon of its own, root would become a user who may have no right to read this checkout.
        played.start_host()
        played.host("add", "reported")
        played.start_garcon()
        played.wait_registered()
        program = f"{sys.executable} -c 'from garcon.client.cli import main; raise SystemExit(main())'"
        script = f"{program} bugreport -o - > {tmp_path}/report && {program} bugreport -o - > /dev/full"
        done = played.guest("sh", "-c", script, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "guestlink: cannot write: no space left on device"
    assert "Traceback" not in done.stderr
    with tarfile.open(tmp_path / "report") as archive:
        assert "guestlink-report/report.txt" in archive.getnames()


def test_a_report_does_not_overwrite_a_file(tmp_path: Path) -> None:
    (tmp_path / "report").write_text("mine")
    with stage("reported") as played:
        done = played.guestlink("bugreport", "-o", str(tmp_path / "report"), check=False)
    assert done.returncode == 1
    assert "cannot be written: file exists" in done.stderr
    assert (tmp_path / "report").read_text() == "mine"
