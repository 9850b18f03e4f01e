"""An X display: its number, its lock file and the sockets on which programs find it (xserver(1))."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from guestlink.errors import GuestlinkError, reason

SOCKETS = Path("/tmp/.X11-unix")
"""The directory of X servers' sockets."""
DISPLAY_LIMIT = 64
"""Displays that are tried."""
BACKLOG = 128
"""Clients that may wait for the server."""


class XDisplay:
    """A display that is ours: locked, with listening sockets.

    :ivar number: its number.
    :ivar listeners: the socket in the directory, and the one in the abstract namespace.
    """

    def __init__(self, number: int, listeners: list[socket.socket], close: ExitStack) -> None:
        self.number = number
        self.listeners = listeners
        self._close = close

    @property
    def name(self) -> str:
        """The value of the variable DISPLAY."""
        return f":{self.number}"

    def close(self) -> None:
        """Remove the lock and the sockets."""
        self._close.close()


def open_display(wanted: int | None = None, directory: Path = SOCKETS) -> XDisplay:
    """Take a display.

    :param wanted: its number; ``None`` for the first free one.
    :param directory: of the sockets; the lock files are in its parent.
    :raises GuestlinkError: the display is in use, or none is free.
    """
    with contextlib.suppress(FileExistsError):
        directory.mkdir()
        directory.chmod(0o1777)  # As systemd-tmpfiles makes it: other users' servers have their sockets there, too.
    trouble = "in use"
    for number in [wanted] if wanted is not None else range(DISPLAY_LIMIT):
        stack = ExitStack()
        try:
            listeners = list(_listen(number, directory, stack))
        except OSError as error:
            stack.close()
            trouble = reason(error)
            continue
        return XDisplay(number, listeners, stack)
    if wanted is not None:
        raise GuestlinkError(f"the X display :{wanted} cannot be used: {trouble}", hint="choose another number")
    raise GuestlinkError(f"no X display from :0 to :{DISPLAY_LIMIT - 1} can be used: {trouble}")


def _listen(number: int, directory: Path, stack: ExitStack) -> Iterator[socket.socket]:
    """Lock a display and bind its sockets; the stack undoes that.

    :raises OSError: the display is in use.
    """
    lock = directory.parent / f".X{number}-lock"
    _lock(lock)
    stack.callback(lock.unlink, missing_ok=True)
    path = directory / f"X{number}"
    for address in (f"\0{path}", str(path)):
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        stack.callback(listener.close)
        if address[0] != "\0":
            # The lock is ours, so nobody serves this socket.
            path.unlink(missing_ok=True)
            stack.callback(path.unlink, missing_ok=True)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
        yield listener


def _lock(path: Path) -> None:
    """Create a lock file with our process id, and replace one whose process has ended.

    :raises OSError: the display is in use.
    """
    for _ in range(2):
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o444)
        except FileExistsError:
            if _is_alive(path):
                raise
            path.unlink(missing_ok=True)
        else:
            with open(descriptor, "w") as stream:
                stream.write(f"{os.getpid():10}\n")
            return
    raise FileExistsError(f"{path} is there again")


def _is_alive(path: Path) -> bool:
    try:
        number = int(path.read_bytes()[:11])
        if number <= 0:
            return False
        os.kill(number, 0)
    except (ValueError, OverflowError, ProcessLookupError):
        return False
    except OSError:
        return True
    return True
