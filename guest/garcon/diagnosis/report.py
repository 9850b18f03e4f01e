"""The text for GetDebugInformation and bug reports, with ChromeOS garcon's headings (chromeos-garcon.md §6.9,
chromeos-vsh.md §7.2)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from garcon.client.sound import sound_sentence
from garcon.client.windows import windows_sentence
from garcon.diagnosis.checks import run_checks
from garcon.diagnosis.commands import Commands
from garcon.diagnosis.facts import UNITS, Facts
from garcon.diagnosis.findings import Finding
from garcon.diagnosis.gather import gather, session_environ
from garcon.diagnosis.redaction import Redaction
from garcon.settings import TOKEN_FILE, load_settings
from guestlink.errors import GuestlinkError
from guestlink.token import TokenError, read_token

TEXT_LIMIT = 1 << 20
"""Bytes of the whole text: the host's receive limit is 4 MiB."""
SECONDS = 40.0
"""Seconds for all commands; the host waits 60 s (chromeos-garcon.md §7.2)."""
_SECTION_LIMIT = 128 * 1024
_PACKAGES = (
    ("dpkg-query", ("-W", "-f", "${db:Status-Abbrev}\t${Package}-${Version}\n", "cros-*", "guestlink*")),
    ("rpm", ("-qa", "--qf", "ii \t%{NAME}-%{VERSION}-%{RELEASE}\n", "cros-*", "guestlink*")),
    ("pacman", ("-Q",)),
)
_VARIABLES = (
    "BROWSER", "DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "DISPLAY_LOW_DENSITY", "GTK_IM_MODULE", "LANG",
    "LC_ALL", "PATH", "QT_IM_MODULE", "QT_QPA_PLATFORMTHEME", "SHELL", "TERM", "WAYLAND_DISPLAY",
    "WAYLAND_DISPLAY_LOW_DENSITY", "XAUTHORITY", "XCURSOR_SIZE", "XCURSOR_THEME", "XDG_CONFIG_HOME",
    "XDG_CURRENT_DESKTOP", "XDG_DATA_DIRS", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "XDG_SESSION_TYPE",
    "GUESTLINK_TOKEN_FILE", "GUESTLINK_HOST_ADDRESS", "GUESTLINK_HOST_KIND", "GUESTLINK_GARCON_ADDRESS",
    "GUESTLINK_VSH_ADDRESS", "GUESTLINK_LOG",
)  # fmt: skip
"""The variables in a report: no others, because people keep passwords in variables."""


class Section(NamedTuple):
    """A heading and the text below it."""

    heading: str
    text: str


def debug_text(environ: Mapping[str, str] = os.environ, log: Sequence[str] = (), seconds: float = SECONDS) -> str:
    """The whole report for a helper, without names and secrets.

    :param environ: the session's environment.
    :param log: the last lines of garcon's own log.
    :param seconds: rough limit for the whole report.
    """
    facts = gather(environ, seconds / 2)
    commands = Commands(seconds / 2, session_environ(environ))
    return join(sections(facts, run_checks(facts).findings, commands, environ, log), redaction_for(facts, environ))


def join(parts: Iterable[Section], redaction: Redaction) -> str:
    """Join the sections to one text, redacted and within the size limits."""
    lines = []
    for part in parts:
        # Headings are not redacted, because a user may be called "user".
        body = redaction.apply(part.text[-_SECTION_LIMIT:])
        lines += [f"{part.heading}:", *(f"\t{line}" for line in body.splitlines())]
    return "\n".join([*lines, ""]).encode()[:TEXT_LIMIT].decode(errors="ignore")


