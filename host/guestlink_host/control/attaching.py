"""The commands for container managers: ``attach``, ``detach`` and ``profile``.

They call the manager themselves, with the rights of the user who runs them: so root can attach root's containers to
a user's guestlink-host.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guestlink.command_line import number as number_type
from guestlink.control import ControlClient
from guestlink.errors import GuestlinkError
from guestlink.progress import waiting
from guestlink_host.control.client import daemon, start_and_wait
from guestlink_host.control.command import CONTAINERS, NAME, Call, Command, Field, argument
from guestlink_host.control.containers import ASKING
from guestlink_host.control.request_validation import flag, number, numbers, text
from guestlink_host.managers import KINDS, RUNNING, Instance, Manager, Mounts, find_instance, managers_here
from guestlink_host.managers.inside import check_installed, install
from guestlink_host.managers.install_script import Source, checked_source
from guestlink_host.settings import APT, DNF, GPU, KEY, MANAGERS, PACKAGES, gpu_nodes, load_settings

if TYPE_CHECKING:
    from guestlink_host.parts import HostParts

_LIST_LIMIT = 3.0
"""Seconds to wait for the application list of a container that has registered."""


_UID_LIMIT = 2**32 - 2
_USERS_LIMIT = 64


def _source_of(arguments: argparse.Namespace) -> Source:
    """The source from the switches :data:`_SOURCES`; from the settings if no switch is given."""
    given = (arguments.apt, arguments.dnf, arguments.key or "", arguments.packages or "")
    if not any(given):
        settings = load_settings()
        given = (settings[APT], settings[DNF], settings[KEY], settings[PACKAGES])
    apt, dnf, *paths = given
    key, packages = (Path(path).expanduser().resolve() if path else None for path in paths)
    return Source(apt, dnf, key, packages)


def _attach(arguments: argparse.Namespace) -> int:
    print(f"{arguments.name} is attached; {_attach_and_wait(daemon(), arguments)}")
    return 0


def _attach_and_wait(daemon: ControlClient, arguments: argparse.Namespace) -> str:
    """Mount a container's directory, token and GPU nodes, add it to the daemon, and wait until it has registered.

    :returns: its state, as a text for people.
    :raises GuestlinkError: the container cannot be attached, or does not register.
    """
    if not arguments.install and any((arguments.apt, arguments.dnf, arguments.key, arguments.packages)):
        raise GuestlinkError("--apt, --dnf, --key and --packages need --install", hint="add --install")
    source = checked_source(_source_of(arguments)) if arguments.install else Source()
    with waiting(ASKING):
        manager, instance = _find(arguments)
    if arguments.install and instance.status != RUNNING:
        raise GuestlinkError(
            f"{instance.name} does not run, so Guestlink cannot be installed in it", hint="start it first"
        )
    with waiting(f"attaching {instance.name}"):
        at_once = _mount(daemon, arguments, manager, instance)
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
        return "it registers at its next start; `guestlink-host shell` and `launch` start it"
    if not at_once:
        check_installed(manager, instance)
        return f"restart the container to pick up the mounts: {manager.restart_command(instance)}"
    start_and_wait(instance.name)
    return f"it is registered, with {_count_applications(daemon, instance.name)}"


def _count_applications(daemon: ControlClient, name: str) -> str:
    """The number of applications of a container that has just registered; waits for its first list."""
    deadline = time.monotonic() + _LIST_LIMIT
    while not (found := daemon.call("apps", name=name)["applications"]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return f"{len(found)} application{'' if len(found) == 1 else 's'}"


def _mount(daemon: ControlClient, arguments: argparse.Namespace, manager: Manager, instance: Instance) -> bool:
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
        mounts = Mounts(Path(answer["directory"]), Path(answer["token_file"]), devices)
        return manager.attach(instance, mounts)
    except BaseException:
        if name not in known:
            daemon.call("remove", name=name)
        raise


def _detach(arguments: argparse.Namespace) -> int:
    with waiting(f"detaching {arguments.name}"):
        _unmount_and_forget(daemon(), arguments)
    print(f"{arguments.name} is detached")
    return 0


def _unmount_and_forget(daemon: ControlClient, arguments: argparse.Namespace) -> None:
    """Undo ``attach``. If the manager has deleted the container already, only forget it.

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


