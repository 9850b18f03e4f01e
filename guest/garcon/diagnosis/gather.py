"""Gathers the facts. Every source may be missing: an unknown fact becomes a sentence, never a healthy value."""

from __future__ import annotations

import glob
import grp
import json
import os
import pwd
import shutil
import socket
import stat
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from garcon.client.garcon_client import control_path, garcon
from garcon.client.sound import sound_on_host
from garcon.client.windows import is_linked, windows_on_host
from garcon.diagnosis.commands import Commands
from garcon.diagnosis.facts import DESKTOP_UID, EXPECTED_GROUPS, UNITS, Facts, Node, UnitState
from garcon.diagnosis.stale_environments import stale_environments
from garcon.settings import SFTP_SERVER, TOKEN_FILE, NoHost, host_address, load_settings
from guestlink import __version__, socket_directory
from guestlink.address import Address, UnixAddress, VsockAddress
from guestlink.config import ConfigError
from guestlink.control import ControlClient, DaemonNotRunning
from guestlink.errors import GuestlinkError, reason
from guestlink.sockets import ConnectFailed, connect
from guestlink.suite_program import suite_program
from guestlink.token import TOKEN_PATH, TokenError, read_token

SECONDS = 20.0
"""Seconds for all helper commands together."""
_NODES = ("/dev/dri/renderD*", "/dev/wl0")
_PAM_MODULES = ("/usr/lib/*/security/pam_systemd.so", "/usr/lib*/security/pam_systemd.so")
_EXPECTED_FILES = ("/etc/gshadow", "/usr/sbin/usermod")
_VERSIONS = """
import importlib, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        module = importlib.import_module(name)
        version = getattr(module, "__version__", "")
        if not isinstance(version, str) or not version:
            from importlib import metadata
            version = metadata.version({"dbus_fast": "dbus-fast", "grpc": "grpcio"}.get(name, name))
        found[name] = [version, ""]
    except Exception as error:
        if name in sys.modules:
            found[name] = ["", ""]
        else:
            found[name] = [None, f"{type(error).__name__}: {error}"[:200]]
print(json.dumps(found))
"""


