"""Gives each container a socket of PulseAudio's protocol, and guards it: :class:`SoundBorder` has one
:class:`ContainerSound` for each."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from guestlink.errors import GuestlinkError, reason
from guestlink.socket_directory import PULSE
from guestlink.tasks import TaskOwner
from guestlink_host.border.allowance import Allowance
from guestlink_host.border.open_requests import OpenRequests
from guestlink_host.border.policies import ALLOW, ASK, how_to_allow
from guestlink_host.border.repeat_count import RepeatCount
from guestlink_host.border.sound.belongings import Belongings
from guestlink_host.border.sound.relay import WORK_BURST, WORK_DEBT, WORK_RATE, SoundRelay
from guestlink_host.border.sound.session_server import SessionServer
from guestlink_host.containers.container_policies import ContainerPolicies
from guestlink_host.containers.guest import Guest

_log = logging.getLogger(__name__)

CONNECTIONS = 16
"""Connections of one container."""
ALL_CONNECTIONS, GUARANTEED = 40, 4
"""Connections of all containers, above which each has only a few; PulseAudio accepts 64, the host's included."""
ACCEPT_BURST, ACCEPT_RATE = 32, 10
"""Connections that one container may begin at once, and in a second after that."""
ANSWER_TIME = 25.0
"""Seconds that a recording waits for the user; programs wait 30 for the server (pulse/internal.h)."""
CONSENT_TIME = 60.0
"""Seconds after the user's yes in which the container may begin to record."""
_ACCEPT_PAUSE = 1.0
"""Seconds without new connections after one could not be accepted, for lack of descriptors for example."""
NO_PIPEWIRE = (
    "`sound = pipewire` is refused: sound that cannot be guarded is not carried, and PipeWire's own protocol "
    "cannot be guarded yet; containers play by PulseAudio's protocol"
)


class SoundTotals:
    """What all containers have together.

    :ivar connections: their connections.
    """

    def __init__(self) -> None:
        self.connections = 0


class ContainerSound:
    """One container's sound. Implements :class:`~guestlink_host.border.sound.conversation.SoundRules`.

    :param guest: the container.
    :param server: the session's sound server.
    :param policies: has ``sound`` and ``microphone``.
    :param questions: asks the user.
    :param totals: what all containers have.
    """

    def __init__(
        self,
        guest: Guest,
        server: SessionServer,
        policies: ContainerPolicies,
        questions: OpenRequests,
        totals: SoundTotals,
    ) -> None:
        self.container = guest.container.name
        self._guest = guest
        self._server = server
        self._policies = policies
        self._questions = questions
        self._totals = totals
        self._work = Allowance(WORK_BURST, WORK_RATE, WORK_DEBT)
        self._accepts = Allowance(ACCEPT_BURST, ACCEPT_RATE)
        self._belongings = Belongings()
        self._relays: set[SoundRelay] = set()
        self._repeats = RepeatCount()
        self._tasks = TaskOwner(f"sound of {self.container}")
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self._path: Path | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._consent_until = float("-inf")
        self._question: asyncio.Task[None] | None = None

    def listen(self, directory: Path, private: Path) -> None:
        """Serve a socket in the container's directory.

        :param private: a path for the socket until it can be used.
        :raises GuestlinkError: the socket cannot be made.
        """
        path = directory / PULSE
        try:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            self._socket.bind(str(private))
            # The directory's access control list decides who may connect.
            private.chmod(0o666)
            self._socket.listen(CONNECTIONS)
            private.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                private.unlink()
            raise GuestlinkError(f"the sound socket {path} cannot be made: {reason(error)}") from error
        self._path = path
        self._loop.add_reader(self._socket, self._accept)

    def close(self) -> None:
        """Stop: no socket, no connections."""
        if self._pause is not None:
            self._pause.cancel()
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()
        self.end()

    async def wait_closed(self) -> None:
        """Wait for the end of the tasks, after :meth:`close`."""
        await self._tasks.close()

    def end(self) -> None:
        """End every connection."""
        for relay in tuple(self._relays):
            relay.close()

    def end_consent(self) -> None:
        """Forget that the user has said yes."""
        self._consent_until = float("-inf")

    def end_recording(self) -> None:
        """End every recording."""
        for relay in tuple(self._relays):
            if relay.conversation.end_recording():
                relay.flush()
            else:
                relay.close()

    # -- SoundRules ------------------------------------------------------------------------------------------------

    def sound(self) -> bool:
        """Whether the policy lets the container use the sound server at all."""
        return self._policies.value(self.container, "sound") == ALLOW

    def microphone(self) -> str:
        """The policy in force; ``allow`` for a while after the user's yes."""
        policy = self._policies.value(self.container, "microphone")
        return ALLOW if policy == ASK and time.monotonic() < self._consent_until else policy

    def ask(self) -> None:
        """Ask the user whether the container may record; requests that come meanwhile wait for the same answer."""
        if self._question is None or self._question.done():
            self._question = self._tasks.start(self._ask(), name="question about the microphone")
        self._tasks.start(self._answer(self._question), name="answer about the microphone")

    def refused(self, what: str, key: str) -> None:
        """Write a refusal to the log and the events; a repeated one is counted."""
        hint = how_to_allow(self.container, key) if key else "the host lets no container do that"
        if line := self._repeats.line(f"{self.container} wanted to {what}; {hint}", time.monotonic()):
            self._guest.log.warning("%s", line)
            self._guest.event("refused", line)

    async def _ask(self) -> None:
        question = f"Let the container {self.container} record with the microphone?"
        try:
            await self._questions.permission(self._guest, "microphone", question)
        except GuestlinkError as error:
            self._write(f"{self.container} wanted to record: {error}")
        else:
            self._consent_until = time.monotonic() + CONSENT_TIME

    async def _answer(self, question: asyncio.Task[None]) -> None:
        """Answer the requests that wait; a later yes is good for the next ones."""
        await asyncio.wait({question}, timeout=ANSWER_TIME)
        for relay in tuple(self._relays):
            relay.conversation.answered(self.microphone() == ALLOW)
            relay.flush()

    # -- connections -----------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        assert self._socket is not None
        try:
            client, _ = self._socket.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):
            return
        except OSError as error:
            self._write(f"a connection of {self.container} for sound cannot be accepted: {reason(error)}")
            self._wait(_ACCEPT_PAUSE)
            return
        if pause := self._accepts.spend(1, time.monotonic()):
            self._wait(pause)
        count = len(self._relays)
        if count >= CONNECTIONS or (count >= GUARANTEED and self._totals.connections >= ALL_CONNECTIONS):
            client.close()
            self._write(f"{self.container} has {count} connections for sound and gets no more")
            return
        client.setblocking(False)
        self._totals.connections += 1
        self._relays.add(SoundRelay(client, self._server, self, self._belongings, self._work, self._ended))

    def _wait(self, pause: float) -> None:
        """Accept nothing for some seconds."""
        assert self._socket is not None
        self._loop.remove_reader(self._socket)
        self._pause = self._loop.call_later(pause, self._loop.add_reader, self._socket, self._accept)

    def _ended(self, relay: SoundRelay, why: str) -> None:
        self._relays.discard(relay)
        self._totals.connections -= 1
        if why:
            self._write(f"a connection of {self.container} for sound was closed: {why}")

    def _write(self, message: str) -> None:
        self._guest.log.warning("%s", message)


