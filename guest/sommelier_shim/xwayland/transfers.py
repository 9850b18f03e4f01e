"""The pipes of a selection's transfers between the host and X programs."""

from __future__ import annotations

import os
from collections.abc import Callable

from sommelier_shim.daemon.loop import READABLE, WRITABLE, Loop, Timer
from sommelier_shim.xwayland.selections import PIECE, EndTransfer, SelectionAction, Taken, WriteData, XSelection

TRANSFER_TIME = 30.0
"""Seconds that a transfer may stand still."""


class Transfers:
    """The pipes of one selection.

    :param after: called when the selection has something to do or to send.
    """

    def __init__(self, loop: Loop, selection: XSelection, after: Callable[[], None]) -> None:
        self._loop = loop
        self._selection = selection
        self._after = after
        self._readers: dict[int, _Pipe] = {}
        self._writers: dict[int, _Pipe] = {}
        self._numbers = 0

    @property
    def are_done(self) -> bool:
        """Whether there is none."""
        return not self._readers and not self._writers

    def close(self) -> None:
        """Close the pipes."""
        for pipe in [*self._readers.values(), *self._writers.values()]:
            pipe.close()

    def send(self, descriptor: int, mime_type: str) -> None:
        """Write the data of the X program to a pipe of the host's, which is ours now."""
        self._numbers += 1
        os.set_blocking(descriptor, False)
        self._writers[self._numbers] = _Pipe(self._loop, descriptor, self, self._numbers, is_reader=False)
        self._selection.send(self._numbers, mime_type)
        self._loop.call_later(0, self._after)

    def receive(self, transfer: int) -> int:
        """Open a pipe for data of the host's; returns the end for the host."""
        ours, theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(theirs, True)
        self._readers[transfer] = _Pipe(self._loop, ours, self, transfer, is_reader=True)
        return theirs

    def apply(self, action: SelectionAction) -> None:
        """Do what the selection wants of a pipe."""
        match action:
            case WriteData(transfer=transfer, data=data):
                if (pipe := self._writers.get(transfer)) is not None:
                    pipe.write(data)
            case Taken(transfer=transfer):
                if (pipe := self._readers.get(transfer)) is not None:
                    pipe.moved()
            case EndTransfer(transfer=transfer):
                for pipes in (self._writers, self._readers):
                    if (pipe := pipes.get(transfer)) is not None:
                        pipe.end()
            case _:
                pass

    def read_on(self) -> None:
        """Read from the pipes whose X programs have room."""
        for transfer, pipe in list(self._readers.items()):
            pipe.read_on(self._selection.wants(transfer))

    def has_read(self, transfer: int, data: bytes) -> None:
        """A pipe of the host's has given data; none is the end."""
        self._selection.data(transfer, data)
        self._after()

    def has_written(self, transfer: int) -> None:
        """A pipe to the host has taken what it was given."""
        self._selection.written(transfer)
        self._after()

    def forget(self, transfer: int, *, is_broken: bool) -> None:
        """A pipe is closed."""
        self._readers.pop(transfer, None)
        self._writers.pop(transfer, None)
        if is_broken:
            self._selection.cancel(transfer)
            self._loop.call_later(0, self._after)


class _Pipe:
    """One end of a pipe, which the host has the other end of."""

    def __init__(
        self, loop: Loop, descriptor: int, transfers: Transfers, transfer: int, *, is_reader: bool
    ) -> None:
        self._loop = loop
        self._descriptor = descriptor
        self._transfers = transfers
        self._transfer = transfer
        self._is_reader = is_reader
        self._data = b""
        self._is_ending = self._is_closed = False
        self._is_watched = False
        self._timer: Timer | None = None
        self.moved()
        if is_reader:
            self._watch(wanted=True)

    def read_on(self, wanted: bool) -> None:
        """Read, or wait until the X program has taken what was read."""
        if self._descriptor >= 0:
            self._watch(wanted=wanted)

    def write(self, data: bytes) -> None:
        """Write data; :meth:`Transfers.has_written` follows."""
        self._data += data
        self._push()

    def end(self) -> None:
        """Close when everything is written."""
        self._is_ending = True
        if not self._data:
            self.close()

    def close(self, *, is_broken: bool = False) -> None:
        """Close at once."""
        if self._is_closed:
            return
        self._is_closed = True
        self._stop_reading()
        if self._timer is not None:
            self._timer.cancel()
        self._transfers.forget(self._transfer, is_broken=is_broken)

    def _stop_reading(self) -> None:
        """Close the descriptor. The program may still have to take the rest."""
        self._watch(wanted=False)
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def moved(self) -> None:
        """The transfer does not stand still."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(TRANSFER_TIME, lambda: self.close(is_broken=True))

    def _watch(self, *, wanted: bool) -> None:
        if wanted and not self._is_watched:
            self._loop.add(self._descriptor, READABLE if self._is_reader else WRITABLE, lambda _: self._ready())
        elif not wanted and self._is_watched:
            self._loop.remove(self._descriptor)
        self._is_watched = wanted

    def _ready(self) -> None:
        if not self._is_reader:
            self._push()
            return
        try:
            data = os.read(self._descriptor, PIECE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.moved()
        transfer = self._transfer
        if not data:
            self._stop_reading()
        self._transfers.has_read(transfer, data)

    def _push(self) -> None:
        try:
            written = os.write(self._descriptor, self._data) if self._data else 0
        except BlockingIOError:
            written = 0
        except OSError:
            self.close(is_broken=True)
            return
        if written:
            self.moved()
        self._data = self._data[written:]
        self._watch(wanted=bool(self._data))
        if self._data:
            return
        if self._is_ending:
            self.close()
        else:
            self._loop.call_later(0, lambda: self._transfers.has_written(self._transfer))
