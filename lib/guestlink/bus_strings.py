"""Strings for dbus-fast before 2.11.1, Debian 12's among them.

Those versions write a string's length in characters where D-Bus counts bytes, and the bus drops the connection of a
client that sends such a message (Bluetooth-Devices/dbus-fast#261).
"""

from __future__ import annotations

import functools
from typing import Any


class ByteCounted(str):
    """A text with one character for each byte of its UTF-8 form; it encodes to those bytes."""

    __slots__ = ()

    def __new__(cls, text: str) -> ByteCounted:
        return super().__new__(cls, text.encode().decode("latin-1"))

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return super().encode("latin-1")


def sendable(body: list[Any]) -> list[Any]:
    """A message's body that the installed dbus-fast encodes correctly."""
    return [_counted(value) for value in body] if _miscounts() else body


def _counted(value: Any) -> Any:
    from dbus_fast import Variant

    if isinstance(value, str):
        return value if value.isascii() else ByteCounted(value)
    if isinstance(value, list):
        return [_counted(item) for item in value]
    if isinstance(value, dict):
        return {_counted(key): _counted(item) for key, item in value.items()}
    return Variant(value.signature, _counted(value.value)) if isinstance(value, Variant) else value


@functools.cache
def _miscounts() -> bool:
    try:
        from dbus_fast._private.marshaller import Marshaller
    except ImportError:  # A newer version, which counts bytes, has moved this module.
        return False
    return bytes(Marshaller("s", ["é"]).marshall())[:1] == b"\x01"
