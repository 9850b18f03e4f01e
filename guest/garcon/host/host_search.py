"""Waits for a host: one may be attached to a container that already runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from garcon.settings import NoHost, host_address
from guestlink.address import Address
from guestlink.config import Config

_DELAY = 2.0
"""Seconds between two polls while no host is configured or found."""


async def wait_for_host(config: Config, absent: Callable[[str], None]) -> Address:
    """The host's address.

    :param config: garcon's settings.
    :param absent: called with a sentence when there is no host; polling begins.
    """
    while True:
        try:
            return host_address(config)
        except NoHost as error:
            absent(error.message)
        while not _host_is_there(config):
            await asyncio.sleep(_DELAY)
        # A host mounts the token and its directory one after another, and the token alone looks like ChromeOS.
        await asyncio.sleep(_DELAY)


def _host_is_there(config: Config) -> bool:
    with contextlib.suppress(NoHost):
        return bool(host_address(config))
    return False
