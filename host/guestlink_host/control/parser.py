"""The command line of ``guestlink-host``, made from the table of commands."""

from __future__ import annotations

import argparse
import textwrap

from guestlink import __version__
from guestlink.command_line import CommandLine
from guestlink_host.control.command import Argument, Command
from guestlink_host.control.table import COMMANDS

_EXAMPLES = """\
examples:
  guestlink-host serve                           run the daemon (guestlink-host.service does that)
  guestlink-host attach work                     set up a container of LXD, Incus or LXC
  guestlink-host add work                        add a container by hand; prints the paths to mount in it
  guestlink-host list                            the containers, and whether they are registered
  guestlink-host apps work                       the container's applications
  guestlink-host launch work org.gnome.gedit a.txt
  guestlink-host icon work org.gnome.gedit --size 48 -o gedit.png
  guestlink-host policy work url ask             ask the user before the container opens a URL here
  guestlink-host shell work -- make test         run a command in a container, as vsh does
  guestlink-host files work                      mount the container's files in a folder of this machine
  guestlink-host ssh-config work >> ~/.ssh/config; ssh work.guestlink
  guestlink-host share work ~/Documents          record that the container sees this folder under the same path
"""


def run(argv: list[str]) -> int:
    """Run a command and return its exit status.

    :param argv: the words after ``guestlink-host``.
    :raises GuestlinkError: the command failed.
    """
    for command in COMMANDS:
        if argv and command.name == argv[0] and command.run_words is not None:
            return command.run_words(argv[1:])
    arguments = argument_parser().parse_args(argv)
    status: int = arguments.run(arguments)
    return status


def argument_parser() -> CommandLine:
    """The parser of the whole command line."""
    parser = CommandLine(
        prog="guestlink-host", description="Show the applications of containers on this desktop.", example=_EXAMPLES
    )
    parser.add_argument("--version", action="version", version=f"guestlink-host (Guestlink) {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        if command.section and not command.is_plumbing:
            _fill(
                commands.add_parser(
                    command.name,
                    prog=f"guestlink-host {command.name}",
                    help=command.help,
                    description=_description(command),
                    example=command.example,
                ),
                command,
            )
    return parser


def _fill(parser: CommandLine, command: Command) -> None:
    if command.json_text:
        parser.add_argument("--json", action="store_true", help="print JSON")
    groups = {
        group: parser.add_mutually_exclusive_group()
        for group in dict.fromkeys(argument.group for argument in command.arguments if argument.group)
    }
    for argument in command.arguments:
        _add(groups[argument.group] if argument.group else parser, argument)
    parser.set_defaults(run=command.run)


def _add(parser: argparse._ActionsContainer, argument: Argument) -> None:
    action = parser.add_argument(*argument.names, **argument.options)
    action.completes = argument.completes  # type: ignore[attr-defined]  # for packaging/completion.py


def _description(command: Command) -> str:
    text = f"{command.help[0].upper()}{command.help[1:]}. {command.details}"
    return textwrap.fill(text.strip(), 88)