def sections(
    facts: Facts, findings: Sequence[Finding], commands: Commands, environ: Mapping[str, str], log: Sequence[str]
) -> list[Section]:
    """The sections of the text: first those of ChromeOS's garcon, in its order."""
    made = [
        Section("Installed Crostini Packages", installed_packages(commands)),
        Section("systemctl status", commands.run(["systemctl", "--no-legend", "--no-pager"]).text),
        Section("systemctl user status", commands.run(["systemctl", "--user", "--no-legend", "--no-pager"]).text),
    ]
    for unit in UNITS:
        if unit in facts.units and facts.units[unit].load == "not-found":
            continue
        made.append(Section(f"Filtered journalctl for {unit.removesuffix('.service')}", journal(commands, unit)))
    made.append(Section("guestlink doctor", findings_text(findings)))
    made.append(Section("System", system_text(facts)))
    made.append(Section("Variables", variables_text(environ)))
    if log:
        made.append(Section("garcon's last messages", "\n".join(log)))
    return made


def installed_packages(commands: Commands) -> str:
    """Our packages and ChromeOS's, one ``name-version`` a line, from every installed package manager: some systems
    have another's tools besides their own."""
    found: list[str] = []
    programs = [(program, words) for program, words in _PACKAGES if shutil.which(program)]
    for program, words in programs:
        for line in commands.run([program, *words]).text.splitlines():
            if program == "pacman":
                name, _, version = line.partition(" ")
                if name.startswith(("cros-", "guestlink")):
                    found.append(f"{name}-{version}")
            else:
                state, tab, package = line.partition("\t")
                if tab and state.strip() == "ii":
                    found.append(package)
    return "\n".join(sorted(found)) if programs else "(no package manager is known here)"


def journal(commands: Commands, unit: str) -> str:
    """One day of a unit's log."""
    words = ["journalctl", "--user-unit", unit, "--since", "1 day ago", "--no-pager", "-q", "-n", "2000"]
    return commands.run(words, 15).text


def findings_text(findings: Sequence[Finding]) -> str:
    """The doctor's findings as text."""
    if not findings:
        return "everything is in order"
    lines = []
    for finding in findings:
        lines.append(f"{finding.severity.name.lower():8}{finding.sentence}")
        if finding.advice:
            lines.append(f"{'':8}{finding.advice}")
    return "\n".join(lines)


def system_text(facts: Facts) -> str:
    """Versions and the state of the parts."""
    lines = [
        f"Guestlink {facts.version}, Python {facts.python}, {facts.distribution}",
        f"kernel {os.uname().release} {os.uname().machine}, host {facts.host or 'unknown'}",
        *(f"{name} {version or facts.import_troubles.get(name, '')}" for name, version in facts.libraries.items()),
        *(f"{path}: {free >> 20} MiB and {inodes} inodes free" for path, (free, inodes) in facts.free.items()),
        *(f"{node.path}: {node.trouble or 'can be opened'}" for node in facts.nodes),
    ]
    for name, unit in facts.units.items():
        lines.append(
            f"{name}: {unit.load}, {unit.enabled or '-'}, {unit.active}, result {unit.result}, "
            f"{unit.restarts} restarts{': ' + unit.text if unit.text else ''}"
        )
    if sentence := windows_sentence(facts.windows, facts.proxies, linked=facts.linked):
        lines.append(f"windows: {sentence}")
    if sentence := sound_sentence(facts.sound):
        lines.append(f"sound: {sentence}")
    for proxy in facts.proxies:
        lines.append(
            f"proxy {proxy.get('socket')}: host {proxy.get('host')}, known {proxy.get('host_known')}, "
            f"{len(proxy.get('clients', ()))} programs"
        )
    return "\n".join(lines)


def variables_text(environ: Mapping[str, str]) -> str:
    """The variables that a report contains, and their values."""
    return "\n".join(f"{name}={environ[name]}" for name in _VARIABLES if name in environ)


def redaction_for(facts: Facts, environ: Mapping[str, str]) -> Redaction:
    """The redaction for this container's reports."""
    secrets = []
    try:
        secrets.append(read_token(load_settings(environ)[TOKEN_FILE]))
    except (TokenError, GuestlinkError):
        pass  # No token is readable, so there is none to hide.
    return Redaction(facts.user, facts.home, facts.host_name, secrets)
