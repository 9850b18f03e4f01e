"""The commands of ``guestlink-host``. They call the daemon over its control socket and start quickly."""

from __future__ import annotations

import argparse
import base64
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from guestlink import __version__
from guestlink.command_line import CommandLine, number
from guestlink.errors import GuestlinkError
from guestlink.progress import waiting
from guestlink.socket_directory import MOUNT_POINT
from guestlink.token import TOKEN_PATH
from guestlink_host import shell_commands
from guestlink_host.control_client import daemon, wake
from guestlink_host.manager_commands import add_sources, add_where
from guestlink_host.notification import notify
from guestlink_host.settings import POLICIES

_EXAMPLES = """\
examples:
  guestlink-host serve                           run the daemon (guestlink-host.service does that)
  guestlink-host attach work                     carry into a container of LXD, Incus or LXC what it needs
  guestlink-host add work                        the same by hand: prints what to carry into it
  guestlink-host list                            which containers are registered
  guestlink-host apps work                       what the container offers
  guestlink-host launch work org.gnome.gedit a.txt
  guestlink-host icon work org.gnome.gedit --size 48 -o gedit.png
  guestlink-host policy work url ask             ask the user before the container opens a URL here
  guestlink-host shell work -- make test         run a command in a container, as vsh does
  guestlink-host files work                      its files in a folder of this machine
  guestlink-host ssh-config work >> ~/.ssh/config; ssh work.guestlink
  guestlink-host share work ~/Documents          the container sees this folder under the same path
"""

_ASKING = "asking the container managers"

_Run = Callable[[argparse.Namespace], int]


def run(argv: list[str]) -> int:
    """Run a command and return its exit status.

    :param argv: the words after ``guestlink-host``.
    :raises GuestlinkError: the command failed.
    """
    if argv and (plumbing := shell_commands.PLUMBING.get(argv[0])) is not None:
        return plumbing(argv[1:])
    arguments = argument_parser().parse_args(argv)
    status: int = arguments.run(arguments)
    return status


