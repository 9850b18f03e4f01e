"""A headless desktop with a keyboard and a pointer, and a proxy connected to it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from support.compositor import Compositor
from support.needs import need
from support.proxied import Proxied
from support.replay import Replay
from support.virtual_input import WlrootsInput


class Desktop(NamedTuple):
    """A compositor with input devices and a container side.

    :ivar given: the keyboard and the pointer, :ivar proxied: the container side.
    """

    compositor: Compositor
    given: WlrootsInput
    proxied: Proxied
    replay: Replay


@pytest.fixture
def make_desktop(tmp_path: Path) -> Iterator[Callable[..., Desktop]]:
    """A function that creates a desktop whose proxy has the given switches."""
    need("sway", "grim", "swaymsg", packages="sway grim")
    with ExitStack() as stack:

        def make(*switches: str, size: str = "1024x768") -> Desktop:
            # Socket paths have a maximum length, and the compositor's user cannot enter pytest's directories.
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="guestlink-")))
            compositor = stack.enter_context(Compositor(place / "compositor", size))
            given = stack.enter_context(WlrootsInput(compositor.socket, size))
            proxied = stack.enter_context(Proxied(compositor, place / "container", *switches))
            return Desktop(compositor, given, proxied, Replay(compositor, given, proxied, tmp_path))

        yield make


@pytest.fixture
def desktop(make_desktop: Callable[..., Desktop]) -> Desktop:
    """A desktop with a proxy without switches."""
    return make_desktop()


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory with a short path that other users can enter."""
    with tempfile.TemporaryDirectory(prefix="guestlink-") as directory:
        yield Path(directory)
