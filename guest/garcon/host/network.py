"""This container's addresses, and their changes by rtnetlink(7)."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import struct
from collections.abc import Callable

_RTMGRP_IPV4_IFADDR = 0x10
_SIOCGIFADDR = 0x8915
DEVICE = "eth0"
"""The interface whose address the host uses (chromeos-garcon.md §7.4)."""


def ipv4_address(device: str = DEVICE) -> str | None:
    """The IPv4 address of an interface, or ``None`` while it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sH14x", device.encode()[:15], socket.AF_INET)
        try:
            answer = fcntl.ioctl(sock, _SIOCGIFADDR, request)
        except OSError:
            return None
    return socket.inet_ntoa(answer[20:24])


def has_device(device: str = DEVICE) -> bool:
    """Whether the interface exists."""
    return any(name == device for _, name in socket.if_nameindex())


def has_network(global_ipv6: str = "/proc/net/if_inet6") -> bool:
    """Whether this container has an address that others may reach: any but the loopback's and link-local ones.

    :param global_ipv6: the kernel's list of IPv6 addresses, with their scope in the fourth column (0 is global).
    """
    if any(ipv4_address(name) for _, name in socket.if_nameindex() if name != "lo"):
        return True
    try:
        with open(global_ipv6) as stream:
            return any(fields[3] == "00" for line in stream if len(fields := line.split()) == 6)
    except OSError:
        return False


class AddressWatch:
    """Calls back when the IPv4 address of the interface has changed.

    :param changed: called in the event loop after the change, but not while the interface has no address.
    """

    def __init__(self, changed: Callable[[], None], device: str = DEVICE) -> None:
        self._changed = changed
        self._device = device
        self._address = ipv4_address(device)
        self._socket: socket.socket | None = None

    async def start(self) -> None:
        """Begin to watch. If netlink is not allowed, no change is detected."""
        try:
            sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        except OSError:
            return
        sock.bind((0, _RTMGRP_IPV4_IFADDR))
        sock.setblocking(False)
        self._socket = sock
        asyncio.get_running_loop().add_reader(sock, self._readable, sock)

    async def close(self) -> None:
        """Stop watching."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _readable(self, sock: socket.socket) -> None:
        # A message only means that something changed, and so does a lost message (ENOBUFS).
        with contextlib.suppress(BlockingIOError), contextlib.suppress(OSError):
            while sock.recv(65536):
                pass
        address = ipv4_address(self._device)
        if address != self._address:
            self._address = address
            if address is not None:
                self._changed()


async def wait_for_address(timeout: float, device: str = DEVICE) -> bool:
    """Wait until the interface has an IPv4 address.

    :param timeout: seconds.
    :returns: whether it has one now; without the interface, false at once.
    """
    if not has_device(device) or ipv4_address(device) is not None:
        return ipv4_address(device) is not None
    appeared = asyncio.Event()
    watch = AddressWatch(appeared.set, device)
    await watch.start()
    try:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(appeared.wait(), timeout)
    finally:
        await watch.close()
    return ipv4_address(device) is not None
