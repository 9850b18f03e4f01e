"""Publishes applications and MIME types: at once after a registration, and after changes on disk."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from garcon.app_list import Application, AppList
from garcon.app_messages import fit_list
from garcon.app_scanner import AppScanner
from garcon.data_directories import mime_directories
from garcon.host_link import HostLink, HostRefused, HostUnavailable
from garcon.mime_cache import SIZE_LIMIT as MIME_CACHE_LIMIT
from garcon.mime_cache import BrokenMimeCache, merge_mime_maps, parse_mime_cache
from garcon.package_owner import PackageOwners, installed_backend
from garcon.watch import DirectoryWatch
from guestlink.coalesce import Coalescer
from guestlink.regular_file import read_regular
from guestlink.tasks import TaskOwner

_log = logging.getLogger(__name__)

LIST_TIMEOUT = 60.0
"""Seconds for a whole list; a host that shows thousands of applications takes its time."""


class Publisher:
    """Keeps the host's picture of this container's applications and MIME types true.

    :param environ: the session's environment.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._scanner = AppScanner(environ)
        self._owners = PackageOwners(installed_backend())
        self._mime_directories = mime_directories(environ)
        self._apps = Coalescer()
        self._mime = Coalescer()
        self._changed = asyncio.Event()
        self._tasks = TaskOwner("publisher")
        self._scanning = asyncio.Lock()
        self._link: HostLink | None = None
        self._watch = DirectoryWatch()
        self._left_out = ""
        self.current = AppList((), {})

    @property
    def directories(self) -> list[str]:
        """The ``applications`` directories in search order."""
        return self._scanner.directories

    @property
    def pending_count(self) -> int:
        """How many lists are still to come (garcon.md §3.8)."""
        return self._apps.pending_count

    @property
    def applications(self) -> tuple[Application, ...]:
        """What the host is told, with the owners known now."""
        return tuple(
            application._replace(package_id=self._owners.known(application.path))
            for application in self.current.applications
        )

    @property
    def left_out(self) -> str:
        """A sentence about what did not fit; ``""`` when everything did."""
        return self._left_out

    def start(self, link: HostLink) -> None:
        """Begin to watch and to publish over a link."""
        self._link = link
        for directory in self._scanner.directories:
            self._watch.add(directory, self._apps_changed, recursive=True)
        for directory in self._mime_directories:
            self._watch.add(directory, self._mime_changed, recursive=False)
        self._watch.start()
        self._tasks.start(self._run(), name="publish after changes")

    async def close(self) -> None:
        """Stop watching and publishing."""
        await self._tasks.close()
        await self._watch.close()

    def publish_everything(self) -> None:
        """The host knows nothing of us: a registration is fresh. Without a pending count (garcon.md §3.8)."""
        self._tasks.start(self._publish_now(), name="publish after registration")

    async def rescan(self) -> AppList:
        """Read the directories now, without publishing."""
        async with self._scanning:
            self.current = await asyncio.to_thread(self._scanner.scan)
        return self.current

    async def _publish_now(self) -> None:
        if self._apps.pending_count:  # Scheduled before the host could be told.
            await self._tell_pending()
        await self._publish_apps()
        await self._publish_mime()

    def _apps_changed(self) -> None:
        if self._apps.change(asyncio.get_running_loop().time()):
            self._tasks.start(self._tell_pending(), name="tell the pending count")
        self._changed.set()

    def _mime_changed(self) -> None:
        self._mime.change(asyncio.get_running_loop().time())
        self._changed.set()

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            times = [time for coalescer in (self._apps, self._mime) if (time := coalescer.due()) is not None]
            try:
                async with asyncio.timeout_at(min(times)) if times else asyncio.timeout(None):
                    await self._changed.wait()
            except TimeoutError:
                pass
            if await self._publish_if_due(self._apps, self._publish_apps):
                await self._tell_pending()
            await self._publish_if_due(self._mime, self._publish_mime)

    async def _publish_if_due(self, coalescer: Coalescer, publish: Callable[[], Awaitable[None]]) -> bool:
        now = asyncio.get_running_loop().time()
        if (due := coalescer.due()) is None or due > now:
            return False
        coalescer.begin(now)
        try:
            await publish()
        except Exception:
            # One list that cannot be made must not be the last one.
            _log.exception("the list could not be published; the next change tries again")
        finally:
            coalescer.end()
        return True

    async def _tell_pending(self) -> None:
        await self._tell("PendingUpdateApplicationListCalls", count=self._apps.pending_count)

    async def _publish_apps(self) -> None:
        await self.rescan()
        await self._send_list()
        # Owners are looked up behind the list's back and published when they are known (garcon.md §3.7).
        paths = [application.path for application in self.current.applications]
        self._tasks.start(self._publish_owners(paths), name="look up package owners")

    async def _publish_owners(self, paths: list[str]) -> None:
        if await self._owners.look_up(paths):
            await self._send_list()

    async def _send_list(self) -> None:
        fitted = await asyncio.to_thread(fit_list, self.applications)
        if fitted.left_out and fitted.left_out != self._left_out:
            _log.warning("%s", fitted.left_out)
        self._left_out = fitted.left_out
        if await self._tell("UpdateApplicationList", application=fitted.messages):
            _log.info("published %d applications", len(fitted.messages))

    async def _publish_mime(self) -> None:
        mappings = await asyncio.to_thread(self._read_mime)
        if mappings is not None:
            await self._tell("UpdateMimeTypes", mime_type_mappings=mappings)

    def _read_mime(self) -> dict[str, str] | None:
        return merge_mime_maps(_read_mime_cache(f"{directory}/mime.cache") for directory in self._mime_directories)

    async def _tell(self, method: str, **fields: object) -> bool:
        """Tell the host, if it listens: after its return everything is told again."""
        assert self._link is not None
        try:
            await self._link.call(method, LIST_TIMEOUT, **fields)
        except HostUnavailable:
            return False
        except HostRefused as error:
            _log.warning("%s", error)
            return False
        return True


def _read_mime_cache(path: str) -> dict[str, str] | None:
    try:
        return parse_mime_cache(read_regular(path, MIME_CACHE_LIMIT + 1))
    except FileNotFoundError:
        return None
    except OSError as error:
        _log.warning("%s cannot be read: %s", path, (error.strerror or str(error)).lower())
    except BrokenMimeCache as error:
        _log.warning("%s is broken (%s); run update-mime-database", path, error)
    return None