def session_environ(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment, with the session's addresses added if the shell was opened without a session."""
    complete = dict(environ)
    runtime = complete.setdefault("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")
    complete.setdefault("DBUS_SESSION_BUS_ADDRESS", f"unix:path={runtime}/bus")
    return complete


def gather(environ: Mapping[str, str] = os.environ, seconds: float = SECONDS) -> Facts:
    """Gather the facts about this container as the calling user.

    :param seconds: limit for all helper commands together.
    """
    environ = session_environ(environ)
    commands = Commands(seconds, environ)
    known: dict[str, Any] = {"version": __version__, "python": sys.version.split()[0]}
    known |= _who() | _where() | _session(environ, commands)
    known |= _host(environ)
    known |= _garcon()
    known |= _libraries(commands) | _units(commands) | _wayland(known["host"], environ)
    known |= stale_environments(commands) if known["manager_runs"] else {}
    known |= _accounts() | _system(commands, known["user"])
    known["lingers"] = not os.path.isdir("/var/lib/systemd/linger") or os.path.exists(
        f"/var/lib/systemd/linger/{known['user']}"
    )
    return Facts(**known, unchecked=dict(_unchecked(known)))


def _unchecked(known: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The checks whose facts are unknown, and why."""
    if not known.get("libraries"):
        yield "libraries", "importing them gave no answer in time"
    if known["manager_runs"] and not known["units"]:
        yield "units", "systemctl does not show them"
    if known.get("chromeos"):
        yield "windows", "ChromeOS's compositor cannot be asked without a program"
    if shutil.which("locale") is None:
        yield "locale", "there is no program locale"
    if known["failed_system_units"] is None:
        yield "system units", "systemctl does not list them"
    if shutil.which("journalctl") is None:
        yield "journal", "there is no journalctl"


def _who() -> dict[str, Any]:
    uid = os.getuid()
    return {
        "uid": uid,
        "user": _name_of(uid) or str(uid),
        "home": os.environ.get("HOME", ""),
        "host_name": socket.gethostname(),
        "desktop_user": _name_of(DESKTOP_UID),
    }


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


def _where() -> dict[str, Any]:
    from garcon.host.network import has_device, has_network, ipv4_address

    return {
        "distribution": _distribution(),
        "systemd": os.path.isdir("/run/systemd/system"),
        "container": any(
            map(
                os.path.exists,
                ("/run/systemd/container", TOKEN_PATH, socket_directory.MOUNT_POINT, "/run/.containerenv"),
            )
        ),
        "shell_server": bool(suite_program("vshd", "vshd")),
        "xdg_open": shutil.which("xdg-open") is not None,
        "address": not has_device() or ipv4_address() is not None,
        "network": has_network(),
        "free": dict(_free()),
    }


def _distribution() -> str:
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        for line in _lines(path):
            name, _, value = line.partition("=")
            if name == "PRETTY_NAME":
                return value.strip().strip("\"'")
    return "an unknown distribution"


def _free() -> Iterator[tuple[str, tuple[int, int]]]:
    seen = set()
    for directory in ("/", os.path.expanduser("~"), "/tmp", f"/run/user/{os.getuid()}"):
        try:
            device = os.stat(directory).st_dev
            status = os.statvfs(directory)
        except OSError:
            continue
        if device not in seen:
            seen.add(device)
            # File systems that do not count inodes report 0 of 0.
            yield directory, (status.f_bavail * status.f_frsize, status.f_favail if status.f_files else 1 << 30)


def _session(environ: Mapping[str, str], commands: Commands) -> dict[str, Any]:
    runtime = environ["XDG_RUNTIME_DIR"]
    ran = commands.run(["systemctl", "--user", "is-system-running"], 5)
    manager = ran.text.strip().splitlines()[-1] if ran.text.strip() else "systemctl prints nothing"
    return {
        "runtime_directory": runtime,
        "runtime_trouble": _runtime_trouble(runtime),
        "pam_module": any(glob.glob(pattern) for pattern in _PAM_MODULES),
        "manager": manager,
        "manager_runs": manager in ("initializing", "starting", "running", "degraded", "maintenance", "stopping"),
        "session_bus": _bus_answers(environ["DBUS_SESSION_BUS_ADDRESS"]),
    }


def _runtime_trouble(runtime: str) -> str:
    try:
        status = os.stat(runtime)
    except OSError:
        return ""  # It exists only while the user manager runs.
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        return f"the runtime directory {runtime} belongs to uid {status.st_uid}, not to this user"
    return ""


def _bus_answers(address: str) -> bool:
    if not address.startswith("unix:path="):
        return bool(address)
    return not _connect_trouble(address.removeprefix("unix:path=").partition(",")[0])


def _connect_trouble(path: str) -> str:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(3)
        try:
            sock.connect(path)
        except OSError as error:
            return f"{path}: {reason(error)}"
    return ""


def _host(environ: Mapping[str, str]) -> dict[str, Any]:
    try:
        config = load_settings(environ)
    except ConfigError as error:
        return {"config_trouble": error.message, "host": ""}
    known: dict[str, Any] = {"config_warnings": config.warnings, "host": ""}
    try:
        address = host_address(config)
    except NoHost as error:
        return known | {"host_trouble": error.message}
    known["sftp_server"] = _has_sftp_server(config[SFTP_SERVER])
    known |= {"host": str(address), "chromeos": isinstance(address, VsockAddress)}
    try:
        read_token(config[TOKEN_FILE])
    except TokenError as error:
        known["token_trouble"] = error.message
    return known | {"listener_trouble": _listener_trouble(address)}


def _has_sftp_server(program: str) -> bool:
    from garcon.host.sftp import SERVERS

    candidates = [program] if program else [*SERVERS, shutil.which("sftp-server") or ""]
    return any(os.access(path, os.X_OK) for path in candidates if path)


def _listener_trouble(address: Address) -> str:
    try:
        connect(address, timeout=3).close()
    except ConnectFailed as error:
        if isinstance(address, UnixAddress) and not os.path.exists(address.path):
            return f"there is no {address.path}"
        return error.message
    except GuestlinkError as error:
        return error.message
    return ""


def _garcon() -> dict[str, Any]:
    known: dict[str, Any] = {"original_garcon": _original_runs()}
    try:
        known["garcon"] = garcon(patient=False).call("status", timeout=5)
    except DaemonNotRunning:
        known |= {"garcon": None, "garcon_trouble": "it does not run"}
    except GuestlinkError as error:
        known |= {"garcon": None, "garcon_trouble": error.message}
    return known


def _original_runs() -> bool:
    for path in glob.glob("/proc/[0-9]*/exe"):
        try:
            if os.readlink(path).startswith("/opt/google/cros-containers/bin/garcon"):
                return True
        except OSError:
            continue  # Another user's process, or one that has exited.
    return False


def _libraries(commands: Commands) -> dict[str, Any]:
    from garcon.diagnosis.checks import MIN_VERSIONS

    # In its own process, because a broken extension module may crash the process.
    isolated = ["-I"] if sys.flags.isolated else []
    ran = commands.run([sys.executable, *isolated, "-c", _VERSIONS, *MIN_VERSIONS])
    try:
        found = json.loads(ran.text.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return {}
    return {
        "libraries": {name: version for name, (version, _) in found.items()},
        "import_troubles": {name: reason for name, (_, reason) in found.items() if reason},
    }


def _units(commands: Commands) -> dict[str, Any]:
    properties = "Id,LoadState,ActiveState,UnitFileState,Result,NRestarts,ConditionResult,StatusText"
    ran = commands.run(["systemctl", "--user", "show", "-p", properties, *UNITS])
    return {"units": dict(parse_units(ran.text)) if ran.status == 0 else {}}


def parse_units(text: str) -> Iterator[tuple[str, UnitState]]:
    """Parse the output of ``systemctl show``: a block of ``Property=value`` lines for each unit."""
    for block in text.split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        restarts = values.get("NRestarts", "")
        if name := values.get("Id", ""):
            yield (
                name,
                UnitState(
                    load=values.get("LoadState", ""),
                    active=values.get("ActiveState", ""),
                    enabled=values.get("UnitFileState", ""),
                    result=values.get("Result", "success"),
                    restarts=int(restarts) if restarts.isdecimal() else 0,
                    condition=values.get("ConditionResult", "yes") == "yes",
                    text=values.get("StatusText", ""),
                ),
            )


def _wayland(host: str, environ: Mapping[str, str]) -> dict[str, Any]:
    path = f"{socket_directory.MOUNT_POINT}/{socket_directory.COMPOSITOR}"
    there = os.path.exists(path)
    proxies = []
    for name in sorted(glob.glob(os.path.join(os.path.dirname(control_path()), "sommelier-*.sock"))):
        try:
            proxies.append(ControlClient(name, daemon="sommelier").call("status", timeout=5))
        except GuestlinkError:
            continue
    return {
        "windows": windows_on_host(),
        "sound": sound_on_host(),
        "linked": is_linked(environ),
        "proxies": tuple(proxies),
        "compositor_there": there or not host.startswith("unix:"),
        "compositor": _connect_trouble(path) if there else "",
    }


def _accounts() -> dict[str, Any]:
    names = {group.gr_name for group in grp.getgrall()}
    missing = [name for name in EXPECTED_GROUPS if name not in names]
    files = [path for path in _EXPECTED_FILES if not os.path.exists(path)]
    return {
        "groups_missing": tuple(missing),
        "files_missing": tuple(files),
        "nodes": tuple(
            Node(path, _open_trouble(path)) for pattern in _NODES for path in sorted(glob.glob(pattern))
        ),
    }


def _open_trouble(path: str) -> str:
    # Open it instead of comparing gids, which mean little inside an unprivileged container (packaging.md, F8).
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY))
    except OSError as error:
        return reason(error)
    return ""


def _system(commands: Commands, user: str) -> dict[str, Any]:
    failed = commands.run(["systemctl", "list-units", "--state=failed", "--no-legend", "--plain"], 5)
    names = [line.split()[0] for line in failed.text.splitlines() if line.split()]
    return {
        "failed_system_units": tuple(names) if failed.status == 0 else None,
        "locale_missing": _missing_locale(commands),
        "journal_readable": _journal_readable(commands),
    }


def _missing_locale(commands: Commands) -> str:
    wanted = os.environ.get("LC_ALL") or os.environ.get("LANG") or ""
    if wanted in ("", "C", "POSIX") or shutil.which("locale") is None:
        return ""
    ran = commands.run(["locale", "-a"], 5)
    if ran.status != 0:
        return ""
    return "" if _plain(wanted) in map(_plain, ran.text.split()) else wanted


def _plain(locale: str) -> str:
    return locale.lower().replace("-", "")


def _journal_readable(commands: Commands) -> bool:
    ran = commands.run(["journalctl", "--user", "-n", "1", "-q", "--no-pager"], 5)
    return ran.status in (0, None) and "permission" not in ran.text.lower()


def _lines(path: str) -> list[str]:
    try:
        with open(path, errors="replace") as stream:
            return stream.read(65536).splitlines()
    except OSError:
        return []
