"""The commands for containers' packages: ``install`` and ``uninstall``."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from guestlink.command_line import EX_UNAVAILABLE
from guestlink.errors import GuestlinkError, reason
from guestlink.progress import Progress, waiting
from guestlink.suite_program import suite_program
from guestlink_host.border.notification import notify
from guestlink_host.border.url_policy import file_for_container
from guestlink_host.control.applications import APPLICATION, PERCENT_ENCODED, decoded_id
from guestlink_host.control.client import daemon, start_and_wait
from guestlink_host.control.command import APPLICATIONS, NAME, Call, Command, Field, argument
from guestlink_host.control.request_validation import application_id, number, text
from guestlink_host.settings import PROGRAM

if TYPE_CHECKING:
    from guestlink_host.parts import HostParts

_PACKAGE_FILE = re.compile(r"/|\.(deb|rpm|pkg\.tar(\.\w+)?)$")
"""What names a file and not a package: a slash, or the end of a package file's name."""
_KEEP = 'umask 022; file=$(mktemp "/tmp/guestlink-XXXXXXXX$1") && cat >"$file" && echo "$file"'
"""Keeps its standard input in a new file inside, and prints the path. PackageKit goes by the names of files."""
_COPY = re.compile(r"/tmp/guestlink-\w{8}[\w.]*", re.ASCII)
"""The path that it prints."""
_COPY_TIME, _REMOVE_TIME = 3600.0, 30.0
"""Seconds for a copy, and for its removal."""
_SAID_LIMIT = 300
"""Characters of the container's explanation that are shown."""
_OWN_TOOL = """\
if [ "$(id -u)" = 0 ]; then sudo=; else sudo=sudo; fi
if command -v apt-get >/dev/null; then exec $sudo apt-get install -- "$1"
elif command -v dnf >/dev/null; then exec $sudo dnf install -- "$1"
elif command -v zypper >/dev/null; then exec $sudo zypper install -- "$1"
elif [ -e "$1" ]; then exec $sudo pacman -U -- "$1"
else exec $sudo pacman -S -- "$1"
fi
"""
"""Installs a package with the distribution's own tool, which shows what it will do and asks."""


def _install(arguments: argparse.Namespace) -> int:
    name, wanted = arguments.name, arguments.package
    start_and_wait(name)
    with _package_inside(name, wanted) as file:
        package = "" if file else wanted
        try:
            with waiting(f"reading about {wanted}"):
                info = daemon().call("package_info", name=name, file=file, package=package)
        except GuestlinkError as error:
            if error.exit_code == EX_UNAVAILABLE and sys.stdin.isatty() and sys.stdout.isatty():
                print(f"guestlink-host: {error.message}; {name}'s own tool asks you now", file=sys.stderr)
                tool = _shell(name, "sh", "-c", _OWN_TOOL, "sh", file or package)
                return subprocess.run(tool, check=False).returncode
            raise
        title, _, rest = info["package_id"].partition(";")
        version = rest.partition(";")[0]
        print(f"{title} {version}: {info['summary']}" if info["summary"] else f"{title} {version}")
        _follow(name, daemon().call("install", name=name, file=file, package_id=info["package_id"]), title)
    print(f"{title} is installed in {name}")
    return 0


def _uninstall(arguments: argparse.Namespace) -> int:
    name, application = arguments.name, decoded_id(arguments)
    if arguments.ask and not _is_wanted(name, application):
        return 0
    done = f"{application} is uninstalled in {name}"
    try:
        start_and_wait(name)
        _follow(name, daemon().call("uninstall", name=name, id=application), application)
    except GuestlinkError as error:
        if arguments.ask:
            notify(error.message, error.hint)  # Started by a click: nobody reads standard error.
        raise
    if arguments.ask:
        notify(done, "")
    print(done)
    return 0


def _is_wanted(name: str, application: str) -> bool:
    """Whether the user confirms a removal in the desktop's dialog."""
    import asyncio

    from guestlink_host.border.desktop import QUESTION_LIMIT, Answer, Desktop
    from guestlink_host.names import visible_line
    from guestlink_host.settings import ASK, load_settings

    question = f"Uninstall {visible_line(application, QUESTION_LIMIT)} from the container {name}?"
    return asyncio.run(Desktop([], [], load_settings()[ASK], []).ask(question)) is Answer.YES


def _follow(name: str, answer: dict[str, Any], what: str) -> None:
    """Show an operation's progress until it has ended.

    :raises GuestlinkError: it has failed.
    """
    operation, state = answer["operation"], {"ended": False, "news": 0}
    with Progress() as progress:
        while not state["ended"]:
            state = daemon().call("package_progress", name=name, operation=operation, seen=state["news"])
            if state["step"]:
                percent = f", {state['percent']} %" if sys.stderr.isatty() else ""
                progress.say(f"{state['step']} {what} in {name}{percent}")
    if state["failure"]:
        raise GuestlinkError(
            f"{what} stays as it was in {name}: {state['failure']}",
            hint=f"`guestlink-host events {name}` lists what happened; the package manager inside may say more",
        )


