"""The proxy's listening socket, guarded by a lock file as in ChromeOS's sommelier (chromeos-sommelier.md §2.1)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat

from guestlink.errors import GuestlinkError, reason

_NUMBERS = range(1, 100)
_HINT = "choose another place with --socket"


class SocketTaken(GuestlinkError):
    """Another proxy or a compositor has the socket."""


class DisplaySocket:
    """A listening socket.

    :param path: path of the socket.
    :param is_temporary: whether :meth:`close` removes the lock file, too.
    :raises SocketTaken: another process holds the lock.
    :raises GuestlinkError: the socket cannot be created.
    """

    def __init__(self, path: str, *, is_temporary: bool = False) -> None:
        self.path = path
        self._is_temporary = is_temporary
        try:
            self._lock = os.open(f"{path}.lock", os.O_CREAT | os.O_CLOEXEC | os.O_RDWR, 0o660)
        except OSError as error:
            raise _cannot(path, error) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise SocketTaken(
                f"another proxy or compositor serves {path}", hint="stop it, or choose a name with --socket"
            ) from None
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            if is_socket(path):
                os.unlink(path)
            os.fchmod(self.listener.fileno(), 0o600)
            self.listener.bind(path)
        except OSError as error:
            self.listener.close()
            os.close(self._lock)
            raise _cannot(path, error) from error
        self.listener.listen(128)

    def close(self) -> None:
        """Remove the socket's file and unlock it. The server closes the listener."""
        for path in (self.path, f"{self.path}.lock") if self._is_temporary else (self.path,):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        os.close(self._lock)


def free_socket(directory: str) -> DisplaySocket:
    """The first free socket of ``wayland-1`` to ``wayland-99``.

    :raises GuestlinkError: none can be created.
    """
    for number in _NUMBERS:
        path = f"{directory}/wayland-{number}"
        if not os.path.lexists(path):
            with contextlib.suppress(SocketTaken):
                return DisplaySocket(path, is_temporary=True)
    raise GuestlinkError(f"{directory} has no room for another socket", hint="remove sockets that nobody serves")


def is_socket(path: str) -> bool:
    """Whether a path is a socket."""
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def _cannot(path: str, error: OSError) -> GuestlinkError:
    why = "another file is there" if error.errno == errno.EADDRINUSE else reason(error)
    return GuestlinkError(f"cannot make the socket {path}: {why}", hint=_HINT)
