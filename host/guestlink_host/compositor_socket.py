"""Carries the host compositor's socket into containers' directories.

A hard link is a second name of the same socket: it works through a directory that is carried into a container,
where a symbolic link would lead nowhere, and costs nothing per connection. A compositor that is started again makes
a new socket, so the links are compared from time to time.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Mapping
from pathlib import Path

_log = logging.getLogger(__name__)

NAME = "wayland-0"
INTERVAL = 5.0
"""Seconds between two looks at the compositor's socket."""


class CompositorSocket:
    """The compositor that containers may use.

    :param setting: ``auto`` for the session's compositor, ``off`` for none, or the path of a socket.
    :param environ: the session's environment.
    """

    def __init__(self, setting: str, environ: Mapping[str, str] = os.environ) -> None:
        self._source = _source(setting, environ)
        self._said = ""

    @property
    def wanted(self) -> bool:
        """Whether there is a socket to carry."""
        return self._source is not None

    def carry(self, directory: Path) -> None:
        """Give a container's directory the socket that the compositor has now; remove the one that it had."""
        if self._source is None:
            return
        target = directory / NAME
        try:
            status = self._source.stat()
        except OSError:
            # The compositor is away: a socket that nobody serves refuses connections, which is the right answer.
            return
        try:
            if target.exists() and os.path.samestat(target.stat(), status):
                return
            temporary = directory / f".{NAME}.new"
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
            os.link(self._source, temporary)
            os.replace(temporary, target)
        except OSError as error:
            problem = f"{self._source} cannot be carried into {directory}: {(error.strerror or str(error)).lower()}"
            if problem != self._said:
                _log.warning("%s; windows of the container cannot be shown", problem)
                self._said = problem


def _source(setting: str, environ: Mapping[str, str]) -> Path | None:
    if setting == "off":
        return None
    name = environ.get("WAYLAND_DISPLAY", "") if setting == "auto" else setting
    if not name:
        return None
    return Path(environ.get("XDG_RUNTIME_DIR", "/"), name)
