"""Screens of desktops whose scales differ, pixel by pixel."""

from __future__ import annotations

from collections.abc import Sequence

from support.compositor import Compositor
from support.proxied import Proxied
from support.virtual_input import VirtualInput

SIZE = "1920x1200"
"""Of an output in pixels: 1.5, 1.6 and 2 divide it."""
_AWAY = (960, 1170)
"""Where the pointer rests."""


class Screen:
    """What a desktop's outputs show of one program that fills them.

    :param expected: what another desktop has shown without the proxy, look by look; None for that one.
    """

    def __init__(
        self,
        compositor: Compositor,
        given: VirtualInput,
        proxied: Proxied,
        expected: list[set[bytes]] | None = None,
    ) -> None:
        self.compositor = compositor
        self._given = given
        self._proxied = proxied
        self.looks: list[set[bytes]] = []
        self._expected = expected
        self._empty: set[bytes] = set()

    def start(self, argv: Sequence[str], *outputs: str) -> None:
        """Start a program and let it fill the first output.

        :param outputs: others that it will be on.
        """
        compositor = self.compositor
        for output in ("HEADLESS-1", *outputs):
            self._empty |= self._rest(output, set())
        self._proxied.program(*argv, through=self._expected is not None)
        compositor.wait("its window", compositor.windows)
        self._given.move(*_AWAY)
        before = self._rest("HEADLESS-1", set())
        compositor.sway("[app_id=.*] fullscreen enable")
        self.look(before=before)

    def click(self, x: int, y: int, button: int, times: int) -> None:
        """Click somewhere; the pointer rests elsewhere."""
        self._given.click(x, y, button, times)
        self._given.move(*_AWAY)
        self.look()

    def look(self, output: str = "HEADLESS-1", before: set[bytes] | None = None) -> None:
        """Wait until a program has done what it was told.

        :param before: what the output showed until then, if that was another look than the last.
        """
        if self._expected is None:
            self.looks.append(self._rest(output, self.looks[-1] if before is None else before))
            return
        expected = self._expected[len(self.looks)]
        self.compositor.wait("it looks as without a scale", lambda: self._pixels(output) in expected)
        self.looks.append(expected)

    def _pixels(self, output: str) -> bytes:
        """All rows but those that the pointer rests in: its picture is no whole number of units large."""
        picture = self.compositor.pixels(output)
        return picture[: len(picture) * 11 // 12]

    def _rest(self, output: str, before: set[bytes]) -> set[bytes]:
        """What an output shows once it has changed and does nothing but blink."""
        last: list[bytes] = []

        def still() -> bool:
            last.append(self._pixels(output))
            recent = set(last[-8:])
            return len(last) >= 8 and len(recent) <= 2 and not recent & (before | self._empty)

        self.compositor.wait("it stands still", still)
        return set(last[-8:])