def argument_parser() -> CommandLine:
    parser = CommandLine(
        prog="guestlink-host", description="Show the applications of containers on this desktop.", example=_EXAMPLES
    )
    parser.add_argument("--version", action="version", version=f"guestlink-host (Guestlink) {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, run: _Run, text: str, *, example: str, prints_data: bool = True) -> CommandLine:
        description = text[0].upper() + text[1:] + "."
        added = commands.add_parser(
            name, prog=f"guestlink-host {name}", help=text, description=description, example=example
        )
        if prints_data:
            added.add_argument("--json", action="store_true", help="print JSON")
        added.set_defaults(run=run)
        return added

    serve = command("serve", _serve, "run the daemon", example="serve --log-level debug", prints_data=False)
    serve.add_argument("--log-level", metavar="LEVEL", help="debug, info, warning or error")
    serve.add_argument("--replace", action="store_true", help="take the place of the one that runs")
    serve.add_argument("--opener", metavar="COMMAND", help="opens a URL, put behind it (default: xdg-open)")
    serve.add_argument("--terminal", metavar="COMMAND", help="terminal with its switch before a command")

    add = command("add", _add, "make a container known", example="add work --ip 10.0.3.15")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--ip", metavar="ADDRESS", help="its IP address, for links to servers inside")
    add.add_argument("--listen", metavar="ADDRESS", help="serve it there too: tcp:HOST:PORT or vsock:any:PORT")
    add.add_argument("--garcon", metavar="ADDRESS", help="where its garcon serves, if not in its directory; port 0 "
                     "takes the one that it announces")  # fmt: skip

    attach = command(
        "attach", _attach, "carry into a container of LXD, Incus or LXC what it needs, and make it known",
        example="attach work", prints_data=False,
    )  # fmt: skip
    attach.add_argument("name", metavar="NAME")
    attach.add_argument(
        "--uid", type=number(0, 2**32 - 2), default=1000, help="its user's id inside (default: 1000)"
    )
    attach.add_argument("--no-gpu", action="store_true", help="without the host's render nodes")
    attach.add_argument("--install", action="store_true", help="install Guestlink in it and adopt it")
    add_sources(attach)
    detach = command(
        "detach",
        _detach,
        "undo attach; removes the container's launchers",
        example="detach work",
        prints_data=False,
    )
    detach.add_argument("name", metavar="NAME")
    for parser_of_one in (attach, detach):
        add_where(parser_of_one)

    profile = command(
        "profile", _profile, "print a profile for LXD and Incus, whose containers attach by themselves",
        example="profile --packages ~/debs | lxc profile edit guestlink", prints_data=False,
    )  # fmt: skip
    add_sources(profile)
    profile.add_argument("--no-gpu", action="store_true", help="without the host's render nodes")

    remove = command(
        "remove", _remove, "forget a container; removes its launchers", example="remove work", prints_data=False
    )
    remove.add_argument("name", metavar="NAME")

    command("list", _list, "list the containers", example="list --json")

    apps = command("apps", _apps, "list applications", example="apps work --json")
    apps.add_argument("name", nargs="?", metavar="NAME", help="of this container only")

    launch = command(
        "launch", _launch, "start an application in a container", example="launch work gedit ~/Documents/a.txt",
        prints_data=False,
    )  # fmt: skip
    launch.add_argument("--percent-encoded", action="store_true", help="the id is written like a part of a URL")
    launch.add_argument("name", metavar="NAME")
    launch.add_argument("id", metavar="ID")
    launch.add_argument("files", nargs="*", default=[], metavar="FILE", help="file or URL; in a shared folder (see "
                        "share) its path is translated, elsewhere the container must see the same one")  # fmt: skip

    icon = command("icon", _icon, "fetch an application's icon", example="icon work gedit --size 128 -o gedit.png")
    icon.add_argument("name", metavar="NAME")
    icon.add_argument("id", metavar="ID")
    icon.add_argument("--size", type=number(1, 4095), default=48, help="logical pixels (default: 48)")
    icon.add_argument("--scale", type=number(1, 4), default=1, help="1 to 4 (default: 1)")
    icon.add_argument("-o", "--output", metavar="FILE", help="where to write it; - is standard output "
                      "(default: ID.png or ID.svg here)")  # fmt: skip

    policy = command(
        "policy", _policy, "show or set what a container may open on this desktop", example="policy work url ask"
    )
    policy.add_argument("name", metavar="NAME")
    policy.add_argument("what", nargs="?", choices=("url", "terminal"), help="URLs or terminals")
    policy.add_argument("policy", nargs="?", choices=POLICIES)

    share = command(
        "share", _share, "show or set folders that a container sees; mounting them is the container manager's part",
        example="share work ~/Documents /mnt/documents",
    )  # fmt: skip
    share.add_argument("name", metavar="NAME")
    share.add_argument("host", nargs="?", metavar="FOLDER", help="a folder of this machine")
    share.add_argument("inside", nargs="?", metavar="INSIDE", help="its path inside (default: the same)")
    share.add_argument("--forget", metavar="FOLDER", help="the container does not see this folder any more")

    shell_commands.add_commands(command)

    command("status", _status, "show the daemon and its containers", example="status")
    events = command("events", _events, "show what containers did lately", example="events work")
    events.add_argument("name", nargs="?", metavar="NAME", help="this container only")
    return parser


def _serve(arguments: argparse.Namespace) -> int:
    from guestlink_host.daemon import serve
    from guestlink_host.settings import load_settings

    switches = {name: getattr(arguments, name) for name in ("log_level", "opener", "terminal")}
    return serve(load_settings(**switches), replace=arguments.replace)


def _add(arguments: argparse.Namespace) -> int:
    options = {name: getattr(arguments, name) for name in ("ip", "listen", "garcon")}
    answer = daemon().call("add", name=arguments.name, **options)
    if arguments.json:
        return _print_json(answer)
    print(f"{answer['name']} is known. Carry into the container:")
    print(f"  {answer['directory']}  as  {MOUNT_POINT}")
    print(f"  {answer['token_file']}  as  {TOKEN_PATH}")
    return 0


def _attach(arguments: argparse.Namespace) -> int:
    from guestlink_host.manager_commands import attach

    print(f"{arguments.name} is attached; {attach(daemon(), arguments)}")
    return 0


def _detach(arguments: argparse.Namespace) -> int:
    from guestlink_host.manager_commands import detach

    with waiting(f"detaching {arguments.name}"):
        detach(daemon(), arguments)
    print(f"{arguments.name} is detached")
    return 0


def _profile(arguments: argparse.Namespace) -> int:
    from guestlink_host.manager_commands import source_of
    from guestlink_host.profile import profile
    from guestlink_host.settings import GPU, gpu_nodes, load_settings

    nodes = [] if arguments.no_gpu else gpu_nodes(load_settings()[GPU])
    sys.stdout.write(profile(source_of(arguments), nodes))
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    from guestlink_host import files

    files.forget(arguments.name)
    daemon().call("remove", name=arguments.name)
    return 0


def _list(arguments: argparse.Namespace) -> int:
    with waiting(_ASKING):
        containers = daemon().call("list")["containers"]
    return _print_json(containers) if arguments.json else _print_containers(containers)


def _print_containers(containers: list[dict[str, Any]]) -> int:
    for container in containers:
        problem = f"; {container['problem']}" if container["problem"] else ""
        instance = f"{container['instance']}, " if container["instance"] else ""
        print(
            f"{container['name']}: {instance}{container['state']}, "
            f"{container['applications']} applications{problem}"
        )
    if not containers:
        print("no containers; `guestlink-host attach NAME` makes one known")
    return 0


def _apps(arguments: argparse.Namespace) -> int:
    applications = daemon().call("apps", name=arguments.name)["applications"]
    if arguments.json:
        return _print_json(applications)
    width = max((len(application["id"]) for application in applications), default=0)
    for application in applications:
        container = "" if arguments.name else f"{application['container']}  "
        hidden = "  (not shown)" if application["no_display"] else ""
        print(f"{container}{application['id']:{width}}  {application['name']}{hidden}")
    return 0


def _launch(arguments: argparse.Namespace) -> int:
    name = arguments.id
    if arguments.percent_encoded:
        from urllib.parse import unquote

        name = unquote(name, errors="surrogateescape")
    files = [_absolute(file) for file in arguments.files]
    try:
        wake(arguments.name, None if sys.stderr.isatty() else _say_after_a_click)
        with waiting(f"starting {name} in {arguments.name}"):
            daemon().call("launch", name=arguments.name, id=name, files=files)
    except GuestlinkError as error:
        if not sys.stderr.isatty():
            notify(error.message, error.hint)  # Started by a click: nobody reads standard error.
        raise
    return 0


def _say_after_a_click(sentence: str) -> None:
    if sentence.startswith(("starting", "thawing")):
        notify(sentence, "")


def _absolute(file: str) -> str:
    """The absolute path of a file that exists here; URLs and paths inside the container unchanged."""
    return os.path.abspath(file) if "://" not in file and os.path.lexists(file) else file


def _icon(arguments: argparse.Namespace) -> int:
    answer = daemon().call("icon", name=arguments.name, id=arguments.id, size=arguments.size, scale=arguments.scale)
    content = base64.b64decode(answer["content"])
    if arguments.output == "-":
        sys.stdout.buffer.write(content)
        return 0
    path = arguments.output or os.path.basename(arguments.id) + answer["suffix"]
    with open(path, "wb") as stream:
        stream.write(content)
    if arguments.json:
        return _print_json({"path": path, "format": answer["suffix"][1:], "bytes": len(content)})
    print(path)
    return 0


def _policy(arguments: argparse.Namespace) -> int:
    change = {arguments.what: arguments.policy} if arguments.policy else {}
    policies = daemon().call("policy", name=arguments.name, **change)
    if arguments.what and not arguments.policy:
        policies = {arguments.what: policies[arguments.what]}
    if arguments.json:
        return _print_json(policies)
    for what, policy in policies.items():
        print(f"{what}: {policy}")
    return 0


def _share(arguments: argparse.Namespace) -> int:
    if "" in (arguments.host, arguments.inside, arguments.forget):
        raise GuestlinkError("the folder's name is empty", hint="leave it out to see the folders")
    if arguments.host and not os.path.isdir(arguments.host):
        raise GuestlinkError(
            f"{arguments.host} is no folder of this machine", hint="make it first, or look at its spelling"
        )
    change = {
        "host": os.path.abspath(arguments.host) if arguments.host else None,
        "inside": arguments.inside,
        "forget": os.path.abspath(arguments.forget) if arguments.forget else None,
    }
    shares = daemon().call("share", name=arguments.name, **change)["shares"]
    if arguments.json:
        return _print_json(shares)
    for share in shares:
        print(f"{share['host']}  as  {share['inside']}")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    with waiting(_ASKING):
        answer = daemon().call("status")
    if arguments.json:
        return _print_json(answer)
    print(answer["sentence"])
    return _print_containers(answer["containers"])


def _events(arguments: argparse.Namespace) -> int:
    events = daemon().call("events", name=arguments.name)["events"]
    if arguments.json:
        return _print_json(events)
    import time

    for event in events:
        when = time.strftime("%H:%M:%S", time.localtime(event["time"]))
        print(f"{when} {event['container']}: {event['event']} {event['detail']}".rstrip())
    return 0


def _print_json(value: Any) -> int:
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
    print()
    return 0
