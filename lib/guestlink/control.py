"""The control socket between a daemon and the short-lived commands of the same user.

One JSON object per line in each direction over a Unix socket: ``{"call": NAME, …}`` is answered by
``{"ok": {…}}`` or by ``{"error": SENTENCE, "hint": SENTENCE, "exit_code": N}``. Imports slow commands down, so this
module imports asyncio and logging only in the daemon.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from guestlink.address import UnixAddress
from guestlink.errors import GuestlinkError, not_utf8, reason
from guestlink.sockets import ConnectFailed, connect, listen, peer_of, same_user

if TYPE_CHECKING:
    import asyncio

LINE_LIMIT = 16 * 1024 * 1024
"""Bytes of one line: 10,000 applications with their names take about 3 MB as JSON."""
CONNECTION_LIMIT = 64
"""Connections at a time; a user needs fewer, and a runaway script is stopped."""

ONE_VERSION = "the command and the daemon may be of different versions: update both, then restart the daemon"
"""Advice for a call or a field that our own commands always send right."""

CallHandler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class DaemonNotRunning(GuestlinkError):
    """Nobody serves the control socket."""


class ControlClient:
    """A command's side of the socket. Blocking; one connection per call.

    :param path: the daemon's control socket.
    :param server: the user id that must serve the socket; ``None`` accepts any. Root connects as this user, because
        a daemon in a sandbox with a user namespace of its own cannot tell root from a stranger.
    :param daemon: the daemon's name and :param hint: how to start it, for the message when it is not running.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        server: int | None = None,
        daemon: str = "the daemon",
        hint: str = "",
    ) -> None:
        self._path = os.fspath(path)
        self._server = server
        self._daemon = daemon
        self._hint = hint

    def call(self, name: str, /, *, timeout: float | None = 70.0, **fields: Any) -> dict[str, Any]:
        """Send a call to the daemon and return its answer.

        :param timeout: seconds to wait for the answer; ``None`` waits for ever (a person chooses a file).
        :raises DaemonNotRunning: nobody listens.
        :raises GuestlinkError: the daemon refused, did not answer in time, or closed the connection.
        """
        try:
            with _acting_as(self._server):
                sock = connect(UnixAddress(self._path), timeout=10)
        except ConnectFailed as error:
            raise DaemonNotRunning(f"{self._daemon} is not running", hint=self._hint) from error
        with sock:
            if self._server is not None and (uid := peer_of(sock).uid) != self._server:
                raise GuestlinkError(
                    f"{self._path} is served by the user {uid} instead of {self._server}",
                    hint=f"remove it, and restart {self._daemon}",
                )
            sock.settimeout(timeout)
            try:
                with contextlib.suppress(BrokenPipeError):  # It may have refused us and closed already.
                    sock.sendall(json.dumps({"call": name, **fields}).encode() + b"\n")
                line = _read_line(sock, self._daemon)
            except TimeoutError as error:
                raise GuestlinkError(f"{self._daemon} did not answer within {timeout:g} s") from error
            except OSError as error:
                raise GuestlinkError(f"{self._daemon} broke off: {reason(error)}") from error
        answer = _decode(line)
        if answer is None:
            raise GuestlinkError(f"{self._daemon} went away before it answered", hint=self._hint)
        if "error" in answer:
            raise GuestlinkError(
                str(answer["error"]),
                hint=str(answer.get("hint", "")),
                exit_code=int(answer.get("exit_code", 1)),
            )
        result = answer.get("ok")
        return result if isinstance(result, dict) else {}


@contextlib.contextmanager
def _acting_as(uid: int | None) -> Iterator[None]:
    """Have another user's rights for a moment, if we are root and one is named."""
    if uid is None or os.geteuid() != 0:
        yield
        return
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)


def _read_line(sock: socket.socket, daemon: str) -> bytes:
    """The daemon's answer; without a newline if the daemon closed the connection before its end.

    :raises GuestlinkError: the answer is longer than :data:`LINE_LIMIT`.
    """
    received = bytearray()
    while not received.endswith(b"\n") and (chunk := sock.recv(1 << 16)):
        received += chunk
        if len(received) > LINE_LIMIT:
            raise GuestlinkError(
                f"the answer of {daemon} is longer than {LINE_LIMIT >> 20} MiB",
                hint="`journalctl --user` may show what is wrong with the daemon",
            )
    return bytes(received)


def _decode(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


class ControlServer:
    """A daemon's side of the socket.

    Serves this user and root only. Each connection has a task. If a handler raises :class:`GuestlinkError`, the
    answer is its message; any other exception is logged, and the answer is a general message.

    :param path: where to listen; a dead socket there is replaced.
    :param handlers: by call name; each gets the request's fields and returns the answer's.
    """

    def __init__(self, path: str | os.PathLike[str], handlers: Mapping[str, CallHandler]) -> None:
        self._path = os.fspath(path)
        self._handlers = dict(handlers)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to listen.

        :raises AddressInUse: a live daemon has the socket.
        """
        import asyncio

        sock = listen(UnixAddress(self._path))
        self._server = await asyncio.start_unix_server(self._serve, sock=sock, limit=LINE_LIMIT)

    async def close(self) -> None:
        """Stop listening, close every connection and remove the socket."""
        import asyncio

        if self._server is None:
            return
        self._server.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        for writer in list(self._writers):
            writer.close()
        for task in list(self._serving):
            task.cancel()
        if self._serving:
            await asyncio.wait(self._serving)
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        import asyncio

        task = asyncio.current_task()
        assert task is not None
        self._writers.add(writer)
        self._serving.add(task)
        try:
            refusal = same_user().refusal(peer_of(writer.get_extra_info("socket")))
            if refusal is None and len(self._writers) > CONNECTION_LIMIT:
                refusal = "too many commands at once"
            if refusal is not None:
                writer.write(_encode({"error": refusal}))
                await writer.drain()
                return
            while line := await reader.readline():
                writer.write(_encode(await self._answer(line)))
                await writer.drain()
        except (OSError, ValueError, asyncio.CancelledError):
            pass  # The command disconnected or sent an endless line, or we are closing.
        finally:
            self._writers.discard(writer)
            self._serving.discard(task)
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        request = _decode(line)
        name = request.pop("call", None) if request is not None else None
        handler = self._handlers.get(name) if isinstance(name, str) else None
        if request is None or handler is None:
            sentence = f"the daemon does not know the call {name!r:.80}"
            return {"error": sentence, "hint": ONE_VERSION}
        try:
            return {"ok": await handler(request)}
        except GuestlinkError as error:
            return _refusal(error)
        except UnicodeEncodeError as error:
            return _refusal(not_utf8(error))
        except Exception:
            import logging

            logging.getLogger(__name__).exception("the call %s failed", name)
            return {"error": f"the call {name} failed in the daemon", "hint": "its log says why"}


def _refusal(error: GuestlinkError) -> dict[str, Any]:
    return {"error": error.message, "hint": error.hint, "exit_code": error.exit_code}


def _encode(answer: dict[str, Any]) -> bytes:
    return json.dumps(answer).encode() + b"\n"
