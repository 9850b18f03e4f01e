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
import os
import select
import signal
import socket
import struct
import termios
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from guestlink.backlog import Backlog
from guestlink.errors import reason
from guestlink.vsh import (
    READY_IN_CWD,
    READY_TEXT,
    Data,
    ProtocolError,
    Resize,
    ServerProtocol,
    Setup,
    SetupAnswer,
    SignalRequest,
    Status,
    StatusChange,
    Stream,
    encode_data,
    encode_setup,
    encode_setup_answer,
    encode_status,
    killed_by,
)
from vshd.account import Account, Refused, choose_account
from vshd.environment import Environ, session_environ, target_environ
from vshd.input import Input
from vshd.login import login_environ
from vshd.output import Output
from vshd.target import Target, start_target, waiting_target
from vshd.terminfo import usable_term
from vshd.waiting_child import WaitingChild

_log = logging.getLogger(__name__)

SETUP_TIMEOUT = 10.0
"""Seconds in which a client must send its setup; ChromeOS's vshd waits for ever (chromeos-vsh.md §3.3)."""
QUIET_TIME = 0.1
"""Seconds without output after which a session ends although another process holds the target's pipes."""
GRACE_TIME = 0.5
"""Seconds for which output of another process is sent after the target has exited."""
HANG_UP_TIME = 3.0
"""Seconds between SIGHUP and SIGKILL for the target of a client that vanished."""
LINGER_TIME = 2.0
"""Seconds to wait for the client to disconnect after vshd has sent EXITED or FAILED."""
OUTPUT_MARK = 256 * 1024
"""Bytes queued for the client above which the target is not read."""
INPUT_MARK = 256 * 1024
"""Bytes queued for the target above which the client is not read, unless the client itself reads nothing."""
INPUT_LIMIT = 64 * 1024 * 1024
"""Bytes queued for the target above which the client is not read at all."""
_RECEIVE_SMALL, _RECEIVE_LARGE = 4 * 1024, 256 * 1024
"""Bytes of one receive, for a person's keys and for a flood; a large buffer costs time even if few bytes arrive."""
_ECHO_TIME = 0.005
"""Seconds without any output after which no echo is expected."""
_TERMINAL_RETRY = 0.25
"""Seconds between reads of a terminal that all processes have closed: one may open it again."""
_SIGNALS = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM})


class Surroundings(NamedTuple):
    """The daemon's defaults for a session.

    :ivar inherited: variables that the client's override; ``None`` in ChromeOS's modes without ``--inherit_env``.
    :ivar is_complete: ``inherited`` has all variables; the user manager need not be asked.
    :ivar default_user: for ``/vm_shell``.
    :ivar may_switch: whether a client may ask for another user.
    """

    inherited: Mapping[bytes, bytes] | None = None
    is_complete: bool = False
    default_user: str = "chronos"
    may_switch: bool = True


Handler: TypeAlias = Callable[[int], bool | None]
"""Handles the poll events of a descriptor; returns true if only keys or a few bytes of output have passed, so that
the poll set is unchanged."""


class _Gone(Exception):
    """The client has disconnected, or has sent something after which the session must end."""


