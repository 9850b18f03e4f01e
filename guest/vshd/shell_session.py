"""One session: the client's socket on one side, the target's terminal or pipes on the other (chromeos-vsh.md §3.3
to §3.12).

One process has one poll loop, and all descriptors are non-blocking. vshd reads the target while few bytes are
queued for the client. It reads the client while few bytes are queued for the target, and also while the client
reads nothing: ChromeOS's client does not read while it writes, so both would wait for each other for ever
(chromeos-vsh.md §3.12).
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import select
import signal
import socket
import struct
import termios
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeAlias

from guestlink.errors import reason
from guestlink.vsh import (
    READY_IN_CWD,
    READY_TEXT,
    Data,
    Resize,
    Setup,
    SetupAnswer,
    SignalRequest,
    Status,
    StatusChange,
    Stream,
    encode_data,
    encode_setup_answer,
    encode_status,
    killed_by,
)
from vshd.account import Refused
from vshd.client import Client, Gone
from vshd.ending import Ending
from vshd.input import Input
from vshd.output import Output
from vshd.poll_set import PollSet
from vshd.session_defaults import SessionDefaults
from vshd.target import Target, start_target
from vshd.waiting_child import WaitingChild

_log = logging.getLogger(__name__)

SETUP_TIMEOUT = 10.0
"""Seconds in which a client must send its setup; ChromeOS's vshd waits for ever (chromeos-vsh.md §3.3)."""
HANG_UP_TIME = 3.0
"""Seconds between SIGHUP and SIGKILL for the target of a client that vanished."""
OUTPUT_MARK = 256 * 1024
"""Bytes queued for the client above which the target is not read."""
INPUT_MARK = 256 * 1024
"""Bytes queued for the target above which the client is not read, unless the client itself reads nothing."""
INPUT_LIMIT = 64 * 1024 * 1024
"""Bytes queued for the target above which the client is not read at all."""
_ECHO_TIME = 0.005
"""Seconds without any output after which no echo is expected."""
_TERMINAL_RETRY = 0.25
"""Seconds between reads of a terminal that all processes have closed: one may open it again."""
_SIGNALS = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM})

PollHandler: TypeAlias = Callable[[int], bool | None]
"""Handles the poll events of a descriptor; returns true for plain traffic: only keys or a few bytes of output have
passed, so the poll set is unchanged."""


class _Running(NamedTuple):
    """The target with its input and output."""

    target: Target
    input: Input
    output: Output


