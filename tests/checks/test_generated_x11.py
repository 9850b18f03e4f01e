"""The X11 messages match XCB's descriptions of the protocol."""

from __future__ import annotations

from pathlib import Path

from sommelier_shim.xwayland.x11 import messages
from support.needs import absent


def test_the_messages_are_up_to_date() -> None:
    from sommelier_shim.xwayland.x11.generate import SOURCES, generate

    if not (SOURCES / "xproto.xml").exists():
        absent("XCB's descriptions are missing: apt install xcb-proto")
    committed = Path(messages.__file__).read_text()
    assert committed == generate(), "run `python -m sommelier_shim.xwayland.x11.generate` and commit what it writes"
