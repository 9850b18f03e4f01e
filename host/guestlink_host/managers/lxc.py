"""Plain LXC: a file that a container's configuration includes, and LXC's own commands.

LXC mounts with an unprivileged container's own ids, which may not enter the directory of a user's session. So LXC
first runs a hook as root, which bind-mounts our directory at another path.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import stat
import subprocess
from collections.abc import Collection, Sequence
from pathlib import Path

from guestlink.errors import reason
from guestlink.paths import atomic_write
from guestlink.program import CommandFailed, run_program
from guestlink.socket_directory import MOUNT_POINT
from guestlink.token import TOKEN_PATH
from guestlink_host.managers import (
    FROZEN,
    RUN_TIMEOUT,
    RUNNING,
    STOPPED,
    IdRange,
    Instance,
    Manager,
    ManagerError,
    Mounts,
    Ran,
    RunProgram,
)
from guestlink_host.names import is_container_name
from guestlink_host.session_directory import session_directory

_CONFIG, _OURS, _HOOK = "config", "guestlink.conf", "guestlink-hook"
_SHOWN = "/run/guestlink-lxc"
"""The hook bind-mounts containers' directories below this path while the containers run."""
_MOUNTS_LINE = "# carries "
"""Beginning of the hook's line that names our directory; hooks of earlier versions have it too."""
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_READ_ONLY = "bind,ro"
_TIMEOUT = 30.0
_START_TIMEOUT = 120.0
"""Seconds for a query, and for a start."""
_IDS = re.compile(r"(?:lxc\.idmap\s*=)?\s*u\s+(\d+)\s+(\d+)\s+(\d+)")
_PLAIN_PATH = re.compile(r"(/[\w.+@:,=-]+)+")
"""Paths that LXC's configuration carries: LXC hands a hook's path to a shell, and a space ends a mount's path."""
_STATUS = {"RUNNING": RUNNING, "STOPPED": STOPPED, "FROZEN": FROZEN}


