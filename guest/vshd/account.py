"""Chooses the user of a session (chromeos-vsh.md §3.6)."""

from __future__ import annotations

import os
import pwd
from typing import NamedTuple

from guestlink.vsh import VM_SHELL, Setup


class Refused(Exception):
    """The session cannot start; vshd sends the text to the client as the description of FAILED."""


class Account(NamedTuple):
    """A user.

    :ivar switches: the target must change to this user's ids, which are not the daemon's.
    """

    name: str
    uid: int
    gid: int
    home: str
    shell: str
    switches: bool


def choose_account(setup: Setup, default_user: str, may_switch: bool) -> Account:
    """The user of a session.

    :param default_user: the user of ``/vm_shell`` when the client asks for none.
    :param may_switch: ``False`` runs everything as the daemon's own user, in ``/`` with ``/bin/sh``.
    :raises Refused: there is no such user, or the daemon may not become that user.
    """
    asked = os.fsdecode(setup.user)
    is_vm = setup.target == VM_SHELL
    if not may_switch:
        if is_vm and asked not in ("", default_user):
            raise Refused(f"this vshd does not switch to {asked}")
        return Account(_name_of(os.getuid()), os.getuid(), os.getgid(), "/", "/bin/sh", False)
    name = asked or (default_user if is_vm else "")
    if not name:
        return _own_account()
    try:
        entry = pwd.getpwnam(name)
    except (KeyError, ValueError):
        raise Refused(f"there is no user {name!r}") from None
    switches = entry.pw_uid != os.getuid()
    if switches and os.getuid() != 0:
        raise Refused(f"vshd runs as {_name_of(os.getuid())} and cannot become {name}; use sudo in the session")
    return _account(entry, switches)


def _own_account() -> Account:
    uid = os.getuid()
    try:
        return _account(pwd.getpwuid(uid), False)
    except KeyError:
        return Account(str(uid), uid, os.getgid(), os.environ.get("HOME") or "/", "/bin/sh", False)


def _account(entry: pwd.struct_passwd, switches: bool) -> Account:
    shell = entry.pw_shell or "/bin/sh"
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir or "/", shell, switches)


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
