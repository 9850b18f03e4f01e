"""The doctor reports the cause: each broken set-up is a set of facts that includes all of its consequences."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from garcon.diagnosis.checks import CHECKS, run_checks
from garcon.diagnosis.doctor import text
from garcon.diagnosis.facts import Facts, Node, UnitState
from garcon.diagnosis.findings import Severity, status_of
from garcon.diagnosis.gather import parse_units

DOWN = UnitState(active="failed", result="exit-code")
WAITING = {"registered": False, "phase": "no token", "sentence": "waiting for a token"}
NO_MANAGER: dict[str, Any] = {
    "manager": "Failed to connect to bus: No such file or directory",
    "manager_runs": False,
    "session_bus": False,
    "units": {},
    "garcon": None,
    "garcon_trouble": "it does not run",
    "proxies": (),
}

BROKEN: dict[str, tuple[dict[str, Any], str, str]] = {
    "no token": (
        {"token_trouble": "there is no token file /dev/.container_token yet", "garcon": WAITING},
        "there is no token file /dev/.container_token yet",
        "guestlink-host attach",
    ),
    "no token on ChromeOS": (
        {
            "chromeos": True,
            "host": "vsock:2:8889",
            "token_trouble": "the token file /dev/.container_token is empty",
            "garcon": WAITING,
        },
        "the token file /dev/.container_token is empty",
        "Terminal",
    ),
    "no host": (
        {
            "host": "",
            "host_trouble": "no host: there is neither /dev/.guestlink nor /dev/.container_token",
            "garcon": {"registered": False, "phase": "no host", "sentence": "no host"},
            "compositor_there": False,
        },
        "no host: there is neither",
        "guestlink-host attach",
    ),
    "the host is down": (
        {
            "listener_trouble": "cannot connect to unix:/dev/.guestlink/listener.sock: connection refused",
            "garcon": {"registered": False, "phase": "host not reachable", "sentence": "waiting for the host"},
            "compositor": "/dev/.guestlink/wayland-0: connection refused",
        },
        "the host does not answer: cannot connect",
        "systemctl --user start guestlink-host",
    ),
    "another token": (
        {
            "garcon": {
                "registered": False,
                "phase": "rejected",
                "sentence": "the host does not accept this container",
            }
        },
        "the host does not accept this container",
        "restart the container from its host",
    ),
    "an older host": (
        {
            "garcon": {
                "registered": False,
                "phase": "host too old",
                "sentence": "the host is too old for this Guestlink",
            }
        },
        "the host is too old for this Guestlink",
        "upgrade guestlink-host",
    ),
    "no user manager": (
        NO_MANAGER | {"lingers": False},
        "no user manager runs for user",
        "sudo loginctl enable-linger user",
    ),
    "no PAM module": (
        NO_MANAGER | {"pam_module": False},
        "no user manager runs for user",
        "libpam-systemd",
    ),
    "somebody else's runtime directory": (
        NO_MANAGER | {"runtime_trouble": "the runtime directory /run/user/1000 belongs to uid 0"},
        "the runtime directory /run/user/1000 belongs to uid 0",
        "remove the directory",
    ),
    "wrong uid": (
        NO_MANAGER | {"uid": 1001, "user": "anna", "desktop_user": "ubuntu"},
        "the services run for ubuntu (uid 1000), and you are anna (uid 1001)",
        "sudo guestlink adopt --user anna",
    ),
    "nobody has the uid": (
        NO_MANAGER | {"uid": 1001, "user": "anna", "desktop_user": ""},
        "the services run for uid 1000, and no user has it",
        "sudo guestlink adopt",
    ),
    "dead compositor socket": (
        {"compositor": "/dev/.guestlink/wayland-0: connection refused"},
        "the host's compositor does not answer: /dev/.guestlink/wayland-0: connection refused",
        "restart guestlink-host",
    ),
    "old protobuf": (
        {
            "libraries": {"google.protobuf": "3.12.4", "grpc": "1.51.1"},
            "units": {"guestlink-garcon.service": DOWN},
            "garcon": None,
        },
        "the Python library protobuf 3.12.4 is too old; 3.19.6 is the oldest that works",
        "upgrade protobuf",
    ),
    "no gRPC": (
        {
            "libraries": {"google.protobuf": "4.21.12", "grpc": None},
            "import_troubles": {"grpc": "ModuleNotFoundError: No module named 'grpc'"},
            "units": {"guestlink-garcon.service": DOWN},
            "garcon": None,
        },
        "the Python library grpcio is not usable: ModuleNotFoundError",
        "install python3-grpc",
    ),
    "full disk": (
        {
            "free": {"/": (0, 100000), "/run/user/1000": (1 << 30, 1000)},
            "units": {"guestlink-garcon.service": DOWN},
            "garcon": None,
        },
        "/ is full: no bytes are free",
        "du -xh",
    ),
    "no inodes": ({"free": {"/": (1 << 40, 0)}}, "/ is full: no file entries are free", "du -xh"),
    "wrong setting": (
        {
            "config_trouble": "/etc/guestlink/guestlink.conf:2: host_address cannot be 'x'",
            "units": {"guestlink-garcon.service": DOWN},
            "garcon": None,
            "host": "",
        },
        "/etc/guestlink/guestlink.conf:2: host_address cannot be 'x'",
        "correct the setting",
    ),
    "the original runs too": (
        {"original_garcon": True, "garcon": {"registered": False, "phase": "rejected", "sentence": "refused"}},
        "the original garcon runs too",
        "cros-garcon",
    ),
    "masked unit": (
        {"units": {"guestlink-garcon.service": UnitState("masked", "inactive", "masked")}, "garcon": None},
        "guestlink-garcon.service is masked",
        "unmask",
    ),
    "disabled unit": (
        {
            "units": {"guestlink-garcon.service": UnitState(active="inactive", enabled="disabled")},
            "garcon": None,
        },
        "guestlink-garcon.service is disabled",
        "enable --now",
    ),
    "a unit that exits repeatedly": (
        {"units": {"guestlink-garcon.service": UnitState(active="activating", restarts=9)}, "garcon": None},
        "guestlink-garcon.service exits repeatedly (9 restarts)",
        "journalctl",
    ),
    "not a container": (
        NO_MANAGER | {"container": False, "token_trouble": "none", "groups_missing": ("tss",)},
        "this is neither a container nor a virtual machine",
        "guestlink-host",
    ),
    "no systemd": (NO_MANAGER | {"systemd": False}, "systemd does not run here", "init system"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_set_up_is_named_by_its_cause_alone(name: str) -> None:
    changes, sentence, advice = BROKEN[name]
    findings = run_checks(replace(Facts(), **changes)).findings
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    assert len(errors) == 1, errors
    assert errors[0].sentence.startswith(sentence)
    assert advice in errors[0].advice
    assert status_of(findings) == 2


@pytest.mark.parametrize(
    ("changes", "sentence", "status"),
    [
        ({"groups_missing": ("tss", "kvm")}, "groups that hosts put the user into do not exist: tss, kvm", 1),
        ({"files_missing": ("/etc/gshadow",)}, "files that hosts rely on are missing: /etc/gshadow", 1),
        ({"lingers": False}, "the services run only while user is logged in", 1),
        ({"locale_missing": "de_DE.UTF-8"}, "the locale de_DE.UTF-8 is set and does not exist", 1),
        ({"compositor_there": False}, "the host mounts no compositor's socket here", 1),
        (
            {"nodes": (Node("/dev/dri/renderD128", "permission denied"),)},
            "/dev/dri/renderD128 cannot be opened: permission denied",
            1,
        ),
        ({"free": {"/": (5 << 20, 1000)}}, "only 5 MiB are free at /", 1),
        ({"session_bus": False}, "there is no session bus", 1),
        ({"chromeos": True, "address": False}, "eth0 has no IPv4 address", 1),
        ({"config_warnings": ("a.conf:1: there is no setting 'x'",)}, "a.conf:1: there is no setting 'x'", 1),
        (
            {"version": "2.0", "garcon": {"registered": True, "version": "1.0"}},
            "garcon 1.0 still runs although 2.0 is installed",
            1,
        ),
        (
            {"manager_lacks": ("BROWSER", "XDG_DATA_DIRS"), "garcon_lacks": ("BROWSER", "XDG_DATA_DIRS")},
            "the user manager was started without variables of Guestlink: BROWSER, XDG_DATA_DIRS",
            1,
        ),
        ({"garcon_lacks": ("BROWSER",)}, "garcon was started without variables of Guestlink: BROWSER", 1),
        ({"sftp_server": False}, "there is no sftp-server", 0),
        ({"network": False}, "this container has no network", 0),
        ({"nodes": ()}, "the host gives this container no GPU", 0),
        ({"xdg_open": False}, "there is no xdg-open", 0),
        ({"shell_server": False}, "vshd is not installed", 0),
        ({"journal_readable": False}, "user may not read the journal", 0),
        ({"failed_system_units": ("a.mount",)}, "system units have failed: a.mount", 0),
        (
            {"units": {"guestlink-garcon.service": UnitState()}},
            "the Wayland proxy is not installed",
            0,
        ),
    ],
)  # fmt: skip
def test_what_is_not_fatal_is_said_with_less_weight(changes: dict[str, Any], sentence: str, status: int) -> None:
    findings = run_checks(replace(Facts(), **changes)).findings
    assert len(findings) == 1, findings
    assert findings[0].sentence.startswith(sentence)
    assert status_of(findings) == status


def test_a_healthy_container_has_no_finding() -> None:
    facts = replace(Facts(), garcon={"registered": True, "sentence": "registered with the host at unix:/x"})
    assert run_checks(facts).findings == []
    assert (
        text(facts, run_checks(facts), verbose=False)
        == "everything is in order: registered with the host at unix:/x"
    )
    assert len(text(facts, run_checks(facts), verbose=True).splitlines()) == len(CHECKS) + 1


def test_root_is_not_told_to_become_the_services_user() -> None:
    facts = replace(Facts(), **(NO_MANAGER | {"uid": 0, "user": "root", "desktop_user": ""}))
    (finding,) = run_checks(facts).findings
    assert finding.advice == "sudo guestlink adopt creates that user"


def test_what_was_not_asked_is_not_called_ok() -> None:
    facts = replace(Facts(), **BROKEN["no user manager"][0])
    shown = text(facts, run_checks(facts), verbose=True)
    assert "ok       there is a host" in shown
    assert "ok       garcon answers" not in shown
    assert "ok       the user manager runs" not in shown


def test_what_cannot_be_found_out_is_neither_in_order_nor_wrong() -> None:
    facts = replace(Facts(), libraries={}, unchecked={"libraries": "importing them gave no answer in time"})
    assert run_checks(facts).findings == []
    shown = text(facts, run_checks(facts), verbose=True).splitlines()
    assert "unknown  whether the Python libraries are usable: importing them gave no answer in time" in shown
    assert "ok       the Python libraries are usable" not in shown


def test_several_independent_troubles_are_all_named() -> None:
    facts = replace(
        Facts(), token_trouble="no token", garcon=WAITING, groups_missing=("video",), free={"/": (1 << 21, 99)}
    )
    assert [finding.check for finding in run_checks(facts).findings] == ["disk", "token", "groups"]


def test_findings_are_json() -> None:
    findings = run_checks(replace(Facts(), **BROKEN["no host"][0])).findings
    (entry,) = json.loads(json.dumps([finding.to_json() for finding in findings]))
    assert entry["severity"] == "error"
    assert set(entry) == {"check", "severity", "sentence", "advice"}


def test_every_cause_stands_before_its_consequences() -> None:
    seen: set[str] = set()
    for check in CHECKS:
        assert set(check.after) <= seen, check.name
        seen.add(check.name)


def test_unit_states_are_read_from_systemctl() -> None:
    shown = (
        "Id=guestlink-garcon.service\nLoadState=loaded\nActiveState=activating\nUnitFileState=enabled\n"
        "Result=exit-code\nNRestarts=7\nConditionResult=yes\nStatusText=a=b\n\n"
        "Id=guestlink-sommelier@0.service\nLoadState=not-found\nActiveState=inactive\nConditionResult=no\n"
    )
    units = dict(parse_units(shown))
    assert units["guestlink-garcon.service"] == UnitState(
        "loaded", "activating", "enabled", "exit-code", 7, True, "a=b"
    )
    assert units["guestlink-sommelier@0.service"].load == "not-found"
    assert not units["guestlink-sommelier@0.service"].condition
    assert dict(parse_units("")) == {}


@pytest.mark.parametrize(
    ("sound", "shown"),
    [
        (
            {"way": "pulseaudio", "why": "a filter guards it"},
            "through the host's PulseAudio socket: a filter guards it",
        ),
        ({"way": "none", "why": "the policy denies it"}, "sound: the host plays none now: the policy denies it"),
    ],
)
def test_it_says_by_which_way_sound_goes(sound: dict[str, str], shown: str) -> None:
    facts = Facts(sound=sound)
    assert text(facts, run_checks(facts), verbose=False).endswith(shown)
    assert "sound:" not in text(Facts(), run_checks(Facts()), verbose=False)


def test_what_a_proxy_cannot_give_is_a_warning() -> None:
    limit = {"sentence": "direct scale needs wp_viewporter", "advice": "start the proxy with --security-context=no"}
    proxies = ({"socket": "wayland-1", "limits": [limit]}, {"socket": "wayland-0"})
    (finding,) = [one for one in run_checks(replace(Facts(), proxies=proxies)).findings if one.check == "proxies"]
    assert finding.severity is Severity.WARNING
    assert finding.sentence == "wayland-1: direct scale needs wp_viewporter"
    assert finding.advice == limit["advice"]
