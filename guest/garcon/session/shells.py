"""LaunchVshd: shell sessions, forked by a standby vshd (chromeos-garcon.md §6.1, chromeos-vsh.md §2.2).

garcon starts one standby vshd, in its own service if there is a user manager. The standby vshd only forks to start
a session. When garcon exits, the sessions continue; the standby vshd then accepts no more requests, and exits after
its last session.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from garcon.session.launch_plan import feature_environ
from garcon.session.programs import Programs
from guestlink.address import Address
from guestlink.errors import GuestlinkError
from guestlink.suite_program import suite_program
from guestlink.tasks import TaskOwner
from guestlink.user_manager import StartFailed

_log = logging.getLogger(__name__)

_START_TIME = 10.0
"""Seconds until a new standby vshd must accept connections."""
_ANSWER_TIME = 5.0
"""Seconds for the answer to a request; a fork takes milliseconds."""
_TRY_AGAIN = 0.02
_LINE_LIMIT = 4096
_SOME_PORT = 1
"""A port to ask what kind of address sessions connect to."""


class Shells:
    """Starts shell sessions.

    :param programs: starts processes.
    :param runtime: our private directory.
    :param address: turns the port of a request into the address where the host's client listens.
    :param token_file: the container's token.
    :param handshake: returns whether a connection to this address begins with a proof of the token.
    """

    def __init__(
        self,
        programs: Programs,
        runtime: Path,
        address: Callable[[int], Address],
        token_file: str,
        handshake: Callable[[Address], bool],
    ) -> None:
        self._programs = programs
        self._socket = runtime / f"vshd-{os.getpid()}.sock"
        self._address = address
        self._token_file = token_file
        self._handshake = handshake
        self._tasks = TaskOwner("shells")
        self._starting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the standby vshd in the background, if vshd is installed."""
        if _vshd():
            self._start_standby()

    async def close(self) -> None:
        """Stop our tasks; the sessions continue."""
        await self._tasks.close()

    async def launch(self, port: int, features: Sequence[int] = ()) -> str:
        """Start a session, which connects to the host.

        :param port: the port of a LaunchVshd request.
        :param features: ContainerFeature values.
        :returns: why no session can start; ``""`` once a vshd has the request.
        """
        session = await self._programs.session_environ()
        environ = session | feature_environ(features, session)
        try:
            address = self._address(port)
            if not _vshd():
                raise StartFailed("guestlink-vshd is not installed in the container")
            if self._starting is not None:
                await asyncio.wait({self._starting}, timeout=_START_TIME)
            try:
                await self._request(address, environ)
            except (OSError, ValueError, EOFError) as error:
                _log.warning("the standby vshd does not answer (%s); starting one for this session", error)
                self._start_standby()
                words = [*_vshd(), f"--connect={address}", f"--token-file={self._token_file}"]
                words += ["--handshake"] if self._handshake(address) else []
                await self._programs.start("vshd", words, environ, None, is_shared=True)
        except (StartFailed, GuestlinkError) as error:
            _log.warning("cannot start a shell: %s", error)
            return str(error)
        return ""

    def _start_standby(self) -> None:
        if self._starting is None or self._starting.done():
            self._starting = self._tasks.start(self._run_standby(), name="start vshd")

    async def _run_standby(self) -> None:
        words = [*_vshd(), f"--standby={self._socket}", f"--until={os.getpid()}"]
        words += ["--handshake"] if self._wants_handshakes() else []  # it prepares for them
        try:
            await self._programs.start("vshd", words, {}, None, is_shared=True)
            async with asyncio.timeout(_START_TIME):
                while not await self._answers():
                    await asyncio.sleep(_TRY_AGAIN)
        except StartFailed as error:
            _log.warning("no vshd for shells: %s", error)
        except TimeoutError:
            _log.warning("vshd did not start within %g s", _START_TIME)

    def _wants_handshakes(self) -> bool:
        try:
            return self._handshake(self._address(_SOME_PORT))
        except GuestlinkError:
            return False

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_unix_connection(self._socket)
        except OSError:
            return False
        writer.close()
        return True

    async def _request(self, address: Address, environ: dict[str, str]) -> None:
        """Request a session from the standby vshd.

        :raises OSError: it does not run or is too slow.
        :raises EOFError: it closed the connection.
        :raises ValueError: its answer is not JSON.
        :raises StartFailed: it refused.
        """
        fields = {
            "address": str(address),
            "token_file": self._token_file,
            "handshake": self._handshake(address),
            "environ": environ,
        }
        async with asyncio.timeout(_ANSWER_TIME):
            reader, writer = await asyncio.open_unix_connection(self._socket, limit=_LINE_LIMIT)
            try:
                writer.write(json.dumps(fields).encode() + b"\n")
                await writer.drain()
                answer: Any = json.loads(await reader.readuntil(b"\n"))
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
        if not isinstance(answer, dict) or "ok" not in answer:
            raise StartFailed(str(answer.get("error", answer)) if isinstance(answer, dict) else "no answer")


def _vshd() -> list[str]:
    return suite_program("vshd", "vshd")