class ShellSession:
    """Serves one client.

    :param sock: connected to the client; the session closes it.
    :param child: from :func:`~vshd.rehearsal.rehearse`; it becomes the target of a session without a terminal or of
        another user; otherwise the session dismisses it.
    :param begun: called once the target has been started.
    """

    def __init__(
        self,
        sock: socket.socket,
        defaults: SessionDefaults,
        child: WaitingChild | None = None,
        begun: Callable[[], None] = lambda: None,
    ) -> None:
        self._client = Client(sock)
        self._child = child
        self._begun = begun
        self._defaults = defaults
        self._running: _Running | None = None
        self._ready_text = READY_TEXT
        self._early: list[Data | Resize | SignalRequest] | None = []
        self._ending: Ending | None = None
        self._setup_deadline = time.monotonic() + SETUP_TIMEOUT
        self._polled = PollSet()
        self._shape: tuple[object, ...] = ()
        self._handlers: dict[int, PollHandler] = {self._client.fileno(): self._client_ready}

    def run(self) -> None:
        """Serve until the session ends. SIGTERM or an internal error ends it like a client that disconnects."""
        signal.signal(signal.SIGTERM, lambda *_: self._client.shutdown(socket.SHUT_RDWR))
        try:
            while not self._advance():
                self._wait()
        except Gone as gone:
            _log.debug("the client is gone: %s", gone)
            if self._running is not None and self._ending is None:
                self._running.target.end(HANG_UP_TIME)
        finally:
            if self._running is not None:
                self._running.target.close()
            if self._child is not None:
                self._child.close()
            self._client.close()

    # The loop.

    def _wait(self) -> None:
        """Poll and handle the events; repeat while only a person's keys and their echo pass."""
        shape = self._current_shape()
        if shape != self._shape:
            self._shape = shape
            self._polled.replace(self._wanted())
        limit = self._time_left()
        timeout = None if limit is None else limit * 1000
        while True:
            ready = self._polled.poll(timeout)
            if not ready and self._running is not None:
                self._running.input.echoes_no_more()
            is_plain = timeout is None
            for descriptor, events in ready:
                handler = self._handlers.get(descriptor)
                if handler is not None and descriptor in self._polled.events and not handler(events):
                    is_plain = False
            if not is_plain:
                return

    def _current_shape(self) -> tuple[object, ...]:
        """Everything that :meth:`_wanted` depends on; it rarely changes."""
        queued = self._client.backlog.size
        sizes = (queued > 0, queued < OUTPUT_MARK, queued < 2 * OUTPUT_MARK)
        if self._running is None:
            return sizes
        target, given, _ = self._running
        waiting = given.backlog.size
        inward = (waiting > 0, waiting < INPUT_MARK, waiting < INPUT_LIMIT, given.awaits_echo)
        child = -1 if self._child is None else self._child.pidfd
        return (sizes, inward, target.report, target.stdin, len(target.outputs), self._ending is None, child)

    def _wanted(self) -> dict[int, int]:
        """The events to poll for now, by descriptor."""
        client, running = self._client.fileno(), self._running
        if running is not None and running.target.report >= 0:
            return {client: 0, running.target.report: select.POLLIN}
        waiting_out = self._client.backlog.size
        waiting_in = running.input.backlog.size if running is not None else 0
        # While the client reads nothing, more of its input is queued: it may write before it reads.
        may_read_client = waiting_in < (INPUT_LIMIT if waiting_out else INPUT_MARK)
        events = select.POLLIN if may_read_client else 0
        if waiting_out:
            events |= select.POLLOUT
        wanted = {client: events}
        if running is None:
            return wanted
        target = running.target
        if self._ending is None:
            wanted[target.pidfd] = select.POLLIN
        if self._child is not None and self._child.pidfd >= 0:
            wanted[self._child.pidfd] = select.POLLIN
        if waiting_out < (OUTPUT_MARK if target.terminal < 0 else 2 * OUTPUT_MARK):
            for descriptor in target.outputs:
                wanted[descriptor] = select.POLLIN
        if waiting_in and self._may_write(running):
            wanted[target.stdin] = wanted.get(target.stdin, 0) | select.POLLOUT
        return wanted

    def _time_left(self) -> float | None:
        if self._ending is not None:
            return self._ending.time_left(time.monotonic(), is_queued=self._client.backlog.size > 0)
        if not self._client.has_begun:
            return max(self._setup_deadline - time.monotonic(), 0.0)
        if self._has_lost_terminal():
            return _TERMINAL_RETRY
        return _ECHO_TIME if self._running is not None and self._running.input.awaits_echo else None

    def _advance(self) -> bool:
        """Do what is due without an event, and send EXITED once it is time; returns whether the session is over."""
        ending, running = self._ending, self._running
        if ending is None:
            if not self._client.has_begun and time.monotonic() >= self._setup_deadline:
                raise Gone(f"it sent no setup within {SETUP_TIMEOUT:g} s")
            if running is not None and self._has_lost_terminal():
                self._reopen_terminal(running)
            return False
        now = time.monotonic()
        if not ending.is_told and (running is None or ending.advance(running.target.outputs, now)):
            ending.is_told = True
            self._client.send(encode_status(ending.status))
        if not ending.is_told or self._client.backlog.size:
            return False
        if ending.starts_to_linger(now):
            # Closing a socket that has unread bytes could drop the bytes that the client has not read yet.
            self._client.shutdown(socket.SHUT_WR)
        return ending.is_over(now)

    # The client.

    def _client_ready(self, events: int) -> bool:
        if events & select.POLLOUT:
            self._client.send()
        if not events & ~select.POLLOUT:
            return False
        received = self._client.receive(may_lend=self._early is None)
        if received is None or (self._ending is not None and self._ending.is_told):
            return False
        if isinstance(received, int):
            self._received_lent(received)
            return False
        if (running := self._running) is not None and self._typed(running, received):
            return not running.input.backlog.size
        for event in self._client.events(received):
            self._said(event)
        self._write_input()
        return False

    def _typed(self, running: _Running, data: bytes) -> bool:
        """Fast path: write a person's keys to the target; returns whether that was possible."""
        if running.input.backlog.size or self._early is not None or self._ending is not None:
            return False
        if not self._may_write(running) or not (keys := self._client.keys(data)):
            return False
        running.input.type(keys)
        return True

    def _received_lent(self, count: int) -> None:
        for event in self._client.lent_events(count):
            if type(event) is not Data:
                self._said(event)
            elif self._running is not None and self._ending is None:
                self._running.input.put_lent(event.data)
        self._write_input()

    def _said(self, event: object) -> None:
        if isinstance(event, Data | Resize | SignalRequest):
            if self._early is not None:
                self._early.append(event)
            elif self._running is not None and self._ending is None:
                _act(self._running, event)
        elif isinstance(event, Setup):
            self._begin(event)
        elif isinstance(event, StatusChange):
            if event.status != Status.READY:
                raise Gone(f"it said {event.status} {event.description}".rstrip())
        else:
            _log.debug("passed over a message without known fields")

    # From the setup to the target.

    def _begin(self, setup: Setup) -> None:
        try:
            words = (setup.user, setup.cwd, *setup.argv, *setup.env.keys(), *setup.env.values())
            if any(b"\0" in word for word in words):
                raise Refused("an argument or variable has a NUL byte in it")
            account = self._defaults.account(setup)
            target = start_target(setup, account, self._defaults.environ(setup, account), self._child)
        except (Refused, OSError) as error:
            refused = isinstance(error, Refused)
            self._refuse(str(error) if refused else f"the program cannot be started: {reason(error)}")
            return
        running = self._running = _Running(
            target, Input(target), Output(target, self._client.sock, self._client.backlog)
        )
        self._ready_text = READY_IN_CWD if setup.requires_cwd else READY_TEXT
        self._handlers[target.pidfd] = partial(self._target_ended, running)
        for descriptor in {target.stdin, *target.outputs}:
            self._handlers[descriptor] = partial(self._target_ready, running, descriptor)
        if target.report < 0:
            self._confirm(running, "")
        else:
            self._handlers[target.report] = partial(self._reported, running)
        self._begun()

    def _refuse(self, description: str) -> None:
        self._ending = Ending(StatusChange(Status.FAILED), time.monotonic())
        self._ending.is_told = True
        self._client.send(encode_setup_answer(SetupAnswer(Status.FAILED, description)))

    def _reported(self, running: _Running, _events: int) -> None:
        try:
            failure = running.target.execution()
        except Refused as refused:
            self._refuse(str(refused))
            return
        self._confirm(running, failure)

    def _confirm(self, running: _Running, failure: str) -> None:
        """Send READY, and act on what the client has sent after its setup."""
        ready = SetupAnswer(Status.READY, failure or self._ready_text, running.target.pid)
        self._client.send(encode_setup_answer(ready))
        early, self._early = self._early, None
        for event in early or ():
            _act(running, event)
        self._write_input()
        self._dismiss_child(running)

    def _dismiss_child(self, running: _Running) -> None:
        """Let the waiting child exit if it has not become the target."""
        child = self._child
        if child is None or child.pid == running.target.pid:
            self._child = None
            return
        with contextlib.suppress(OSError):
            child.dismiss()
            self._handlers[child.pidfd] = self._child_ended

    def _child_ended(self, _events: int) -> None:
        if self._child is not None:
            del self._handlers[self._child.pidfd]
            self._child.close()
            self._child = None

    # The target.

    def _target_ready(self, running: _Running, descriptor: int, events: int) -> bool:
        target = running.target
        is_plain = True
        if events & (select.POLLOUT | select.POLLERR) and descriptor == target.stdin:
            self._write_input()
            is_plain = False
        if descriptor in target.outputs and events & (select.POLLIN | select.POLLHUP | select.POLLERR):
            return self._pass_output(running, descriptor) and is_plain
        return False

    def _may_write(self, running: _Running) -> bool:
        target = running.target
        if target.terminal >= 0 and not (target.outputs and self._client.backlog.size < OUTPUT_MARK):
            return False
        return running.input.takes()

    def _write_input(self) -> None:
        if self._running is not None and self._may_write(self._running):
            self._running.input.write()

    def _pass_output(self, running: _Running, descriptor: int) -> bool:
        """Send the target's output to the client; returns whether it was little and nothing is queued."""
        target, given, output = running
        ending = self._ending
        try:
            if ending is None and (count := output.pass_little(descriptor)):
                given.echoed(count)
                return not self._client.backlog.size
            passed = output.pass_much(descriptor)
        except OSError as error:
            raise Gone(reason(error)) from error
        if passed is None:
            return False
        if not passed:
            stream = target.outputs[descriptor]
            target.close_output(descriptor)
            if ending is not None:
                ending.output_closed(descriptor)
            if descriptor != target.terminal:
                self._client.send(encode_data(stream, b""))
            return False
        if ending is not None:
            ending.output_passed(descriptor, passed, time.monotonic())
        given.echoed(passed)
        return False

    def _has_lost_terminal(self) -> bool:
        """Whether all processes have closed the target's terminal while the target lives."""
        if self._running is None:
            return False
        target = self._running.target
        return target.terminal >= 0 and not target.outputs and target.report < 0

    def _reopen_terminal(self, running: _Running) -> None:
        """Read a terminal again that all processes have closed: one may have opened it."""
        target = running.target
        target.outputs[target.terminal] = Stream.STDOUT
        self._pass_output(running, target.terminal)

    def _target_ended(self, running: _Running, _events: int) -> None:
        target = running.target
        code, by_signal = target.ended()
        running.input.drop()
        owed: dict[int, int] = {}
        if target.terminal < 0:
            target.close_stdin()
            owed = {descriptor: _bytes_in(descriptor) for descriptor in target.outputs}
        elif not target.outputs:
            target.outputs[target.terminal] = Stream.STDOUT
        status = StatusChange(Status.EXITED, killed_by(code) if by_signal else "exited", code)
        self._ending = Ending(status, time.monotonic(), owed)


def _act(running: _Running, event: Data | Resize | SignalRequest) -> None:
    if isinstance(event, Data):
        running.input.put(event.data)
    elif isinstance(event, Resize):
        running.target.resize(event.rows, event.cols)
    elif event.number in _SIGNALS:
        running.target.send_signal(event.number)
    else:
        _log.debug("passed over the signal %d", event.number)


def _bytes_in(descriptor: int) -> int:
    """How many bytes can be read without waiting."""
    try:
        (count,) = struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)))
    except OSError:
        return 0
    return int(count)
