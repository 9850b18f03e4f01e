"""The messages that the two sides of vsh send (chromeos-vsh.md §3.2)."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

VM_SHELL = "/vm_shell"
"""The target for the virtual machine's own shell instead of a container's (chromeos-vsh.md §3.2)."""

REQUIRES_CWD = b"guestlink: cwd is required"
"""Our client sends this in the field ``command``, which every ChromeOS server ignores (chromeos-vsh.md §3.2):
refuse the session if the directory cannot be entered."""
NO_CWD = "the session cannot begin in "
"""Prefix of the FAILED description that answers :data:`REQUIRES_CWD`."""
READY_TEXT, READY_IN_CWD = "vsh ready", "vsh ready in the directory"
"""Descriptions of READY; the second answers :data:`REQUIRES_CWD`."""

Bytes: TypeAlias = bytes | bytearray | memoryview


class Status(enum.IntEnum):
    """ConnectionStatus."""

    UNKNOWN = 0
    READY = 1
    EXITED = 2
    FAILED = 3


class Stream(enum.IntEnum):
    """StdioStream."""

    INVALID = 0
    STDIN = 1
    STDOUT = 2
    STDERR = 3


class Setup(NamedTuple):
    """SetupConnectionRequest: what the client wants to run.

    :ivar target: the container's name, or :data:`VM_SHELL`; not the program, which vshd calls its target.
    :ivar user: login name; empty leaves it to the server.
    :ivar env: variables of the program; they override the server's.
    :ivar argv: program and arguments; empty asks for a login shell.
    :ivar rows: the window's height; the size is ignored unless rows and columns are 1 to 65535.
    :ivar nopty: three pipes instead of a terminal.
    :ivar cwd: directory to start in; empty for the home directory.
    :ivar cwd_pid: start in the working directory of this process; 0 for none.
    :ivar requires_cwd: refuse the session if the directory cannot be entered; otherwise it starts in the home
    directory (chromeos-vsh.md §3.4).
    """

    target: str = ""
    user: bytes = b""
    env: Mapping[bytes, bytes] = {}
    argv: tuple[bytes, ...] = ()
    rows: int = 0
    cols: int = 0
    nopty: bool = False
    cwd: bytes = b""
    cwd_pid: int = 0
    requires_cwd: bool = False


class SetupAnswer(NamedTuple):
    """SetupConnectionResponse.

    :ivar status: READY, or anything else for a refusal, which ``description`` explains.
    :ivar pid: of the target, with READY.
    """

    status: int
    description: str = ""
    pid: int = 0


class Data(NamedTuple):
    """Bytes of a stream; empty data ends the stream."""

    stream: int
    data: Bytes


class StatusChange(NamedTuple):
    """ConnectionStatusMessage.

    :ivar code: exit status of the target, or the bare number of the signal that killed it (chromeos-vsh.md §3.9).
    """

    status: int
    description: str = ""
    code: int = 0


class Resize(NamedTuple):
    """WindowResizeMessage."""

    rows: int
    cols: int


class SignalRequest(NamedTuple):
    """A signal that the client wants delivered."""

    number: int


class Unknown(NamedTuple):
    """A message without a field that we know; ignored (chromeos-vsh.md §3.11)."""


FromClient: TypeAlias = Setup | Data | StatusChange | Resize | SignalRequest | Unknown
"""What a client sends."""
FromServer: TypeAlias = SetupAnswer | Data | StatusChange | Unknown
"""What a server sends."""

_KILLED = "killed by signal "


def killed_by(number: int) -> str:
    """The description of an EXITED status for a death by signal.

    The code alone cannot distinguish ``exit 9`` from a death by SIGKILL. The description is text for people that no
    ChromeOS program parses, so our server and client use it for the difference.
    """
    return f"{_KILLED}{number}"


def death_signal(change: StatusChange) -> int:
    """The signal in a description of :func:`killed_by`; 0 after an ordinary exit or with another description."""
    text = change.description
    return change.code if text == killed_by(change.code) and 0 < change.code < 128 else 0
