"""The commands that ask a container manager: ``attach``, ``detach`` and ``profile``.

They ask it themselves, with the rights of whoever runs them: root can attach root's containers to a user's host.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from guestlink.control import ControlClient
from guestlink.errors import GuestlinkError
from guestlink_host.managers import KINDS, RUNNING, Carried, Instance, Manager, find_instance, managers_here
from guestlink_host.settings import GPU, MANAGERS, gpu_nodes, load_settings


def add_where(parser: argparse.ArgumentParser) -> None:
    """Add the switches that say which container is meant."""
    parser.add_argument("--manager", choices=KINDS, help="ask this one only (default: all that are there)")
    parser.add_argument("--place", metavar="PLACE", default="", help="LXD's or Incus's project, or LXC's directory")


def attach(daemon: ControlClient, arguments: argparse.Namespace) -> tuple[Instance, bool]:
    """Carry what a container needs into it and make it known, both or nothing.

    :returns: the container, and whether it sees that at once.
    :raises GuestlinkError: it cannot be done.
    """
    manager, instance = _find(arguments)
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
        return instance, manager.attach(instance, carried)
    except BaseException:
        if name not in known:
            daemon.call("remove", name=name)
        raise


def detach(daemon: ControlClient, arguments: argparse.Namespace) -> None:
    """Undo :func:`attach`; what is left of it where the container is deleted already.

    :raises GuestlinkError: there was nothing to undo, or it cannot be done.
    """
    containers = {container["name"]: container for container in daemon.call("list")["containers"]}
    known = containers.get(arguments.name)
    if known is not None and known["manager"]:
        arguments.manager = arguments.manager or known["manager"]
        arguments.place = arguments.place or known["place"]
    if known is None or known["instance"] != "gone":
        manager, instance = _find(arguments)
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
    return find_instance(arguments.name, managers, arguments.place)


def carried_now(instance: Instance, at_once: bool) -> str:
    """What is to be done after ``attach``."""
    if at_once and instance.status == RUNNING:
        return "its garcon registers by itself within a minute"
    return "it is ready with its next start" if at_once else "restart it: it sees its directory with its next start"
