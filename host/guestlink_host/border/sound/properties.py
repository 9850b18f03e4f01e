"""Which properties of clients, streams and devices cross the border, in both directions. No I/O.

Servers act on properties: ``filter.want`` makes PulseAudio load a module, and ``target.object`` or
``stream.capture.sink`` of PipeWire choose what a stream is linked to. So there are lists of those that may pass.
"""

from __future__ import annotations

import re

from guestlink_host.border.sound.tagstruct import FormatInfo, Properties
from guestlink_host.names import visible_line

_TEXT_LIMIT = 256
"""Characters of a text that the host's mixer shows."""
_JSON_LIMIT = 1024
"""Bytes of a property of a format."""
_TEXTS = frozenset(
    {
        "application.name",
        "application.version",
        "application.language",
        "application.process.binary",
        "media.name",
        "media.title",
        "media.artist",
        "media.copyright",
        "media.software",
        "media.language",
        "media.filename",
        "event.id",
        "event.description",
        "window.name",
    }
)
_ICONS = frozenset({"application.icon_name", "media.icon_name", "window.icon_name"})
_DEVICE_TEXTS = frozenset(
    {
        "device.description",
        "device.class",
        "device.icon_name",
        "device.form_factor",
        "device.intended_roles",
    }
)
_READABLE = _TEXTS | _ICONS | {"application.id"}
_ICON_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}")
CONTAINER = "guestlink.container"
"""The property with the container's name, for the host's mixer and rules."""
_RESTORE_ID = b"module-stream-restore.id"
"""The name under which PulseAudio remembers a stream's volume."""
_PCM = 1
"""The encoding that mixes with other streams; all others take the device for themselves."""
_NAME_KEYS = (b"application.id", b"application.name", b"application.process.binary", b"media.name")


def may_set(key: bytes) -> bool:
    """Whether a client may set or remove a property."""
    return _text(key, 64) in _TEXTS | _ICONS


def application_names(sent: Properties) -> Properties:
    """The properties of a client that name its application."""
    return {key: sent[key] for key in _NAME_KEYS if key in sent}


def for_server(sent: Properties, container: str, kind: str = "", client: Properties | None = None) -> Properties:
    """The properties of a container's client or stream, as the server gets them.

    The server remembers volumes by application; ``application.id`` and PulseAudio's own name for it get the
    container's name in front, so that a container changes no volume of the host's programs.

    :param kind: ``sink-input`` or ``source-output`` for a stream.
    :param client: for a stream, the properties that its client sent.
    """
    kept: Properties = {}
    for key, value in sent.items():
        name = _text(key, 64)
        if name in _TEXTS:
            text = visible_line(_text(value.removesuffix(b"\0"), 4 * _TEXT_LIMIT), _TEXT_LIMIT)
        elif name in _ICONS:
            text = _text(value.removesuffix(b"\0"), 128)
            text = text if _ICON_NAME.fullmatch(text) else ""
        else:
            continue
        if text:
            kept[key] = text.encode() + b"\0"
    sources = (sent, client or {})
    named = (source[key] for key in _NAME_KEYS for source in sources if source.get(key, b"\0").strip(b"\0"))
    application = visible_line(_text(next(named, b"").removesuffix(b"\0"), _TEXT_LIMIT), 64)
    identity = f"guestlink/{container}/{application}".encode() + b"\0"
    kept[b"application.id"] = identity
    if kind:
        kept[_RESTORE_ID] = f"{kind}-by-container:".encode() + identity
    kept[CONTAINER.encode()] = container.encode() + b"\0"
    return kept


def for_client(sent: Properties) -> Properties:
    """The properties of the container's own client or stream, as the container sees them."""
    return _only(sent, _READABLE)


def of_device(sent: Properties) -> Properties:
    """The properties of a device of the host, as the container sees them."""
    return _only(sent, _DEVICE_TEXTS)


def plain_formats(formats: list[FormatInfo]) -> list[FormatInfo]:
    """The formats that mix with other streams."""
    return [
        FormatInfo(
            each.encoding,
            {
                key: value
                for key, value in each.properties.items()
                if key.startswith(b"format.") and len(key) <= 64 and len(value) <= _JSON_LIMIT
            },
        )
        for each in formats
        if each.encoding == _PCM
    ]


def _only(sent: Properties, names: frozenset[str]) -> Properties:
    return {key: value for key, value in sent.items() if _text(key, 64) in names}


def _text(value: bytes, limit: int) -> str:
    return value[:limit].decode(errors="ignore") if b"\0" not in value[:limit] else ""
