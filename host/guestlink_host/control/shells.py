"""The commands for shells and files of a container, and those that ssh, sshfs and sftp start."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from guestlink.command_line import EX_USAGE
from guestlink.errors import GuestlinkError
from guestlink.progress import waiting
from guestlink.suite_program import suite_program
from guestlink_host.containers.advice import how_to_register
from guestlink_host.control.client import daemon, start_and_wait
from guestlink_host.control.command import NAME, SHELLS, Call, Command, Field, argument
from guestlink_host.control.request_validation import number, numbers, path_below_home, text
from guestlink_host.settings import PROGRAM

if TYPE_CHECKING:
    from guestlink_host.parts import HostParts


def _files(arguments: argparse.Namespace) -> int:
    from guestlink_host.files import sshfs

    name, stream = arguments.name, [*suite_program(PROGRAM, "guestlink_host"), "sftp-stream", arguments.name]
    if arguments.prompt:
        start_and_wait(name)
        daemon().call("sftp_endpoint", name=name)  # The daemon's message is better than sftp's.
        sshfs.prompt(name, stream)
    folder = sshfs.folder_of(name, arguments.at)
    if arguments.unmount:
        sshfs.unmount(name, folder)
        return 0
    start_and_wait(name)
    daemon().call("sftp_endpoint", name=name)
    with waiting(f"mounting the files of {name}"):
        sshfs.mount(name, arguments.inside, folder, stream)
    print(folder)
    return 0


def _sftp_stream(words: list[str]) -> int:
    from guestlink_host.files import sftp_stream

    # sshfs and lftp append arguments for ssh to the name.
    if not words or words[0].startswith("-"):
        raise GuestlinkError(
            "the container's name is missing", hint="write `guestlink-host sftp-stream NAME`", exit_code=EX_USAGE
        )
    return sftp_stream.run(words[0])


def _watch(arguments: argparse.Namespace) -> int:
    start_and_wait(arguments.name)
    seen = -1
    while True:
        changes = daemon().call("watch", name=arguments.name, path=arguments.path, seen=seen)["changes"]
        if changes != seen:
            print(arguments.path or "~", flush=True)
        seen = changes


async def _serve_watch(parts: HostParts, name: str, path: str, seen: int) -> dict[str, Any]:
    guest = parts.services.guest(name)
    relative = path_below_home(path, guest.info.homedir)
    return {"changes": await guest.watched_directories.wait(relative, seen)}


def _ssh_config(arguments: argparse.Namespace) -> int:
    from guestlink_host.vsh.ssh_access import stanza

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
        print(stanza(name, entry["username"], [*suite_program(PROGRAM, "guestlink_host"), "ssh-proxy", name]))
    return 0


def _ssh_proxy(words: list[str]) -> int:
    from guestlink_host.vsh.main import run as run_vsh
    from guestlink_host.vsh.options import VshOptions
    from guestlink_host.vsh.ssh_access import server_command

    if len(words) != 1 or words[0].startswith("-"):
        raise GuestlinkError(
            "the container's name is missing", hint="write `guestlink-host ssh-proxy NAME`", exit_code=EX_USAGE
        )
    env, argv = server_command()
    return run_vsh(VshOptions(name=words[0], terminal=False, env=tuple(env), argv=tuple(argv)))


def _shell(words: list[str]) -> int:
    from guestlink_host.vsh.main import main

    return main(words)


async def _serve_shell_endpoint(parts: HostParts, name: str) -> dict[str, Any]:
    return parts.services.guest(name).shell_endpoint()


async def _serve_sftp_endpoint(parts: HostParts, name: str) -> dict[str, Any]:
    return parts.services.guest(name).sftp_endpoint()


async def _serve_launch_vshd(parts: HostParts, name: str, port: int, features: list[int]) -> dict[str, Any]:
    await parts.services.guest(name).launch_vshd(port, features)
    return {}


COMMANDS = (
    Command(
        "shell",
        "open a shell, or run a command, as vsh does",
        section=SHELLS,
        details="`vsh --help` lists its switches.",
        example="shell work -- make test",
        arguments=(NAME, argument("words", nargs=argparse.REMAINDER, metavar="[--] COMMAND ...")),
        run_words=_shell,
    ),
    Command(
        "files",
        "mount a container's files in a folder of this machine",
        section=SHELLS,
        details="sshfs(1) mounts the home directory of the container's user, or another folder inside. The mount "
        "stays, and connects again when the container returns.",
        example="files work --at ~/work",
        arguments=(
            NAME,
            argument("--at", metavar="FOLDER", help="where to mount the files (default: ~/guestlink/NAME)"),
            argument(
                "--inside", metavar="FOLDER", default="", help="folder inside to mount (default: the user's home)"
            ),
            argument("--unmount", action="store_true", group="action", help="unmount the files"),
            argument("--prompt", action="store_true", group="action", help="open a prompt of sftp(1) instead"),
        ),
        run=_files,
    ),
    Command(
        "watch",
        "print a line for each change in a container's directory",
        section=SHELLS,
        details="The line is the directory, and the first line tells that it is watched. Files below "
        "subdirectories do not count, and changes within three seconds give one line. The directory need not exist "
        "yet. The command ends with Ctrl-C, or when nobody reads its output.",
        example="watch work Downloads",
        arguments=(
            NAME,
            argument(
                "path",
                nargs="?",
                metavar="DIRECTORY",
                default="",
                help="below the home directory of the container's user (default: the home directory)",
            ),
        ),
        run=_watch,
        call=Call(
            _serve_watch,
            (Field("name", text), Field("path", text), Field("seen", number(-1, 2**53))),
            text="wait up to 20 s for a change of a directory in a container; `seen` is the last answer, or -1",
        ),
    ),
    Command(
        "ssh-config",
        "print the lines of ssh_config(5) for `ssh NAME.guestlink`",
        section=SHELLS,
        details="The container needs OpenSSH's server; each connection starts one, and none listens.",
        example="ssh-config work >> ~/.ssh/config",
        arguments=(
            argument("names", nargs="*", metavar="NAME", help="only these containers", completes="containers"),
        ),
        run=_ssh_config,
    ),
    Command(
        "sftp-stream",
        "connect standard input and output to a container's SFTP server, for sshfs and sftp",
        section=SHELLS,
        arguments=(NAME,),
        run_words=_sftp_stream,
        is_plumbing=True,
    ),
    Command(
        "ssh-proxy",
        "connect standard input and output to an sshd in a container, for ssh",
        section=SHELLS,
        arguments=(NAME,),
        run_words=_ssh_proxy,
        is_plumbing=True,
    ),
    Command(
        "shell_endpoint",
        "the address where vsh has to listen, and the proof that the container's vshd has to give",
        call=Call(_serve_shell_endpoint, (Field("name", text),)),
    ),
    Command(
        "launch_vshd",
        "let a container's garcon start a vshd that connects to a port of vsh's",
        call=Call(
            _serve_launch_vshd,
            (Field("name", text), Field("port", number(1, 2**32 - 1)), Field("features", numbers(64, 0, 255))),
        ),
    ),
    Command(
        "sftp_endpoint",
        "the address where a container's garcon serves SFTP, and the token for the handshake",
        call=Call(_serve_sftp_endpoint, (Field("name", text),)),
    ),
)
