"""The commands of ``guestlink-host`` for shells and files of a container, and those that other programs start."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from guestlink.command_line import EX_USAGE
from guestlink.errors import GuestlinkError
from guestlink.own_program import own_program
from guestlink.progress import waiting
from guestlink_host.advice import how_to_register
from guestlink_host.control_client import daemon, wake
from guestlink_host.settings import PROGRAM


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands.

    :param command: creates a command from its name, its function and its help.
    """
    # Only for `--help` and completion; PLUMBING passes the words to vsh.
    shell = command("shell", lambda _: _shell([]), "open a shell, or run a command; `vsh --help` tells the rest",
                    example="shell work -- make test", prints_data=False)  # fmt: skip
    shell.add_argument("name", metavar="NAME")
    shell.add_argument("words", nargs=argparse.REMAINDER, metavar="[--] COMMAND ...")

    files = command(
        "files", _files, "show a container's files in a folder of this machine", example="files work --at ~/work",
        prints_data=False,
    )  # fmt: skip
    files.add_argument("name", metavar="NAME")
    files.add_argument("--at", metavar="FOLDER", help="where to show them (default: ~/guestlink/NAME)")
    files.add_argument("--inside", metavar="FOLDER", default="", help="what to show (default: the user's home)")
    doing = files.add_mutually_exclusive_group()
    doing.add_argument("--unmount", action="store_true", help="stop showing them")
    doing.add_argument("--prompt", action="store_true", help="open an sftp prompt instead")

    ssh_config = command(
        "ssh-config", _ssh_config, "print what ssh's configuration needs for `ssh NAME.guestlink`",
        example="ssh-config work >> ~/.ssh/config", prints_data=False,
    )  # fmt: skip
    ssh_config.add_argument("names", nargs="*", metavar="NAME", help="these containers only")


def _files(arguments: argparse.Namespace) -> int:
    from guestlink_host import files

    name, stream = arguments.name, [*own_program(PROGRAM, "guestlink_host"), "sftp-stream", arguments.name]
    if arguments.prompt:
        wake(name)
        daemon().call("sftp_place", name=name)  # The daemon's message is better than sftp's.
        files.prompt(name, stream)
    folder = files.folder_of(name, arguments.at)
    if arguments.unmount:
        files.unmount(name, folder)
        return 0
    wake(name)
    daemon().call("sftp_place", name=name)
    with waiting(f"mounting the files of {name}"):
        files.mount(name, arguments.inside, folder, stream)
    print(folder)
    return 0


def _sftp_stream(words: list[str]) -> int:
    from guestlink_host import sftp_stream

    # sshfs and lftp append arguments for ssh to the name.
    if not words or words[0].startswith("-"):
        raise GuestlinkError("which container?", hint="write `guestlink-host sftp-stream NAME`", exit_code=EX_USAGE)
    return sftp_stream.run(words[0])


def _ssh_config(arguments: argparse.Namespace) -> int:
    from guestlink_host.ssh_access import stanza

    containers = {entry["name"]: entry for entry in daemon().call("list")["containers"]}
    for name in arguments.names or containers:
        if name not in containers:
            daemon().call("policy", name=name)  # The daemon's error lists the known containers.
        entry = containers[name]
        if not entry["username"]:
            if not arguments.names:
                print(f"# {name} is not registered: its user is not known\n")
                continue
            raise GuestlinkError(
                f"the user of {name} is not known: it is not registered",
                hint=how_to_register(name, entry["instance"]),
            )
        print(stanza(name, entry["username"], [*own_program(PROGRAM, "guestlink_host"), "ssh-proxy", name]))
    return 0


def _ssh_proxy(words: list[str]) -> int:
    from guestlink_host.ssh_access import server_command
    from guestlink_host.vsh.arguments import Arguments
    from guestlink_host.vsh.main import run as run_vsh

    if len(words) != 1 or words[0].startswith("-"):
        raise GuestlinkError("which container?", hint="write `guestlink-host ssh-proxy NAME`", exit_code=EX_USAGE)
    env, argv = server_command()
    return run_vsh(Arguments(name=words[0], terminal=False, env=tuple(env), argv=tuple(argv)))


def _shell(words: list[str]) -> int:
    from guestlink_host.vsh.main import main

    return main(words)


def _candidates(words: list[str]) -> int:
    from guestlink_host import candidates

    return candidates.run(words)


PLUMBING: dict[str, Callable[[list[str]], int]] = {
    "candidates": _candidates,
    "shell": _shell,
    "sftp-stream": _sftp_stream,
    "ssh-proxy": _ssh_proxy,
}
"""Commands that parse their own words: vsh's, and those that shells, ssh, sshfs and sftp start."""
