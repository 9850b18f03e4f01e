"""A child that is forked before its program is known, so that no client waits for the fork."""

from __future__ import annotations

import contextlib
import marshal
import os
import socket
import struct
from collections.abc import Callable
from typing import Any, NoReturn

Become = Callable[[tuple[Any, ...], tuple[int, ...]], NoReturn]
"""Executes the program; its arguments are those of :meth:`WaitingChild.start`."""

_LENGTH = struct.Struct("=I")
_DESCRIPTORS = 16


class WaitingChild:
    """Forks at once; the child waits for an order, and exits if the socket closes first.

    :param prepare: called in the child before it waits.
    :param become: called in the child with its order.
    :ivar pid: the child's process id.
    :ivar pidfd: readable when a dismissed child has exited; -1 for any other child.
    :raises OSError: there are no more processes or descriptors.
    """

    def __init__(self, prepare: Callable[[], None], become: Become) -> None:
        self.pidfd = -1
        self._orders, theirs = socket.socketpair()
        try:
            self.pid = os.fork()
        except BaseException:
            self._orders.close()
            theirs.close()
            raise
        if self.pid == 0:
            self._orders.close()
            _wait(theirs, prepare, become)
        theirs.close()

    def start(self, values: tuple[Any, ...], descriptors: tuple[int, ...]) -> None:
        """Send the child its order.

        :param values: of plain types: texts, bytes, numbers, tuples and dictionaries.
        :raises OSError: the child has exited.
        """
        order = marshal.dumps(values)
        with self._orders:
            socket.send_fds(self._orders, [_LENGTH.pack(len(order))], list(descriptors))
            self._orders.sendall(order)

    def dismiss(self) -> None:
        """Let a child without an order exit; it can be closed once ``pidfd`` is readable.

        :raises OSError: there are no more descriptors.
        """
        self._orders.close()
        self.pidfd = os.pidfd_open(self.pid)

    def close(self) -> None:
        """Let a child without an order exit, and reap a dismissed one if it has exited."""
        self._orders.close()
        if self.pidfd >= 0:
            os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG)
            os.close(self.pidfd)
            self.pidfd = -1


def _wait(orders: socket.socket, prepare: Callable[[], None], become: Become) -> NoReturn:
    with contextlib.suppress(Exception):
        prepare()
        head, descriptors, _, _ = socket.recv_fds(orders, _LENGTH.size, _DESCRIPTORS)
        if len(head) == _LENGTH.size:
            order = bytearray()
            while len(order) < _LENGTH.unpack(head)[0] and (part := orders.recv(1 << 20)):
                order += part
            become(marshal.loads(order), tuple(descriptors))
    os._exit(0)
