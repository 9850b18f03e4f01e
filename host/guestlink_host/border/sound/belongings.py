"""What belongs to one container at the sound server: clients and streams of all its connections. No I/O."""

from __future__ import annotations

from collections import Counter

STREAM_LIMIT = 32
"""Streams of one container; PulseAudio mixes up to 256 on a device, of all programs together."""


class Belongings:
    """The server's indexes of a container's objects.

    Indexes are added when the server reports them and removed with their connection: PulseAudio and PipeWire give
    an index no second object, and the event about a stream's end comes after the stream.

    :ivar streams: streams that exist or have been requested.
    """

    def __init__(self) -> None:
        self.streams = 0
        self._known: dict[str, Counter[int]] = {
            "client": Counter(),
            "sink-input": Counter(),
            "source-output": Counter(),
        }

    def add(self, kind: str, index: int) -> None:
        """One more object.

        :param kind: ``client``, ``sink-input`` or ``source-output``.
        """
        self._known[kind][index] += 1

    def discard(self, kind: str, index: int) -> None:
        """The connection of an object has closed."""
        counter = self._known[kind]
        counter[index] -= 1
        if counter[index] <= 0:
            del counter[index]

    def has(self, kind: str, index: int) -> bool:
        """Whether an object is the container's."""
        return index in self._known[kind]

    def take_stream(self) -> bool:
        """Count one more stream; ``False`` if the container has :data:`STREAM_LIMIT`."""
        if self.streams >= STREAM_LIMIT:
            return False
        self.streams += 1
        return True

    def give_stream(self) -> None:
        """A stream has ended, or was not created."""
        self.streams -= 1
