"""A test's own connection to a bus."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dbus_fast.aio import MessageBus

LIMIT = 10.0


@asynccontextmanager
async def bus_connection(address: str) -> AsyncIterator[MessageBus]:
    """A connection, closed afterwards with its socket, which dbus-fast before 2 leaves to the garbage collector."""
    bus = await MessageBus(bus_address=address).connect()
    try:
        yield bus
    finally:
        with contextlib.suppress(Exception):  # It may be closed already; versions differ in what they raise then.
            bus.disconnect()
            await asyncio.wait_for(bus.wait_for_disconnect(), LIMIT)
        for name in ("_stream", "_sock"):
            if (held := getattr(bus, name, None)) is not None:
                held.close()
