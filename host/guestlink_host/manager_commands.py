"""The commands for container managers: ``attach``, ``detach`` and ``profile``.

They call the manager themselves, with the rights of the user who runs them: so root can attach root's containers to
a user's guestlink-host.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from guestlink.control import ControlClient
from guestlink.errors import GuestlinkError
from guestlink.progress import waiting
from guestlink_host.control_client import wake
from guestlink_host.inside import check_installed, install
from guestlink_host.install_script import Source, checked_source
from guestlink_host.managers import KINDS, RUNNING, Carried, Instance, Manager, find_instance, managers_here
from guestlink_host.settings import APT, DNF, GPU, KEY, MANAGERS, PACKAGES, gpu_nodes, load_settings

_LIST_LIMIT = 3.0
"""Seconds to wait for the application list of a container that has registered."""


def add_where(parser: argparse.ArgumentParser) -> None:
    """Add the switches that choose among containers of one name."""
    parser.add_argument("--manager", choices=KINDS, help="ask this one only (default: all that are there)")
    parser.add_argument("--place", metavar="PLACE", default="", help="LXD's or Incus's project, or LXC's directory")


def add_sources(parser: argparse.ArgumentParser) -> None:
    """Add the switches for the source of Guestlink's packages."""
    parser.add_argument(
        "--apt", metavar="LINE", default="", help="apt repository with Guestlink: ADDRESS SUITE PART"
    )
    parser.add_argument("--dnf", metavar="ADDRESS", default="", help="dnf repository with Guestlink")
    parser.add_argument("--key", metavar="FILE", help="their public key")
    parser.add_argument("--packages", metavar="DIRECTORY", help="a directory of this machine with the packages")


def source_of(arguments: argparse.Namespace) -> Source:
    """The source from the switches of :func:`add_sources`; from the settings if no switch is given."""
    given = (arguments.apt, arguments.dnf, arguments.key or "", arguments.packages or "")
    if not any(given):
        settings = load_settings()
        given = (settings[APT], settings[DNF], settings[KEY], settings[PACKAGES])
    apt, dnf, *paths = given
    key, packages = (Path(path).expanduser().resolve() if path else None for path in paths)
    return Source(apt, dnf, key, packages)


def attach(daemon: ControlClient, arguments: argparse.Namespace) -> str:
    """Mount a container's directory, token and GPU nodes, add it to the daemon, and wait until it has registered.

    :returns: its state, as a text for people.
    :raises GuestlinkError: the container cannot be attached, or does not register.
    """
    if not arguments.install and any((arguments.apt, arguments.dnf, arguments.key, arguments.packages)):
        raise GuestlinkError("--apt, --dnf, --key and --packages count with --install", hint="add --install")
    source = checked_source(source_of(arguments)) if arguments.install else Source()
    with waiting("asking the container managers"):
        manager, instance = _find(arguments)
    if arguments.install and instance.status != RUNNING:
        raise GuestlinkError(
            f"{instance.name} does not run, so nothing can be installed in it", hint="start it first"
        )
    with waiting(f"attaching {instance.name}"):
        at_once = _attach(daemon, arguments, manager, instance)
    try:
        if arguments.install:
            with waiting(f"installing Guestlink in {instance.name}"):
                install(manager, instance, source)
        return _registration(daemon, manager, instance, at_once)
    except GuestlinkError as error:
        raise GuestlinkError(f"{instance.name} is attached, but {error.message}", hint=error.hint) from error


def _registration(daemon: ControlClient, manager: Manager, instance: Instance, at_once: bool) -> str:
    """Wait until an attached container has registered; returns its state, as a text for people."""
    if instance.status != RUNNING:
        return "it registers with its next start; `guestlink-host shell` and `launch` start it"
    if not at_once:
        check_installed(manager, instance)
        return f"it sees its directory after a restart: {manager.restart_command(instance)}"
    wake(instance.name)
    return f"it is registered, with {_count_applications(daemon, instance.name)}"


def _count_applications(daemon: ControlClient, name: str) -> str:
    """The number of applications of a container that has just registered; waits for its first list."""
    deadline = time.monotonic() + _LIST_LIMIT
    while not (found := daemon.call("apps", name=name)["applications"]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return f"{len(found)} application{'' if len(found) == 1 else 's'}"


def _attach(daemon: ControlClient, arguments: argparse.Namespace, manager: Manager, instance: Instance) -> bool:
    """Add a container to the daemon and mount its directory; a failure undoes both.

    :returns: whether a running container sees its directory at once.
    """
    name = instance.name
    known = {container["name"] for container in daemon.call("list")["containers"]}
    answer = daemon.call(
        "attach",
        name=name,
        manager=instance.manager,
        place=instance.place,
        uid=arguments.uid,
        users=[instance.outside(0), instance.outside(arguments.uid)],
    )
    devices = [] if arguments.no_gpu else gpu_nodes(load_settings()[GPU])
    try:
        carried = Carried(Path(answer["directory"]), Path(answer["token_file"]), devices)
        return manager.attach(instance, carried)
    except BaseException:
        if name not in known:
            daemon.call("remove", name=name)
        raise


def detach(daemon: ControlClient, arguments: argparse.Namespace) -> None:
    """Undo :func:`attach`. If the manager has deleted the container already, only forget it.

    :raises GuestlinkError: the container is not attached, or cannot be detached.
    """
    containers = {container["name"]: container for container in daemon.call("list")["containers"]}
    known = containers.get(arguments.name)
    if known is not None and known["manager"]:
        arguments.manager = arguments.manager or known["manager"]
        arguments.place = arguments.place or known["place"]
    if known is None or known["instance"] != "gone":
        try:
            manager, instance = _find(arguments)
        except GuestlinkError as error:
            if known is None or known["manager"]:
                raise
            raise GuestlinkError(
                f"the container {arguments.name} was added by hand, and no manager here has it",
                hint=f"`guestlink-host remove {arguments.name}` forgets it",
            ) from error
        if known is None and instance.directory is None:
            raise GuestlinkError(
                f"the container {instance.name} is not attached", hint="`guestlink-host list` shows which are"
            )
        manager.detach(instance)
    if known is not None:
        daemon.call("remove", name=arguments.name)


def _find(arguments: argparse.Namespace) -> tuple[Manager, Instance]:
    kinds = [arguments.manager] if arguments.manager else load_settings()[MANAGERS]
    managers = managers_here(kinds)
    if arguments.place and "lxc" in kinds and arguments.place.startswith("/"):
        from guestlink_host.managers.lxc import Lxc

        managers = [manager for manager in managers if manager.kind != "lxc"] + [Lxc(Path(arguments.place))]
    return find_instance(arguments.name, managers, arguments.place, asked=kinds)
