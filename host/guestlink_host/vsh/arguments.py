"""The command line of ``vsh``: the original's flags and rules, and ours beside them (vsh.md §3.14)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from guestlink.errors import GuestlinkError
from guestlink.vsh import VM_SHELL

EX_USAGE = 64
"""Exit status for a flag that does not exist."""
EX_DATAERR = 65
"""Exit status for a flag with a value that it cannot have."""
DIRECT_USER = "chronos"
"""Who is asked for in direct mode where ``--user`` is not given."""

HELP = """\
usage: vsh NAME [OPTION...] [--] [VARIABLE=VALUE...] [COMMAND [ARGUMENT...]]
       vsh --cid=CID | --connect=ADDRESS [OPTION...] [--] [VARIABLE=VALUE...] [COMMAND...]

Open a shell in a container, or run a command there. The status is the command's own, 128 and the signal's
number where a signal ended it, 1 where no session came about, and 123 where the connection broke.

  --user=USER         become this user, where the other side can (default: the session's user)
  --cwd=DIRECTORY     begin there; a number takes the directory of the process with this number inside
  --env=NAME=VALUE    set a variable; as often as needed
  -t, -T              use a terminal, or none (default: one if standard input and output are terminals)
  -e CHARACTER        escape character at the beginning of a line (default: ~), or "none"; ~? lists what follows it
  --cid=CID           connect to the vshd that listens on port 9001 of this vsock context id
  --connect=ADDRESS   connect to the vshd that listens at vsock:CID:PORT, unix:/path or tcp:HOST:PORT
  --token-file=FILE   holds the container's token, which a connection over TCP begins with
  --target_container=NAME, --vm_name=NAME, --owner_id=ID, --listen_port=PORT, --container_features=N,N
                      as with the original vsh; the second and third name nothing on this kind of host
  --help, --version

examples:
  vsh work                          a login shell
  vsh work -- LANG=C make -C src    a command with a variable
  tar c . | vsh work --cwd=/srv -- tar x
"""

_FLAGS = {"help", "version"}
_VALUES = {
    "user", "cwd", "env", "cid", "connect", "target_container", "vm_name", "owner_id", "listen_port",
    "container_features", "token_file",
}  # fmt: skip


class Arguments(NamedTuple):
    """What the command line asks for.

    :ivar name: the container; ``""`` in direct mode.
    :ivar cid: of the machine to connect to in direct mode.
    :ivar connect: a listening vshd's address in direct mode, as text.
    :ivar token_file: what a TCP connection begins with.
    :ivar cwd: a directory, or ``""``; :ivar cwd_pid: a process whose directory is meant, or 0.
    :ivar terminal: whether a terminal is used; ``None`` decides by what standard input and output are.
    :ivar escape: the escape character's byte, or ``None`` for none.
    :ivar env: variables in the order given.
    :ivar argv: the command; empty for a login shell.
    """

    name: str = ""
    cid: int | None = None
    connect: str = ""
    token_file: str = ""
    user: str = ""
    cwd: str = ""
    cwd_pid: int = 0
    listen_port: int = 0
    features: tuple[int, ...] = ()
    terminal: bool | None = None
    escape: int | None = ord("~")
    env: tuple[tuple[str, str], ...] = ()
    argv: tuple[str, ...] = ()
    help: bool = False
    version: bool = False

    @property
    def direct(self) -> bool:
        """Whether we connect, instead of the container to us."""
        return not self.name

    @property
    def target(self) -> str:
        """The target of the setup request: the machine's shell by its context id alone."""
        return VM_SHELL if self.cid is not None else self.name


def parse(words: Sequence[str]) -> Arguments:
    """Read the command line.

    :raises GuestlinkError: with the original's exit statuses: 64, 65 or 1.
    """
    given, env, positional = _split(list(words))
    if "help" in given or "version" in given:
        return Arguments(help="help" in given, version="version" in given)
    name = str(given.get("target_container", ""))
    direct = not name and not {"cid", "vm_name", "connect"}.isdisjoint(given) and "listen_port" not in given
    if not name and not direct:
        if not positional:
            raise GuestlinkError(
                "which container?", hint="`vsh NAME` opens a shell; `guestlink-host list` lists the containers"
            )
        name = positional.pop(0)
    if direct:
        _check_direct(given)
    leading, argv = _assignments(positional)
    cwd = str(given.get("cwd", ""))
    is_pid = cwd.isascii() and cwd.isdecimal()
    return Arguments(
        name=name,
        cid=_number(given, "cid", 2**32 - 1) if direct and "cid" in given else None,
        connect=str(given.get("connect", "")) if direct else "",
        token_file=str(given.get("token_file", "")),
        user=str(given.get("user", DIRECT_USER if direct and "connect" not in given else "")),
        cwd="" if is_pid else cwd,
        cwd_pid=_number(given, "cwd", 2**31 - 1) if is_pid else 0,
        listen_port=_number(given, "listen_port", 2**32 - 1) if "listen_port" in given else 0,
        features=_features(str(given.get("container_features", ""))),
        terminal={"t": True, "T": False}.get(str(given.get("terminal"))),
        escape=_escape(str(given.get("escape", "~"))),
        env=(*env, *leading),
        argv=tuple(argv),
    )


def _split(words: list[str]) -> tuple[dict[str, str], list[tuple[str, str]], list[str]]:
    """Take options from the words before ``--`` and before the command."""
    given: dict[str, str] = {}
    env: list[tuple[str, str]] = []
    positional: list[str] = []
    while words:
        word = words.pop(0)
        if word == "--":
            positional += words
            break
        if not word.startswith("-") or word == "-":
            positional.append(word)
            # The first word is the container where no option has named what to connect to; the next is a command.
            if len(positional) > 1 or not {"target_container", "cid", "vm_name", "connect"}.isdisjoint(given):
                positional += words
                break
            continue
        if word in ("-t", "-T"):
            given["terminal"] = word[1:]
            continue
        if word.startswith("-e") and word.partition("=")[0] != "-env":
            given["escape"] = word[2:] or _next(words, word)
            continue
        key, equals, value = word.lstrip("-").partition("=")
        key = key.replace("-", "_")
        if key in _FLAGS or word == "-h":
            given["help" if word == "-h" else key] = ""
        elif key in _VALUES:
            value = value if equals else _next(words, word)
            if key == "env":
                env.append(_variable(value))
            else:
                given[key] = value
        else:
            raise GuestlinkError(
                f"there is no option {word.partition('=')[0]}", hint="`vsh --help` lists them", exit_code=EX_USAGE
            )
    return given, env, positional


def _next(words: list[str], option: str) -> str:
    if not words:
        raise GuestlinkError(f"{option} needs a value", hint="`vsh --help` shows how", exit_code=EX_DATAERR)
    return words.pop(0)


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise GuestlinkError(f"--env={text} sets no variable", hint="write --env=NAME=VALUE", exit_code=EX_DATAERR)
    return name, value


def _assignments(words: list[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Leading words with exactly one ``=`` and something on either side are variables; the rest is the command."""
    env: list[tuple[str, str]] = []
    for index, word in enumerate(words):
        name, _, value = word.partition("=")
        if word.count("=") != 1 or not name.strip() or not value.strip():
            return env, words[index:]
        env.append((name.strip(), value))
    return env, []


def _check_direct(given: dict[str, str]) -> None:
    if sum(key in given for key in ("cid", "vm_name", "connect")) != 1:
        raise GuestlinkError("say one of --cid, --vm_name and --connect", hint="`vsh --help` shows how")
    if "vm_name" in given:
        raise GuestlinkError(
            "machines have no names on this kind of host",
            hint="use --cid with the machine's context id, or the name of a container",
        )


def _number(given: dict[str, str], key: str, high: int) -> int:
    text = given[key]
    if not (text.isascii() and text.isdecimal()) or len(text) > 10 or int(text) > high:
        raise GuestlinkError(
            f"--{key}={text} is not a number from 0 to {high}", hint="`vsh --help` shows how", exit_code=EX_DATAERR
        )
    return int(text)


def _features(text: str) -> tuple[int, ...]:
    return tuple(
        _number({"container_features": word}, "container_features", 255) for word in text.split(",") if word
    )


def _escape(text: str) -> int | None:
    if text == "none":
        return None
    raw = text.encode(errors="surrogateescape")
    if len(raw) == 2 and raw[:1] == b"^" and 64 <= raw[1] < 128:
        return raw[1] & 31
    if len(raw) != 1:
        raise GuestlinkError(
            f"{text!r} is not an escape character",
            hint='use one character, ^LETTER or "none"',
            exit_code=EX_DATAERR,
        )
    return raw[0]
