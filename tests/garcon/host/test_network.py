"""Address changes of a real interface (needs root; the test creates the interface)."""

from __future__ import annotations

import asyncio
import os
import subprocess
import uuid
from collections.abc import Iterator

import pytest

from garcon.host.network import AddressWatch, has_device, ipv4_address, wait_for_address


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=60)


@pytest.fixture
def device() -> Iterator[str]:
    if os.getuid() != 0:
        pytest.skip("making an interface needs root")
    name = f"gl{uuid.uuid4().hex[:8]}"
    _ip("link", "add", name, "type", "veth", "peer", "name", f"{name}p")
    _ip("link", "set", name, "up")
    try:
        yield name
    finally:
        _ip("link", "delete", name)


async def test_an_address_that_appears_and_changes_is_told(device: str) -> None:
    changes: asyncio.Queue[str | None] = asyncio.Queue()
    watch = AddressWatch(lambda: changes.put_nowait(ipv4_address(device)), device)
    await watch.start()
    try:
        _ip("address", "add", "192.0.2.1/32", "dev", device)
        assert await asyncio.wait_for(changes.get(), 60) == "192.0.2.1"
        _ip("address", "delete", "192.0.2.1/32", "dev", device)
        _ip("address", "add", "192.0.2.2/32", "dev", device)
        async with asyncio.timeout(60):
            while await changes.get() != "192.0.2.2":
                pass  # between the two commands there was no address
    finally:
        await watch.close()


async def test_an_address_is_waited_for(device: str) -> None:
    assert not await wait_for_address(0.05, device)
    asyncio.get_running_loop().call_later(0.1, _ip, "address", "add", "192.0.2.3/32", "dev", device)
    assert await wait_for_address(60, device)


async def test_a_device_that_does_not_exist_is_not_waited_for() -> None:
    assert not has_device("gl-none")
    assert not await wait_for_address(3600, "gl-none")
