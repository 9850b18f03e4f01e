"""Adoption of a root file system: what adopt reads, creates and undoes. Container tests cover account changes."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from garcon.adoption import steps
from garcon.adoption.adopt import adopt
from garcon.adoption.change_log import CHANGE_LOG
from garcon.adoption.guest_root import GuestRoot, PasswdEntry
from garcon.adoption.steps import STEPS, Outcome, choose_user, take_steps
from garcon.diagnosis.facts import EXPECTED_GROUPS
from guestlink.errors import GuestlinkError
from support.stage import CHECKOUT

ANNA = PasswdEntry("anna", 1000, 1000, "/home/anna")
MADE_HERE = {"lingering", "units", "account tools", "SFTP", "/etc/sommelierrc", "host fonts", "units' user"}
"""Steps that run no program of the container."""


def _write(root: Path, path: str, content: str = "") -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(content)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A container whose accounts are in order and that contains nothing else."""
    _write(tmp_path, "etc/passwd", "root:x:0:0::/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/bash\n")
    _write(tmp_path, "etc/group", "root:x:0:\n" + "".join(f"{name}:x:9:anna\n" for name in EXPECTED_GROUPS))
    for name in ("shadow", "gshadow"):
        _write(tmp_path, f"etc/{name}", "root:*::\n")
    (tmp_path / "etc/fonts/conf.d").mkdir(parents=True)
    _write(tmp_path, "usr/bin/usermod")
    _write(tmp_path, "usr/bin/useradd")
    _write(tmp_path, "usr/libexec/openssh/sftp-server")
    for name in ("guestlink-garcon.service", "guestlink-sommelier@.service"):
        _write(tmp_path, f"usr/lib/systemd/user/{name}", "[Unit]\n")
    return tmp_path


def _take(tree: Path, user: PasswdEntry = ANNA, *, dry_run: bool = False) -> dict[str, Outcome]:
    return {step.name: outcome for step, outcome in take_steps(GuestRoot(str(tree), dry_run=dry_run), user)}


def _snapshot(tree: Path) -> dict[str, str]:
    found = {}
    for path in sorted(tree.rglob("*")):
        name = str(path.relative_to(tree))
        found[name] = (
            os.readlink(path) if path.is_symlink() else path.read_text() if path.is_file() else "directory"
        )
    return found


def test_what_is_missing_is_made_and_a_second_run_changes_nothing(tree: Path) -> None:
    first = _take(tree)
    assert {name for name, outcome in first.items() if outcome.state == "made"} == MADE_HERE - {"units' user"}
    assert not [outcome for outcome in first.values() if outcome.state == "failed"]
    made = _snapshot(tree)
    assert made["etc/systemd/user/default.target.wants/guestlink-sommelier@0.service"] == (
        "/usr/lib/systemd/user/guestlink-sommelier@.service"
    )
    assert made["var/lib/systemd/linger/anna"] == ""
    assert made["usr/lib/openssh/sftp-server"] == "/usr/libexec/openssh/sftp-server"
    second = _take(tree)
    assert not [outcome for outcome in second.values() if outcome.state == "made"]
    assert _snapshot(tree) == made


def test_a_dry_run_tells_the_same_and_changes_nothing(tree: Path) -> None:
    before = _snapshot(tree)
    told = _take(tree, dry_run=True)
    assert _snapshot(tree) == before
    assert told == _take(tree)


def test_everything_can_be_taken_back(tree: Path) -> None:
    before = _snapshot(tree)
    _take(tree)
    told = GuestRoot(str(tree), dry_run=False).undo()
    assert {state for state, _, _ in told} == {"undone"}
    after = _snapshot(tree)
    for leftover in ("var", "var/lib"):  # the directories of the change log
        after.pop(leftover, None)
    assert after == before
    assert GuestRoot(str(tree), dry_run=False).undo() == []


