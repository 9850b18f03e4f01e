"""A container's root file system: reads for adoption, and changes that can be undone."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from garcon.adoption.change_log import Change, ChangeLog
from garcon.adoption.processes import end_processes, refuse_own_user
from guestlink.errors import GuestlinkError
from guestlink.paths import atomic_write
from guestlink.program import CommandFailed, Identity, run_program

_TIMEOUT = 60.0
_PACKAGES = {"systemctl": "systemd", "loginctl": "systemd"}
"""The package of a program; all other programs are account tools."""
_INSIDE = {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}
"""The variables of the programs of a container that we have entered: none of ours."""
_STEPS = 1000
"""Maximum number of path components and links in one path; more is a loop."""
_PATHS = ("usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin", "run/current-system/sw/bin")


class PasswdEntry(NamedTuple):
    """A line of ``/etc/passwd``."""

    name: str
    uid: int
    gid: int
    home: str


class GuestRoot:
    """One root file system.

    Links lead to files in the container, not in ours. A process that changes another container's files, or runs its
    programs, must have entered it with :func:`garcon.adoption.tree.run_inside`.

    :param directory: its path; ``/`` for the running container and for a tree that this process has entered.
    :param dry_run: change nothing, but report the changes.
    :param is_live: whether the container's services run around us; ``None`` if it is the one at ``/``.
    :param empty: a descriptor of an empty input, for the container's programs.
    """

    def __init__(
        self,
        directory: str,
        *,
        dry_run: bool,
        is_live: bool | None = None,
        empty: int = subprocess.DEVNULL,
    ) -> None:
        self.directory = Path(directory)
        self.dry_run = dry_run
        self.is_live = os.path.realpath(directory) == "/" if is_live is None else is_live
        self._empty = empty
        self._log = ChangeLog(self.directory, self.content)

    # -- reading -------------------------------------------------------------------------------------------------

    def path(self, path: str) -> Path:
        """The path below :attr:`directory` of a path in the container."""
        return self.directory / path.lstrip("/")

    def exists(self, path: str) -> bool:
        """Whether a path exists in the container; a broken link does not."""
        return self._resolved(path) is not None

    def lists(self, directory: str) -> list[str]:
        """Names in a directory, sorted; none if there is no such directory."""
        found = self._resolved(directory)
        try:
            return sorted(os.listdir(found)) if found is not None else []
        except OSError:
            return []

    def lines(self, path: str) -> list[str]:
        """Lines of a file; none if it cannot be read."""
        try:
            return self.content(path).splitlines()
        except OSError:
            return []

    def content(self, path: str) -> str:
        """The text of a file.

        :raises OSError: see :meth:`data`.
        """
        return self.data(path).decode(errors="replace")

    def data(self, path: str, limit: int = 16 << 20) -> bytes:
        """The bytes of a file.

        :param limit: the largest size that is read.
        :raises OSError: the file cannot be read, is not a regular file, or is too large.
        """
        found = self._resolved(path)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        # A FIFO without a writer would block.
        with open(os.open(found, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise OSError(errno.EINVAL, "not a regular file", path)
            data = stream.read(limit + 1)
        if len(data) > limit:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
        return data

    def is_socket(self, path: str) -> bool:
        """Whether a path is a socket that we may stat."""
        found = self._resolved(path)
        return found is not None and found.is_socket()

    def program(self, name: str) -> str:
        """The path of a program in the container, or ""."""
        return next((f"/{path}/{name}" for path in _PATHS if self.exists(f"{path}/{name}")), "")

    def accounts(self) -> list[PasswdEntry]:
        """All users."""
        found = []
        for line in self.lines("/etc/passwd"):
            fields = line.split(":")
            if len(fields) >= 7 and fields[2].isdecimal() and fields[3].isdecimal():
                found.append(PasswdEntry(fields[0], int(fields[2]), int(fields[3]), fields[5]))
        return found

    def groups(self) -> dict[str, list[str]]:
        """The members of every group, by its name."""
        found = {}
        for line in self.lines("/etc/group"):
            fields = line.split(":")
            if len(fields) == 4:
                found[fields[0]] = [name for name in fields[3].split(",") if name]
        return found

    def _resolved(self, path: str) -> Path | None:
        """Where a path of the container leads, below :attr:`directory`; ``None`` if nothing is there."""
        waiting = [part for part in reversed(path.split("/")) if part]
        found: list[str] = []
        for _ in range(_STEPS):
            if not waiting:
                break
            part = waiting.pop()
            if part == "..":
                del found[-1:]
            elif part != ".":
                try:
                    target = os.readlink(self.directory.joinpath(*found, part))
                except OSError:
                    found.append(part)  # It is not a link.
                    continue
                if target.startswith("/"):
                    found.clear()
                waiting += [part for part in reversed(target.split("/")) if part]
        resolved = self.directory.joinpath(*found)
        try:
            return resolved if not waiting and resolved.exists() else None
        except OSError:
            return None

    # -- changing ------------------------------------------------------------------------------------------------

    def write(self, path: str, content: str) -> None:
        """Make a file that does not exist yet."""
        if not self.dry_run:
            self._make_parents(path)
            self._log.add({"do": "file", "path": path, "content": content})
            atomic_write(self.path(path), content.encode())

    def link(self, path: str, target: str) -> None:
        """Make a symbolic link that does not exist yet."""
        if not self.dry_run:
            self._make_parents(path)
            self._log.add({"do": "link", "path": path, "target": target})
            self.path(path).unlink(missing_ok=True)
            self.path(path).symlink_to(target)

    def run(self, argv: Sequence[str], change: Change) -> None:
        """Run one of the container's programs, which makes a change.

        :param change: the record of the change for :meth:`undo`.
        :raises GuestlinkError: the program is missing or fails.
        """
        if self.dry_run:
            return
        is_new = self._log.add(change)
        try:
            self.call(argv)
        except GuestlinkError:
            if is_new and not self._is_made(change):
                # An administrator may make the change later, and it is not ours to undo.
                self._log.drop(change)
            raise

    def try_run(self, argv: Sequence[str], change: Change) -> bool:
        """Like :meth:`run`, but return whether the program made the change, for callers with another way."""
        if not self.dry_run:
            try:
                self.call(argv)
            except GuestlinkError:
                return False
            self._log.add(change)
        return True

    def _make_parents(self, path: str) -> None:
        missing = []
        parent = Path(path).parent
        while not self.path(str(parent)).exists():
            missing.append(parent)
            parent = parent.parent
        for directory in reversed(missing):
            self._log.add({"do": "directory", "path": str(directory)})
            self.path(str(directory)).mkdir()

    def call(self, argv: Sequence[str], user: PasswdEntry | None = None) -> str:
        """Run one of the container's programs without recording a change.

        :param user: the user to run it as, in that user's session; ``None`` runs it as root.
        :returns: its standard output.
        :raises GuestlinkError: the program or the user is missing, or it fails.
        """
        program = self.program(argv[0])
        if not program:
            package = _PACKAGES.get(argv[0], "passwd or shadow")
            raise GuestlinkError(f"there is no program {argv[0]}", hint=f"install the package {package}")
        if self.directory != Path("/"):
            raise GuestlinkError(
                f"{argv[0]} of {self.directory} is not run from outside", hint="run guestlink adopt as root"
            )
        environ, identity = _become(user) if user is not None else (None if self.is_live else _INSIDE, None)
        by_hand = (
            f"run the command by hand{f' as {user.name}' if user is not None else ''} to see more: {' '.join(argv)}"
        )
        try:
            done = run_program(
                [program, *argv[1:]], timeout=_TIMEOUT, stdin=self._empty, environ=environ, identity=identity
            )
        except CommandFailed as error:
            raise GuestlinkError(error.message, hint=by_hand) from error
        if done.status != 0:
            sentence = done.messages[-1] if done.messages else f"{argv[0]} failed with {done.status}"
            raise GuestlinkError(sentence, hint=by_hand)
        return done.output

    # -- undoing -------------------------------------------------------------------------------------------------

    def undo(self) -> list[tuple[str, str, str]]:
        """Undo every change, the newest first. A change that others have changed since is kept.

        :returns: for each change its state (``undone``, ``kept``, ``failed``), its object and the reason.
        :raises GuestlinkError: the undo would end the shell that runs it; nothing has been changed.
        """
        for change in self._log.changes:
            if change["do"] == "user" and self.is_live and not self.dry_run:
                for account in self._accounts_named(change["name"]):
                    refuse_own_user(account.name, account.uid)
        results = []
        for change in list(reversed(self._log.changes)):
            what = " ".join(str(change[key]) for key in ("path", "name", "user", "group") if key in change)
            try:
                reason = self._undo(change)
            except GuestlinkError as error:
                results.append(("failed", what, "; ".join(filter(None, (error.message, error.hint)))))
                continue
            except OSError as error:
                results.append(("failed", what, str(error)))
                continue
            results.append(("kept" if reason else "undone", what, reason))
            if not self.dry_run:
                self._log.drop(change)
        return results

    def _is_made(self, change: Change) -> bool:
        """Whether there is anything to undo of a change that a program makes."""
        match change["do"]:
            case "gshadow":
                return self.exists("/etc/gshadow")
            case "group":
                return change["name"] in self.groups()
            case "member":
                return change["user"] in self.groups().get(change["group"], ())
            case "lingering":
                return self.exists(f"/var/lib/systemd/linger/{change['user']}")
            case "user":
                return bool(self._accounts_named(change["name"]))
        return True

    def _undo(self, change: Change) -> str:
        """Undo one change; return why it is kept, or ""."""
        kind = change["do"]
        path = self.path(change.get("path", ""))
        match kind:
            case "file":
                if path.is_symlink() or (path.exists() and self.content(change["path"]) != change["content"]):
                    return "it has been changed since"
                self._remove(path)
            case "link":
                if path.is_symlink() and os.readlink(path) != change["target"]:
                    return "it has been changed since"
                self._remove(path)
            case "directory":
                if path.is_dir() and any(path.iterdir()):
                    return "" if self.dry_run else "it is not empty"
                if path.is_dir() and not self.dry_run:
                    path.rmdir()
            case "gshadow":
                if self.exists("/etc/gshadow") and not self.dry_run:
                    self.call(["grpunconv"])
            case "group":
                members = self.groups().get(change["name"])
                if members:
                    return f"it has members: {', '.join(members)}"
                if members is not None and not self.dry_run:
                    self.call(["groupdel", change["name"]])
            case "member":
                if change["user"] in self.groups().get(change["group"], ()) and not self.dry_run:
                    self.call(["gpasswd", "-d", change["user"], change["group"]])
            case "lingering":
                if self.exists(f"/var/lib/systemd/linger/{change['user']}") and not self.dry_run:
                    self.call(["loginctl", "disable-linger", change["user"]])
            case "user":
                for account in self._accounts_named(change["name"]):
                    if self.is_live and not self.dry_run:
                        end_processes(account.name, account.uid, self.call)
                    if not self.dry_run:
                        self.call(["userdel", change["name"]])
            case _:
                return "this version does not know this kind of change"
        return ""

    def _accounts_named(self, name: str) -> list[PasswdEntry]:
        return [account for account in self.accounts() if account.name == name]

    def _remove(self, path: Path) -> None:
        if not self.dry_run:
            path.unlink(missing_ok=True)


def _become(user: PasswdEntry) -> tuple[dict[str, str], Identity | None]:
    """The variables of a process in a user's session, and the identity to change to; only root can change it."""
    runtime = f"/run/user/{user.uid}"
    environ = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": user.home,
        "USER": user.name,
        "LOGNAME": user.name,
        "XDG_RUNTIME_DIR": runtime,
        "DBUS_SESSION_BUS_ADDRESS": f"unix:path={runtime}/bus",
    }
    if os.getuid() == user.uid:
        return environ, None
    return environ, Identity(user.uid, user.gid, os.getgrouplist(user.name, user.gid))
