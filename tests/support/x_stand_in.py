"""A stand-in for an X server: what it says until a client is ready, and replies."""

from __future__ import annotations

import struct

from sommelier_shim.xwayland.x11.connection import Error, Event, Ready, Reply, X11Connection
from sommelier_shim.xwayland.x11.layout import encode
from sommelier_shim.xwayland.x11.messages import LAYOUTS, QueryExtensionReply, Screen, ServerSetup

SCREEN = Screen(77, 1, 0, 0, 0, 800, 600, 200, 150, 1, 1, 33, 0, False, 24, ())
SETUP = ServerSetup(1, 11, 0, 0, 1, 0x200000, 0x1FFFFF, 0, 0xFFFF, 0, 0, 32, 32, 8, 255, b"Xtest", (), (SCREEN,))
SHAPE = (130, 64)
"""The stand-in server's opcode and first event of SHAPE; it has BIG-REQUESTS with opcode 133, and no others."""


def setup() -> bytes:
    """The answer to the client's set-up."""
    body = encode(SETUP, LAYOUTS)
    body[6:8] = struct.pack("<H", (len(body) - 8) // 4)
    return bytes(body)


def reply(number: int, body: bytes) -> bytes:
    """A reply to a request.

    :param number: the request's.
    :param body: its fields: the header's second byte, then those behind the header.
    """
    body = body[:1] + bytes(7) + body[1:]
    body += bytes(max(32 - len(body), 0) + (-len(body) % 4 if len(body) > 32 else 0))
    return struct.pack("<BBHI", 1, body[0], number & 0xFFFF, (len(body) - 32) // 4) + body[8:]


def _extensions(conversation: bytes) -> list[str]:
    """The names in the QueryExtension requests of a client that has been accepted."""
    names = []
    while conversation:
        opcode, words, length = struct.unpack_from("<BxHH", conversation)
        assert opcode == 98
        names.append(conversation[8 : 8 + length].decode())
        conversation = conversation[words * 4 :]
    return names


def _begin() -> bytes:
    """What the stand-in server says until the client is ready; the client asks for the same on every run."""
    client = X11Connection()
    client.data_to_send()
    client.receive(setup())
    said, names = setup(), _extensions(client.data_to_send())
    for number, name in enumerate(names, 1):
        opcode, event = {"SHAPE": SHAPE, "BIG-REQUESTS": (133, 0)}.get(name, (0, 0))
        said += reply(number, bytes(encode(QueryExtensionReply(bool(opcode), opcode, event, 0), LAYOUTS)))
    return said + reply(len(names) + 1, struct.pack("<xI", 4_000_000))


BEGIN = _begin()


def meet(client: X11Connection) -> list[Ready | Reply | Event | Error]:
    """Be a server with every extension until a client is ready; returns what the client has received."""
    client.data_to_send()
    found = client.receive(setup())
    number, opcode = 0, 130
    while sent := client.data_to_send():
        place = 0
        while place < len(sent):
            number += 1
            if sent[place] == 98:
                answer = bytes(encode(QueryExtensionReply(True, opcode, opcode - 60, 0), LAYOUTS))
                opcode += 1
            else:
                answer = struct.pack("<xI", 4_000_000)
            found += client.receive(reply(number, answer))
            place += 4 * int.from_bytes(sent[place + 2 : place + 4], "little")
    return found
