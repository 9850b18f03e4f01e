"""``guestlink-host files``: mounts a container's files in a folder of this machine, or opens an sftp prompt."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from guestlink import xdg
from guestlink.errors import GuestlinkError, reason
from guestlink.program import run_program

_TIMEOUT = 60.0
"""Seconds that mounting and unmounting may take."""


def folder_of(name: str, at: str | None, environ: Mapping[str, str] = os.environ) -> Path:
    """The folder where a container's files are mounted: ``at``, or ``~/guestlink/NAME``."""
    return Path(os.path.abspath(at)) if at else Path(xdg.home(environ)) / "guestlink" / name


def mount(name: str, inside: str, folder: Path, stream: Sequence[str]) -> None:
    """Mount with sshfs. The mount outlives this command, and connects again when the container returns.

    :param inside: the folder inside; ``""`` for the user's home.
    :param stream: the words that start :mod:`guestlink_host.files.sftp_stream` for this container.
    :raises GuestlinkError: the files cannot be mounted.
    """
    _need("sshfs", "sshfs")
    if _is_mounted(folder):
        raise GuestlinkError(
            f"something is mounted at {folder} already", hint=f"`{_command(name, folder, '--unmount')}` unmounts it"
        )
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise GuestlinkError(f"the folder {folder} is not empty", hint="name another one with --at")
    except OSError as error:
        raise GuestlinkError(
            f"the folder {folder} cannot be used: {reason(error)}",
            hint="name another one with --at",
        ) from error
    options = ",".join(
        (
            f"ssh_command={_escaped(stream)}",
            "reconnect",
            "idmap=user",
            # The container is not trusted: its links are followed inside it, and its files are not executed here.
            "follow_symlinks",
            "nosuid,nodev,noexec",
            f"fsname={name},subtype=guestlink",
        )
    )
    done = run_program(["sshfs", f"{name}:{inside}", str(folder), "-o", options], timeout=_TIMEOUT)
    if done.status != 0 or not _is_mounted(folder):
        if made:
            _remove_empty(folder)
        problem = done.messages[0] if done.messages else f"sshfs exited with {done.status}"
        raise GuestlinkError(
            f"{name} cannot be mounted at {folder}: {problem}",
            hint=f"`guestlink-host files {name} --prompt` shows whether the container serves its files",
        )


def unmount(name: str, folder: Path) -> None:
    """Unmount and remove the folder.

    :raises GuestlinkError: nothing is mounted there, or the mount is in use.
    """
    if not _is_mounted(folder):
        raise GuestlinkError(f"nothing is mounted at {folder}", hint=f"`{_command(name, folder)}` mounts it")
    program = "fusermount3" if shutil.which("fusermount3") else "fusermount"
    _need(program, "fuse3")
    done = run_program([program, "-u", "--", str(folder)], timeout=_TIMEOUT)
    if done.status != 0:
        raise GuestlinkError(
            f"{folder} cannot be unmounted: {done.messages[0] if done.messages else f'{program} failed'}",
            hint="close the programs that use files there",
        )
    _remove_empty(folder)


def forget(name: str) -> None:
    """Unmount ``~/guestlink/NAME`` if it is mounted and not in use: its container is about to be removed."""
    folder = folder_of(name, None)
    if _is_mounted(folder):
        with contextlib.suppress(GuestlinkError):
            unmount(name, folder)


def prompt(name: str, stream: Sequence[str]) -> None:
    """Replace this process with an sftp prompt.

    :raises GuestlinkError: sftp is not installed.
    """
    _need("sftp", "openssh-client")
    os.execvp("sftp", ["sftp", "-q", "-D", shlex.join(stream)])


def _command(name: str, folder: Path, *switches: str) -> str:
    """The command line for a container's files in a folder."""
    at = [] if folder == folder_of(name, None) else ["--at", str(folder)]
    return shlex.join(["guestlink-host", "files", name, *switches, *at])


def _is_mounted(folder: Path) -> bool:
    """Whether something is mounted at a folder, by the kernel's list. A look at the folder itself would ask the
    container, which may never answer."""
    place = os.path.join(os.path.realpath(folder.parent), folder.name)
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as stream:
        return any(_unescaped(line.split(" ")[4]) == place for line in stream)


def _unescaped(field: str) -> str:
    """A field of proc_pid_mountinfo(5), in which white space and backslashes are octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)


def _need(program: str, package: str) -> None:
    if shutil.which(program) is None:
        raise GuestlinkError(f"{program} is not installed", hint=f"install the package {package}")


def _remove_empty(folder: Path) -> None:
    try:
        folder.rmdir()
        folder.parent.rmdir()
    except OSError:
        pass  # Not empty, or not ours.


def _escaped(words: Sequence[str]) -> str:
    """Words for sshfs's ``ssh_command`` within ``-o``, escaped for the command's reader, then for the option's."""
    command = " ".join(word.replace("\\", "\\\\").replace(" ", "\\ ") for word in words)
    return command.replace("\\", "\\\\").replace(",", "\\,")
