"""The commands for the daemon's registry of containers: ``add``, ``remove`` and ``list``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from guestlink.progress import waiting
from guestlink.socket_directory import MOUNT_POINT
from guestlink.token import TOKEN_PATH
from guestlink_host.control.client import daemon
from guestlink_host.control.command import CONTAINERS, NAME, Call, Command, Field, argument
from guestlink_host.control.printing import print_json
from guestlink_host.control.request_validation import check_addresses, text

if TYPE_CHECKING:
    from guestlink_host.containers.registry import Container
    from guestlink_host.parts import HostParts

ASKING = "asking the container managers"
"""The step of commands for which the daemon polls the managers."""


def describe(parts: HostParts, container: Container) -> dict[str, Any]:
    """A container's values and state, as fields of an answer."""
    service = parts.services[container.name]
    guest = service.guest
    return {
        "name": container.name,
        "registered": guest.registered,
        "reachable": guest.reachable,
        "state": guest.sentence,
        "manager": container.manager,
        "place": container.place,
        "instance": parts.attachments.status(container),
        "applications": len(guest.publisher.applications),
        "lists": guest.publisher.lists,
        "pending": guest.pending,
        "mime_types": guest.mime_types,
        "username": guest.info.username,
        "homedir": guest.info.homedir,
        "sftp_port": guest.info.sftp_port,
        "problem": service.problem or guest.publisher.problem or service.manager_problem,
        "wayland": parts.wayland.describe(container.name),
        "sound": parts.sound.describe(container.name),
        "policies": parts.policies.values(container.name),
        "shares": [share._asdict() for share in container.shares],
        "directory": str(parts.containers.directory(container.name)),
        "token_file": str(parts.containers.token_file(container.name)),
    }


def _add(arguments: argparse.Namespace) -> int:
    options = {name: getattr(arguments, name) for name in ("ip", "listen", "garcon")}
    answer = daemon().call("add", name=arguments.name, **options)
    if arguments.json:
        return print_json(answer)
    print(f"{answer['name']} is added. Mount in the container, read-only:")
    print(f"  {answer['directory']}  as  {MOUNT_POINT}")
    print(f"  {answer['token_file']}  as  {TOKEN_PATH}")
    return 0


async def _serve_add(parts: HostParts, name: str, **addresses: str) -> dict[str, Any]:
    given = {key: address for key, address in addresses.items() if address}
    check_addresses(given, parts.containers.directories)
    return describe(parts, await parts.services.add(name, **given))


def _remove(arguments: argparse.Namespace) -> int:
    from guestlink_host.files import sshfs

    sshfs.forget(arguments.name)
    daemon().call("remove", name=arguments.name)
    return 0


async def _serve_remove(parts: HostParts, name: str) -> dict[str, Any]:
    await parts.services.forget(name)
    return {}


def _print_list(arguments: argparse.Namespace) -> int:
    with waiting(ASKING):
        containers = daemon().call("list")["containers"]
    return print_json(containers) if arguments.json else print_containers(containers)


def print_containers(containers: list[dict[str, Any]], *, ways: bool = False) -> int:
    """Print a line for each container that :func:`describe` has described; returns the exit status 0.

    :param ways: whether to print the ways of its windows and its sound, too, and the reasons for them.
    """
    for container in containers:
        problem = f"; {container['problem']}" if container["problem"] else ""
        instance = f"{container['instance']}, " if container["instance"] else ""
        print(
            f"{container['name']}: {instance}{container['state']}, "
            f"{container['applications']} applications{problem}"
        )
        for what in ("windows", "sound") if ways else ():
            taken = container["wayland" if what == "windows" else what]
            print(f"  {what}: {taken['way']}: {taken['why']}")
    if not containers:
        print("no containers; `guestlink-host attach NAME` adds one")
    return 0


async def _serve_list(parts: HostParts) -> dict[str, Any]:
    await parts.attachments.poll()
    return {"containers": [describe(parts, container) for container in parts.services.containers()]}


COMMANDS = (
    Command(
        "add",
        "add a container of another manager",
        section=CONTAINERS,
        details="The command prints the paths to mount in the container.",
        example="add work --ip 10.0.3.15",
        arguments=(
            argument("name", metavar="NAME"),
            argument("--ip", metavar="ADDRESS", help="its IP address, for links to servers inside"),
            argument(
                "--listen",
                metavar="ADDRESS",
                help="address of this host where the container's garcon connects, besides the sockets in its "
                "directory: tcp:HOST:PORT or vsock:any:PORT",
            ),
            argument(
                "--garcon",
                metavar="ADDRESS",
                help="vsock:CID:0 for the context id that may connect to --listen vsock:…; or the unix: or vsock: "
                "address of a garcon that listens for this host's calls (default: garcon parks connections here)",
            ),
        ),
        json_text="an object as in the array of `list`; mount its `directory` and its `token_file`",
        run=_add,
        call=Call(
            _serve_add, (Field("name", text), Field("listen", text), Field("garcon", text), Field("ip", text))
        ),
    ),
    Command(
        "remove",
        "forget a container that `add` added, and remove its launchers",
        section=CONTAINERS,
        example="remove work",
        arguments=(NAME,),
        run=_remove,
        call=Call(_serve_remove, (Field("name", text),)),
    ),
    Command(
        "list",
        "list the containers",
        section=CONTAINERS,
        example="list --json",
        json_text="an array of objects with `name`; `registered` and `reachable` (whether its garcon answers), and "
        "`state`, a sentence about both; `manager`, `place` and `instance`, its state at the manager, empty "
        "without a manager; `applications` and `mime_types`, their numbers; `lists`, the number of application "
        "lists that it has published, and `pending`, of those to come; `username`, `homedir` and `sftp_port` of "
        "its garcon; `problem`, a sentence, or empty; `wayland`, an object with `way`, by "
        "which its windows reach the compositor (direct, which is in a security context; proxy; none), and `why`, "
        "a sentence; `sound`, an object with `way`, by which it plays (pulseaudio or none), and `why`, a sentence; "
        "`policies`, as for `policy`; `shares`, as for `share`; `directory` and `token_file`, the paths to mount",
        run=_print_list,
        call=Call(_serve_list),
    ),
)
