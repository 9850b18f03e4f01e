"""A small process that forks one child for each connection: no session waits for an interpreter to start.

It is single-threaded and holds nothing but its listeners, so that a fork is cheap and takes nothing along.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence

from guestlink.sockets import Peer, peer_of

_log = logging.getLogger(__name__)

CHILD_LIMIT = 1024
"""Sessions at a time; further connections are closed."""
_PAUSE = 0.2
"""Seconds without accepting when the system is short of something."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN)


class ForkServer:
    """Accepts connections and serves each in a child.

    :param listeners: non-blocking listening sockets.
    :param refusal: why a peer may not connect, or ``None``.
    :param serve: serves a connection, in the child; what it returns is the child's exit status.
    :param until: a descriptor that becomes readable when no more connections shall be accepted, as a pidfd does
        when its process has ended; or -1. The server stays until its last session is over.
    :param leaves_sessions: whether sessions go on when the server is told to stop.
    """

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        refusal: Callable[[Peer], str | None],
        serve: Callable[[socket.socket], int],
        until: int = -1,
        *,
        leaves_sessions: bool = False,
    ) -> None:
        self._listeners = list(listeners)
        self._refusal = refusal
        self._serve = serve
        self._until = until
        self._leaves_sessions = leaves_sessions
        self._children: set[int] = set()
        self._stop = False
        self._retire = False
        self._wakeup, self._waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, or until nobody needs us any more."""
        for number in _SIGNALS:
            signal.signal(number, self._signalled)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        gc.collect()
        gc.freeze()  # What is here now stays; children need not copy it to look at it.
        gc.disable()
        poll = select.poll()
        poll.register(self._wakeup, select.POLLIN)
        for listener in self._listeners:
            poll.register(listener, select.POLLIN)
        if self._until >= 0:
            poll.register(self._until, select.POLLIN)
        by_number = {listener.fileno(): listener for listener in self._listeners}
        try:
            while not self._stop and not (self._retire and not self._children):
                for descriptor, _ in poll.poll():
                    if descriptor in by_number:
                        if not self._accept(by_number[descriptor]):
                            time.sleep(_PAUSE)
                    elif descriptor == self._until:
                        self._retire = True
                        poll.unregister(descriptor)
                    else:
                        with contextlib.suppress(BlockingIOError):
                            os.read(self._wakeup, 512)
                self._reap()
                if self._retire and self._listeners:
                    for listener in self._listeners:
                        poll.unregister(listener)
                    self._close_listeners()
                    by_number.clear()
        finally:
            signal.set_wakeup_fd(-1)
            self._close_listeners()
            for pid in () if self._leaves_sessions else self._children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            os.close(self._wakeup)
            os.close(self._waker)

    def _signalled(self, number: int, _frame: object) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self._stop = True

    def _accept(self, listener: socket.socket) -> bool:
        """Take one connection; returns ``False`` where the system is short of something."""
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return True
        except OSError as error:
            if error.errno in _SHORTAGES:
                _log.warning("cannot accept a connection: %s", error.strerror)
                return False
            return True  # it has gone again
        with connection:
            try:
                refusal = self._refusal(peer_of(connection))
            except OSError:
                return True
            if refusal is None and len(self._children) >= CHILD_LIMIT:
                refusal = f"there are {CHILD_LIMIT} sessions already"
            if refusal is not None:
                _log.warning("refused a connection: %s", refusal)
                return True
            try:
                pid = os.fork()
            except OSError as error:
                _log.warning("cannot fork: %s", error.strerror)
                return False
            if pid == 0:
                self._be_child(connection)
            self._children.add(pid)
            return True

    def _be_child(self, connection: socket.socket) -> None:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            os.close(self._wakeup)
            os.close(self._waker)
            self._close_listeners()
            status = self._serve(connection)
        except Exception:
            _log.exception("a session failed")
        finally:
            logging.shutdown()
            with contextlib.suppress(OSError):
                sys.stderr.flush()
            os._exit(status)

    def _reap(self) -> None:
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self._children.clear()
                return
            if not pid:
                return
            self._children.discard(pid)

    def _close_listeners(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
