"""The command line of ``vsh``: ChromeOS's flags and rules, ours, and ssh's (chromeos-vsh.md §3.14, ssh(1))."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from guestlink.errors import GuestlinkError
from guestlink.vsh import VM_SHELL
from guestlink_host.vsh.ssh_options import (
    EX_DATAERR,
    EX_USAGE,
    IGNORE_UNKNOWN,
    UNKNOWN,
    destination,
    read_options,
    unknown_keyword,
)

SSH_FAILED = 255
"""Exit status of ssh if ssh itself fails; programs that start ssh distinguish it from the command's status."""
DIRECT_USER = "chronos"
"""User to request in direct mode without ``--user``."""
ACCOUNT_VARIABLES = frozenset({"HOME", "LOGNAME", "SHELL", "USER"})
"""Variables that every vshd sets from the account; a client cannot change them (chromeos-vsh.md §3.5)."""

HELP = """\
usage: vsh NAME [OPTION...] [-- [VARIABLE=VALUE...] [COMMAND [ARGUMENT...]]]
       vsh [USER@]NAME [OPTION...] COMMAND-LINE...
       vsh --cid=CID | --connect=ADDRESS [OPTION...] [--] [VARIABLE=VALUE...] [COMMAND...]

Open a shell in a container, or run a command there. After -- each word reaches the command unchanged, without a
shell. Without -- vsh works like ssh: it joins the words with spaces, and the user's shell reads the line. So rsync,
git, scp and others can start vsh in ssh's place.

The exit status is the command's own; 128 plus the signal's number if a signal killed the command; 1 if no session
began; 123 if the connection broke. Without -- the last two are 255, as with ssh.

  --user=USER, -l USER  run as this user, if the other side can (default: the session's user)
  --cwd=DIRECTORY     start in this directory, or fail; a relative path begins at the home directory (~); a number
                      means the directory of the process with this pid inside
  --env=NAME=VALUE    set a variable; may be given more than once
  -t, -T              always use a terminal, or never (default: if standard input and output are terminals)
  -n                  standard input is empty
  -f                  go to the background when the session has begun; implies -n
  -e CHARACTER        escape character at the beginning of a line (default: ~), or "none"; ~? lists the sequences
  -o KEYWORD=VALUE    SendEnv, SetEnv, RequestTTY, User and others, as in ssh_config(5)
  --cid=CID           connect to the vshd that listens on port 9001 of this vsock context id
  --connect=ADDRESS   connect to the vshd that listens at vsock:CID:PORT, unix:/path or tcp:HOST:PORT
  --token-file=FILE   file with the container's token, which both sides prove to know over TCP
  --target_container=NAME, --vm_name=NAME, --owner_id=ID, --listen_port=PORT, --container_features=N,N
                      as with the original vsh; --vm_name and --owner_id have no meaning on this kind of host
  --help, --version

ssh's other options are accepted; vsh(1) lists those that have no effect and those that are refused.

examples:
  vsh work                          a login shell
  vsh work -- LANG=C make -C src    a command with a variable
  vsh work 'cd src && make *.o'     a line for the shell there
  tar c . | vsh work --cwd=/srv -- tar x
  rsync -e vsh -a src/ work:src/
"""

_FLAGS = {"help", "version"}
_VALUES = {
    "user", "cwd", "env", "cid", "connect", "target_container", "vm_name", "owner_id", "listen_port",
    "container_features", "token_file",
}  # fmt: skip
_WAYS = ("cid", "vm_name", "connect")
_SHELLS_WORD = "exec"
"""No program has this name, so a command that begins with it is a shell's line, also after ``--``: GNU parallel
starts ``ssh NAME -- exec PROGRAM…``."""
"""Options that name the vshd to connect to."""
_SHELL_LINE = 'exec "${SHELL:-/bin/sh}" -c "$0"'
"""Runs a line in the account's shell, as sshd does; every vshd sets SHELL from the account
(chromeos-vsh.md §3.5)."""
_SFTP_SERVER = """\
for server in /usr/lib/openssh /usr/libexec/openssh /usr/lib/ssh /usr/libexec/ssh /usr/libexec /usr/lib/misc; do
  [ ! -x "$server/sftp-server" ] || exec "$server/sftp-server"
done
command -v sftp-server >/dev/null && exec sftp-server
echo 'vsh: there is no sftp-server in this container; install it (Debian: openssh-sftp-server)' >&2
exit 127
"""
_SUBSYSTEMS = {"sftp": ("/bin/sh", "-c", _SFTP_SERVER)}