class Lxc(Manager):
    """The containers in one LXC directory: a user's own, or root's.

    :param directory: ``lxc.lxcpath``.
    :param run: runs the commands that start containers or enter them; those need LXC's setuid programs.
    """

    kind = "lxc"

    def __init__(self, directory: Path, run: RunProgram = run_program) -> None:
        self._directory = directory
        self._run_privileged = run

    def instances(self, names: Collection[str] | None = None) -> list[Instance]:
        """See :class:`Manager`."""
        try:
            there = sorted(path.name for path in self._directory.iterdir() if (path / _CONFIG).is_file())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ManagerError(
                f"{self._directory} cannot be read: {reason(error)}", hint="root can read the machine's containers"
            ) from error
        return [self._instance(name) for name in there if names is None or name in names]

    def attach(self, instance: Instance, mounts: Mounts) -> bool:
        """See :class:`Manager`. LXC plugs nothing into a running container."""
        directory = self._directory / instance.name
        if instance.ids and os.getuid() != 0:
            raise ManagerError(
                f"LXC cannot mount {mounts.directory} in a user's own container",
                hint="LXC mounts with the container's ids, which may not enter it; use LXD, Incus or root's LXC",
            )
        owner = _check(directory, instance, mounts)
        changed = self._write(directory / _HOOK, _hook(instance.name, mounts, owner), 0o755)
        changed |= self._write(directory / _OURS, _lines(directory, instance, mounts))
        config = self._read(directory / _CONFIG)
        if _include(directory) not in config.splitlines():
            end = "" if config.endswith("\n") else "\n"
            changed |= self._write(directory / _CONFIG, f"{config}{end}{_include(directory)}\n")
        return not changed or instance.status == STOPPED

    def detach(self, instance: Instance) -> None:
        """See :class:`Manager`. A running container keeps its mounts until it stops."""
        directory = self._directory / instance.name
        config = self._read(directory / _CONFIG)
        kept = [line for line in config.splitlines(keepends=True) if line.strip() != _include(directory)]
        self._write(directory / _CONFIG, "".join(kept))
        # LXC still runs the hook when a running container stops.
        for name in (_OURS, _HOOK) if instance.status == STOPPED else (_OURS,):
            (directory / name).unlink(missing_ok=True)

    def drop(self, instance: Instance) -> None:
        """See :class:`Manager`."""
        self.detach(instance)

    def mount_again(self, instance: Instance, mounts: Mounts) -> bool:
        """See :class:`Manager`. Only root can change the mounts."""
        if not instance.read_only:
            raise ManagerError(
                f"an earlier build attached {instance.name}: attach it again as root, and then restart it",
                hint=f"`sudo XDG_RUNTIME_DIR=$XDG_RUNTIME_DIR guestlink-host attach {instance.name}`",
            )
        return instance.status == STOPPED

    def start(self, instance: Instance) -> None:
        """See :class:`Manager`."""
        words = ["-P", str(self._directory), "-n", instance.name]
        if instance.status == FROZEN:
            self._run(["lxc-unfreeze", *words], run=self._run_privileged)
            return
        # Without root, LXC needs a cgroup of its own; lxc-unpriv-start asks systemd for one.
        program = "lxc-unpriv-start" if os.getuid() and shutil.which("lxc-unpriv-start") else "lxc-start"
        self._run([program, *words, "-d"], _START_TIMEOUT, self._run_privileged)

    def run(self, instance: Instance, argv: Sequence[str], timeout: float = RUN_TIMEOUT) -> Ran:
        """See :class:`Manager`."""
        return self._inside(instance, argv, subprocess.DEVNULL, timeout)

    def put(self, instance: Instance, source: Path, path: str) -> None:
        """See :class:`Manager`."""
        with source.open("rb") as stream:
            script = 'umask 022; cat > "$1"'
            ran = self._inside(instance, ["sh", "-c", script, "sh", path], stream.fileno(), _START_TIMEOUT)
        if ran.status != 0:
            raise ManagerError(
                f"{source} cannot be copied into {instance.name}: {ran.stderr.strip()}",
                hint="make room in the container, or copy the file by hand",
            )

    def shell_prefix(self, instance: Instance) -> str:
        """See :class:`Manager`."""
        return f"{'' if instance.ids and os.getuid() else 'sudo '}lxc-attach{self._where()} -n {instance.name} --"

    def restart_command(self, instance: Instance) -> str:
        """See :class:`Manager`."""
        sudo = "" if instance.ids and os.getuid() else "sudo "
        words = f"{self._where()} -n {instance.name}"
        return f"{sudo}lxc-stop{words} && {sudo}lxc-start{words}"

    def _where(self) -> str:
        usual = ("/var/lib/lxc", os.path.expanduser("~/.local/share/lxc"))
        return "" if str(self._directory) in usual else f" -P {shlex.quote(str(self._directory))}"

    def _inside(self, instance: Instance, argv: Sequence[str], stdin: int, timeout: float) -> Ran:
        words = ["lxc-attach", "-P", str(self._directory), "-n", instance.name, "--clear-env", "--", "env"]
        return _execute([*words, _PATH, "HOME=/root", *argv], stdin, timeout, self._run_privileged)

    def _instance(self, name: str) -> Instance:
        words = ["lxc-info", "-P", str(self._directory), "-n", name]
        status = self._run([*words, "-s", "-H"]).strip()
        ids = _IDS.findall(self._run([*words, "-c", "lxc.idmap"]))
        started = self._run([*words, "-p", "-H"]).strip()
        directory = self._directory / name
        is_attached = _include(directory) in self._read(directory / _CONFIG).splitlines()
        return Instance(
            self.kind,
            str(self._directory),
            name,
            _STATUS.get(status, status.lower()),
            tuple(IdRange(*map(int, numbers)) for numbers in ids),
            _directory_of(directory / _HOOK) if is_attached else None,
            started,
            not is_attached or _mounts_read_only(directory / _OURS),
        )

    @staticmethod
    def _run(argv: Sequence[str], timeout: float = _TIMEOUT, run: RunProgram = run_program) -> str:
        """Run one of LXC's commands on the host; returns its output.

        :raises ManagerError: it cannot be run, or fails.
        """
        ran = _execute(argv, timeout=timeout, run=run)
        if ran.status != 0:
            lines = (ran.stderr or ran.stdout).strip().splitlines()
            raise ManagerError(
                f"{argv[0]} failed" + (f": {lines[0]}" if lines else ""),
                hint=f"try it by hand: {' '.join(argv)} -l INFO -o /dev/stderr",
            )
        return ran.stdout

    @staticmethod
    def _read(path: Path) -> str:
        try:
            return path.read_text(errors="surrogateescape")
        except OSError as error:
            raise ManagerError(
                f"{path} cannot be read: {reason(error)}", hint="root can read the machine's containers"
            ) from error

    @staticmethod
    def _write(path: Path, text: str, mode: int = 0o644) -> bool:
        """Write a file if its content differs; returns whether it did."""
        content = text.encode(errors="surrogateescape")
        try:
            if path.exists() and path.read_bytes() == content:
                return False
            atomic_write(path, content, path.stat().st_mode & 0o777 if path.exists() else mode)
        except OSError as error:
            raise ManagerError(
                f"{path} cannot be written: {reason(error)}",
                hint="root changes the machine's containers: "
                "`sudo XDG_RUNTIME_DIR=$XDG_RUNTIME_DIR guestlink-host attach NAME`",
            ) from error
        return True


