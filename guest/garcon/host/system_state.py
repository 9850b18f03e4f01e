"""Whether the whole container is shutting down."""

from __future__ import annotations

import logging

from guestlink.process import run
from guestlink.program import CommandFailed

_log = logging.getLogger(__name__)

_ATTEMPTS = 3
"""Attempts at ``systemctl is-system-running``, which systemd may kill with the other processes of a service."""
_TIMEOUT = 5.0
"""Seconds for one ``systemctl is-system-running``; systemd is busy during a shutdown."""


async def system_is_stopping() -> bool:
    """Whether the container is shutting down, not only this service."""
    try:
        for _ in range(_ATTEMPTS):
            answer = await run(["systemctl", "is-system-running"], timeout=_TIMEOUT)
            if answer.status >= 0:
                break
            # To stop a service, systemd signals all its processes, and so may kill this systemctl.
    except CommandFailed as error:
        _log.warning("cannot tell whether the container is shutting down: %s", error)
        return False
    _log.debug("the system is %s", (answer.stdout or answer.stderr).decode(errors="replace").strip())
    return answer.stdout.strip() == b"stopping"