class VshOptions(NamedTuple):
    """The parsed command line.

    :ivar name: the container; ``""`` in direct mode.
    :ivar cid: vsock context id of the machine to connect to in direct mode.
    :ivar connect: a listening vshd's address in direct mode, as text.
    :ivar token_file: file with the token, which both sides prove to know over TCP.
    :ivar cwd: a directory, or ``""``; :ivar cwd_pid: a process whose directory to use, or 0.
    :ivar terminal: whether to use a terminal; ``None``: if standard input and standard output are terminals.
    :ivar escape: the escape character's byte, or ``None`` for none.
    :ivar env: variables in the order given.
    :ivar send_env: patterns of our variables to send, as in ssh's SendEnv.
    :ivar argv: the command; empty for a login shell.
    :ivar no_input: standard input is empty.
    :ivar background: go to the background when the session has begun.
    :ivar like_ssh: the command is a line for a shell, and vsh's own failures have ssh's exit status.
    :ivar prints_config: only print the configuration, as ssh -G does.
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
    send_env: tuple[str, ...] = ()
    argv: tuple[str, ...] = ()
    no_input: bool = False
    background: bool = False
    like_ssh: bool = False
    prints_config: bool = False
    help: bool = False
    version: bool = False

    @property
    def direct(self) -> bool:
        """Whether we connect to a vshd; otherwise the container's vshd connects to us."""
        return not self.name

    @property
    def target(self) -> str:
        """The target of the setup request: with a context id, the machine's own shell."""
        return VM_SHELL if self.cid is not None else self.name


def parse(words: Sequence[str]) -> VshOptions:
    """Read the command line.

    :raises GuestlinkError: the command line is wrong; ``exit_code`` is 64, 65 or 1, as with ChromeOS's vsh.
    """
    read = _CommandLine(list(words))
    given, positional = read.given, read.positional
    if "help" in given or "version" in given:
        return VshOptions(help="help" in given, version="version" in given)
    name = given.get("target_container", "")
    direct = not name and not given.keys().isdisjoint(_WAYS) and "listen_port" not in given
    like_ssh = False
    if not name and not direct:
        if not positional:
            raise GuestlinkError(
                "the container's name is missing",
                hint="`vsh NAME` opens a shell; `guestlink-host list` lists the containers",
            )
        name = destination(positional.pop(0))
        user, at, host = name.rpartition("@")
        if at:
            name = host
            read.give("user", user, at_first=not read.user_precedes_name)
        if not name:
            raise GuestlinkError("the container's name is empty", hint="`guestlink-host list` lists the containers")
        like_ssh = bool(positional) and (not read.is_exact or positional[0] == _SHELLS_WORD)
    _check_ways(given, direct)
    leading, argv = _assignments([] if like_ssh else positional)
    if given.get("subsystem"):
        argv = _subsystem(positional)
    elif like_ssh:
        argv = _shell_line(" ".join(positional))
    cwd, cwd_pid = _directory(given)
    if given.get("background") and not argv:
        raise GuestlinkError("-f needs a command", hint="write the command after the name", exit_code=EX_USAGE)
    return VshOptions(
        name=name,
        cid=_number(given, "cid", 2**32 - 1) if direct and "cid" in given else None,
        connect=given.get("connect", ""),
        token_file=given.get("token_file", ""),
        user=given.get("user", DIRECT_USER if direct and "connect" not in given else ""),
        cwd=cwd,
        cwd_pid=cwd_pid,
        listen_port=_number(given, "listen_port", 2**32 - 1) if "listen_port" in given else 0,
        features=_features(given.get("container_features", "")),
        terminal={"yes": True, "no": False}.get(given.get("terminal", "")),
        escape=_escape(given.get("escape", "~")),
        env=tuple(_checked_variables((*read.env, *leading))),
        send_env=tuple(read.send_env),
        argv=argv,
        no_input=bool(given.get("no_input") or given.get("background")),
        background=bool(given.get("background")),
        like_ssh=like_ssh,
        prints_config="prints_config" in given,
    )


