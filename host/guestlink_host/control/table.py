"""The table of all commands and control calls.

The command line's parser, ``--help``, the shells' completions, the check of each call's fields, the lists in
docs/man/guestlink-host.1 and the list in docs/internals.md are made from it (packaging/command_lists.py).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from guestlink.control import ONE_VERSION
from guestlink.errors import GuestlinkError
from guestlink_host.control import (
    applications,
    attaching,
    candidates,
    containers,
    packages,
    ports,
    rights,
    serving,
    shells,
)
from guestlink_host.control.command import Call, Command

if TYPE_CHECKING:
    from guestlink_host.parts import HostParts

COMMANDS: tuple[Command, ...] = (
    *attaching.COMMANDS,
    *containers.COMMANDS,
    *applications.COMMANDS,
    *packages.COMMANDS,
    *rights.COMMANDS,
    *ports.COMMANDS,
    *shells.COMMANDS,
    *serving.COMMANDS,
    *candidates.COMMANDS,
)
"""Every command and control call, in the order of ``--help``."""


def handlers(parts: HostParts) -> dict[str, Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]]:
    """The daemon's handlers of all calls, by the call's name, for :class:`guestlink.control.ControlServer`."""
    return {command.name: partial(_serve, command.call, parts) for command in COMMANDS if command.call is not None}


async def _serve(call: Call, parts: HostParts, request: dict[str, Any]) -> dict[str, Any]:
    known = [field.name for field in call.fields]
    if unknown := sorted(request.keys() - known):
        raise GuestlinkError(f"the daemon does not know the field {unknown[0]!r:.80}", hint=ONE_VERSION)
    fields = {field.name: field.check(field.name, request.get(field.name)) for field in call.fields}
    return await call.serve(parts, **fields)
