"""The commands for containers' applications: ``apps``, ``launch`` and ``icon``."""

from __future__ import annotations

import argparse
import base64
import os
import re
import sys
from typing import TYPE_CHECKING, Any

from guestlink.command_line import number as number_type
from guestlink.errors import GuestlinkError
from guestlink.progress import waiting
from guestlink_host.border.notification import notify
from guestlink_host.control.client import daemon, start_and_wait
from guestlink_host.control.command import APPLICATIONS, NAME, Call, Command, Field, argument
from guestlink_host.control.printing import print_json
from guestlink_host.control.request_validation import application_id, files, number, text

if TYPE_CHECKING:
    from guestlink_host.parts import HostParts

_URL = re.compile("[A-Za-z][A-Za-z0-9+.-]*:")
"""The beginning of a URL (RFC 3986 §3.1)."""
_SIZES, _SCALES = (1, 4095), (1, 4)


def _print_apps(arguments: argparse.Namespace) -> int:
    applications = daemon().call("apps", name=arguments.name)["applications"]
    if arguments.json:
        return print_json(applications)
    width = max((len(application["id"]) for application in applications), default=0)
    for application in applications:
        container = "" if arguments.name else f"{application['container']}  "
        hidden = "  (not shown)" if application["no_display"] else ""
        print(f"{container}{application['id']:{width}}  {application['name']}{hidden}")
    if not applications:
        of = f"of {arguments.name} " if arguments.name else ""
        print(f"no applications {of}are known; `guestlink-host list` shows which containers are registered")
    return 0


async def _serve_apps(parts: HostParts, name: str) -> dict[str, Any]:
    from guestlink_host.launchers.applications import to_json

    guests = [parts.services.guest(name)] if name else parts.services.guests()
    return {
        "applications": [
            {"container": guest.container.name, **application}
            for guest in guests
            for application in to_json(guest.publisher.applications)
        ]
    }


def _launch(arguments: argparse.Namespace) -> int:
    name = decoded_id(arguments)
    paths = [_absolute(file) for file in arguments.files]
    try:
        start_and_wait(arguments.name, None if sys.stderr.isatty() else _notify_of_a_start)
        with waiting(f"starting {name} in {arguments.name}"):
            daemon().call("launch", name=arguments.name, id=name, files=paths)
    except GuestlinkError as error:
        if not sys.stderr.isatty():
            notify(error.message, error.hint)  # Started by a click: nobody reads standard error.
        raise
    return 0


def decoded_id(arguments: argparse.Namespace) -> str:
    """The application's id of a command line, without its percent-encoding."""
    if not arguments.percent_encoded:
        return str(arguments.id)
    from urllib.parse import unquote

    return unquote(arguments.id, errors="surrogateescape")


def _notify_of_a_start(step: str) -> None:
    if step.startswith(("starting", "thawing")):
        notify(step, "")


def _absolute(file: str) -> str:
    """The absolute path of a file, which need not exist yet; URLs unchanged.

    :raises GuestlinkError: the name is empty.
    """
    if not file:
        raise GuestlinkError("the file's name is empty", hint="leave it out, or name a file")
    if "://" in file or (_URL.match(file) and not os.path.lexists(file)):
        return file
    return os.path.abspath(file)


async def _serve_launch(parts: HostParts, name: str, id: str, files: list[str]) -> dict[str, Any]:
    await parts.services.guest(name).launch(id, files)
    return {}


def _write_icon(arguments: argparse.Namespace) -> int:
    answer = daemon().call("icon", name=arguments.name, id=arguments.id, size=arguments.size, scale=arguments.scale)
    content = base64.b64decode(answer["content"])
    if arguments.output == "-":
        sys.stdout.buffer.write(content)
        return 0
    path = arguments.output or f"{os.path.basename(arguments.id)}.png"
    with open(path, "wb") as stream:
        stream.write(content)
    if arguments.json:
        return print_json({"path": path, "format": "png", "bytes": len(content)})
    print(path)
    return 0


async def _serve_icon(parts: HostParts, name: str, id: str, size: int, scale: int) -> dict[str, Any]:
    return {"content": base64.b64encode(await parts.services.guest(name).icon(id, size, scale)).decode()}


APPLICATION = argument("id", metavar="ID", completes="applications")
"""The operand that names an application of the container before it."""
PERCENT_ENCODED = argument("--percent-encoded", action="store_true", help="the id is percent-encoded, as in a URL")
"""For launchers, whose commands are ASCII."""

COMMANDS = (
    Command(
        "apps",
        "list applications",
        section=APPLICATIONS,
        example="apps work --json",
        arguments=(
            argument(
                "name", nargs="?", metavar="NAME", help="only this container's applications", completes="containers"
            ),
        ),
        json_text="an array of objects with `container`, `id`, `name` and `no_display`",
        run=_print_apps,
        call=Call(_serve_apps, (Field("name", text),)),
    ),
    Command(
        "launch",
        "start an application in a container",
        section=APPLICATIONS,
        details="If its manager has stopped the container, the command first starts the container.",
        example="launch work gedit ~/Documents/a.txt",
        arguments=(
            PERCENT_ENCODED,
            NAME,
            APPLICATION,
            argument(
                "files",
                nargs="*",
                default=[],
                metavar="FILE",
                help="file or URL; a file in a shared folder (see "
                "share) becomes its path inside, any other path and a URL are passed unchanged",
            ),
        ),
        run=_launch,
        call=Call(_serve_launch, (Field("name", text), Field("id", application_id), Field("files", files))),
    ),
    Command(
        "icon",
        "fetch an application's icon as a PNG",
        section=APPLICATIONS,
        example="icon work gedit --size 128 -o gedit.png",
        arguments=(
            NAME,
            APPLICATION,
            argument("--size", type=number_type(*_SIZES), default=48, help="size in logical pixels (default: 48)"),
            argument(
                "--scale",
                type=number_type(*_SCALES),
                default=1,
                help="pixels per logical pixel, 1 to 4 (default: 1)",
            ),
            argument(
                "-o",
                "--output",
                metavar="FILE",
                help="file to write; - is standard output (default: ID.png in the current directory)",
            ),
        ),
        json_text="an object with `path`, `format` and `bytes`",
        run=_write_icon,
        call=Call(
            _serve_icon,
            (
                Field("name", text),
                Field("id", application_id),
                Field("size", number(*_SIZES)),
                Field("scale", number(*_SCALES)),
            ),
        ),
    ),
)