class Session:
    """Serves one client.

    :param client: a connected socket, which the session closes.
    :param child: from :func:`rehearse`; it becomes the target.
    """

    def __init__(
        self, client: socket.socket, surroundings: Surroundings, child: WaitingChild | None = None
    ) -> None:
        client.setblocking(False)
        self._client = client
        self._child = child
        self._surroundings = surroundings
        self._protocol = ServerProtocol()
        self._target: Target | None = None
        self._to_client = Backlog()
        self._input: Input | None = None
        self._output: Output | None = None
        self._ready_text = READY_TEXT
        self._early: list[Data | Resize | SignalRequest] | None = []
        self._exit: StatusChange | None = None
        self._told_end = self._lingers = False
        self._deadline = time.monotonic() + SETUP_TIMEOUT
        self._last_word = 0.0
        self._owed: dict[int, int] = {}
        self._poll = select.poll()
        self._interests: dict[int, int] = {}
        self._shape: tuple[object, ...] = ()
        self._receive_size = _RECEIVE_SMALL
        self._handlers: dict[int, Handler] = {client.fileno(): self._client_ready}

    def run(self) -> None:
        """Serve until the session ends. SIGTERM or an internal error ends it like a client that disconnects."""
        signal.signal(signal.SIGTERM, self._leave)
        try:
            while not self._is_over():
                self._wait()
        except _Gone as gone:
            _log.debug("the client is gone: %s", gone)
            self._end_target()
        finally:
            if self._target is not None:
                self._target.close()
            elif self._child is not None:
                self._child.close()
            self._client.close()

    def _leave(self, _number: int, _frame: object) -> None:
        with contextlib.suppress(OSError):
            self._client.shutdown(socket.SHUT_RDWR)

    # The loop.

    def _wait(self) -> None:
        """Poll and handle the events; repeat while only a person's keys and their echo pass."""
        self._watch()
        limit = self._time_left()
        timeout = None if limit is None else limit * 1000
        while True:
            ready = self._poll.poll(timeout)
            if not ready and self._input is not None:
                self._input.echoes_no_more()
            is_plain = timeout is None
            for descriptor, events in ready:
                handler = self._handlers.get(descriptor)
                if handler is not None and descriptor in self._interests and not handler(events):
                    is_plain = False
            if not is_plain:
                return

    def _watch(self) -> None:
        shape = self._current_shape()
        if shape != self._shape:
            self._shape = shape
            wanted = self._wanted()
            for descriptor in self._interests.keys() - wanted.keys():
                self._poll.unregister(descriptor)
            for descriptor, events in wanted.items():
                if self._interests.get(descriptor) != events:
                    self._poll.register(descriptor, events)
            self._interests = wanted

    def _current_shape(self) -> tuple[object, ...]:
        """Everything that :meth:`_wanted` depends on; it rarely changes."""
        waiting, target, given = self._to_client.size, self._target, self._input
        sizes = (waiting > 0, waiting < OUTPUT_MARK, waiting < 2 * OUTPUT_MARK)
        if target is None or given is None:
            return sizes
        inward = (given.waiting > 0, given.waiting < INPUT_MARK, given.waiting < INPUT_LIMIT, given.awaits_echo)
        return (sizes, inward, target.report, target.stdin, len(target.outputs), self._exit is None)

    def _wanted(self) -> dict[int, int]:
        """The events to poll for now, by descriptor."""
        target, given = self._target, self._input
        waiting_out, waiting_in = self._to_client.size, given.waiting if given is not None else 0
        if target is not None and target.report >= 0:
            return {self._client.fileno(): 0, target.report: select.POLLIN}
        events = select.POLLIN if waiting_in < INPUT_MARK or (waiting_out and waiting_in < INPUT_LIMIT) else 0
        if waiting_out:
            events |= select.POLLOUT
        wanted = {self._client.fileno(): events}
        if target is None or given is None:
            return wanted
        if self._exit is None:
            wanted[target.pidfd] = select.POLLIN
        if waiting_out < (OUTPUT_MARK if target.terminal < 0 else 2 * OUTPUT_MARK):
            for descriptor in target.outputs:
                wanted[descriptor] = select.POLLIN
        if waiting_in and self._may_write(target, given):
            wanted[target.stdin] = wanted.get(target.stdin, 0) | select.POLLOUT
        return wanted

    def _time_left(self) -> float | None:
        if self._protocol.has_begun and self._exit is None:
            target = self._target
            lost = target is not None and target.terminal >= 0 and not target.outputs and target.report < 0
            if lost:
                return _TERMINAL_RETRY
            return _ECHO_TIME if self._input is not None and self._input.awaits_echo else None
        deadline = self._deadline
        if self._told_end:
            if self._to_client.size:
                return None  # a slow reader has unlimited time
        elif self._exit is not None:
            if self._owes():
                return None
            deadline = min(deadline, self._last_word + QUIET_TIME)
        return max(deadline - time.monotonic(), 0.0)

    def _is_over(self) -> bool:
        if self._exit is None:
            if not self._protocol.has_begun and time.monotonic() >= self._deadline:
                raise _Gone(f"it did not say within {SETUP_TIMEOUT:g} s what it wants")
            self._look_at_lost_terminal()
            return False
        now = time.monotonic()
        if not self._told_end and self._is_drained(now):
            self._tell_end()
        if not self._told_end or self._to_client.size:
            return False
        if not self._lingers:
            # Closing a socket that has unread bytes could drop the bytes that the client has not read yet.
            self._lingers, self._deadline = True, now + LINGER_TIME
            with contextlib.suppress(OSError):
                self._client.shutdown(socket.SHUT_WR)
        return now >= self._deadline

    # The client.

    def _client_ready(self, events: int) -> bool:
        if events & select.POLLOUT:
            self._flush()
        if not events & ~select.POLLOUT:
            return False
        spaces = self._protocol.spaces() if self._early is None else None
        try:
            if spaces is not None:
                received = self._client.recvmsg_into(spaces)[0]
            else:
                data = self._client.recv(self._receive_size)
                received = len(data)
        except BlockingIOError:
            return False
        except OSError as error:
            raise _Gone(reason(error)) from error
        if not received:
            raise _Gone("it hung up")
        if self._told_end:
            return False
        if spaces is None and self._typed(data):
            return self._input is not None and not self._input.waiting
        try:
            if spaces is not None:
                self._flooded(received)
                return False
            self._receive_size = _RECEIVE_LARGE if received >= _RECEIVE_SMALL else _RECEIVE_SMALL
            for event in self._protocol.feed(data):
                self._said(event)
        except ProtocolError as error:
            raise _Gone(f"it broke the protocol: {error}") from error
        self._write_input()
        return False

    def _typed(self, data: bytes) -> bool:
        """Fast path: write a person's keys to the target; returns whether that was possible."""
        target, given = self._target, self._input
        if target is None or given is None or given.waiting or self._early is not None or self._exit is not None:
            return False
        if not self._may_write(target, given) or not (keys := self._protocol.keys(data)):
            return False
        given.type(keys)
        return True

    def _flooded(self, count: int) -> None:
        given = self._input
        for event in self._protocol.received(count):
            if type(event) is not Data:
                self._said(event)
            elif given is not None and self._exit is None:
                given.put_lent(event.data)
        self._write_input()

    def _said(self, event: object) -> None:
        if type(event) is Data and self._early is None:
            self._act(event)
        elif isinstance(event, Setup):
            self._begin(event)
        elif isinstance(event, StatusChange):
            if event.status != Status.READY:
                raise _Gone(f"it said {event.status} {event.description}".rstrip())
        elif isinstance(event, Data | Resize | SignalRequest):
            if self._early is not None:
                self._early.append(event)
            else:
                self._act(event)
        else:
            _log.debug("passed over a message with nothing in it that is known")

    def _act(self, event: Data | Resize | SignalRequest) -> None:
        target = self._target
        if target is None or self._exit is not None:
            return
        if isinstance(event, Data):
            assert self._input is not None
            self._input.put(event.data)
        elif isinstance(event, Resize):
            target.resize(event.rows, event.cols)
        elif event.number in _SIGNALS:
            target.send_signal(event.number)
        else:
            _log.debug("passed over the signal %d", event.number)

    def _flush(self) -> None:
        try:
            self._to_client.send(self._client)
        except OSError as error:
            raise _Gone(reason(error)) from error

    # From the setup to the target.

    def _begin(self, setup: Setup) -> None:
        try:
            words = (setup.user, setup.cwd, *setup.argv, *setup.env.keys(), *setup.env.values())
            if any(b"\0" in word for word in words):
                raise Refused("an argument or variable has a NUL byte in it")
            surroundings = self._surroundings
            account = choose_account(setup, surroundings.default_user, surroundings.may_switch)
            environ = target_environ(self._session_environ(account), setup.env, account)
            environ[b"TERM"] = usable_term(environ)
            target = start_target(setup, account, environ, self._child)
        except (Refused, OSError) as error:
            refused = isinstance(error, Refused)
            self._refuse(str(error) if refused else f"the program cannot be started: {reason(error)}")
            return
        self._target, self._input = target, Input(target)
        self._output = Output(target, self._client, self._to_client)
        self._ready_text = READY_IN_CWD if setup.requires_cwd else READY_TEXT
        self._handlers |= {target.report: self._executed, target.pidfd: self._target_ended}
        for descriptor in {target.stdin, *target.outputs}:
            self._handlers[descriptor] = self._target_ready(descriptor)

    def _refuse(self, description: str) -> None:
        self._say(encode_setup_answer(SetupAnswer(Status.FAILED, description)))
        self._exit, self._told_end = StatusChange(Status.FAILED), True

    def _session_environ(self, account: Account) -> Environ:
        surroundings = self._surroundings
        if surroundings.inherited is None:
            return {}
        manager: Environ = {}
        if not surroundings.is_complete:
            manager = login_environ(account, surroundings.inherited)
        return session_environ(surroundings.inherited, manager, account)

    def _executed(self, _events: int) -> None:
        assert self._target is not None
        try:
            failure = self._target.execution()
        except Refused as refused:
            self._refuse(str(refused))
            return
        self._say(encode_setup_answer(SetupAnswer(Status.READY, failure or self._ready_text, self._target.pid)))
        early, self._early = self._early, None
        for event in early or ():
            self._act(event)
        self._write_input()

    # The target.

    def _target_ready(self, descriptor: int) -> Handler:
        def handler(events: int) -> bool:
            target = self._target
            assert target is not None
            is_plain = True
            if events & (select.POLLOUT | select.POLLERR) and descriptor == target.stdin:
                self._write_input()
                is_plain = False
            if descriptor in target.outputs and events & (select.POLLIN | select.POLLHUP | select.POLLERR):
                return self._pass_output(target, descriptor) and is_plain
            return False

        return handler

    def _may_write(self, target: Target, given: Input) -> bool:
        if target.terminal >= 0 and not (target.outputs and self._to_client.size < OUTPUT_MARK):
            return False
        return given.takes()

    def _write_input(self) -> None:
        if self._target is not None and self._input is not None and self._may_write(self._target, self._input):
            self._input.write()

    def _pass_output(self, target: Target, descriptor: int) -> bool:
        """Send the target's output to the client; returns whether it was little and nothing is queued."""
        assert self._output is not None
        assert self._input is not None
        try:
            is_little = self._exit is None and not self._output.floods(descriptor)
            if is_little and (count := self._output.pass_little(descriptor)):
                self._input.echoed(count)
                return not self._to_client.size
            passed = self._output.pass_much(descriptor)
        except OSError as error:
            raise _Gone(reason(error)) from error
        if passed is None:
            return False
        if not passed:
            self._output_ended(target, descriptor)
            return False
        self._last_word = time.monotonic() if self._exit is not None else 0.0
        if descriptor in self._owed:
            self._owed[descriptor] -= passed
        self._input.echoed(passed)
        return False

    def _output_ended(self, target: Target, descriptor: int) -> None:
        stream = target.outputs[descriptor]
        target.close_output(descriptor)
        self._owed.pop(descriptor, None)
        if descriptor != target.terminal:
            self._say(encode_data(stream, b""))

    def _look_at_lost_terminal(self) -> None:
        """Read a terminal again that all processes have closed while the target lives: one may have opened it."""
        target = self._target
        if target is not None and target.terminal >= 0 and not target.outputs and target.report < 0:
            target.outputs[target.terminal] = Stream.STDOUT
            self._pass_output(target, target.terminal)

    def _target_ended(self, _events: int) -> None:
        target = self._target
        assert target is not None
        code, by_signal = target.ended()
        description = killed_by(code) if by_signal else "exited"
        self._exit = StatusChange(Status.EXITED, description, code)
        if self._input is not None:
            self._input.drop()
        if target.terminal < 0:
            target.close_stdin()
        if target.terminal >= 0 and not target.outputs:
            target.outputs[target.terminal] = Stream.STDOUT
        self._last_word = time.monotonic()
        self._deadline = self._last_word + GRACE_TIME
        # Bytes in the pipes now are the target's own; the client gets all of them, whatever is appended later.
        if target.terminal < 0:
            self._owed = {descriptor: _bytes_in(descriptor) for descriptor in target.outputs}

    def _is_drained(self, now: float) -> bool:
        assert self._target is not None
        if not self._target.outputs:
            return True
        if self._owes():
            self._deadline = now + GRACE_TIME
            return False
        return now >= self._deadline or now - self._last_word >= QUIET_TIME

    def _owes(self) -> bool:
        """Whether the pipes still hold output of the target's own."""
        return any(left > 0 for left in self._owed.values())

    def _tell_end(self) -> None:
        assert self._exit is not None
        self._told_end = True
        self._say(encode_status(self._exit))

    def _say(self, *buffers: bytes | memoryview) -> None:
        try:
            self._to_client.send(self._client, buffers)
        except OSError as error:
            raise _Gone(reason(error)) from error

    def _end_target(self) -> None:
        """Stop the program of a client that has disconnected."""
        if self._target is not None and self._exit is None:
            self._target.end(HANG_UP_TIME)