def _print_profile(arguments: argparse.Namespace) -> int:
    from guestlink_host.managers.profile import profile

    nodes = [] if arguments.no_gpu else gpu_nodes(load_settings()[GPU])
    sys.stdout.write(profile(_source_of(arguments), nodes))
    return 0


async def _serve_attach(parts: HostParts, **fields: Any) -> dict[str, Any]:
    mounts = await parts.attachments.add(**fields)
    return {"directory": str(mounts.directory), "token_file": str(mounts.token)}


async def _serve_start(parts: HostParts, name: str, first: bool) -> dict[str, Any]:
    step = parts.attachments.start_and_wait(parts.services.guest(name), first=first)
    return {"ready": step is None, "doing": step or ""}


_CHOOSE = (
    argument(
        "--manager",
        choices=KINDS,
        help="search only this manager's containers (default: all managers of this machine)",
    ),
    argument(
        "--place",
        metavar="PLACE",
        default="",
        help="search only this project of LXD or Incus, or this directory of LXC (its lxc.lxcpath)",
    ),
)
"""Switches that choose among containers of one name."""
_SOURCES = (
    argument("--apt", metavar="LINE", default="", help="apt repository with Guestlink: ADDRESS SUITE COMPONENT"),
    argument("--dnf", metavar="ADDRESS", default="", help="dnf repository with Guestlink"),
    argument("--key", metavar="FILE", help="the repository's public key"),
    argument(
        "--packages",
        metavar="DIRECTORY",
        help="directory of this machine with the packages, instead of a repository",
    ),
)
"""Switches for the source of Guestlink's packages."""
_NO_GPU = argument("--no-gpu", action="store_true", help="give the container no access to the GPU")

COMMANDS = (
    Command(
        "attach",
        "set up an LXD, Incus or LXC container: mount its socket directory, token and GPU nodes, and register it",
        section=CONTAINERS,
        details="The command waits until the container has registered; if it does not, the command reports why. "
        "Containers of LXC belong to root, who runs the command with the user's `XDG_RUNTIME_DIR`.",
        example="attach work",
        arguments=(
            argument("name", metavar="NAME", completes="instances"),
            argument(
                "--uid",
                type=number_type(0, _UID_LIMIT),
                default=1000,
                help="id of the container's user, inside (default: 1000)",
            ),
            _NO_GPU,
            argument(
                "--install",
                action="store_true",
                help="install Guestlink in the container, which must run, and "
                "run `guestlink adopt` in it; the next four switches choose the source",
            ),
            *_SOURCES,
            *_CHOOSE,
        ),
        run=_attach,
        call=Call(
            _serve_attach,
            (
                Field("name", text),
                Field("manager", text),
                Field("place", text),
                Field("uid", number(0, _UID_LIMIT)),
                Field("users", numbers(_USERS_LIMIT, 0, 2**32 - 1)),
            ),
            "add a manager's container, or store its new values; the command calls the manager itself",
        ),
    ),
    Command(
        "detach",
        "undo `attach`, and remove the container's launchers",
        section=CONTAINERS,
        example="detach work",
        arguments=(NAME, *_CHOOSE),
        run=_detach,
    ),
    Command(
        "profile",
        "print a profile for LXD and Incus, whose containers attach by themselves",
        section=CONTAINERS,
        details="Containers that have the profile install Guestlink at their first start.",
        example="profile --packages ~/debs | lxc profile edit guestlink",
        arguments=(*_SOURCES, _NO_GPU),
        run=_print_profile,
    ),
    Command(
        "start_and_wait",
        "start a container that cannot be called; the client repeats the call until the container has registered",
        call=Call(_serve_start, (Field("name", text), Field("first", flag))),
    ),
)