class SoundBorder:
    """The sound of all containers.

    :param setting: ``auto``, ``pipewire`` (which is refused with a sentence) or ``off``.
    :param private: a directory for new sockets, which no container sees.
    :param policies: has ``sound`` and ``microphone``.
    :param questions: asks the user about the microphone.
    :param environ: the session's environment, which says where the sound server is.
    """

    def __init__(
        self,
        setting: str,
        private: Path,
        policies: ContainerPolicies,
        questions: OpenRequests,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._setting = setting
        self._private = private
        self._policies = policies
        self._questions = questions
        self._server = SessionServer(environ)
        self._totals = SoundTotals()
        self._containers: dict[str, ContainerSound] = {}
        self._problems: dict[str, str] = {}
        self._tasks = TaskOwner("sound")
        policies.watch("sound", self._sound_changed)
        policies.watch("microphone", self._microphone_changed)

    async def start(self) -> None:
        """Say what the setting cannot do; containers are added one by one."""
        if self._setting == "pipewire":
            _log.warning("%s", NO_PIPEWIRE)

    async def close(self) -> None:
        """End all sound."""
        for container in self._containers.values():
            container.close()
            await container.wait_closed()
        self._containers.clear()
        await self._tasks.close()

    def add(self, guest: Guest, directory: Path) -> None:
        """Serve a container.

        :param directory: the container's directory.
        """
        if self._setting == "off":
            return
        name = guest.container.name
        self.remove(name)
        container = ContainerSound(guest, self._server, self._policies, self._questions, self._totals)
        try:
            container.listen(directory, self._private / f"sound-{len(self._containers)}")
        except GuestlinkError as error:
            self._problems[name] = error.message
            _log.warning("%s has no sound: %s", name, error)
        self._containers[name] = container

    def remove(self, name: str) -> None:
        """Stop to serve a container, if it is served."""
        self._problems.pop(name, None)
        container = self._containers.pop(name, None)
        if container is not None:
            container.close()
            self._tasks.start(container.wait_closed(), name=f"end {name}")

    def describe(self, name: str) -> dict[str, str]:
        """How a container plays: ``way`` (``pulseaudio`` or ``none``) and ``why``, a sentence."""
        if self._setting == "off":
            return {"way": "none", "why": "the host has set `sound = off`"}
        if problem := self._problems.get(name):
            return {"way": "none", "why": problem}
        if self._policies.value(name, "sound") != ALLOW:
            return {"way": "none", "why": f"the host's policy denies it; {how_to_allow(name, 'sound')}"}
        if not self._server.is_there:
            return {"way": "none", "why": "neither PulseAudio nor pipewire-pulse runs in the host's session"}
        why = NO_PIPEWIRE if self._setting == "pipewire" else "a filter on the host guards PulseAudio's protocol"
        return {"way": "pulseaudio", "why": why}

    def _sound_changed(self, name: str, value: str) -> None:
        if value != ALLOW and (container := self._containers.get(name)):
            container.end()

    def _microphone_changed(self, name: str, value: str) -> None:
        if container := self._containers.get(name):
            container.end_consent()
            if value != ALLOW:
                container.end_recording()
