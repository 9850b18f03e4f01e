"""Publishes applications and MIME types after each registration and after changes on disk."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from garcon.desktop.app_list import AppList, PublishedApplication
from garcon.desktop.app_messages import fit_list
from garcon.desktop.app_scanner import DEPTH_LIMIT, AppScanner
from garcon.desktop.coalesce import Coalescer
from garcon.desktop.data_directories import mime_directories
from garcon.desktop.icon_lookup import IconLookup, picture_names
from garcon.desktop.mime_cache import SIZE_LIMIT as MIME_CACHE_LIMIT
from garcon.desktop.mime_cache import BrokenMimeCache, merge_mime_maps, parse_mime_cache
from garcon.host.listener_client import HostRefused, HostUnavailable, NotRegistered
from garcon.services.package_owner import PackageOwners
from garcon.watch import DirectoryWatch
from garcon.watch_plan import Watched
from guestlink.backoff import backoff
from guestlink.errors import reason
from guestlink.regular_file import read_regular
from guestlink.tasks import TaskOwner

_log = logging.getLogger(__name__)

LIST_TIMEOUT = 60.0
"""Seconds for the call that sends a list; a host may need long for thousands of applications."""
THEME_DEPTH = 4
"""Levels of directories in a theme: size, context, and what applications add below them."""
FIRST_RETRY, LONGEST_RETRY = 1.0, 30.0
"""First and longest delay in seconds before a refused list is sent again, the same as for a registration."""


class Host(Protocol):
    """The host that gets the lists."""

    async def call(self, method: str, timeout: float | None = ..., **fields: Any) -> Any:
        """Call an RPC of ContainerListener; see :meth:`garcon.host.listener_client.ListenerClient.call`."""


class _Publication:
    """A list of which the host has a copy.

    :param send: reads and sends the whole list.
    """

    def __init__(self, send: Callable[[], Awaitable[None]]) -> None:
        self.coalescer = Coalescer()
        self.send = send
        self.failures = 0
        self.problem = ""


class ApplicationPublisher:
    """Keeps the host's lists of this container's applications and MIME types up to date.

    :param environ: the session's environment; after a change in it call :meth:`environ_changed`.
    :param host: the host that gets the lists.
    :param icon_theme: the configured theme, as for :class:`IconLookup`.
    :param owners: finds the packages of applications.
    :param can_uninstall: returns whether packages can be removed; only then are they published.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        host: Host,
        icon_theme: str = "",
        owners: PackageOwners | None = None,
        can_uninstall: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        self._environ = environ
        self._owners = owners
        self._can_uninstall = can_uninstall
        self._host = host
        self._scanner = AppScanner(environ)
        self._apps = _Publication(self._send_applications)
        self._mime = _Publication(self._send_mime_types)
        self._announced = False
        self._changed = asyncio.Event()
        self._tasks = TaskOwner("publisher")
        self._scanning = asyncio.Lock()
        self._looking_up = asyncio.Lock()
        self._watch = DirectoryWatch()
        self._icons = IconLookup(environ, icon_theme)
        self._icon_watch = DirectoryWatch()
        self._left_out = ""
        self.current = AppList((), {})

    @property
    def directories(self) -> list[str]:
        """The ``applications`` directories in search order."""
        return self._scanner.directories

    @property
    def pending_count(self) -> int:
        """The number of application lists that are still to be sent (chromeos-garcon.md §3.8)."""
        return self._apps.coalescer.pending_count

    @property
    def left_out(self) -> str:
        """A sentence about what did not fit into the list; ``""`` when everything did."""
        return self._left_out

    async def start(self) -> None:
        """Begin to watch the directories and to publish."""
        for place in self._places():
            self._watch.add(place.path, place.changed, depth=place.depth)
        self._watch.start()
        self._icon_watch.start()
        self._tasks.start(self._run(), name="publish after changes")

    async def close(self) -> None:
        """Stop watching and publishing."""
        await self._tasks.close()
        await self._watch.close()
        await self._icon_watch.close()

    def publish_everything(self) -> None:
        """Send every list now, because after a registration the host has none. No pending count is sent (§3.8)."""
        for publication in (self._apps, self._mime):
            publication.failures = 0
            publication.coalescer.again(asyncio.get_running_loop().time())
        self._changed.set()

    def environ_changed(self) -> None:
        """Watch the directories that the environment has now, and publish what is in them."""
        self._tasks.start(self._watch.replace(self._places()), name="watch other directories")
        self._apps_changed()
        self._mime_changed()

    async def rescan(self) -> AppList:
        """Read the directories now, without publishing."""
        async with self._scanning:
            self.current = await asyncio.to_thread(self._scanner.scan)
        return self.current

    def _places(self) -> list[Watched]:
        """The directories of applications and MIME types."""
        return [
            *(Watched(path, self._apps_changed, DEPTH_LIMIT) for path in self._scanner.directories),
            *(Watched(path, self._mime_changed) for path in mime_directories(self._environ)),
        ]

    def _apps_changed(self) -> None:
        if self._apps.coalescer.change(asyncio.get_running_loop().time()):
            self._tasks.start(self._send_pending_count(), name="send the pending count")
        self._changed.set()

    def _mime_changed(self) -> None:
        self._mime.coalescer.change(asyncio.get_running_loop().time())
        self._changed.set()

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            publications = (self._apps, self._mime)
            times = [time for each in publications if (time := each.coalescer.due()) is not None]
            try:
                async with asyncio.timeout_at(min(times)) if times else asyncio.timeout(None):
                    await self._changed.wait()
            except TimeoutError:
                pass
            if await self._publish_if_due(self._apps) and self._announced:
                await self._send_pending_count()
            await self._publish_if_due(self._mime)

    async def _publish_if_due(self, publication: _Publication) -> bool:
        loop, coalescer = asyncio.get_running_loop(), publication.coalescer
        if (due := coalescer.due()) is None or due > loop.time():
            return False
        coalescer.begin(loop.time())
        try:
            await publication.send()
        except NotRegistered:
            pass  # The next registration publishes every list.
        except (HostRefused, HostUnavailable) as error:
            if error.message != publication.problem:
                _log.warning("%s; the list is sent again", error)
            self._try_again(publication, error.message)
        except Exception:
            # An internal error in one list must not stop all publishing.
            _log.exception("internal error while a list was published; trying again")
            self._try_again(publication, "internal error")
        else:
            publication.failures = 0
            publication.problem = ""
        finally:
            coalescer.end()
        return True

    @staticmethod
    def _try_again(publication: _Publication, problem: str) -> None:
        publication.problem = problem
        publication.failures += 1
        delay = backoff(FIRST_RETRY, LONGEST_RETRY, publication.failures)
        publication.coalescer.again(asyncio.get_running_loop().time() + delay)

    async def _send_pending_count(self) -> None:
        """Send the pending count. A failure does no harm: every heartbeat sends the count again."""
        count = self.pending_count
        self._announced = count > 0
        try:
            await self._host.call("PendingUpdateApplicationListCalls", count=count)
        except (HostRefused, HostUnavailable) as error:
            _log.info("%s", error)

    async def _send_applications(self) -> None:
        current = await self.rescan()
        # Watch before sending: hosts request icons after the list, and no later change of an icon may be missed.
        await self._icon_watch.replace(await asyncio.to_thread(self._icon_paths, current))
        fitted = await asyncio.to_thread(fit_list, self._with_owners(current.applications))
        if fitted.left_out and fitted.left_out != self._left_out:
            _log.warning("%s", fitted.left_out)
        self._left_out = fitted.left_out
        await self._host.call("UpdateApplicationList", LIST_TIMEOUT, application=fitted.messages)
        _log.info("published %d applications", len(fitted.messages))
        self._tasks.start(self._find_owners(current.applications), name="find the packages of applications")

    def _with_owners(self, applications: Sequence[PublishedApplication]) -> list[PublishedApplication]:
        """The applications with the packages that are known; the list does not wait for the others."""
        if self._owners is None:
            return list(applications)
        return [one._replace(package_id=self._owners.known(one.path)) for one in applications]

    async def _find_owners(self, applications: Sequence[PublishedApplication]) -> None:
        """Look the packages up, and publish again if that brings news."""
        if self._owners is None or self._can_uninstall is None:
            return
        async with self._looking_up:
            paths = [one.path for one in applications] if await self._can_uninstall() else []
            if await self._owners.look_up(paths):
                self._apps.coalescer.again(asyncio.get_running_loop().time())
                self._changed.set()

    def _icon_paths(self, current: AppList) -> list[Watched]:
        """The paths where a change may mean another icon of an application.

        The list has no field for the icon: hosts request the icons again whenever they receive the list.
        """
        icons = {application.entry.icon for application in current.applications}
        matters, places = picture_names(icons), self._icons.places()
        files = [*places.settings, *(os.path.normpath(icon) for icon in icons if icon.startswith("/"))]
        return [
            *(Watched(path, self._apps_changed, THEME_DEPTH, matters) for path in places.themes),
            *(Watched(path, self._apps_changed, 0, matters) for path in places.directories),
            *(Watched(path, self._apps_changed) for path in sorted(files)),
        ]

    async def _send_mime_types(self) -> None:
        mappings = await asyncio.to_thread(self._read_mime)
        if mappings is not None:
            await self._host.call("UpdateMimeTypes", LIST_TIMEOUT, mime_type_mappings=mappings)

    def _read_mime(self) -> dict[str, str] | None:
        directories = mime_directories(self._environ)
        return merge_mime_maps(_read_mime_cache(f"{directory}/mime.cache") for directory in directories)


def _read_mime_cache(path: str) -> dict[str, str] | None:
    try:
        return parse_mime_cache(read_regular(path, MIME_CACHE_LIMIT + 1))
    except FileNotFoundError:
        return None
    except OSError as error:
        _log.warning("%s cannot be read: %s", path, reason(error))
    except BrokenMimeCache as error:
        _log.warning("%s is broken (%s); run update-mime-database", path, error)
    return None