def rehearse(surroundings: Surroundings) -> WaitingChild:
    """Run the start of a session without a client and without a program.

    This process then has its own copies of the memory pages that a session uses, so that no client waits for them.

    :returns: the child that will be the target; the session's process must be its parent.
    :raises OSError: there are no more processes or descriptors.
    """
    setup = Setup(env={b"TERM": b"linux"}, argv=(b"true",), rows=24, cols=80)
    ours, theirs = socket.socketpair()
    with ours, theirs, contextlib.suppress(Refused, OSError):
        session = Session(ours, surroundings)
        for event in session._protocol.feed(encode_setup(setup)):
            assert isinstance(event, Setup)
            account = choose_account(event, surroundings.default_user, surroundings.may_switch)
            environ = target_environ(session_environ({}, {}, account), event.env, account)
            usable_term(environ)
        session._watch()
        theirs.send(encode_setup_answer(SetupAnswer(Status.READY, READY_TEXT, os.getpid())))
        session._poll.poll(0)
        terminal, slave = os.openpty()
        os.close(slave)
        os.close(terminal)
    return waiting_target()


def _bytes_in(descriptor: int) -> int:
    """How many bytes can be read without waiting."""
    try:
        (count,) = struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)))
    except OSError:
        return 0
    return int(count)