def find_lxc() -> Lxc | None:
    """LXC with this user's containers, if it is installed."""
    if shutil.which("lxc-info") is None or shutil.which("lxc-config") is None:
        return None
    directory = _execute(["lxc-config", "lxc.lxcpath"]).stdout.strip()
    return Lxc(Path(directory)) if os.path.isabs(directory) else None


def _execute(
    argv: Sequence[str],
    stdin: int = subprocess.DEVNULL,
    timeout: float = _TIMEOUT,
    run: RunProgram = run_program,
) -> Ran:
    """Run a command.

    :param timeout: seconds.
    :param run: runs it.
    :raises ManagerError: the command cannot be started, or takes longer.
    """
    try:
        done = run(argv, stdin=stdin, timeout=timeout)
    except CommandFailed as error:
        raise ManagerError(
            str(error), hint=f"install LXC's commands; if they are there, run {argv[0]} by hand"
        ) from error
    return Ran(done.status, done.output, done.stderr.decode(errors="replace"))


def _include(directory: Path) -> str:
    return f"lxc.include = {directory / _OURS}"


def _lines(directory: Path, instance: Instance, mounts: Mounts) -> str:
    """The file that the container's configuration includes."""
    shown = f"{_SHOWN}/{instance.name}"
    # "optional", so that the container starts while nobody is logged in.
    lines = [
        f"# Written by guestlink-host attach {instance.name}",
        f"lxc.hook.pre-start = {directory / _HOOK}",
        f"lxc.hook.post-stop = {directory / _HOOK}",
        f"lxc.mount.entry = {shown}/directory {MOUNT_POINT[1:]} none {_READ_ONLY},optional,create=dir 0 0",
        f"lxc.mount.entry = {shown}/token {TOKEN_PATH[1:]} none {_READ_ONLY},optional,create=file 0 0",
    ]
    for node in mounts.devices:
        lines.append(f"lxc.mount.entry = {node} dev/dri/{node.name} none bind,optional,create=file 0 0")
        if not instance.ids:
            number = os.stat(node).st_rdev
            allowed = f"c {os.major(number)}:{os.minor(number)} rw"
            lines += [f"lxc.cgroup.devices.allow = {allowed}", f"lxc.cgroup2.devices.allow = {allowed}"]
    return "\n".join(lines) + "\n"


def _mounts_read_only(ours: Path) -> bool:
    """Whether the file that the container's configuration includes is of this build, or of a later one."""
    try:
        return f"{MOUNT_POINT[1:]} none {_READ_ONLY}," in ours.read_text(errors="surrogateescape")
    except OSError:
        return False


