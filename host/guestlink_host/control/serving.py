"""The commands for the daemon itself: ``serve``, ``status`` and ``events``."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from guestlink.progress import waiting
from guestlink.suite_program import suite_program
from guestlink_host.control.client import daemon
from guestlink_host.control.command import DAEMON, Call, Command, Field, argument
from guestlink_host.control.containers import ASKING, describe, print_containers
from guestlink_host.control.printing import print_json
from guestlink_host.control.request_validation import text
from guestlink_host.settings import PROGRAM

if TYPE_CHECKING:
    from guestlink_host.parts import HostParts


def _serve(arguments: argparse.Namespace) -> int:
    from guestlink_host.host_daemon import serve
    from guestlink_host.settings import load_settings

    switches = {name: getattr(arguments, name) for name in ("log_level", "opener", "terminal")}
    return serve(load_settings(**switches), replace=arguments.replace)


def _print_status(arguments: argparse.Namespace) -> int:
    with waiting(ASKING):
        answer = daemon().call("status")
    if arguments.json:
        return print_json(answer)
    print(answer["sentence"])
    return print_containers(answer["containers"], ways=True)


async def _serve_status(parts: HostParts) -> dict[str, Any]:
    await parts.attachments.poll()
    return {
        "sentence": parts.notifier.text,
        "containers": [describe(parts, container) for container in parts.services.containers()],
        "events": parts.events.entries(),
        "program": suite_program(PROGRAM, "guestlink_host"),
        "pid": os.getpid(),
    }


def _print_events(arguments: argparse.Namespace) -> int:
    events = daemon().call("events", name=arguments.name)["events"]
    if arguments.json:
        return print_json(events)
    import time

    for event in events:
        when = time.strftime("%H:%M:%S", time.localtime(event["time"]))
        print(f"{when} {event['container']}: {event['event']} {event['detail']}".rstrip())
    if not events:
        print("no events since the daemon started")
    return 0


async def _serve_events(parts: HostParts, name: str) -> dict[str, Any]:
    if name:
        parts.services.guest(name)  # raises if there is no such container
    return {"events": parts.events.entries(name)}


COMMANDS = (
    Command(
        "serve",
        "run the daemon",
        section=DAEMON,
        details="The daemon runs in the foreground; the user service `guestlink-host.service` starts it. It exits "
        "on SIGTERM, on Ctrl-C, or when its terminal closes.",
        example="serve --log-level debug",
        arguments=(
            argument("--log-level", metavar="LEVEL", help="debug, info, warning or error"),
            argument(
                "--replace",
                action="store_true",
                help="stop the daemon that runs already, perhaps from an earlier session, and take its place",
            ),
            argument(
                "--opener",
                metavar="COMMAND",
                help="command that opens a URL; the URL is appended (default: xdg-open)",
            ),
            argument(
                "--terminal", metavar="COMMAND", help="terminal with its switch before a command, as in foot -e"
            ),
        ),
        run=_serve,
    ),
    Command(
        "status",
        "show the daemon and its containers",
        section=DAEMON,
        example="status",
        json_text="an object with `sentence`; `containers`, as for `list`; `events`, as for `events`; `program`, "
        "the words that start guestlink-host; and `pid`, the daemon's process",
        run=_print_status,
        call=Call(_serve_status),
    ),
    Command(
        "events",
        "show the last events of containers",
        section=DAEMON,
        details="These are registrations, lost connections, launches, opened URLs, refusals and failures.",
        example="events work",
        arguments=(
            argument(
                "name", nargs="?", metavar="NAME", help="only this container's events", completes="containers"
            ),
        ),
        json_text="an array of objects with `time` (seconds since 1970), `container`, `event` and `detail`",
        run=_print_events,
        call=Call(_serve_events, (Field("name", text),)),
    ),
)
