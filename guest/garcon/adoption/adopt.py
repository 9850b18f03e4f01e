"""``guestlink adopt``: takes the steps and prints one line for each, with its reason."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from garcon.adoption.guest_root import GuestRoot
from garcon.adoption.steps import choose_user, take_steps
from guestlink.errors import GuestlinkError
from guestlink.program import CommandFailed, run_program

_FAILED = 1


def adopt(*, directory: str, user: str, dry_run: bool, undo: bool, as_json: bool) -> int:
    """Take every step, or undo the changes of earlier runs.

    :param directory: the container's root file system.
    :param user: the services' user; "" chooses one.
    :returns: 1 if a step failed.
    :raises GuestlinkError: adoption cannot begin, or this system is no guest.
    """
    if not os.path.isdir(os.path.join(directory, "etc")):
        raise GuestlinkError(
            f"{directory} is not a root file system", hint="name the directory that contains etc and usr"
        )
    if os.getuid() != 0 and not dry_run:
        raise GuestlinkError(
            "adopt changes the system, so it needs root",
            hint="run sudo guestlink adopt, or guestlink adopt --dry-run",
        )
    if os.path.realpath(directory) == "/":
        if not (dry_run or undo) and _is_bare_metal():
            raise GuestlinkError(
                "this machine is neither a container nor a virtual machine",
                hint="run guestlink adopt inside the container, or name a container's directory with --root; "
                "a host needs the package guestlink-host",
            )
        return _work(GuestRoot("/", dry_run=dry_run), user, undo=undo, as_json=as_json)
    if os.getuid() != 0:  # A dry run, which only reads, with the user's own rights.
        return _work(GuestRoot(directory, dry_run=True), user, undo=undo, as_json=as_json)
    from garcon.adoption.tree import run_inside

    def inside(empty: int) -> int:
        root = GuestRoot("/", dry_run=dry_run, is_live=False, empty=empty)
        return _work(root, user, undo=undo, as_json=as_json)

    return run_inside(directory, inside)


def _work(root: GuestRoot, user: str, *, undo: bool, as_json: bool) -> int:
    if undo:
        return _undo(root, as_json)
    account = choose_user(root, user)
    rows = []
    for step, outcome in take_steps(root, account):
        row = {
            "step": step.name,
            "state": "would" if root.dry_run and outcome.state == "made" else outcome.state,
            "sentence": outcome.sentence,
            "reason": step.reason,
            "advice": outcome.advice,
        }
        rows.append(row)
        if not as_json:
            _print_row(row)
    if as_json:
        _print_json({"user": account.name, "uid": account.uid, "steps": rows})
    return _FAILED if any(row["state"] == "failed" for row in rows) else 0


def _is_bare_metal() -> bool:
    """Whether systemd-detect-virt(1) finds no container and no virtual machine; false if it is not installed."""
    try:
        done = run_program(["systemd-detect-virt"], timeout=10)
    except CommandFailed:
        return False
    return done.output.strip() == "none"


def _print_row(row: dict[str, str]) -> None:
    """Print a step's line as soon as the step is done, because the last steps take seconds."""
    print(f"{row['state']:8}{row['step']}: {row['sentence']} ({row['reason']})")
    if row["advice"]:
        print(f"{'':8}{row['advice']}")
    sys.stdout.flush()


def _undo(root: GuestRoot, as_json: bool) -> int:
    results = root.undo()
    if root.dry_run:
        results = [("would" if state == "undone" else state, what, why) for state, what, why in results]
    if as_json:
        _print_json([{"state": state, "what": what, "reason": why} for state, what, why in results])
    else:
        for state, what, why in results:
            print(f"{state:8}{what}" + (f" ({why})" if why else ""))
        if not results:
            print("there is nothing to undo")
    return _FAILED if any(state == "failed" for state, _, _ in results) else 0


def _print_json(value: Any) -> None:
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
    print()
