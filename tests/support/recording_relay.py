"""A relay between two TCP addresses that records every byte, as somebody on the network could."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType

from guestlink.address import TcpAddress


class Recorded:
    """One connection's bytes, in each direction."""

    def __init__(self) -> None:
        self.from_dialer = bytearray()
        self.from_listener = bytearray()


class RecordingRelay:
    """Listens at an address, and relays each connection to another.

    :param address: where to listen.
    :param target: where to connect for each connection; ``None`` serves nobody, and sends ``says`` instead.
    :param says: what a server that relays nothing sends at once.
    :ivar connections: what was recorded, in the order of the connections.
    """

    def __init__(self, address: TcpAddress, target: TcpAddress | None, says: bytes = b"") -> None:
        self.connections: list[Recorded] = []
        self._target = target
        self._says = says
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(address)
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self) -> RecordingRelay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sock in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for sock in (self._listener, *self._open):
            sock.close()

    @property
    def everything(self) -> bytes:
        """Every recorded byte."""
        return b"\n".join(bytes(one.from_dialer + one.from_listener) for one in self.connections)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        recorded = Recorded()
        self.connections.append(recorded)
        self._open.append(connection)
        if self._target is None:
            with contextlib.suppress(OSError):
                connection.sendall(self._says)
            self._start(connection, None, recorded.from_dialer)
            return
        try:
            target = socket.create_connection(self._target)
        except OSError:
            connection.close()
            return
        self._open.append(target)
        self._start(connection, target, recorded.from_dialer)
        self._start(target, connection, recorded.from_listener)

    def _start(self, source: socket.socket, sink: socket.socket | None, record: bytearray) -> None:
        self._threads.append(threading.Thread(target=_copy, args=(source, sink, record)))
        self._threads[-1].start()


def _copy(source: socket.socket, sink: socket.socket | None, record: bytearray) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            record += data
            if sink is not None:
                sink.sendall(data)
    if sink is not None:
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