@contextlib.contextmanager
def _package_inside(name: str, wanted: str) -> Iterator[str]:
    """The path inside of a package file of this machine; ``""`` for a package's name.

    A file outside the shared folders is copied into the container for the time of the installation.

    :raises GuestlinkError: there is no such file, or it cannot be copied.
    """
    if not _PACKAGE_FILE.search(wanted) and not os.path.isfile(wanted):
        yield ""
        return
    path = os.path.abspath(wanted)
    hint = "name a package, or a package file of this machine"
    try:
        is_file = stat.S_ISREG(os.stat(path).st_mode)
    except OSError as error:
        raise GuestlinkError(f"{path} cannot be read: {reason(error)}", hint=hint) from error
    if not is_file:
        raise GuestlinkError(f"{path} is no file", hint=hint)
    inside = daemon().call("path_inside", name=name, path=path)["path"]
    if inside:
        yield inside
        return
    ending = _PACKAGE_FILE.search(os.path.basename(path))
    with waiting(f"copying {os.path.basename(path)} to {name}"):
        copy = _copy(name, path, ending.group() if ending else "")
    try:
        yield copy
    finally:
        from guestlink.program import CommandFailed, run_program

        with contextlib.suppress(CommandFailed):  # It stays in the container's /tmp.
            run_program(_shell(name, "rm", "-f", "--", copy), timeout=_REMOVE_TIME)


def _copy(name: str, path: str, ending: str) -> str:
    """Copy a package file into the container; returns the copy's path.

    What the container prints is bounded, and reaches no terminal.

    :raises GuestlinkError: it cannot be copied, or the container names no path.
    """
    from guestlink.program import run_program

    try:
        with open(path, "rb") as content:
            argv = _shell(name, "sh", "-c", _KEEP, "sh", ending)
            done = run_program(argv, timeout=_COPY_TIME, stdin=content.fileno())
    except OSError as error:
        raise GuestlinkError(f"{path} cannot be read: {reason(error)}", hint="check its permissions") from error
    copy = done.stdout.decode(errors="replace").strip()
    if done.status or not _COPY.fullmatch(copy):
        from guestlink_host.names import visible_line

        said = visible_line("".join(done.messages[-1:]) if done.status else "it names no copy", _SAID_LIMIT)
        raise GuestlinkError(
            f"{path} cannot be copied to {name}: {said}",
            hint=f"`guestlink-host shell {name} -- df /tmp` shows its space",
        )
    return copy


def _shell(name: str, *argv: str) -> list[str]:
    return [*suite_program(PROGRAM, "guestlink_host"), "shell", name, "--", *argv]


async def _serve_package_info(parts: HostParts, name: str, file: str, package: str) -> dict[str, Any]:
    return await parts.services.guest(name).package_info(file, package)


async def _serve_install(parts: HostParts, name: str, file: str, package_id: str) -> dict[str, Any]:
    return {"operation": await parts.services.guest(name).install_package(file, package_id)}


async def _serve_uninstall(parts: HostParts, name: str, id: str) -> dict[str, Any]:
    return {"operation": await parts.services.guest(name).uninstall_package(id)}


async def _serve_progress(parts: HostParts, name: str, operation: str, seen: int) -> dict[str, Any]:
    found = parts.services.guest(name).package_operations.get(operation)
    if found is None:
        raise GuestlinkError(
            f"{name} has no operation {operation!r:.80}", hint="the daemon remembers the last ones until it ends"
        )
    await found.wait(seen)
    return found.describe()


async def _serve_path_inside(parts: HostParts, name: str, path: str) -> dict[str, Any]:
    inside = file_for_container(path, parts.services.guest(name).container.shares)
    return {"path": "" if inside == path else inside}


COMMANDS = (
    Command(
        "install",
        "install a package in a container",
        section=APPLICATIONS,
        details="PackageKit installs it, without a question if the container's user is an administrator there. A "
        "file outside the shared folders is copied into the container first. Without PackageKit the command runs "
        "apt, dnf, zypper or pacman in this terminal instead.",
        example="install work ~/Downloads/example.deb",
        arguments=(
            NAME,
            argument("package", metavar="PACKAGE", help="a package's name, or a package file of this machine"),
        ),
        run=_install,
        call=Call(
            _serve_install,
            (Field("name", text), Field("file", text), Field("package_id", text)),
            text="begin to install a package file inside a container, or a package by PackageKit's id",
        ),
    ),
    Command(
        "uninstall",
        "uninstall an application's package in a container",
        section=APPLICATIONS,
        details="The package that owns the application's desktop file is removed, and with it the packages that "
        "were installed only for it; a package that another one needs stays. The container needs PackageKit.",
        example="uninstall work gedit",
        arguments=(
            argument("--ask", action="store_true", help="ask in a dialog first, and report by a notification"),
            PERCENT_ENCODED,
            NAME,
            APPLICATION,
        ),
        run=_uninstall,
        call=Call(
            _serve_uninstall,
            (Field("name", text), Field("id", application_id)),
            text="begin to remove an application's package",
        ),
    ),
    Command(
        "package_info",
        "describe a package file inside a container, or a package by its name",
        call=Call(_serve_package_info, (Field("name", text), Field("file", text), Field("package", text))),
    ),
    Command(
        "package_progress",
        "wait up to 20 s for news of an installation or a removal; `seen` is the number of the last answer's news",
        call=Call(
            _serve_progress, (Field("name", text), Field("operation", text), Field("seen", number(0, 2**53)))
        ),
    ),
    Command(
        "path_inside",
        "the path in a container of a file in a shared folder; empty for others",
        call=Call(_serve_path_inside, (Field("name", text), Field("path", text))),
    ),
)
