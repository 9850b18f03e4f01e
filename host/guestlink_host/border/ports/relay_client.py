"""The daemon's end of a container's relay process: starts it, speaks with it, and starts it again when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import guestlink
import guestlink_host
from guestlink.child import Child
from guestlink.errors import GuestlinkError, reason
from guestlink.tasks import TaskOwner
from guestlink_host.border.ports.forward import Forward
from guestlink_host.containers.parked_connections import ParkedConnections

_log = logging.getLogger(__name__)

ANSWER_TIME = 15.0
"""Seconds for an answer; after that the process is killed and another one started."""
_CHANNEL_PAUSE = 0.2
"""Seconds between two looks for a connection that garcon has parked."""
_FIRST_PAUSE, _LAST_PAUSE = 0.1, 5.0
"""Seconds before a process that has ended is replaced."""
_END_TIME = 2.0
"""Seconds for the end of a process that is killed."""
_PACKET = 256 * 1024
_ROOTS = [str(Path(module.__file__ or "").parents[1]) for module in (guestlink, guestlink_host)]
_PROGRAM = (
    sys.executable,
    "-I",  # isolated: no variables, no directories of the user
    "-S",
    "-c",
    "import sys; sys.path[:0] = sys.argv[1:]\nfrom guestlink_host.border.ports.relay_process import main; main()",
    *dict.fromkeys(_ROOTS),
)


class RelayClient:
    """One container's relay process.

    :param container: its name, for messages.
    :param parked: the connections that its garcon parks for ports.
    :param event: gets the events of ports that open by themselves.
    """

    def __init__(
        self,
        container: str,
        parked: ParkedConnections,
        event: Callable[[str, str], None],
        program: Sequence[str] = _PROGRAM,
    ) -> None:
        self._container = container
        self._parked = parked
        self._event = event
        self._program = program
        self._wanted: dict[str, Any] = {"forwards": [], "auto": False}
        self._tasks = TaskOwner(f"ports of {container}")
        self._control: socket.socket | None = None
        self._child: Child | None = None
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._numbers = 0
        self._finding: asyncio.Task[None] | None = None
        self._failures = 0
        self._closed = False
        self._ending: set[Child] = set()

    @property
    def pid(self) -> int | None:
        """The process, while it runs."""
        return None if self._child is None else self._child.pid

    async def close(self) -> None:
        """End the process, and with it every connection."""
        self._closed = True
        self._end()
        await self._tasks.close()
        for child in tuple(self._ending):
            await child.wait(_END_TIME)
            child.abandon()

    def stop(self) -> None:
        """End the process; the next request starts another one."""
        self._wanted = {"forwards": [], "auto": False}
        self._end()

    async def set(self, forwards: Sequence[Forward], *, auto: bool) -> list[dict[str, Any]]:
        """Put forwards in force; returns their states, as :meth:`PortRelay.describe
        <guestlink_host.border.ports.relay.PortRelay.describe>` does.

        :raises GuestlinkError: the process does not answer.
        """
        self._wanted = {"forwards": [one.pack() for one in forwards], "auto": auto}
        answer = await self._request({"set": self._wanted})
        return list(answer["forwards"])

    async def ask(self) -> dict[str, Any]:
        """The states of the forwards, ``forwards``, and the container's listening ports, ``listening``.

        The latter is ``None`` if garcon does not tell.

        :raises GuestlinkError: the process does not answer.
        """
        return await self._request({"ask": True})

    async def _request(self, message: dict[str, Any]) -> dict[str, Any]:
        self.start()
        self._numbers += 1
        number = self._numbers
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        try:
            self._send({"id": number, **message})
            async with asyncio.timeout(ANSWER_TIME):
                return await answer
        except (TimeoutError, OSError) as error:
            _log.warning("the ports of %s are relayed anew: their process does not answer", self._container)
            self._end()
            self._replace()
            raise GuestlinkError(
                f"the ports of {self._container} do not answer now", hint="try again; a new process relays them"
            ) from error
        finally:
            self._answers.pop(number, None)

    def start(self) -> None:
        """Start the process, unless it runs.

        :raises GuestlinkError: it cannot be started.
        """
        if self._control is not None:
            return
        if self._closed:
            raise GuestlinkError(f"guestlink-host forgets {self._container}")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                process = subprocess.Popen(
                    self._program,
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    env={"LANG": "C.UTF-8"},
                    cwd="/",
                    start_new_session=True,
                )
        except OSError as error:
            ours.close()
            raise GuestlinkError(
                f"the ports of {self._container} cannot be relayed: {reason(error)}", hint="try again later"
            ) from error
        self._child = Child(process, self._ending.discard)
        ours.setblocking(False)
        self._control = ours
        asyncio.get_running_loop().add_reader(ours, self._readable)
        self._send({"id": 0, "set": self._wanted})

    def _send(self, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Send a packet; raises OSError if the process takes none."""
        if self._control is None:
            raise BrokenPipeError
        socket.send_fds(self._control, [json.dumps(message).encode()], list(descriptors))

    def _readable(self) -> None:
        assert self._control is not None
        try:
            data = self._control.recv(_PACKET)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end()
            self._replace()
            return
        message = json.loads(data)
        if "event" in message:
            self._event(message["event"], message["detail"])
        elif "need" in message:
            if self._finding is None or self._finding.done():
                self._finding = self._tasks.start(self._find_channel(), name="find a channel")
        else:
            self._failures = 0
            answer = self._answers.get(message["id"])
            if answer is not None and not answer.done():
                answer.set_result(message)

    async def _find_channel(self) -> None:
        while self._control is not None:
            try:
                connection = await self._parked.connect()
            except GuestlinkError:
                await asyncio.sleep(_CHANNEL_PAUSE)
                continue
            with connection, contextlib.suppress(OSError):
                self._send({"channel": True}, [connection.fileno()])
            return

    def _end(self) -> None:
        control, self._control = self._control, None
        if control is not None:
            asyncio.get_running_loop().remove_reader(control)
            control.close()
        child, self._child = self._child, None
        if child is not None:
            # Not waited for: a descriptor of the container's may keep it in a call of the kernel.
            child.kill_soon()
            self._ending.add(child)
        if self._finding is not None:
            self._finding.cancel()
            self._finding = None
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(BrokenPipeError())

    def _replace(self) -> None:
        if not self._closed and (self._wanted["forwards"] or self._wanted["auto"]):
            self._failures += 1
            self._tasks.start(self._start_again(), name="start again")

    async def _start_again(self) -> None:
        await asyncio.sleep(min(_FIRST_PAUSE * 2 ** (self._failures - 1), _LAST_PAUSE))
        if not self._closed:
            try:
                self.start()
            except (GuestlinkError, OSError) as error:
                _log.warning("%s", error)
                self._replace()
