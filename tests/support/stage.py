"""A host side and a container side as real processes, each with private directories.

A plain directory that both sides see takes the place of the mounts (the token, the sockets) of a container manager.
Used by the demo, the flow tests and the measurements.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from guestlink.control import ControlClient
from guestlink.errors import GuestlinkError

_T = TypeVar("_T")

CHECKOUT = Path(__file__).resolve().parents[2]
LIMIT = 60.0
"""Time limit of any condition, in seconds; a busy machine needs seconds, and only a bug needs more than this."""


_ANSWERS = {"list": "containers", "apps": "applications", "events": "events"}
"""The field of each guestlink-host answer that contains the result."""


class StageError(AssertionError):
    """A condition did not hold in time, or a command failed; the text ends with the logs."""


class Stage:
    """A host side and a container side in one temporary directory.

    :param name: the container's name.
    :param system_applications: whether the container sees the applications of /usr/share.
    :param as_uid: run both sides as this user; needs root.
    """

    def __init__(self, name: str = "demo", *, system_applications: bool = True, as_uid: int | None = None) -> None:
        self.name = name
        self._become: list[str] = []
        if as_uid is not None and as_uid != os.getuid():
            self._become = ["setpriv", f"--reuid={as_uid}", f"--regid={as_uid}", "--clear-groups"]
        self.root = Path(tempfile.mkdtemp(prefix="guestlink-"))
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        # Both sides see the same programs here, and no test with a stage is about launcher names.
        self.host_environ = self._environ("host") | {"GUESTLINK_HOST_LAUNCHER_NAMES": "never"}
        self.guest_environ = self._environ("guest")
        self.guest_share = self.root / "guest" / "share"
        (self.guest_share / "applications").mkdir(parents=True)
        directories = [str(self.guest_share), *(["/usr/share"] if system_applications else [])]
        carried = self.root / "host" / "run" / "guestlink-host" / "containers" / name
        self.guest_environ |= {
            "XDG_DATA_DIRS": ":".join(directories),
            "GUESTLINK_TOKEN_FILE": str(carried / "token"),
            "GUESTLINK_HOST_ADDRESS": f"unix:{carried}/listener.sock",
            "GUESTLINK_VSH_ADDRESS": f"unix:{carried}/vsh-{{port}}.sock",
            "GUESTLINK_LOGIN_SHELL": "no",  # This machine's login profiles are not the container's.
        }

    def _environ(self, side: str) -> dict[str, str]:
        home = self.root / side / "home"
        runtime = self.root / side / "run"
        for path in (home, runtime):
            path.mkdir(parents=True)
        runtime.chmod(0o700)
        if self._become:
            uid = int(self._become[1].partition("=")[2])
            self.root.chmod(0o755)
            for path in (self.root, home.parent, home, runtime):
                os.chown(path, uid, uid)
        kept = {key: value for key in ("LANG", "LC_ALL", "TERM") if (value := os.environ.get(key))}
        return kept | {
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin:/usr/games:/usr/sbin:/sbin",
            "PYTHONPATH": os.pathsep.join(str(CHECKOUT / part) for part in ("lib", "guest", "host")),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": str(home),
            "USER": os.environ.get("USER", "root"),
            "XDG_RUNTIME_DIR": str(runtime),
            "XDG_DATA_HOME": str(home / ".local/share"),
            "XDG_CONFIG_HOME": str(home / ".config"),
            "XDG_STATE_HOME": str(home / ".local/state"),
            "XDG_CACHE_HOME": str(home / ".cache"),
        }

    # -- processes ---------------------------------------------------------------------------------------------

    def start(self, role: str, argv: list[str], environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start a process with its own log file for its output."""
        with open(self.log(role), "ab") as log:
            process = subprocess.Popen(
                [*self._become, *argv],
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes[role] = process
        return process

    def start_host(self) -> subprocess.Popen[bytes]:
        """Start guestlink-host and wait until it answers commands."""
        process = self.start("host", [sys.executable, "-m", "guestlink_host", "serve"], self.host_environ)
        self.wait("guestlink-host answers", self._host_answers)
        return process

    def start_garcon(self) -> subprocess.Popen[bytes]:
        """Start garcon, without waiting until it registers."""
        argv = [sys.executable, "-m", "garcon", "--server", "--allow_any_user"]
        return self.start("garcon", argv, self.guest_environ)

    def start_sommelier(self) -> subprocess.Popen[bytes]:
        """Start the Wayland proxy with the compositor's mounted socket, and let guest programs use the proxy."""
        carried = Path(self.guest_environ["GUESTLINK_TOKEN_FILE"]).with_name("wayland-0")
        argv = [sys.executable, "-m", "sommelier_shim", "--parent", "--socket=wayland-0", f"--display={carried}"]
        process = self.start("sommelier", [*argv, f"--container={self.name}"], self.guest_environ)
        self.guest_environ["WAYLAND_DISPLAY"] = "wayland-0"
        self.wait("the proxy's socket", Path(self.guest_environ["XDG_RUNTIME_DIR"], "wayland-0").exists)
        return process

    def use_mounted_display(self) -> None:
        """Let guest programs use the mounted Wayland socket, as without a proxy in the container."""
        display = Path(self.guest_environ["GUESTLINK_TOKEN_FILE"]).with_name("wayland-0")
        self.guest_environ["WAYLAND_DISPLAY"] = str(display)
        self.wait("the mounted display", display.exists)

    def start_x11(self) -> subprocess.Popen[bytes]:
        """Start the X11 proxy, as its unit does, and let guest programs use its display."""
        named = self.root / "x11-display"
        argv = [sys.executable, "-m", "sommelier_shim", "-X", "--no-exit-with-child"]
        argv += [f"--display={self.guest_environ['WAYLAND_DISPLAY']}", "sh", "-c"]
        script = f"echo $DISPLAY $XAUTHORITY > {named}.new; mv {named}.new {named}"
        process = self.start("x11", [*argv, script], self.guest_environ)
        self.wait("the X display", named.exists)
        self.guest_environ["DISPLAY"], self.guest_environ["XAUTHORITY"] = named.read_text().split()
        return process

    def stop(self, role: str, number: int = signal.SIGTERM) -> int:
        """Stop a process and return its exit status."""
        process = self.processes.pop(role)
        process.send_signal(number)
        try:
            return process.wait(LIMIT)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.wait()
            raise StageError(f"{role} did not stop\n{self.logs()}") from error

    def log(self, role: str) -> Path:
        """The log file of a process."""
        return self.root / f"{role}.log"

    def logs(self) -> str:
        """The end of every log, for error messages."""
        parts = []
        for path in sorted(self.root.glob("*.log")):
            lines = path.read_text(errors="replace").splitlines()[-40:]
            parts.append(f"--- {path.name}\n" + "\n".join(lines))
        return "\n".join(parts)

    def check_logs(self) -> None:
        """Fail if a daemon logged an unexpected exception, even if the daemon kept running."""
        for path in sorted(self.root.glob("*.log")):
            text = path.read_text(errors="replace")
            if "Traceback (most recent call last)" in text:
                raise StageError(f"{path.name}: {text[-4000:]}")

    # -- commands ----------------------------------------------------------------------------------------------

    def host(self, *words: str, check: bool = True, timeout: float = LIMIT) -> subprocess.CompletedProcess[str]:
        """Run a guestlink-host command on the host side."""
        argv = [sys.executable, "-m", "guestlink_host", *words]
        return self._run(argv, self.host_environ, check, timeout=timeout)

    def host_shell(self, script: str, *, stand_ins: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run commands on the host side as a user types them.

        :param stand_ins: shell scripts that replace programs, by name.
        """
        directory = self.root / "stand-ins"
        directory.mkdir(exist_ok=True)
        for name, text in stand_ins.items():
            (directory / name).write_text(f"#!/bin/sh\n{text}\n")
            (directory / name).chmod(0o755)
        path = f"{directory}:{self.host_environ['PATH']}"
        return self._run(["sh", "-euc", script], self.host_environ | {"PATH": path}, check=False)

    def vsh(self, *words: str, check: bool = True, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run ``vsh`` on the host side."""
        return self._run([sys.executable, "-m", "guestlink_host.vsh", *words], self.host_environ, check, stdin)

    def host_json(self, call: str, name: str | None = None) -> Any:
        """guestlink-host's answer to ``status`` or ``list``, or to ``apps`` or ``events`` of a container.

        Starts no process, so that polling does not slow down the daemons.

        :raises StageError: the daemon reports an error, or does not answer.
        """
        try:
            answer = self.ask_host(call, **({} if name is None else {"name": name}))
        except GuestlinkError as error:
            raise StageError(f"{call} {name or ''}: {error}\n{self.logs()}") from error
        return answer if call == "status" else answer[_ANSWERS[call]]

    def ask_host(self, call: str, **fields: Any) -> dict[str, Any]:
        """Make a control call, as a command of guestlink-host does."""
        path = Path(self.host_environ["XDG_RUNTIME_DIR"], "guestlink-host/control.sock")
        return ControlClient(path, daemon="guestlink-host").call(call, **fields)

    def _host_answers(self) -> bool:
        try:
            return bool(self.ask_host("status"))
        except GuestlinkError:
            return False

    def guest(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command inside the container side."""
        return self._run(list(words), self.guest_environ, check)

    def guestlink(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run ``guestlink`` inside the container side."""
        program = "import sys; from garcon.client.cli import main; sys.exit(main())"
        return self.guest(sys.executable, "-c", program, *words, check=check)

    def _run(
        self, argv: list[str], environ: Mapping[str, str], check: bool, stdin: str = "", timeout: float = LIMIT
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self._become, *argv],
            check=False,
            env=dict(environ),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if check and done.returncode != 0:
            raise StageError(f"{' '.join(argv)} ended with {done.returncode}: {done.stderr}\n{self.logs()}")
        return done

    # -- conditions --------------------------------------------------------------------------------------------

    def wait(self, what: str, condition: Callable[[], _T | None], interval: float = 0.01) -> _T:
        """Wait until a condition holds and return its value.

        :raises StageError: the condition did not hold within :data:`LIMIT` seconds.
        """
        deadline = time.monotonic() + LIMIT
        while True:
            asked = time.monotonic()
            if value := condition():
                return value
            if time.monotonic() > deadline:
                raise StageError(f"it did not happen: {what}\n{self.logs()}")
            # A condition that took long has slowed down the daemons, so pause for as long.
            time.sleep(max(interval, time.monotonic() - asked))

    def wait_registered(self) -> dict[str, Any]:
        """Wait until the host reports the container as registered; returns the host's entry."""

        def entry() -> dict[str, Any] | None:
            with contextlib.suppress(GuestlinkError):
                for container in self.ask_host("list")["containers"]:
                    if container["name"] == self.name and container["registered"]:
                        return dict(container)
            return None

        return self.wait("the container is registered", entry)

    def add_application(self, desktop_file_id: str, **keys: str) -> Path:
        """Install an application in the container side."""
        values = {"Type": "Application", "Name": desktop_file_id, "Exec": "true"} | keys
        path = self.guest_share / "applications" / f"{desktop_file_id}.desktop"
        temporary = path.with_suffix(".new")
        temporary.write_text("[Desktop Entry]\n" + "".join(f"{key}={value}\n" for key, value in values.items()))
        temporary.rename(path)
        return path

    def launchers(self) -> list[Path]:
        """The launchers that guestlink-host wrote for this container."""
        directory = Path(self.host_environ["XDG_DATA_HOME"], "applications")
        return sorted(directory.glob(f"guestlink-{self.name}-*.desktop")) if directory.is_dir() else []

    # -- the end -----------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Stop every process, in the reverse order of their start, and remove the directory."""
        with contextlib.ExitStack() as rest:  # A process that does not stop must not keep the others running.
            rest.callback(shutil.rmtree, self.root, ignore_errors=True)
            for role in self.processes:
                rest.callback(self._stop_if_running, role)

    def _stop_if_running(self, role: str) -> None:
        if self.processes[role].poll() is None:
            self.stop(role)
        else:
            del self.processes[role]


@contextlib.contextmanager
def stage(name: str = "demo", *, system_applications: bool = False) -> Iterator[Stage]:
    """A stage; stops the processes and removes the directory afterwards."""
    made = Stage(name, system_applications=system_applications)
    try:
        yield made
        made.check_logs()
    finally:
        made.close()
