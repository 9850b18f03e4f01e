"""The variables of a session's target. Pure (chromeos-vsh.md §3.5)."""

from __future__ import annotations

from collections.abc import Mapping

from vshd.account import Account

Environ = dict[bytes, bytes]

_SERVICE_VARIABLES = frozenset(
    b"NOTIFY_SOCKET INVOCATION_ID JOURNAL_STREAM LISTEN_FDS LISTEN_PID LISTEN_FDNAMES LISTEN_PIDFDID WATCHDOG_USEC"
    b" WATCHDOG_PID MAINPID MANAGERPID SYSTEMD_EXEC_PID MEMORY_PRESSURE_WATCH MEMORY_PRESSURE_WRITE FDSTORE"
    b" REMOTE_ADDR REMOTE_PORT EXIT_CODE EXIT_STATUS SERVICE_RESULT".split()
)
"""Variables of vshd as a service, not of its user."""
_SESSION_VARIABLES = frozenset(
    b"XDG_RUNTIME_DIR DBUS_SESSION_BUS_ADDRESS XDG_SESSION_ID XDG_SESSION_TYPE XDG_SESSION_CLASS XDG_SEAT XDG_VTNR"
    b" WAYLAND_DISPLAY DISPLAY XAUTHORITY MAIL SUDO_USER SUDO_UID SUDO_GID SUDO_COMMAND SSH_AUTH_SOCK"
    b" XDG_CONFIG_HOME XDG_DATA_HOME XDG_STATE_HOME XDG_CACHE_HOME".split()
)
"""Variables that another user's session must not inherit."""
DISPLAYS = frozenset(
    b"DISPLAY WAYLAND_DISPLAY XCURSOR_SIZE XAUTHORITY DISPLAY_LOW_DENSITY WAYLAND_DISPLAY_LOW_DENSITY"
    b" XCURSOR_SIZE_LOW_DENSITY".split()
)
"""Variables that the proxies set in the user manager, perhaps after vshd was started."""
_PATH = b"/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"
_ROOT_PATH = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def session_environ(inherited: Mapping[bytes, bytes], manager: Mapping[bytes, bytes], account: Account) -> Environ:
    """The session's variables before the client's are added.

    :param inherited: the daemon's own variables, or those that garcon sent instead.
    :param manager: the variables of the account's user manager; its display variables are the newest and win.
    """
    foreign = _SERVICE_VARIABLES | (_SESSION_VARIABLES if account.switches else frozenset())
    environ = dict(manager)
    own = {key: value for key, value in inherited.items() if key not in foreign}
    environ |= {key: value for key, value in own.items() if not key.startswith(b"PYTHON")}
    return environ | {key: manager[key] for key in DISPLAYS & manager.keys()}


def target_environ(session: Mapping[bytes, bytes], client: Mapping[bytes, bytes], account: Account) -> Environ:
    """The target's variables: the session's, the client's over them, and the account's over all.

    ChromeOS's vshd lets the inherited value win, against its own documentation (chromeos-vsh.md §3.5). Here a
    variable that a user writes before a command wins. Names that are empty or contain ``=`` are dropped.
    """
    environ = dict(session)
    environ |= {key: value for key, value in client.items() if key and b"=" not in key}
    environ.setdefault(b"TERM", b"linux")
    environ.setdefault(b"PATH", _ROOT_PATH if account.uid == 0 else _PATH)
    name = account.name.encode(errors="surrogateescape")
    return environ | {
        b"SHELL": account.shell.encode(errors="surrogateescape"),
        b"HOME": account.home.encode(errors="surrogateescape"),
        b"USER": name,
        b"LOGNAME": name,
    }
