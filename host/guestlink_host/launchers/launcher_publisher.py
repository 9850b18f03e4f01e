"""Keeps a container's launchers and icons on the disk in agreement with its last application list."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from guestlink.backoff import backoff
from guestlink.errors import GuestlinkError, reason
from guestlink.paths import atomic_write, private_directory
from guestlink.regular_file import read_regular
from guestlink.rpc import CallFailed
from guestlink_host.border.allowance import Allowance
from guestlink_host.border.container_log import ContainerLog
from guestlink_host.border.pictures.draw_protocol import ReceivedPicture
from guestlink_host.border.pictures.renderer import NoRenderer, Renderer, RendererFailed
from guestlink_host.containers.garcon_link import ICON_BATCH, GarconLink
from guestlink_host.launchers.applications import Application, from_json, read_applications, to_json
from guestlink_host.launchers.host_defaults import HostDefaults
from guestlink_host.launchers.icon_updates import DrawingTimeUsedUp, IconUpdates
from guestlink_host.launchers.icons import REQUESTS
from guestlink_host.launchers.launcher_files import DiskProblem, LauncherFiles, Stopped
from guestlink_host.launchers.launcher_names import LauncherNames
from guestlink_host.launchers.launcher_plan import plan
from guestlink_host.launchers.menu_names import look, menu_names, session_locales
from guestlink_host.names import file_stem

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

FIRST_RETRY, LAST_RETRY = 2.0, 60.0
"""Seconds until a failed write or icon request is repeated."""
_LIST_LIMIT = 64 * 1024 * 1024
"""Bytes of the file with a list that are read; it cannot have more."""
_PAUSE_LIMIT = 1.0
"""Longest pause after publishing, in seconds. The pause takes as long as publishing did."""
WORK_BURST, WORK_SHARE = 10.0, 0.05
"""Seconds of processor time that one container's lists and icons may cost the daemon at once, and in a second after
that; then its next list waits. The newest list counts, so nothing is lost."""
WORKERS = 2
"""Threads that publish at a time, for all containers together."""
_RESUME = 10.0
"""Seconds until the host goes on to write what a container's lists have made too many: fewer, larger steps."""


