"""One session from the client's side: terminal, pipes and signals on one end, a vshd on the other
(chromeos-vsh.md §3).

One poll loop that never blocks on one descriptor: it reads while it writes. ChromeOS's vsh does not, and can
deadlock (chromeos-vsh.md §3.12).
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from guestlink.backlog import Backlog
from guestlink.errors import GuestlinkError, reason, report
from guestlink.vsh import (
    NO_CWD,
    READY_TEXT,
    Bytes,
    ClientProtocol,
    Data,
    ProtocolError,
    Setup,
    SetupAnswer,
    Status,
    StatusChange,
    Stream,
    death_signal,
    encode_data,
    encode_much_data,
    encode_resize,
    encode_setup,
    encode_signal,
)
from guestlink_host.vsh.escape import DISCONNECT, HELP, SUSPEND, EscapeFilter, help_text
from guestlink_host.vsh.output_stream import OutputStream
from guestlink_host.vsh.terminal import Terminal, window_size

BROKEN = 123
"""Exit status if the session breaks after READY (chromeos-vsh.md §3.14)."""
READY_TIMEOUT = 30.0
"""Seconds for the answer to the setup."""
HIGH_WATER = 256 * 1024
"""Bytes queued in one direction; with more, vsh stops reading the source."""
_READ = 64 * 1024
_FORWARDED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
_FATAL = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGXCPU)
"""Other signals that end a process: the terminal is restored first."""


class _Over(Exception):
    """The session has ended.

    :ivar status: the exit status.
    :ivar why: the message for the user, or ``""``.
    :ivar at_once: drop the queued output instead of waiting for a slow reader.
    """

    def __init__(self, status: int, why: str = "", *, at_once: bool = False) -> None:
        super().__init__(status)
        self.status = status
        self.why = why
        self.at_once = at_once


class ClientSession:
    """A session over a connection.

    :param sock: connected to a vshd that waits for our setup; closed by :meth:`run`.
    :param setup: what to run.
    :param terminal: our terminal, if the session has one and it is our standard input; else ``None``.
    :param escape: the escape character's byte; used only with a terminal.
    :param broken: the exit status if the session breaks.
    :param background: fork when the session has begun: the parent exits, the child continues.
    :param first_input: bytes that the command reads before standard input.
    """

    def __init__(
        self,
        sock: socket.socket,
        setup: Setup,
        terminal: Terminal | None,
        escape: int | None,
        *,
        broken: int = BROKEN,
        background: bool = False,
        first_input: bytes = b"",
    ) -> None:
        self._sock = sock
        self._broken_status = broken
        self._background = background
        self._first_input = first_input
        self._setup = setup
        self._protocol = ClientProtocol()
        self._terminal = terminal
        self._escape = EscapeFilter(escape if terminal is not None else None)
        self._escape_character = escape or 0
        self._backlog = Backlog()
        self._size = (setup.rows, setup.cols)
        self._ready = False
        self._closed = False
        self._input_open = True
        self._terminated = False
        self._poller = select.poll()
        self._outputs: dict[int, OutputStream] = {
            Stream.STDOUT: OutputStream(1, self._poller),
            Stream.STDERR: OutputStream(2, self._poller),
        }
        self._masks: dict[int, int] = {}
        self._signals, self._wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def run(self) -> int:
        """Run the session until it ends.

        :returns: the exit status.
        :raises GuestlinkError: no session came about.
        """
        self._sock.setblocking(False)
        self._send([encode_setup(self._setup)])
        deadline = time.monotonic() + READY_TIMEOUT
        try:
            with self._handling_signals():
                while True:
                    self._turn(deadline)
        except _Over as over:
            return self._finish(over)
        finally:
            if self._terminal is not None:
                self._terminal.leave()
            self._sock.close()
            for output in self._outputs.values():
                output.close()
            os.close(self._signals)
            os.close(self._wakeup)

    def _finish(self, over: _Over) -> int:
        if not over.at_once:
            for output in self._outputs.values():
                output.finish()
        if self._terminal is not None:
            self._terminal.leave()
        if over.why:
            report("vsh", GuestlinkError(over.why))
        return over.status

    # -- one turn of the loop --------------------------------------------------------------------------------------

    def _turn(self, deadline: float) -> None:
        slow = any(output.queued >= HIGH_WATER for output in self._outputs.values())
        self._want(
            self._sock.fileno(), (0 if slow else select.POLLIN) | (select.POLLOUT if self._backlog.size else 0)
        )
        reading = self._input_open and self._ready and self._backlog.size < HIGH_WATER
        self._want(0, select.POLLIN if reading else 0)
        for output in self._outputs.values():
            output.watch()
        timeout = None
        if not self._ready and (timeout := (deadline - time.monotonic()) * 1000) <= 0:
            raise GuestlinkError(
                f"the shell server did not answer within {READY_TIMEOUT:g} s",
                hint="try again; if it stays so, restart garcon in the container",
            )
        ready = self._poller.poll(timeout)
        # Signals first: send the window's new size before the bytes that were typed into it.
        self._take_signals()
        for descriptor, events in ready:
            if descriptor == self._signals:
                continue
            if descriptor == self._sock.fileno():
                if events & select.POLLOUT:
                    self._flush()
                if events & ~select.POLLOUT:
                    self._receive()
            elif descriptor == 0:
                self._read_input()
            else:
                self._write_output()

    def _want(self, descriptor: int, mask: int) -> None:
        """Register a descriptor for poll(2). With an empty mask unregister it: poll would still report POLLHUP."""
        if mask == self._masks.get(descriptor, 0):
            return
        self._masks[descriptor] = mask
        if mask:
            self._poller.register(descriptor, mask)
        else:
            self._poller.unregister(descriptor)

    # -- from the vshd ---------------------------------------------------------------------------------------------

    def _receive(self) -> None:
        spaces = self._protocol.spaces()
        try:
            if spaces is None:
                data = self._sock.recv(HIGH_WATER)
                received = len(data)
            else:
                received = self._sock.recvmsg_into(spaces)[0]
        except BlockingIOError:
            return
        except OSError as error:
            raise self._broken(reason(error)) from error
        if not received:
            raise self._broken("the other side hung up")
        try:
            if spaces is None:
                self._handle(self._protocol.feed(data))
            else:
                self._handle(self._protocol.received(received), lent=True)
        except ProtocolError as error:
            self._handle(error.events)
            raise self._broken(f"the other side does not speak vsh: {error}") from error
        self._write_output()

    def _handle(self, events: Iterable[object], *, lent: bool = False) -> None:
        """Act on the vshd's messages.

        :param lent: the memory of the messages' data will be reused.
        """
        for event in events:
            if isinstance(event, Data):
                if (output := self._outputs.get(event.stream)) is None:
                    continue
                if event.data and lent:
                    output.put_lent(event.data)
                elif event.data:
                    output.put(event.data)
                else:
                    output.end()
            elif isinstance(event, StatusChange):
                self._change(event)
            elif isinstance(event, SetupAnswer):
                self._begin(event)

    def _begin(self, answer: SetupAnswer) -> None:
        if answer.status != Status.READY:
            hint = "name a directory that exists; a relative path begins at the home directory"
            raise GuestlinkError(
                _visible(answer.description) or "the other side refused the session",
                hint=hint if answer.description.startswith(NO_CWD) else "",
            )
        if self._setup.requires_cwd and answer.description == READY_TEXT:
            raise GuestlinkError(
                "the other side does not report whether it could enter the directory",
                hint="leave --cwd out and let the command change the directory: this vshd is not Guestlink's",
            )
        self._ready = True
        if self._first_input:
            self._send(encode_much_data(Stream.STDIN, self._first_input))
        if self._background:
            if os.fork():
                os._exit(0)
            os.setsid()
        if self._terminal is not None:
            self._terminal.enter()
            self._resize()

    def _change(self, change: StatusChange) -> None:
        if change.status == Status.EXITED:
            number = death_signal(change)
            raise _Over(128 + number if number else change.code & 0xFF)
        if change.status != Status.READY:
            raise self._broken(_visible(change.description) or f"the other side sent the status {change.status}")

    def _broken(self, why: str) -> Exception:
        if self._ready:
            return _Over(self._broken_status, f"the session broke: {why}")
        return GuestlinkError(f"no session came about: {why}")

    def _write_output(self) -> None:
        for output in self._outputs.values():
            output.write()
        if self._outputs[Stream.STDOUT].broken:
            raise _Over(128 + signal.SIGPIPE)  # The status of a program that SIGPIPE killed.

    # -- to the vshd -----------------------------------------------------------------------------------------------

    def _read_input(self) -> None:
        try:
            data = os.read(0, _READ)
        except OSError:
            data = b""  # A terminal that hung up.
        if not data and self._terminal is not None:
            raise _Over(128 + signal.SIGHUP, at_once=True)
        if not data:
            self._input_open = False
            self._send([encode_data(Stream.STDIN, b"")])
            return
        for part in self._escape.feed(data):
            if isinstance(part, bytes):
                self._send(encode_much_data(Stream.STDIN, part))
            elif part == DISCONNECT:
                raise _Over(self._broken_status, "the session was ended from here", at_once=True)
            elif part == SUSPEND:
                self._suspend()
            elif part == HELP:
                self._outputs[Stream.STDOUT].put(help_text(self._escape_character).encode())
                self._write_output()

    def _send(self, buffers: Iterable[Bytes]) -> None:
        if self._closed:
            return
        for buffer in buffers:
            self._backlog.add(buffer)
        self._flush()

    def _flush(self) -> None:
        try:
            self._backlog.send(self._sock)
        except OSError:
            # The vshd accepts no more bytes; still read what it has sent, perhaps the exit status.
            self._closed = True
            self._input_open = False
            self._backlog.clear()

    # -- signals ---------------------------------------------------------------------------------------------------

    @contextmanager
    def _handling_signals(self) -> Iterator[None]:
        """Deliver signals to the loop; on signals that kill us, first restore the terminal."""
        noted = (*_FORWARDED, signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT)
        # The wakeup descriptor first: a signal between the two would be lost if the handlers came first.
        wakeup = signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        before = {number: signal.signal(number, lambda *_: None) for number in noted}
        before |= {number: signal.signal(number, self._die) for number in _FATAL}
        self._want(self._signals, select.POLLIN)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(wakeup)

    def _die(self, number: int, frame: FrameType | None) -> None:
        if self._terminal is not None:
            self._terminal.leave()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _take_signals(self) -> None:
        with suppress(BlockingIOError):
            for number in os.read(self._signals, 256):
                self._take_signal(number)

    def _take_signal(self, number: int) -> None:
        if number == signal.SIGWINCH:
            self._resize()
        elif number == signal.SIGTSTP:
            self._suspend()
        elif number == signal.SIGCONT:
            if self._terminal is not None:
                self._terminal.again()
                self._resize()
        elif number in _FORWARDED:
            if not self._ready or (number == signal.SIGTERM and self._terminated):
                raise _Over(128 + number, at_once=True)  # Do not wait for a command that ignores the first SIGTERM.
            self._terminated |= number == signal.SIGTERM
            self._send([encode_signal(number)])

    def _resize(self) -> None:
        size = window_size()
        if self._terminal is not None and self._ready and size != self._size and all(size):
            self._size = size
            self._send([encode_resize(*size)])

    def _suspend(self) -> None:
        """Stop this process: the shell that started us has the terminal until it continues us."""
        if self._terminal is not None:
            self._terminal.leave()
        handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, handler)
        if self._terminal is not None:
            self._terminal.enter()
            self._resize()


def _visible(text: str) -> str:
    """The vshd's text without control characters, which a terminal would act on."""
    return "".join(char if char.isprintable() else " " for char in text[:1000]).strip()
