"""``guestlink doctor``: what works, what does not, and what to do about it."""

from __future__ import annotations

import json
import os
import sys

from garcon.client.garcon_client import control_path
from garcon.client.sound import sound_sentence
from garcon.client.windows import windows_sentence
from garcon.diagnosis.checks import CHECKS, run_checks
from garcon.diagnosis.facts import DESKTOP_UID, Facts
from garcon.diagnosis.findings import Diagnosis, Severity, status_of
from garcon.diagnosis.gather import gather
from guestlink.progress import waiting


def doctor(*, as_json: bool, verbose: bool) -> int:
    """Run the checks, print the findings, and return the exit status: 0 fine, 1 warnings, 2 errors.

    :param verbose: print the checks that found nothing, too.
    """
    become_desktop_user()
    with waiting("looking at the container"):
        facts = gather()
    diagnosis = run_checks(facts)
    findings = diagnosis.findings
    if as_json:
        answer = {
            "status": status_of(findings),
            "findings": [finding.to_json() for finding in findings],
            "version": facts.version,
            "distribution": facts.distribution,
            "user": facts.user,
            "host": facts.host,
            "unchecked": dict(facts.unchecked),
            "windows": {**facts.windows, "linked": facts.linked},
            "sound": dict(facts.sound),
            "registered": bool((facts.garcon or {}).get("registered")),
        }
        json.dump(answer, sys.stdout, indent=2, ensure_ascii=False)
        print()
    else:
        print(text(facts, diagnosis, verbose=verbose))
    return status_of(findings)


def text(facts: Facts, diagnosis: Diagnosis, *, verbose: bool) -> str:
    """The findings as text."""
    lines = []
    if verbose:
        for check in CHECKS:
            if check.name in facts.unchecked:
                lines.append(f"unknown  whether {check.what}: {facts.unchecked[check.name]}")
            elif check.name in diagnosis.passed:
                lines.append(f"ok       {check.what}")
    for finding in diagnosis.findings:
        lines.append(f"{finding.severity.name.lower():9}{finding.sentence}")
        if finding.advice:
            lines.append(f"{'':9}{finding.advice}")
    serious = [finding for finding in diagnosis.findings if finding.severity is not Severity.NOTE]
    if not serious:
        sentence = str((facts.garcon or {}).get("sentence", ""))
        lines.append("everything is in order" + (f": {sentence}" if sentence else ""))
    if sentence := windows_sentence(facts.windows, facts.proxies, linked=facts.linked):
        lines.append(f"windows: {sentence}")
    if sentence := sound_sentence(facts.sound):
        lines.append(f"sound: {sentence}")
    return "\n".join(lines)


def become_desktop_user() -> None:
    """If root runs this command, drop to the container's user (uid 1000), unless root has its own garcon."""
    import pwd

    if os.getuid() != 0 or os.path.exists(control_path()):
        return
    try:
        entry = pwd.getpwuid(DESKTOP_UID)
    except KeyError:
        return
    os.initgroups(entry.pw_name, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    os.environ |= {"HOME": entry.pw_dir, "USER": entry.pw_name, "XDG_RUNTIME_DIR": f"/run/user/{entry.pw_uid}"}
    for name in ("DBUS_SESSION_BUS_ADDRESS", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "WAYLAND_DISPLAY", "DISPLAY"):
        os.environ.pop(name, None)