def test_what_somebody_has_changed_since_stays(tree: Path) -> None:
    _take(tree)
    (tree / "etc/sommelierrc").write_text("mine\n")
    told = {what: (state, why) for state, what, why in GuestRoot(str(tree), dry_run=False).undo()}
    assert told["/etc/sommelierrc"] == ("kept", "it has been changed since")
    assert (tree / "etc/sommelierrc").read_text() == "mine\n"


def test_units_run_for_another_user_with_every_other_condition_as_it_was(tree: Path) -> None:
    bea = PasswdEntry("bea", 1001, 1001, "/home/bea")
    assert _take(tree, bea)["units' user"].state == "made"
    for name, conditions in steps._CONDITIONS.items():
        unit = (CHECKOUT / "guest/systemd-units" / name).read_text().splitlines()
        official = [line for line in unit if line.startswith("Condition") and not line.startswith("ConditionUser")]
        assert list(conditions) == official, name
        written = (tree / f"etc/systemd/user/{name}.d/50-guestlink-user.conf").read_text().splitlines()
        assert written == ["[Unit]", "ConditionUser=", *official, "ConditionUser=bea"]


def test_a_masked_unit_is_left_masked(tree: Path) -> None:
    (tree / "etc/systemd/user").mkdir(parents=True)
    (tree / "etc/systemd/user/guestlink-garcon.service").symlink_to("/dev/null")
    outcome = _take(tree)["units"]
    assert (outcome.state, outcome.sentence) == ("advice", "guestlink-garcon.service is masked")
    assert not (tree / "etc/systemd/user/default.target.wants/guestlink-garcon.service").is_symlink()


def test_links_that_a_package_ships_count_as_enabled(tree: Path) -> None:
    wants = tree / "usr/lib/systemd/user/default.target.wants"
    wants.mkdir()
    for name in ("guestlink-garcon.service", "guestlink-sommelier@0.service", "guestlink-sommelier@1.service"):
        (wants / name).symlink_to("../x")
    assert _take(tree)["units"].state == "ok"


def test_one_step_that_fails_does_not_stop_the_others(tree: Path) -> None:
    (tree / "etc/gshadow").unlink()
    taken = _take(tree)
    assert taken["account files"] == Outcome(
        "failed", "there is no program grpconv", "install the package passwd or shadow"
    )
    assert taken["lingering"].state == "made"


def test_a_change_that_failed_is_not_undone_when_somebody_has_made_it(tree: Path) -> None:
    group = tree / "etc/group"
    complete = group.read_text()
    group.write_text("root:x:0:\n")
    assert _take(tree)["groups"].state == "failed", "there is no groupadd"
    group.write_text(complete)
    undone = {what for _, what, _ in GuestRoot(str(tree), dry_run=False).undo()}
    assert "/etc/sommelierrc" in undone
    assert not undone & set(EXPECTED_GROUPS)


def test_absolute_links_lead_to_the_containers_files(tree: Path) -> None:
    (tree / "usr/sbin").mkdir()
    (tree / "usr/sbin/usermod").symlink_to("/usr/bin/no-such-usermod")
    assert not GuestRoot(str(tree), dry_run=True).exists("/usr/sbin/usermod")
    (tree / "usr/sbin/useradd").symlink_to("/usr/bin/useradd")
    assert GuestRoot(str(tree), dry_run=True).exists("/usr/sbin/useradd")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", ANNA),
        ("anna", ANNA),
    ],
)
def test_the_user_with_the_desktops_uid_is_taken(tree: Path, name: str, expected: PasswdEntry) -> None:
    assert choose_user(GuestRoot(str(tree), dry_run=True), name) == expected


