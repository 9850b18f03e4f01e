"""The checks: a table, ordered from causes to consequences. A check does not run if one of its causes has an error,
so that the doctor reports only what the user must repair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from garcon.diagnosis.facts import DESKTOP_UID, Facts
from garcon.diagnosis.findings import Diagnosis, Finding, Severity

MIN_VERSIONS = {
    "google.protobuf": ("protobuf", (3, 19, 6)),
    "grpc": ("grpcio", (1, 48)),
    "watchdog": ("watchdog", (2, 2, 1)),
    "dbus_fast": ("dbus-fast", (1, 84)),
    "sdnotify": ("sdnotify", (0, 3)),  # 0.3.1 reports 0.3.0 as its version
}
"""Modules that garcon imports, and the oldest versions it works with (CONTRIBUTING.md)."""

DISK_FULL, DISK_LOW = 1 << 20, 1 << 30
"""Free bytes below which nothing works, and below which ChromeOS warns (chromeos-garcon.md §6.10)."""
_INODES_LOW = 16

_ERROR, _WARNING, _NOTE = Severity.ERROR, Severity.WARNING, Severity.NOTE
_Problems = Iterator[tuple[Severity, str, str]]


class Check(NamedTuple):
    """One check.

    :ivar what: the healthy state, as a clause.
    :ivar find: yields severity, sentence and advice for each problem.
    :ivar after: causes: checks that must have no error before this one runs.
    """

    name: str
    what: str
    find: Callable[[Facts], _Problems]
    after: tuple[str, ...] = ()


def run_checks(facts: Facts) -> Diagnosis:
    """Run every check whose causes have no error."""
    findings: list[Finding] = []
    passed: set[str] = set()
    broken: set[str] = set()
    for check in CHECKS:
        if check.name in facts.unchecked:
            continue
        if broken.intersection(check.after):
            broken.add(check.name)  # A consequence of a consequence is skipped, too.
            continue
        found = [Finding(check.name, *words) for words in check.find(facts)]
        if any(finding.severity is _ERROR for finding in found):
            broken.add(check.name)
        findings += found
        if not found:
            passed.add(check.name)
    return Diagnosis(findings, frozenset(passed))


def _place(facts: Facts) -> _Problems:
    if not facts.container and facts.garcon is None:
        yield (
            _ERROR,
            "this is neither a container nor a virtual machine of ChromeOS",
            "install the package guestlink inside the container; a host needs guestlink-host",
        )


def _system(facts: Facts) -> _Problems:
    if not facts.systemd:
        yield (
            _ERROR,
            "systemd does not run here, so nothing starts the services",
            "start the container with its init system, or run /usr/lib/guestlink/garcon --server by yourself",
        )


def _user(facts: Facts) -> _Problems:
    if facts.garcon is not None or facts.uid == DESKTOP_UID:
        return
    you = f"you are {facts.user} (uid {facts.uid})"
    if facts.desktop_user:
        yield (
            _ERROR,
            f"the services run for {facts.desktop_user} (uid {DESKTOP_UID}), and {you}",
            f"run guestlink doctor as {facts.desktop_user}, or move the services to {facts.user}: "
            f"sudo guestlink adopt --user {facts.user}",
        )
    else:
        yield (
            _ERROR,
            f"the services run for uid {DESKTOP_UID}, and no user has it; {you}",
            "sudo guestlink adopt creates that user"
            + (f", sudo guestlink adopt --user {facts.user} uses yours" if facts.uid > DESKTOP_UID else ""),
        )


def _disk(facts: Facts) -> _Problems:
    for directory, (free, inodes) in facts.free.items():
        if free < DISK_FULL or inodes < _INODES_LOW:
            what = "bytes" if free < DISK_FULL else "file entries"
            advice = f"delete something; `du -xh -d1 {directory}` shows what is large"
            yield _ERROR, f"{directory} is full: no {what} are free", advice
        elif free < DISK_LOW and not directory.startswith("/run/"):
            yield _WARNING, f"only {free >> 20} MiB are free at {directory}", "delete what you do not need"


def _runtime(facts: Facts) -> _Problems:
    if facts.runtime_trouble:
        yield (
            _ERROR,
            facts.runtime_trouble,
            "remove the directory and log in again: only systemd may create it",
        )


def _manager(facts: Facts) -> _Problems:
    if not facts.manager_runs:
        first = "" if facts.pam_module else "install libpam-systemd (Debian, Ubuntu); "
        linger = "" if facts.lingers else f"sudo loginctl enable-linger {facts.user} starts it at boot; "
        yield (
            _ERROR,
            f"no user manager runs for {facts.user}: {facts.manager}",
            f"{first}{linger}sudo systemctl start user@{facts.uid}.service starts it now",
        )
    elif not facts.lingers:
        yield (
            _WARNING,
            f"the services run only while {facts.user} is logged in",
            f"sudo loginctl enable-linger {facts.user}",
        )


def _environment(facts: Facts) -> _Problems:
    if facts.manager_lacks:
        yield (
            _WARNING,
            f"the user manager was started without variables of Guestlink: {', '.join(facts.manager_lacks)}",
            "systemctl --user daemon-reload; systemctl --user restart guestlink-garcon",
        )
    elif facts.garcon_lacks:
        yield (
            _WARNING,
            f"garcon was started without variables of Guestlink: {', '.join(facts.garcon_lacks)}",
            "systemctl --user restart guestlink-garcon",
        )


def _bus(facts: Facts) -> _Problems:
    if not facts.session_bus:
        yield (
            _WARNING,
            "there is no session bus, so applications cannot be activated by D-Bus",
            "install dbus-user-session (Debian, Ubuntu) and restart the container",
        )


def _libraries(facts: Facts) -> _Problems:
    for module, (name, minimum) in MIN_VERSIONS.items():
        if module not in facts.libraries:
            continue
        version = facts.libraries[module]
        if version is None:
            reason = facts.import_troubles.get(module, "it cannot be imported")
            advice = f"install python3-{name.removesuffix('io')} (Debian, Ubuntu), or its package elsewhere"
            yield _ERROR, f"the Python library {name} is not usable: {reason}", advice
        elif version and _numbers(version) < minimum:
            oldest = ".".join(map(str, minimum))
            yield (
                _ERROR,
                f"the Python library {name} {version} is too old; {oldest} is the oldest that works",
                f"upgrade {name} with the package manager, and remove older ones from /usr/local/lib/python3*",
            )


def _settings(facts: Facts) -> _Problems:
    if facts.config_trouble:
        yield _ERROR, facts.config_trouble, "correct the setting, then: systemctl --user restart guestlink-garcon"
    for warning in facts.config_warnings:
        yield _WARNING, warning, "guestlink.conf(5) lists the settings" if "setting" in warning else ""


def _rival(facts: Facts) -> _Problems:
    if facts.original_garcon:
        yield (
            _ERROR,
            "the original garcon runs too, and the host can have only one",
            "systemctl --user mask --now cros-garcon.service, or remove the package cros-garcon",
        )


def _units(facts: Facts) -> _Problems:
    for name, unit in facts.units.items():
        log = f"journalctl --user -u {name} shows why"
        if unit.load == "masked" or unit.enabled == "masked":
            yield (
                _ERROR,
                f"{name} is masked",
                f"systemctl --user unmask {name}, then: systemctl --user start {name}",
            )
        elif unit.load == "not-found":
            if name == "guestlink-garcon.service":
                yield _ERROR, f"{name} is not installed", "install the package guestlink-garcon"
        elif unit.active == "failed":
            advice = f"{log}; then: systemctl --user restart {name}"
            yield _ERROR, f"{name} has failed ({unit.result}), and systemd does not restart it", advice
        elif unit.active == "activating" and unit.restarts > 2:
            yield _ERROR, f"{name} exits repeatedly ({unit.restarts} restarts)", log
        elif (
            unit.active == "inactive" and unit.condition and unit.result == "success" and unit.enabled == "disabled"
        ):
            if name.startswith(("guestlink-garcon", "guestlink-sommelier@0")):
                yield _ERROR, f"{name} is disabled", f"systemctl --user enable --now {name}"
        elif unit.active == "inactive" and unit.condition and name == "guestlink-garcon.service":
            yield _ERROR, f"{name} does not run", f"systemctl --user start {name}"


def _garcon(facts: Facts) -> _Problems:
    if facts.garcon is None:
        yield _ERROR, f"garcon does not answer: {facts.garcon_trouble}", "systemctl --user restart guestlink-garcon"
        return
    running = str(facts.garcon.get("version", facts.version))
    if running != facts.version:
        yield (
            _WARNING,
            f"garcon {running} still runs although {facts.version} is installed",
            "systemctl --user daemon-reload; systemctl --user restart guestlink-garcon",
        )
    for warning in facts.garcon.get("warnings", ()):
        if warning not in facts.config_warnings:
            yield _WARNING, str(warning), ""


def _host(facts: Facts) -> _Problems:
    if facts.host_trouble:
        yield (
            _ERROR,
            facts.host_trouble,
            "start the container from its host; on a Linux host run guestlink-host attach NAME first",
        )


def _token(facts: Facts) -> _Problems:
    if facts.token_trouble:
        advice = (
            "start the container from the host (Terminal, or vmc), not with lxc"
            if facts.chromeos
            else "on the host: guestlink-host attach NAME, then restart the container"
        )
        yield _ERROR, facts.token_trouble, advice


def _listener(facts: Facts) -> _Problems:
    if facts.listener_trouble and not (facts.garcon or {}).get("registered"):
        advice = (
            "restart the container from the host"
            if facts.chromeos
            else "on the host: systemctl --user start guestlink-host, and guestlink-host status; "
            "if it runs, restart the container, in which an older directory of the host's may be mounted"
        )
        yield _ERROR, f"the host does not answer: {facts.listener_trouble}", advice


def _registration(facts: Facts) -> _Problems:
    garcon = facts.garcon or {}
    if garcon.get("registered"):
        return
    sentence = str(garcon.get("sentence", "garcon is not registered"))
    if garcon.get("phase") == "rejected":
        yield (
            _ERROR,
            sentence,
            "the host expects another token: restart the container from its host"
            + ("" if facts.chromeos else ", or on the host: guestlink-host attach NAME"),
        )
    elif garcon.get("phase") == "host too old":
        yield _ERROR, sentence, "upgrade guestlink-host on the host and restart it, then restart the container"
    else:
        yield _WARNING, sentence, "wait a moment and run guestlink doctor again"


def _network(facts: Facts) -> _Problems:
    if facts.chromeos and not facts.address:
        yield (
            _WARNING,
            "eth0 has no IPv4 address, which ChromeOS needs to register this container",
            "`ip address show eth0` shows it; restart the container from the host",
        )
    elif not facts.network:
        yield (
            _NOTE,
            "this container has no network: its programs reach no servers, and no package can be installed",
            "Guestlink works without one; the container manager on the host configures it",
        )


def _windows(facts: Facts) -> _Problems:
    unit = facts.units.get("guestlink-sommelier@0.service")
    if unit is None or unit.load == "not-found":
        advice = "install the package guestlink-sommelier if you want some"
        yield _NOTE, "the Wayland proxy is not installed, so programs have no windows", advice
        return
    if facts.chromeos:
        return
    if facts.windows.get("way") == "none":
        yield (
            _WARNING,
            f"the host shows no windows of this container: {facts.windows.get('why', '')}",
            "on the host: `guestlink-host policy NAME wayland allow` allows them; if they are allowed, start "
            "guestlink-host inside the desktop's session, or log in to the desktop",
        )
    elif not facts.compositor_there:
        yield (
            _WARNING,
            "the host mounts no compositor's socket here, so programs have no windows",
            "on the host: start guestlink-host inside the desktop's session, or log in to the desktop",
        )
    elif facts.compositor:
        yield (
            _ERROR,
            f"the host's compositor does not answer: {facts.compositor}",
            "the desktop has ended or was started again: restart guestlink-host inside the new session",
        )


def _proxies(facts: Facts) -> _Problems:
    for proxy in facts.proxies:
        for limit in proxy.get("limits", ()):
            yield _WARNING, f"{proxy['socket']}: {limit['sentence']}", limit["advice"]


def _graphics(facts: Facts) -> _Problems:
    if not facts.nodes:
        yield (
            _NOTE,
            "the host gives this container no GPU, so programs draw with the processor",
            "if the host has one, "
            + ("the virtual machine needs it too" if facts.chromeos else "run guestlink-host attach NAME there"),
        )
    for node in facts.nodes:
        if node.trouble:
            yield (
                _WARNING,
                f"{node.path} cannot be opened: {node.trouble}; programs draw without the GPU",
                "sudo guestlink adopt adds the user to the node's group; log in again afterwards",
            )


def _groups(facts: Facts) -> _Problems:
    if facts.groups_missing:
        yield (
            _WARNING,
            f"groups that hosts put the user into do not exist: {', '.join(facts.groups_missing)}",
            "sudo guestlink adopt",
        )


def _files(facts: Facts) -> _Problems:
    if facts.files_missing:
        missing = ", ".join(facts.files_missing)
        yield _WARNING, f"files that hosts rely on are missing: {missing}", "sudo guestlink adopt"


def _sftp(facts: Facts) -> _Problems:
    if not facts.sftp_server:
        yield (
            _NOTE,
            "there is no sftp-server, so the host's file manager cannot show this container's files",
            "install openssh-sftp-server (Debian, Ubuntu) or openssh",
        )


def _shells(facts: Facts) -> _Problems:
    if not facts.shell_server:
        yield (
            _NOTE,
            "vshd is not installed, so the host has no terminal in this container",
            "install the package guestlink-vshd if you want one",
        )


def _links(facts: Facts) -> _Problems:
    if not facts.xdg_open:
        yield (
            _NOTE,
            "there is no xdg-open, which many programs open links with",
            "sudo apt-get install --no-install-recommends xdg-utils (Debian, Ubuntu), or install xdg-utils",
        )


def _locale(facts: Facts) -> _Problems:
    if facts.locale_missing:
        yield (
            _WARNING,
            f"the locale {facts.locale_missing} is set and does not exist",
            "generate the locale (Debian, Ubuntu: sudo dpkg-reconfigure locales), or set LANG=C.UTF-8",
        )


def _system_units(facts: Facts) -> _Problems:
    if facts.failed_system_units:
        yield (
            _NOTE,
            f"system units have failed: {', '.join(facts.failed_system_units)}",
            "systemctl status UNIT; mask those that cannot work in a container (status 226)",
        )


def _journal(facts: Facts) -> _Problems:
    if not facts.journal_readable:
        yield (
            _NOTE,
            f"{facts.user} may not read the journal, so reports hold only what garcon remembers itself",
            f"sudo usermod -aG systemd-journal {facts.user}",
        )


CHECKS: tuple[Check, ...] = (
    Check("place", "this is a container", _place),
    Check("disk", "the disk has free space", _disk),
    Check("system", "systemd runs", _system, ("place",)),
    Check("user", "the services are this user's", _user, ("place",)),
    Check("runtime", "the runtime directory is the user's", _runtime, ("place", "system", "user", "disk")),
    Check("manager", "the user manager runs", _manager, ("system", "user", "runtime")),
    Check("environment", "programs get Guestlink's variables", _environment, ("place", "manager")),
    Check("bus", "there is a session bus", _bus, ("manager",)),
    Check("libraries", "the Python libraries are usable", _libraries),
    Check("settings", "the settings are valid", _settings),
    Check("rival", "no other garcon runs", _rival, ("manager",)),
    Check("units", "the user units run", _units, ("manager", "libraries", "settings", "disk")),
    Check("garcon", "garcon answers", _garcon, ("manager", "libraries", "settings", "units", "disk")),
    Check("host", "there is a host", _host, ("place",)),
    Check("token", "the host has given a token", _token, ("place", "user", "host")),
    Check("listener", "the host answers", _listener, ("user", "host", "token")),
    Check("network", "the container has a network", _network, ("place",)),
    Check(
        "registration",
        "the host knows this container",
        _registration,
        ("user", "garcon", "host", "token", "listener", "rival"),
    ),
    Check("windows", "programs can show windows", _windows, ("manager", "host", "units", "listener")),
    Check("proxies", "the proxy's settings take effect", _proxies, ("windows",)),
    Check("graphics", "the GPU can be used", _graphics, ("user",)),
    Check("groups", "the expected groups exist", _groups, ("place",)),
    Check("files", "the expected files exist", _files, ("place",)),
    Check("sftp", "the host can show files", _sftp, ("place",)),
    Check("shells", "the host can open a terminal", _shells, ("place",)),
    Check("links", "programs can open links", _links, ("place",)),
    Check("locale", "the locale exists", _locale),
    Check("system units", "no system unit has failed", _system_units, ("place", "system")),
    Check("journal", "the journal is readable", _journal, ("place", "system")),
)


def _numbers(version: str) -> tuple[int, ...]:
    numbers = []
    for part in version.split("."):
        digits = "".join(char for char in part if char.isdecimal())
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)
