"""The last step of adoption: starts the user manager and the services now, not only with the next start."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from garcon.adoption.guest_root import GuestRoot, PasswdEntry
from garcon.adoption.outcome import Outcome
from guestlink import socket_directory
from guestlink.errors import GuestlinkError
from guestlink.progress import waiting
from guestlink.token import TOKEN_PATH

_GARCON = "guestlink-garcon.service"
_RUNNING = ("active", "reloading")


def start_services(root: GuestRoot, user: PasswdEntry) -> Outcome:
    """Start the user manager and our units in it. Return when garcon has sent READY, or why it has not.

    A manager that runs already reloads its units and its environment, and keeps its programs.
    """
    if not root.is_live:
        return Outcome("ok", "they start with the container")
    if not Path("/run/systemd/system").is_dir():
        return Outcome("failed", "systemd does not run here", "start the container with its init system")
    if _garcon_state(root, user) in _RUNNING:
        return _mounted_for_another(root, user) or Outcome("ok", f"they run for {user.name}", _next(user))
    if root.dry_run:
        return Outcome("made", f"they run for {user.name}")
    with waiting("starting the services"):
        return _start(root, user)


def _start(root: GuestRoot, user: PasswdEntry) -> Outcome:
    stale = _lacks_groups(root, user)
    try:
        root.call(["systemctl", "start", f"user@{user.uid}.service"])
    except GuestlinkError as error:
        return Outcome(
            "failed",
            f"no user manager runs for {user.name}: {error}",
            "install libpam-systemd and dbus-user-session (Debian, Ubuntu), then adopt again; "
            f"journalctl -u user@{user.uid}.service shows why",
        )
    # Do not wait for default.target: the user's own services may be slow. garcon itself waits for the proxies.
    for words in (["daemon-reload"], ["start", "--no-block", "default.target"]):
        root.call(["systemctl", "--user", *words], user=user)
    with suppress(GuestlinkError):  # The unit's state says more.
        root.call(["systemctl", "--user", "start", _GARCON], user=user)
    if (state := _garcon_state(root, user)) not in _RUNNING:
        return _not_running(root, user, state)
    if (failed := _mounted_for_another(root, user)) is not None:
        return failed
    groups = f"; systemctl restart user@{user.uid}.service applies the new groups and ends the user's programs"
    return Outcome("made", f"they run for {user.name}" + (groups if stale else ""), _next(user))


def _garcon_state(root: GuestRoot, user: PasswdEntry) -> str:
    try:
        return root.call(["systemctl", "--user", "show", "-P", "ActiveState", _GARCON], user=user).strip()
    except GuestlinkError:
        return ""  # No manager answers, or there is no such user yet.


def _not_running(root: GuestRoot, user: PasswdEntry, state: str) -> Outcome:
    names = ("LoadState", "ConditionResult", "Result")
    shown = root.call(["systemctl", "--user", "show", "-p", ",".join(names), _GARCON], user=user)
    found = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    if found.get("LoadState") == "not-found":
        return Outcome("failed", "garcon is not installed", "install the package guestlink, then adopt again")
    if found.get("LoadState") == "masked":
        return Outcome(
            "failed", f"{_GARCON} is masked", f"systemctl --global unmask {_GARCON}, then run this again"
        )
    if found.get("ConditionResult") == "no":
        return Outcome(
            "failed",
            f"{_GARCON} does not start: a condition of its unit does not hold",
            f"systemctl status {_GARCON}, as {user.name} with --user, names it",
        )
    return Outcome(
        "failed",
        f"garcon does not run for {user.name}: its unit is {state} ({found.get('Result', 'no result')})",
        f"journalctl _UID={user.uid} -n 50 shows why",
    )


def _mounted_for_another(root: GuestRoot, user: PasswdEntry) -> Outcome | None:
    """The outcome if a Linux host has mounted its directory for another user of the container; else ``None``."""
    if not os.path.exists(socket_directory.MOUNT_POINT):
        return None
    with suppress(GuestlinkError):
        root.call(["test", "-r", f"{socket_directory.MOUNT_POINT}/{socket_directory.TOKEN}"], user=user)
        return None
    return Outcome(
        "failed",
        f"they run for {user.name}, but the host lets another user use {socket_directory.MOUNT_POINT}",
        f"on the host: guestlink-host attach NAME --uid {user.uid}",
    )


def _next(user: PasswdEntry) -> str:
    """The advice for a container that no host has set up yet; "" otherwise."""
    if os.path.exists(socket_directory.MOUNT_POINT) or os.path.exists(TOKEN_PATH):
        return ""
    return "next, on the host: guestlink-host attach NAME"


def _lacks_groups(root: GuestRoot, user: PasswdEntry) -> bool:
    """Whether the user manager started before the user got all of the present groups."""
    try:
        pid = root.call(["systemctl", "show", "-P", "MainPID", f"user@{user.uid}.service"]).strip()
        lines = Path("/proc", pid, "status").read_text().splitlines()
    except (GuestlinkError, OSError):
        return False
    running = next((set(map(int, line.split()[1:])) for line in lines if line.startswith("Groups:")), set())
    return pid not in ("", "0") and not set(os.getgrouplist(user.name, user.gid)) <= running | {user.gid}