class _CommandLine:
    """The command line's words, separated into options and positional arguments.

    :ivar given: the options' values, by name.
    :ivar positional: the container, unless an option names it, and the command.
    :ivar is_exact: the command follows ``--``.
    :ivar user_precedes_name: an option in front of the container's name gives the user.
    """

    def __init__(self, words: list[str]) -> None:
        self.given: dict[str, str] = {}
        self.env: list[tuple[str, str]] = []
        self.send_env: list[str] = []
        self.positional: list[str] = []
        self.is_exact = False
        self.user_precedes_name = False
        self._ignored: list[str] = []
        while words:
            word = words.pop(0)
            if word == "--":
                self._ends_options(words)
                break
            if word.startswith("-") and word != "-":
                self._option(word, words)
                continue
            if not self.positional:
                self.user_precedes_name = "user" in self.given
            self.positional.append(word)
            # The first word is the container unless an option has named the vshd; the second begins the command.
            if len(self.positional) > 1 or self._has_way():
                self.positional += words
                break

    def _has_way(self) -> bool:
        return not self.given.keys().isdisjoint({"target_container", *_WAYS})

    def _ends_options(self, words: list[str]) -> None:
        """Handle ``NAME -- COMMAND``, or ``-- NAME LINE`` from programs that start ssh."""
        if self.positional or self._has_way():
            self.is_exact = True
        elif words[1:2] == ["--"]:
            self.is_exact = True
            del words[1]
        if not self.positional:
            self.user_precedes_name = "user" in self.given
        self.positional += words

    def _option(self, word: str, words: list[str]) -> None:
        key, equals, value = word.lstrip("-").partition("=")
        key = key.replace("-", "_")
        if not word.startswith("--") and key not in _FLAGS | _VALUES:
            for name, text, only_first in read_options(word, words):
                if not only_first or name not in self.given:
                    self.give(name, text)
        elif key in _FLAGS:
            self.given[key] = ""
        elif key in _VALUES:
            self.give(key, value if equals else _next(words, word))
        else:
            raise GuestlinkError(
                f"there is no option {word.partition('=')[0]}",
                hint="`vsh --help` lists the options",
                exit_code=EX_USAGE,
            )

    def give(self, name: str, text: str, *, at_first: bool = False) -> None:
        """Store an option's value. The first user counts, as with ssh; of other options, the last value.

        :param at_first: the value precedes the one that is stored.
        """
        if name == "env":
            self.env.append(_variable(text))
        elif name == "send_env":
            self.send_env += text.split()
        elif name == IGNORE_UNKNOWN:
            self._ignored += text.split(",")
        elif name == UNKNOWN:
            if not any(fnmatchcase(text.lower(), pattern) for pattern in self._ignored):
                raise unknown_keyword(text)
        elif name in ("user", "cwd") and not text:
            raise GuestlinkError(
                f"the {_NOUNS[name]} is empty", hint=f"leave --{name} out, or give it one", exit_code=EX_DATAERR
            )
        elif name == "user" and not at_first:
            self.given.setdefault(name, text)
        else:
            self.given[name] = text


_NOUNS = {"user": "user's name", "cwd": "directory's name"}


def _shell_line(line: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", _SHELL_LINE, line) if line else ()


def _subsystem(words: list[str]) -> tuple[str, ...]:
    if words[:1] and words[0] in _SUBSYSTEMS and not words[1:]:
        return _SUBSYSTEMS[words[0]]
    raise GuestlinkError(
        f"there is no subsystem {' '.join(words)!r:.80}", hint="sftp is the only one", exit_code=EX_USAGE
    )


def _directory(given: dict[str, str]) -> tuple[str, int]:
    """The directory, or the process whose directory to use."""
    cwd = given.get("cwd", "")
    if cwd.isascii() and cwd.isdecimal():
        return "", _number(given, "cwd", 2**31 - 1)
    if cwd == "~" or cwd.startswith("~/"):
        return f".{cwd[1:]}", 0  # vshd starts at the home directory, and expands no ~ (chromeos-vsh.md §3.4)
    return cwd, 0


def _checked_variables(env: tuple[tuple[str, str], ...]) -> Iterator[tuple[str, str]]:
    for name, value in env:
        if name in ACCOUNT_VARIABLES:
            raise GuestlinkError(
                f"{name} cannot be set for a session: it is the account's",
                hint=f"set it for the command: vsh NAME -- env {name}=VALUE COMMAND",
                exit_code=EX_DATAERR,
            )
        yield name, value


def _next(words: list[str], option: str) -> str:
    if not words:
        raise GuestlinkError(f"{option} needs a value", hint="`vsh --help` shows how", exit_code=EX_DATAERR)
    return words.pop(0)


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise GuestlinkError(f"--env={text} sets no variable", hint="write --env=NAME=VALUE", exit_code=EX_DATAERR)
    return name, value


def _assignments(words: list[str]) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Leading words with exactly one ``=`` and text on both sides are variables; the rest is the command."""
    env: list[tuple[str, str]] = []
    for index, word in enumerate(words):
        name, _, value = word.partition("=")
        if word.count("=") != 1 or not name.strip() or not value.strip():
            return tuple(env), tuple(words[index:])
        env.append((name.strip(), value))
    return tuple(env), ()


def _check_ways(given: dict[str, str], direct: bool) -> None:
    """Refuse two addresses of a vshd at once, and options without effect on the connection."""
    ways = [f"--{key}" for key in ("target_container", *_WAYS) if key in given]
    if direct and len(ways) != 1:
        raise GuestlinkError("--cid, --vm_name and --connect exclude each other", hint="`vsh --help` shows how")
    if direct and "vm_name" in given:
        raise GuestlinkError(
            "machines have no names on this kind of host",
            hint="use --cid with the machine's context id, or the name of a container",
        )
    useless = {"container_features"} if direct else {"cid", "connect"}
    if not given.get("connect", "").startswith("tcp:"):
        useless.add("token_file")
    for key in sorted(useless & given.keys()):
        way = ways[0] if direct else "a container's name"
        raise GuestlinkError(
            f"--{key.replace('_', '-') if key == 'token_file' else key} has no effect with {way}",
            hint="leave it out; `vsh --help` shows what goes together",
            exit_code=EX_USAGE,
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
