"""A small process that forks one child for each connection: no session waits for an interpreter to start.

It is single-threaded and holds only its listeners, so a fork is cheap and a child inherits nothing else. One child,
the spare, is forked in advance and has rehearsed the start of a session, because a fresh child first has to copy
its memory page by page.
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
import struct
import sys
import time
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from guestlink.errors import reason
from guestlink.sockets import Peer, peer_of
from guestlink.waiting_room import WaitingRoom

_log = logging.getLogger(__name__)

CHILD_LIMIT = 1024
"""Sessions at a time; further connections are closed."""
_PAUSE = 0.2
"""Seconds without accepting when the system is out of descriptors, memory or processes."""
_QUIET_TIME = 0.02
"""Seconds without a connection or an exit before the next spare is forked: a session that starts must not share
the processor with the fork."""
SPARE_NAME = "vshd-spare"
"""What ps(1) shows for processes that wait for a connection."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
_PID = struct.Struct("=i")
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN)


Prepared = TypeVar("Prepared")


class _Spare(NamedTuple):
    """The child that waits for a connection, and the socket over which the server sends it."""

    pid: int
    orders: socket.socket


class ForkServer(Generic[Prepared]):
    """Accepts connections and serves each in a child.

    :param listeners: non-blocking listening sockets.
    :param refusal: why a peer may not connect, or ``None``.
    :param serve: called in the child with the connection, the result of ``rehearse`` (``None`` in a child that did
        not rehearse), and a function that it calls once the client has proved who it is and said what it wants:
        until then the child may have to make room for new connections. Returns the child's exit status.
    :param until: a descriptor, such as a pidfd, or -1; once it is readable the server accepts no more connections
        and exits after its last session.
    :param leaves_sessions: whether sessions continue after SIGTERM or SIGINT to the server.
    :param rehearse: called in the spare child, before its connection arrives.
    """

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        refusal: Callable[[Peer], str | None],
        serve: Callable[[socket.socket, Prepared | None, Callable[[], None]], int],
        until: int = -1,
        *,
        leaves_sessions: bool = False,
        rehearse: Callable[[], Prepared],
    ) -> None:
        self._listeners = list(listeners)
        self._refusal = refusal
        self._serve = serve
        self._until = until
        self._leaves_sessions = leaves_sessions
        self._rehearse = rehearse
        self._spare: _Spare | None = None
        self._wants_spare = True
        self._children: set[int] = set()
        self._waiting: WaitingRoom[int] = WaitingRoom()
        self._is_crowded = False
        self._begun, self._reports = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._stop = False
        self._retire = False
        self._wakeup, self._waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, or, once ``until`` is readable, until the last session has ended."""
        for number in _SIGNALS:
            signal.signal(number, self._signalled)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        gc.collect()
        gc.freeze()  # Objects that exist now stay; a collection in a child must not copy their pages.
        gc.disable()
        try:
            self._loop()
        finally:
            self._close()

    def _loop(self) -> None:
        poll = select.poll()
        poll.register(self._wakeup, select.POLLIN)
        for listener in self._listeners:
            poll.register(listener, select.POLLIN)
        if self._until >= 0:
            poll.register(self._until, select.POLLIN)
        by_number = {listener.fileno(): listener for listener in self._listeners}
        while not self._stop and not (self._retire and not self._children):
            ready = poll.poll(_QUIET_TIME * 1000 if self._wants_spare else None)
            if not ready:
                self._wants_spare = False
                self._renew_spare()
            for descriptor, _ in ready:
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
            if self._retire and by_number:
                for descriptor in by_number:
                    poll.unregister(descriptor)
                by_number.clear()
                self._accept_no_more()

    def _accept_no_more(self) -> None:
        self._close_listeners()
        self._dismiss_spare()

    def _close(self) -> None:
        """Release what the server holds, and end its sessions unless they continue without it."""
        signal.set_wakeup_fd(-1)
        self._accept_no_more()
        for pid in () if self._leaves_sessions else self._children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        for descriptor in (self._wakeup, self._waker, self._begun, self._reports):
            os.close(descriptor)

    def _signalled(self, number: int, _frame: object) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self._stop = True

    def _accept(self, listener: socket.socket) -> bool:
        """Accept and serve one connection; returns ``False`` if the system is out of a resource."""
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return True
        except OSError as error:
            if error.errno in _SHORTAGES:
                _log.warning("cannot accept a connection: %s", reason(error))
                return False
            return True  # the client has disconnected already
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
            pid = self._hand_over(connection)
            if not pid:
                try:
                    pid = os.fork()
                except OSError as error:
                    _log.warning("cannot fork: %s", reason(error))
                    return False
                if pid == 0:
                    self._be_child(lambda: self._serve(connection, None, self._report))
            self._children.add(pid)
            self._waiting.enter(pid)
            self._make_room()
            self._wants_spare = self._spare is None
            return True

    # Children whose clients have said nothing yet.

    def _make_room(self) -> None:
        """End a child whose client stays silent if too many do."""
        # Read only here, so that a report wakes nobody while its session starts.
        with contextlib.suppress(BlockingIOError):
            for (pid,) in _PID.iter_unpack(os.read(self._begun, _PID.size * 4096)):
                self._waiting.leave(pid)
        if self._waiting.is_calm():
            self._is_crowded = False
            return
        pid = self._waiting.make_room(_chance())
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            if not self._is_crowded:  # Once, not for each.
                _log.warning("%d clients say nothing, so some are disconnected", len(self._waiting) + 1)
            self._is_crowded = True

    def _report(self) -> None:
        """In a child: tell the server that the client has spoken."""
        with contextlib.suppress(OSError):
            os.write(self._reports, _PID.pack(os.getpid()))
        os.close(self._reports)

    # The spare child.

    def _renew_spare(self) -> None:
        """Fork a spare child if there is none, unless the server accepts no more sessions."""
        if self._spare is not None or self._stop or self._retire or len(self._children) >= CHILD_LIMIT:
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            pid = os.fork()
        except OSError as error:
            _log.debug("no child waits for the next connection: %s", reason(error))
            ours.close()
            theirs.close()
            return
        if pid == 0:
            ours.close()
            self._be_child(lambda: self._stand_by(theirs))
        theirs.close()
        self._spare = _Spare(pid, ours)

    def _stand_by(self, orders: socket.socket) -> int:
        prepared = None
        name = _name()
        _rename(SPARE_NAME)
        with contextlib.suppress(Exception):  # A failure here happens again in the session, which reports it.
            prepared = self._rehearse()
        descriptors: list[int] = []
        with contextlib.suppress(OSError):  # The server has exited, perhaps before it read that we are ready.
            orders.send(b".")
            _, descriptors, _, _ = socket.recv_fds(orders, 1, 1)
        orders.close()
        _rename(name)
        if not descriptors:
            return 0  # The server has closed the socket.
        os.set_inheritable(descriptors[0], False)
        return self._serve(socket.socket(fileno=descriptors[0]), prepared, self._report)

    def _hand_over(self, connection: socket.socket) -> int:
        """Send a connection to the spare child; returns the child's process id, or 0 if none is ready."""
        spare = self._spare
        if spare is None:
            return 0
        try:
            if not spare.orders.recv(1, socket.MSG_DONTWAIT):
                return 0  # It has exited.
        except OSError:
            return 0  # It still rehearses.
        self._spare = None
        with spare.orders:
            try:
                socket.send_fds(spare.orders, [b"."], [connection.fileno()])
            except OSError:
                return 0  # It was killed.
        return spare.pid

    def _dismiss_spare(self) -> None:
        if self._spare is not None:
            self._spare.orders.close()
            self._spare = None

    def _be_child(self, serve: Callable[[], int]) -> None:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            for descriptor in (self._wakeup, self._waker, self._begun):
                os.close(descriptor)
            self._accept_no_more()
            status = serve()
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
            self._waiting.leave(pid)
            if self._spare is not None and pid == self._spare.pid:
                self._dismiss_spare()

    def _close_listeners(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()


def _chance() -> float:
    """A random number, at least 0 and less than 1. The module random would add to what each fork copies."""
    return int.from_bytes(os.urandom(4)) / (1 << 32)


def _name() -> str:
    """This process's name in ps(1)."""
    with contextlib.suppress(OSError), open("/proc/self/comm") as file:
        return file.read().strip()
    return "vshd"


def _rename(name: str) -> None:
    """Change this process's name in ps(1)."""
    # Not open(): its file object takes a tenth of the time from the connection to the program's start.
    with contextlib.suppress(OSError):
        descriptor = os.open("/proc/self/comm", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, name.encode())
        finally:
            os.close(descriptor)