class LauncherPublisher:
    """The launchers of one container.

    It writes launchers at once, with the icons that it has; it writes new icons when garcon has sent them.

    :param container: its checked name.
    :param files: its files.
    :param renderer: draws its icons; closed with the publisher.
    :param state: the file that keeps its list over restarts.
    :param program: the words that start guestlink-host, for launchers.
    :param names: decides which launchers show their container's name.
    :param defaults: knows the MIME types that launchers carry by default.
    :param mime_allowed: whether launchers carry every MIME type, and so may become the host's default applications.
    :param offers_uninstall: whether launchers offer to uninstall, where that is possible.
    :param workers: limits the threads of all publishers together, to :data:`WORKERS`.
    :param changed: is called after files have changed.
    """

    def __init__(
        self,
        container: str,
        files: LauncherFiles,
        renderer: Renderer,
        state: Path,
        program: Sequence[str],
        names: LauncherNames,
        defaults: HostDefaults,
        workers: asyncio.Semaphore,
        changed: Callable[[], None],
        *,
        mime_allowed: bool = False,
        offers_uninstall: bool = False,
    ) -> None:
        self.applications: dict[str, Application] = {}
        self.lists = 0
        self.renderer = renderer
        self._container = container
        self._log = ContainerLog(_log, container)
        self._files = files
        self._disk_problem = ""
        self._state = state
        self._program = list(program)
        self._names = names
        self._locales = session_locales(os.environ)
        self._defaults = defaults
        self._mime_allowed = mime_allowed
        self._offers_uninstall = offers_uninstall
        self._workers = workers
        self._work = Allowance(WORK_BURST, WORK_SHARE)
        self._cost = 0.0
        self._icons = IconUpdates(container, files, renderer, self._in_thread, self._log)
        self._changed = changed
        self._received: Iterable[Any] | None = None
        self._link: GarconLink | None = None
        self._new: set[str] = set()
        self._icons_wanted: dict[str, None] = {}
        """Ids whose icons to request, in this order."""
        self._every_icon = False
        self._has_old_icons = True
        self._unsaved = False
        self._failures = 0
        self._wanted = asyncio.Event()

    @property
    def problem(self) -> str:
        """Why launchers or icons are missing, as a sentence; ``""`` if none is."""
        return self._disk_problem or self.renderer.problem

    def restore(self) -> None:
        """Read the list of an earlier run from the disk."""
        try:
            self.applications = from_json(json.loads(read_regular(str(self._state), _LIST_LIMIT)))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, RecursionError) as error:
            self._log.warning("%s cannot be used: %s; the container will send its list again", self._state, error)
        self._names.join(self._container, self._wanted.set)
        self._names.update(self._container, self._looks(self.applications.values()))
        self._wanted.set()

    def submit(self, messages: Iterable[Any]) -> None:
        """Replace the list soon; if more lists come before that, the last one counts.

        :param messages: ``Application`` messages, unchecked.
        """
        self._received = messages
        self._wanted.set()

    def allow_mime(self, allowed: bool) -> None:
        """Set whether launchers carry every MIME type, and write them anew soon."""
        self._mime_allowed = allowed
        self._wanted.set()

    def defaults_changed(self) -> None:
        """Plan the launchers anew soon: the host's default applications have changed."""
        self._wanted.set()

    def connected(self, link: GarconLink | None) -> None:
        """Set the link for icon requests; ``None`` when garcon is gone."""
        self._link = link
        # Icons may have changed while there was no link.
        self._every_icon = link is not None
        if link is not None:
            self._wanted.set()

    async def stop(self) -> None:
        """Stop the work in other threads; no file changes after this."""
        await asyncio.to_thread(self._files.stop)

    async def close(self) -> None:
        """End the renderer. Call it after :meth:`run` has been cancelled."""
        await self.renderer.close()

    def leave(self) -> None:
        """Forget the container's names: the container is no longer in the registry."""
        self._names.forget(self._container)

    async def remove_files(self) -> None:
        """Remove every launcher and icon. Call it after :meth:`run` has been cancelled.

        :raises DiskProblem: a file cannot be removed.
        """
        await asyncio.to_thread(self._files.remove_all)
        self._changed()

    async def run(self) -> None:
        """Publish after each change, for ever."""
        loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._files.scan)
        await self._names.complete.wait()
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            began = loop.time()
            self._cost = 0.0
            try:
                await self._publish()
            except Stopped:
                return
            except (CallFailed, RendererFailed) as error:
                self._log.info("icons of %s are requested again: %s", self._container, error)
                self._disk_problem = ""  # Everything else is written.
                self._again()
            except DrawingTimeUsedUp as error:
                self._log.info("%s", error)
                loop.call_later(error.delay, self._wanted.set)
            except DiskProblem as error:
                if error.message != self._disk_problem:
                    self._log.error("%s; %s", error, error.hint)
                self._disk_problem = error.message
                self._again()
            except Exception:
                # Whatever a container has broken, its launchers stay.
                _log.exception("publishing the applications of %s failed", self._container)
                self._again()
            else:
                if self._disk_problem:
                    self._log.info("the launchers of %s are complete again", self._container)
                self._disk_problem = ""
                self._failures = 0
            pause = min(loop.time() - began, _PAUSE_LIMIT)
            if self._files.pause():
                self._wanted.set()
                pause = _RESUME
            await asyncio.sleep(max(pause, self._work.spend(self._cost, loop.time())))

    async def _in_thread(self, work: Callable[..., _T], *arguments: Any) -> _T:
        """Do work in a thread, and note its processor time."""
        async with self._workers:
            result, seconds = await asyncio.to_thread(_timed, work, *arguments)
        self._cost += seconds
        return result

    def _again(self) -> None:
        self._failures += 1
        delay = backoff(FIRST_RETRY, LAST_RETRY, self._failures)
        asyncio.get_running_loop().call_later(delay, self._wanted.set)

    async def _publish(self) -> None:
        if (received := self._received) is not None:
            self._received = None
            applications, faults = await self._in_thread(read_applications, received)
            looks = await self._in_thread(self._looks, applications.values())
            self._take(applications, faults, looks)
        await self._write_launchers()
        if self._has_old_icons:
            if await self._icons.replace_old():
                self._changed()
                await self._write_launchers()
            self._has_old_icons = False
        if self._unsaved and not self._files.pause():
            await self._in_thread(self._save)
            self._unsaved = False
        if self._every_icon:
            self._every_icon = False
            self._icons_wanted |= dict.fromkeys(self.applications)
        if self._files.pause():
            return  # Icons that cannot be written are not requested.
        if self._icons_wanted and (link := self._link) is not None:
            await self._fetch_icons(link)
            await self._write_launchers()

    def _take(self, applications: dict[str, Application], faults: Sequence[str], looks: Collection[str]) -> None:
        for fault in faults[:10]:
            self._log.info("%s: %s", self._container, fault)
        if len(faults) > 10:
            self._log.info("%s: %d more entries cannot be shown", self._container, len(faults) - 10)
        old = self.applications
        self.applications = applications
        self._names.update(self._container, looks)
        self.lists += 1
        self._new = {name for name in applications if name not in old or name in self._new}
        # Failed icons are requested again after the next list (chromeos-garcon.md §7.10), and so are all others,
        # because a list does not say which pictures have changed. New and changed applications come first.
        changed = [name for name, application in applications.items() if old.get(name) != application]
        wanted = dict.fromkeys([*changed, *self._icons_wanted, *applications])
        self._icons_wanted = {name: None for name in wanted if name in applications}
        self._unsaved = self._unsaved or applications != old
        self._log.info("%s has %d applications", self._container, len(applications))

    def _looks(self, applications: Iterable[Application]) -> set[str]:
        return {look(name) for application in applications for name in self._menu_names(application)}

    def _menu_names(self, application: Application) -> list[str]:
        return menu_names(application.names, self._locales)

    def _shows_container(self, application: Application) -> bool:
        return any(map(self._names.shows_container, self._menu_names(application)))

    async def _write_launchers(self) -> None:
        stems = self._files.icon_stems()
        # Assume that a new application has an icon: then its launcher is usually written only once.
        without_icon = {
            name
            for name in self.applications
            if name not in self._new and file_stem(self._container, name) not in stems
        }
        applications = list(self.applications.values())
        mime_types = None if self._mime_allowed else await asyncio.to_thread(self._defaults.types)
        shows = self._shows_container
        wanted = await self._in_thread(
            functools.partial(
                plan, offers_uninstall=self._offers_uninstall, host_classes=self._names.window_classes
            ),
            self._container, applications, self._program, without_icon, shows, mime_types,
        )  # fmt: skip
        if len(wanted) < len(applications):
            text = "only the first %d of %d launchers of %s are written: together they are too large"
            self._log.warning(text, len(wanted), len(applications), self._container)
        written, removed = await self._in_thread(self._files.write_launchers, wanted)
        if written or removed:
            self._log.info("%s: %d launchers written, %d removed", self._container, written, removed)
            self._changed()

    async def _fetch_icons(self, link: GarconLink) -> None:
        """Request the wanted icons and write them. After an error the rest stays wanted.

        :raises CallFailed: the container did not answer.
        :raises DrawingTimeUsedUp: the next picture has to wait.
        :raises RendererFailed: the renderer could not be started this time.
        """
        ids = list(self._icons_wanted)
        for start in range(0, len(ids), ICON_BATCH):
            batch = ids[start : start + ICON_BATCH]
            try:
                answers = [await link.icons(batch, size, scale) for size, scale in REQUESTS]
            except CallFailed as error:
                for name in batch:  # Request the others first.
                    self._icons_wanted[name] = self._icons_wanted.pop(name, None)
                if error.code == "UNIMPLEMENTED":
                    self._icons_wanted.clear()
                    return
                raise
            try:
                has_more = await self._update_icons(batch, answers)
            except NoRenderer as error:
                self._log.warning("%s; %s", error, error.hint)
                self._icons_wanted.clear()
                self._new.clear()
                return
            if has_more:
                return  # A newer list waits, or there is too much to write; request the rest after it.

    async def _update_icons(self, ids: Iterable[str], answers: Sequence[Mapping[str, tuple[bool, bytes]]]) -> bool:
        """Update icons from a container's answers; returns whether something else has to come before the rest."""
        has_changed = False
        try:
            for name in ids:
                if self._received is not None or self._files.pause():
                    return True
                pictures = [ReceivedPicture(*answer[name]) for answer in answers if name in answer]
                has_changed |= await self._icons.update(file_stem(self._container, name), pictures)
                self._icons_wanted.pop(name, None)
                self._new.discard(name)
        finally:
            if has_changed:
                self._changed()
        return self._received is not None or self._files.pause() > 0

    def _save(self) -> None:
        content = json.dumps(to_json(self.applications), ensure_ascii=False).encode()
        self._files.count(len(content))
        try:
            private_directory(self._state.parent)
            atomic_write(self._state, content, 0o600)
        except OSError as error:
            raise DiskProblem(
                f"the list of {self._container} cannot be kept: {reason(error)}",
                hint=f"make room in {self._state.parent}; guestlink-host tries again by itself",
            ) from error
        except GuestlinkError as error:
            raise DiskProblem(error.message, hint=error.hint) from error


def _timed(work: Callable[..., _T], *arguments: Any) -> tuple[_T, float]:
    """The result of work, and the seconds of processor time that the work took this thread."""
    began = time.thread_time()
    return work(*arguments), time.thread_time() - began
