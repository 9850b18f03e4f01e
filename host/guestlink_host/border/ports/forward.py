"""A forward as the user names it: where programs connect, and where their connections lead. Pure."""

from __future__ import annotations

import ipaddress
from typing import Any, NamedTuple

from guestlink.errors import GuestlinkError
from guestlink.port_channel import LAST_PORT, LOCALHOST, TCP, UDP, UNIX, PortEndpoint, endpoint_from

FORWARD_LIMIT = 64
"""Forwards of one container that the user names."""
ANY = "*"
"""The host of a forward that listens on all addresses."""
_EXAMPLES = "write PORT, PORT:PORT, ADDRESS:PORT:PORT, or the path of a Unix socket in the place of a port"


class Forward(NamedTuple):
    """One forward.

    :ivar back: whether programs in the container connect to this machine; else the other way round.
    :ivar listen: where programs connect.
    :ivar target: where their connections lead.
    """

    back: bool
    listen: PortEndpoint
    target: PortEndpoint

    def __str__(self) -> str:
        udp = " (UDP)" if self.listen.kind == UDP else ""
        if self.back:
            return f"{self.listen} in the container to {self.target} here{udp}"
        return f"{self.listen} here to {self.target} in the container{udp}"

    def pack(self) -> list[Any]:
        """The fields as JSON has them."""
        return [self.back, list(self.listen), list(self.target)]


def forward_from(value: object) -> Forward:
    """A forward from what :meth:`Forward.pack` returns.

    :raises ValueError: it is none.
    """
    if not isinstance(value, list) or len(value) != 3 or not isinstance(value[0], bool):
        raise ValueError("a forward has a direction and two endpoints")
    listen, target = endpoint_from(value[1]), endpoint_from(value[2])
    if (listen.kind == UDP) != (target.kind == UDP):
        raise ValueError("UDP leads to UDP only")
    return Forward(value[0], listen, target)


def parse_forward(text: str, *, back: bool = False, udp: bool = False) -> Forward:
    """A forward as it stands on a command line: ``[HOST:]PORT[:TARGETPORT]``; a path that begins with / takes the
    place of a port.

    :param back: whether programs in the container connect to this machine.
    :raises GuestlinkError: this is none.
    """
    words = _split(text)
    host = LOCALHOST
    # Only the first of two or three words may name an address.
    if len(words) in (2, 3) and not _is_place(words[0]):
        host = _address(words.pop(0), text)
    if not words or len(words) > 2 or (len(words) == 1 and words[0].startswith("/")):
        raise GuestlinkError(f"{text!r:.80} is no forward", hint=_EXAMPLES)
    kind = UDP if udp else TCP
    listen, target = _endpoint(kind, host, words[0], text), _endpoint(kind, LOCALHOST, words[-1], text)
    if udp and UNIX in (listen.kind, target.kind):
        raise GuestlinkError(f"{text!r:.80} is no forward for UDP: a Unix socket is none", hint="leave out --udp")
    return Forward(back, listen, target)


def _split(text: str) -> list[str]:
    """The words between colons; an IPv6 address stands in brackets."""
    words: list[str] = []
    rest = text
    while True:
        if rest.startswith("[") and "]" in rest:
            word, _, rest = rest[1:].partition("]")
            if rest and not rest.startswith(":"):
                raise GuestlinkError(f"{text!r:.80} is no forward", hint=_EXAMPLES)
            more, rest = bool(rest), rest[1:]
        else:
            word, colon, rest = rest.partition(":")
            more = bool(colon)
        words.append(word)
        if not more:
            return words


def _is_place(word: str) -> bool:
    return word.startswith("/") or word.isdecimal()


def _address(word: str, text: str) -> str:
    if word == LOCALHOST:
        return LOCALHOST
    if word == ANY:
        return ANY
    try:
        return str(ipaddress.ip_address(word))
    except ValueError:
        raise GuestlinkError(
            f"{word!r:.80} in {text!r:.80} is no address",
            hint="write an IP address, IPv6 in brackets, or * for all addresses of the machine",
        ) from None


def _endpoint(kind: str, host: str, word: str, text: str) -> PortEndpoint:
    if word.startswith("/"):
        if host != LOCALHOST:
            raise GuestlinkError(f"{text!r:.80} is no forward: a Unix socket has no address", hint=_EXAMPLES)
        try:
            return endpoint_from([UNIX, word, 0])
        except ValueError as error:
            raise GuestlinkError(
                f"{word!r:.120} cannot be a socket's path", hint="paths have at most 107 bytes"
            ) from error
    if not word.isascii() or not word.isdecimal() or len(word) > 5 or not 1 <= int(word) <= LAST_PORT:
        raise GuestlinkError(f"{word!r:.80} in {text!r:.80} is no port", hint=f"ports are 1 to {LAST_PORT}")
    return PortEndpoint(kind, host, int(word))