def _directory_of(hook: Path) -> Path | None:
    """The directory that a hook bind-mounts."""
    lines = hook.read_text(errors="surrogateescape").splitlines() if hook.exists() else []
    return next(
        (_unquoted(line.removeprefix(_MOUNTS_LINE)) for line in lines if line.startswith(_MOUNTS_LINE)), None
    )


def _unquoted(text: str) -> Path:
    try:
        words = shlex.split(text)
    except ValueError:
        words = []
    return Path(words[0] if len(words) == 1 else text)  # Hooks of earlier versions do not quote.


def _check(directory: Path, instance: Instance, mounts: Mounts) -> int:
    """Check every text that LXC, or a shell that LXC starts as root, will read.

    The daemon names the paths, but root attaches the container, and the daemon is not root's: only the paths are
    accepted that a daemon of this session makes for this container, if they belong to the session's user.

    :param directory: the container's, in LXC's.
    :returns: the user id of the session's user.
    :raises ManagerError: a text is refused.
    """
    if not is_container_name(instance.name):
        raise _refused(
            "the container's name", instance.name, "rename it: letters, digits, hyphens, dots, underscores"
        )
    if not _is_plain(directory):
        raise _refused("LXC's directory", directory, "use a path of letters, digits and the characters -_.+@:,=")
    session = session_directory()
    for what, path, expected, is_kind in (
        ("the directory", mounts.directory, session.path / "containers" / instance.name, stat.S_ISDIR),
        ("the token file", mounts.token, session.path / "tokens" / instance.name, stat.S_ISREG),
    ):
        hint = f"guestlink-host makes {expected}; restart it, and attach again"
        if str(path) != str(expected) or not str(path).isprintable():
            raise _refused(what, path, hint)
        try:
            status = os.lstat(path)
        except OSError as error:
            raise ManagerError(f"{what} {path} cannot be read: {reason(error)}", hint=hint) from error
        if not is_kind(status.st_mode) or status.st_uid != session.owner:
            raise _refused(what, path, hint)
    for node in mounts.devices:
        if not (_is_plain(node) and node.is_relative_to("/dev/dri") and node.is_char_device()):
            raise _refused("the GPU node", node, "use nodes in /dev/dri in the setting gpu, or --no-gpu")
    return session.owner


def _is_plain(path: Path) -> bool:
    return _PLAIN_PATH.fullmatch(str(path)) is not None and os.path.normpath(path) == str(path)


def _refused(what: str, text: object, hint: str) -> ManagerError:
    return ManagerError(f"LXC's hook and configuration cannot have {what} {str(text)!r:.200}", hint=hint)


def _hook(name: str, mounts: Mounts, owner: int) -> str:
    """The hook, which LXC runs as root. It mounts only what the user owns: a path may have become a link.

    :param owner: the user's id.
    """
    shown = shlex.quote(f"{_SHOWN}/{name}")
    directory, token = (shlex.quote(str(path)) for path in (mounts.directory, mounts.token))
    return f"""\
#!/bin/sh
# Written by guestlink-host attach {name}; LXC runs it with the words NAME lxc pre-start|post-stop
{_MOUNTS_LINE}{directory}
exec 2>/dev/null
hide() {{
    umount -l {shown}/directory
    umount -l {shown}/token
    rmdir {shown}/directory && rm {shown}/token && rmdir {shown}
}}
show() {{
    mount --bind "$1" "$2" && [ "$(stat -c %u "$2")" = {owner} ] || umount -l "$2"
}}
case ${{LXC_HOOK_TYPE:-$3}} in
    pre-start)
        hide
        # Once more: the hook of a container that stops may have removed the directory above.
        mkdir -p {shown}/directory || mkdir -p {shown}/directory
        : > {shown}/token
        show {directory} {shown}/directory
        show {token} {shown}/token
        ;;
    post-stop)
        hide
        rmdir {_SHOWN}
        ;;
esac
exit 0
"""
