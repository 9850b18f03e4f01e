"""Threads that touch shared folders: one for each container, because a folder may be a mount that does not answer.

A call into such a mount ends when the mount ends, even if nobody waits for the call any more. All containers and
the daemon's other parts share a few threads of :func:`asyncio.to_thread`, so such a call must keep none of those.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from guestlink_host.border.url_policy import UrlRefused

PATIENCE = 30.0
"""Seconds until a request for a shared file is refused; a copy of the largest file from a slow disk takes less."""

Result = TypeVar("Result")


class FolderThreads:
    """At most one thread for each container; further work of the same container waits for the thread."""

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Future[Any]] = {}

    async def run(self, container: str, work: Callable[[], Result], *, patience: float | None = None) -> Result:
        """Do work in the container's thread; the thread goes on if this call is cancelled, or is out of patience.

        :param patience: seconds for the wait and the work; ``None`` is for work that nobody waits for.
        :raises UrlRefused: the patience is over.
        """
        try:
            async with asyncio.timeout(patience):
                while (earlier := self._running.get(container)) is not None:
                    await asyncio.wait({earlier})
                return await asyncio.shield(self._start(container, work))
        except TimeoutError:
            raise UrlRefused(
                "a shared folder does not answer", hint="on the host, unmount it, or repair its connection"
            ) from None

    def _start(self, container: str, work: Callable[[], Result]) -> asyncio.Future[Result]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()

        def end(result: Result | None, error: BaseException | None) -> None:
            del self._running[container]
            if error is None:
                future.set_result(result)  # type: ignore[arg-type]
            else:
                future.set_exception(error)
                future.exception()  # Nobody may wait any more; that is no fault to report.

        def body() -> None:
            result: Result | None = None
            failure: BaseException | None = None
            try:
                result = work()
            except BaseException as error:
                failure = error
            with contextlib.suppress(RuntimeError):  # The daemon has ended.
                loop.call_soon_threadsafe(end, result, failure)

        # A daemon's thread does not keep the process from its exit.
        threading.Thread(target=body, name=f"folders of {container}", daemon=True).start()
        self._running[container] = future
        return future
