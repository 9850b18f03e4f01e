"""``guestlink``: the container's command line for people."""

from __future__ import annotations

import argparse
import glob
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from garcon.client.garcon_client import checked_url, control_path, garcon
from garcon.client.sound import sound_on_host, sound_sentence
from garcon.client.windows import is_linked, windows_on_host, windows_sentence
from guestlink import __version__
from guestlink.command_line import CommandLine
from guestlink.control import ControlClient, DaemonNotRunning
from guestlink.errors import GuestlinkError, run_command
from guestlink.progress import waiting

_POLL_TIME = 2.0
"""Seconds for a proxy to poll the host's compositor."""
_EXAMPLES = """\
examples:
  guestlink status                 show whether the container is registered with its host
  guestlink open report.pdf        open a file or a URL on the host
  guestlink terminal -- htop       open a terminal of the host that runs htop here
  guestlink apps                   list the applications that the host's launcher shows
  guestlink doctor                 show what is wrong, and what to do about it
"""


def main() -> int:
    """Entry point of ``guestlink``."""
    return run_command("guestlink", _main)


def argument_parser() -> CommandLine:
    parser = CommandLine(
        prog="guestlink", description="Use the host's desktop from this container.", example=_EXAMPLES
    )
    parser.add_argument("--version", action="version", version=f"guestlink {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str, example: str) -> CommandLine:
        description = text[0].upper() + text[1:] + "."
        added = commands.add_parser(
            name, prog=f"guestlink {name}", help=text, description=description, example=example
        )
        added.set_defaults(run=run)
        return added

    status = command("status", _status, "show whether the container is registered with its host", "status")
    opener = command("open", _open, "open files or URLs on the host", "open report.pdf https://example.org")
    opener.add_argument("what", nargs="+", metavar="URL|FILE")
    terminal = command("terminal", _terminal, "open a terminal of the host in this container", "terminal -- htop")
    terminal.add_argument("words", nargs=argparse.REMAINDER, metavar="[--] COMMAND ...")
    apps = command("apps", _apps, "list the applications that garcon publishes to the host", "apps --json")
    doctor = command("doctor", _doctor, "check this container, and print problems with advice", "doctor -v")
    doctor.add_argument("-v", "--verbose", action="store_true", help="also print what works")

    adopt = command("adopt", _adopt, "prepare this container for a host (needs root)", "adopt --dry-run")
    adopt.add_argument(
        "--user",
        default="",
        metavar="NAME",
        help="user for whom garcon and sommelier run (default: the user with uid 1000)",
    )
    adopt.add_argument("--dry-run", action="store_true", help="print the changes without making them")
    adopt.add_argument("--undo", action="store_true", help="undo the changes of earlier runs")
    adopt.add_argument(
        "--root",
        default="/",
        metavar="DIRECTORY",
        help="directory with the root file system of a container that does not run (default: this system)",
    )

    for printing in (status, apps, doctor, adopt):
        printing.add_argument("--json", action="store_true", help="print JSON")

    bugreport = command(
        "bugreport",
        _bugreport,
        "write an archive with logs and settings",
        "bugreport -o report.tar.gz",
    )
    bugreport.add_argument("-o", "--output", default="", metavar="FILE", help="the archive; - is standard output")
    return parser


def _main(argv: list[str]) -> int:
    arguments = argument_parser().parse_args(argv)
    status: int = arguments.run(arguments)
    return status


def _status(arguments: argparse.Namespace) -> int:
    proxies = _proxies()
    try:
        answer = garcon().call("status")
    except DaemonNotRunning as error:
        if not proxies:
            raise
        answer = {"sentence": str(error), "registered": False, "warnings": []}
    linked, on_host, sound = is_linked(), windows_on_host(), sound_on_host()
    if arguments.json:
        _print_json(answer | {"proxies": proxies, "windows": {**on_host, "linked": linked}, "sound": sound})
    else:
        print(answer["sentence"])
        for warning in answer["warnings"]:
            print(f"  {warning}")
        if sentence := windows_sentence(on_host, proxies, linked=linked):
            print(f"windows: {sentence}")
        if sentence := sound_sentence(sound):
            print(f"sound: {sentence}")
        for proxy in proxies:
            print(_proxy_sentence(proxy))
            for limit in proxy.get("limits", ()):
                print(f"  {limit['sentence']}")
                if limit["advice"]:
                    print(f"    {limit['advice']}")
            for client in proxy["clients"]:
                windows = ", ".join(client["app_ids"]) or "no window yet"
                print(f"  {client['program']} (pid {client['pid']}): {windows}")
    return 0 if answer["registered"] else 1


def _proxies() -> list[dict[str, Any]]:
    """The status of every running Wayland proxy."""
    found = []
    for path in sorted(glob.glob(os.path.join(os.path.dirname(control_path()), "sommelier-*.sock"))):
        client = ControlClient(path, daemon="sommelier")
        try:
            proxy = client.call("status", timeout=5)
            end = time.monotonic() + _POLL_TIME
            while proxy["host_asked"] and time.monotonic() < end:  # the status call makes it poll the host
                time.sleep(0.01)
                proxy = client.call("status", timeout=5)
        except GuestlinkError:
            continue  # A proxy that has exited, or is about to.
        found.append(proxy)
    return found


def _proxy_sentence(proxy: dict[str, Any]) -> str:
    count = len(proxy["clients"])
    programs = "1 program" if count == 1 else f"{count} programs"
    if not proxy["host_known"]:
        return f"{proxy['socket']}: waiting for the host's compositor at {proxy['host']}"
    return f"{proxy['socket']}: shows {programs} on the host's compositor"


def _open(arguments: argparse.Namespace) -> int:
    for url in [checked_url(what) for what in arguments.what]:  # Check all of them before opening one.
        with waiting("waiting for the host"):
            garcon().call("open_url", url=url)
    return 0


def _terminal(arguments: argparse.Namespace) -> int:
    words = arguments.words
    with waiting("waiting for the host"):
        garcon().call("open_terminal", params=words[1:] if words[:1] == ["--"] else words)
    return 0


def _apps(arguments: argparse.Namespace) -> int:
    applications = garcon().call("apps")["applications"]
    if arguments.json:
        _print_json(applications)
        return 0
    width = max((len(application["id"]) for application in applications), default=0)
    for application in applications:
        print(f"{application['id']:{width}}  {application['name']}" + _note(application))
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from garcon.diagnosis.doctor import doctor

    return doctor(as_json=arguments.json, verbose=arguments.verbose)


def _adopt(arguments: argparse.Namespace) -> int:
    from garcon.adoption.adopt import adopt

    return adopt(
        directory=arguments.root,
        user=arguments.user,
        dry_run=arguments.dry_run,
        undo=arguments.undo,
        as_json=arguments.json,
    )


def _bugreport(arguments: argparse.Namespace) -> int:
    from garcon.diagnosis.bugreport import bugreport

    return bugreport(arguments.output)


def _note(application: dict[str, Any]) -> str:
    notes = [word for word in ("no_display", "terminal") if application[word]]
    return f"  ({', '.join(notes).replace('_', ' ')})" if notes else ""


def _print_json(value: Any) -> None:
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
    print()
