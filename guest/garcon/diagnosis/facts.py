"""The facts about a container, as plain values. The defaults are those of a healthy container."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from guestlink import socket_directory

DESKTOP_UID = 1000
"""The uid that the units run for and that ChromeOS expects (chromeos-garcon.md §2.2)."""

UNITS = (
    "guestlink-garcon.service",
    "guestlink-sommelier@0.service",
    "guestlink-sommelier@1.service",
    "guestlink-sommelier-x@0.service",
    "guestlink-sommelier-x@1.service",
)
"""Our user units, those of packages that are not installed included."""

EXPECTED_GROUPS = (
    "audio", "cdrom", "dialout", "floppy", "kvm", "netdev", "plugdev", "render", "sudo", "tss", "users", "video",
)  # fmt: skip
"""Groups that hosts put the user into; the agent of a virtual machine refuses a user whose groups do not all exist
(packaging.md §1.3, chromeos-garcon.md §7.8)."""


class UnitState(NamedTuple):
    """A unit as systemd shows it.

    :ivar load: ``loaded``, ``not-found``, ``masked`` …
    :ivar active: ``active``, ``inactive``, ``failed`` …
    :ivar enabled: ``enabled``, ``disabled``, ``masked`` …; "" if it is unknown.
    :ivar result: ``success``, ``exit-code``, ``watchdog`` …
    :ivar restarts: how often systemd has restarted it.
    :ivar condition: whether its conditions held at its last start.
    :ivar text: the status that the service has sent (``StatusText``).
    """

    load: str = "loaded"
    active: str = "active"
    enabled: str = "enabled"
    result: str = "success"
    restarts: int = 0
    condition: bool = True
    text: str = ""


class Node(NamedTuple):
    """A device file, and why it cannot be opened: "" if it can."""

    path: str
    trouble: str = ""


def _healthy_units() -> dict[str, UnitState]:
    return {name: UnitState() for name in UNITS[:2]}


@dataclass(frozen=True)
class Facts:
    """The facts about a container at one moment.

    The ``…_trouble`` fields are sentences; "" means that there is no trouble.

    :ivar uid: the user who runs the diagnosis.
    :ivar desktop_user: the name of the user with uid 1000; "" if there is none.
    :ivar container: whether this is a container or a host's virtual machine.
    :ivar chromeos: whether the host is ChromeOS.
    :ivar runtime_trouble: why the runtime directory cannot be used; the check ``manager`` reports a missing one.
    :ivar pam_module: whether logins can open a session of systemd.
    :ivar manager: the output of ``systemctl --user is-system-running``, or why there is none.
    :ivar manager_runs: whether a user manager answers.
    :ivar manager_lacks: variables of our environment generator that the user manager does not have.
    :ivar garcon_lacks: those that garcon's process does not have.
    :ivar libraries: version by module; ``None`` if it cannot be imported, which ``import_troubles`` explains.
    :ivar free: free bytes and inodes, by directory.
    :ivar garcon: garcon's own status; ``None`` if garcon does not answer.
    :ivar proxies: the status of every Wayland proxy that answers.
    :ivar windows: the host's ``way`` for this container's windows, and ``why``; empty if it does not tell.
    :ivar sound: the same for this container's sound.
    :ivar linked: whether programs use the mounted socket themselves.
    :ivar compositor: why a program cannot connect to the mounted socket of the host's compositor.
    :ivar groups_missing: expected groups that do not exist.
    :ivar locale_missing: the locale that is set and does not exist, or "".
    :ivar failed_system_units: names; ``None`` if they are unknown.
    :ivar address: whether eth0, if it exists, has an IPv4 address.
    :ivar network: whether any interface has an address that others may reach.
    :ivar unchecked: why a check cannot run, by the check's name; its subject is neither in order nor broken.
    """

    version: str = "0"
    uid: int = DESKTOP_UID
    user: str = "user"
    home: str = "/home/user"
    host_name: str = "container"
    desktop_user: str = "user"
    distribution: str = "Debian GNU/Linux 12 (bookworm)"
    python: str = "3.11.2"
    container: bool = True
    chromeos: bool = False
    runtime_directory: str = "/run/user/1000"
    runtime_trouble: str = ""
    pam_module: bool = True
    systemd: bool = True
    manager: str = "running"
    manager_runs: bool = True
    lingers: bool = True
    manager_lacks: tuple[str, ...] = ()
    garcon_lacks: tuple[str, ...] = ()
    session_bus: bool = True
    units: Mapping[str, UnitState] = field(default_factory=_healthy_units)
    libraries: Mapping[str, str | None] = field(default_factory=dict)
    import_troubles: Mapping[str, str] = field(default_factory=dict)
    free: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    config_trouble: str = ""
    config_warnings: tuple[str, ...] = ()
    token_trouble: str = ""
    host: str = f"unix:{socket_directory.MOUNT_POINT}/{socket_directory.LISTENER}"
    host_trouble: str = ""
    listener_trouble: str = ""
    garcon: Mapping[str, Any] | None = field(default_factory=lambda: {"registered": True, "phase": "registered"})
    garcon_trouble: str = ""
    original_garcon: bool = False
    proxies: tuple[Mapping[str, Any], ...] = ()
    windows: Mapping[str, str] = field(default_factory=dict)
    sound: Mapping[str, str] = field(default_factory=dict)
    linked: bool = False
    compositor: str = ""
    compositor_there: bool = True
    nodes: tuple[Node, ...] = (Node("/dev/dri/renderD128"),)
    sftp_server: bool = True
    shell_server: bool = True
    xdg_open: bool = True
    groups_missing: tuple[str, ...] = ()
    files_missing: tuple[str, ...] = ()
    locale_missing: str = ""
    failed_system_units: tuple[str, ...] | None = ()
    journal_readable: bool = True
    address: bool = True
    network: bool = True
    unchecked: Mapping[str, str] = field(default_factory=dict)