def test_a_new_user_gets_the_desktops_uid(tree: Path) -> None:
    (tree / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    root = GuestRoot(str(tree), dry_run=True)
    assert choose_user(root, "") == PasswdEntry("user", 1000, 1000, "/home/user")
    assert choose_user(root, "bea") == PasswdEntry("bea", 1000, 1000, "/home/bea")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("bea", "there is no user bea, and uid 1000 belongs to anna"),
        ("root", "root is a system user"),
        ("nobody", "nobody is a system user"),
    ],
)
def test_a_user_that_cannot_be_is_refused(tree: Path, name: str, sentence: str) -> None:
    with (tree / "etc/passwd").open("a") as passwd:
        passwd.write("nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n")
    with pytest.raises(GuestlinkError, match=sentence):
        choose_user(GuestRoot(str(tree), dry_run=True), name)


@pytest.mark.parametrize("name", ["../x", "-r", "Anna", "a b", "1a"])
@pytest.mark.parametrize("is_taken", [False, True])
def test_names_that_are_no_names_are_refused(tree: Path, name: str, is_taken: bool) -> None:
    if not is_taken:
        (tree / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    with pytest.raises(GuestlinkError, match="cannot be a user's name"):
        choose_user(GuestRoot(str(tree), dry_run=True), name)


def test_every_step_has_a_reason_and_a_name_of_its_own() -> None:
    assert len({step.name for step in STEPS}) == len(STEPS)
    assert all(step.reason for step in STEPS)


def test_the_command_prints_a_line_for_each_step(
    tree: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 1000)  # Root would fork this process, to enter the tree.
    assert adopt(directory=str(tree), user="", dry_run=True, undo=False, as_json=True) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["user"] == "anna"
    assert [row["step"] for row in answer["steps"]] == [step.name for step in STEPS]
    assert {"would", "ok", "advice"} == {row["state"] for row in answer["steps"]}
    adopt(directory=str(tree), user="", dry_run=True, undo=False, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert "would   lingering: anna lingers (the services start with the container, not with a login)" in lines


def test_what_is_no_root_file_system_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GuestlinkError, match="is not a root file system"):
        adopt(directory=str(tmp_path), user="", dry_run=True, undo=False, as_json=False)


def test_a_machine_that_is_no_guest_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "systemd-detect-virt"
    program.write_text("#!/bin/sh\necho none\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "getuid", lambda: 0)
    monkeypatch.setattr("garcon.adoption.adopt.take_steps", lambda root, account: pytest.fail("it began"))
    with pytest.raises(GuestlinkError, match="neither a container nor a virtual machine"):
        adopt(directory="/", user="", dry_run=False, undo=False, as_json=False)


def test_a_list_of_changes_that_is_broken_is_a_sentence(tree: Path) -> None:
    for content in (
        "{",
        "{}",
        "[1]",
        "[" * 100_000,
        '[{"path": "/x"}]',
        '[{"do": "user", "name": "--root=/"}]',
        '[{"do": "file", "path": "/x"}]',
        '[{"do": "group", "name": ["x"]}]',
    ):
        _write(tree, CHANGE_LOG.lstrip("/"), content)
        with pytest.raises(GuestlinkError, match=r"adopted\.json"):
            GuestRoot(str(tree), dry_run=True)


def test_programs_play_on_the_hosts_pulseaudio_where_it_is_carried_in(tree: Path) -> None:
    (tree / "dev/.guestlink").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(os.path.relpath(tree / "dev/.guestlink/pulse"))
        assert _take(tree)["sound"].state == "made"
    lines = (tree / "etc/pulse/client.conf.d/50-guestlink.conf").read_text().splitlines()
    assert "default-server = unix:/dev/.guestlink/pulse" in lines


def test_pipewire_plays_on_a_card_that_the_host_passes_in(tree: Path) -> None:
    for path in ("dev/snd/pcmC0D0p", "usr/share/pipewire/pipewire.conf"):
        _write(tree, path)
    assert _take(tree)["sound"].state == "made"
    assert 'api.alsa.path = "hw:0"' in (tree / "etc/pipewire/pipewire.conf.d/50-guestlink.conf").read_text()


def test_without_sound_nothing_is_made(tree: Path) -> None:
    assert _take(tree)["sound"] == Outcome("ok", "the host gives no sound")
