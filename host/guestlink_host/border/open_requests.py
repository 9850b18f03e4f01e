"""Opens a container's URLs and terminals on the user's desktop: policy, and question to the user."""

from __future__ import annotations

import asyncio
import functools
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from urllib.parse import unquote, urlsplit

from guestlink.config import Config
from guestlink.errors import GuestlinkError
from guestlink.tasks import TaskOwner
from guestlink_host.border.desktop import OUTCOME_TIME, QUESTION_LIMIT, Answer, Desktop, DesktopFailed
from guestlink_host.border.folder_threads import PATIENCE, FolderThreads
from guestlink_host.border.opened_copies import OpenedCopies
from guestlink_host.border.policies import ALLOW, DENY, POLICIES, how_to_allow
from guestlink_host.border.question_pause import QuestionPause
from guestlink_host.border.shared_file import open_shared
from guestlink_host.border.url_policy import Share, file_url, translate_url
from guestlink_host.border.user_notifications import UserNotifications
from guestlink_host.containers.container_policies import ContainerPolicies
from guestlink_host.containers.guest import Guest
from guestlink_host.names import visible_line
from guestlink_host.settings import URL_SCHEMES

_SHOWN = 300
"""Characters of a URL in an event and a notification."""
_REFUSED = {"url": "open the link", "terminal": "open the terminal", "microphone": "let it record"}
"""What the user said no to, by the policy's key."""


class OpenRequests:
    """Decides by policy whether to open URLs and terminals.

    :param config: the settings.
    :param desktop: opens the URLs and terminals.
    :param copies: of shared documents are what it opens.
    :param threads: touch the shared folders.
    :param notifications: show failures that come after the answer to the container.
    :param policies: decide what a container may open.
    """

    def __init__(
        self,
        config: Config,
        desktop: Desktop,
        copies: OpenedCopies,
        threads: FolderThreads,
        notifications: UserNotifications,
        policies: ContainerPolicies,
    ) -> None:
        self._notifications = notifications
        self._config = config
        self._desktop = desktop
        self._copies = copies
        self._threads = threads
        self._tasks = TaskOwner("open requests")
        self._policies = policies
        self._asking: set[str] = set()
        self._pauses: defaultdict[str, QuestionPause] = defaultdict(QuestionPause)

    async def start(self) -> None:
        """Nothing runs before the first request."""

    async def close(self) -> None:
        """Cancel every question to the user."""
        await self._tasks.close()

    async def open_url(self, guest: Guest, text: str, count: Callable[[], None]) -> None:
        """Open a URL for a container; with the policy ``ask`` this waits two seconds for the user's answer.

        A later answer, and a failure of the opener after it, reach the events.

        :param count: is called for a request that the policy allows, and raises GuestlinkError above a limit.
        :raises GuestlinkError: the URL is refused; the message is for the container.
        """
        container = guest.container
        schemes: frozenset[str] = self._config[URL_SCHEMES]
        url = translate_url(text, schemes=schemes, ip=container.ip, shares=container.shares, name=container.name)
        is_file = url.startswith("file:")
        self._check_policy(guest, "url")
        if is_file:
            path = await self._threads.run(
                container.name, lambda: _checked_path(url, container.shares), patience=PATIENCE
            )
            url = file_url(path, url)
        question = f"Open this link from the container {guest.container.name}?\n\n{url[:QUESTION_LIMIT]}"
        shown = visible_line(url, _SHOWN)

        async def act() -> None:
            # Only now, because the container may have exchanged the file while the user was asked.
            opened = file_url(await self._copies.path_to_open(path, container), url) if is_file else url
            self._check_policy(guest, "url")  # A copy takes its time.
            await self._desktop.open_url(opened, lambda error: self._failed(guest, shown, error))

        await self._decide(
            guest,
            "url",
            question,
            act,
            ("opened", shown),
            count,
        )

    async def open_terminal(self, guest: Guest, words: list[str], count: Callable[[], None]) -> None:
        """Open a terminal for a container, by the same rules as :meth:`open_url`."""
        name = guest.container.name
        shown = visible_line(" ".join(words), QUESTION_LIMIT)
        await self._decide(
            guest,
            "terminal",
            f"Open a terminal in the container {name}?" + (f"\n\n{shown}" if shown else ""),
            lambda: self._desktop.open_terminal(name, words),
            ("terminal", shown),
            count,
        )

    async def permission(self, guest: Guest, key: str, question: str) -> None:
        """Ask the user whether a container may do something, and wait for the answer.

        :param key: the policy, whose value is ``ask``.
        :raises GuestlinkError: the user says no, or must not be asked now.
        """
        self._check_question(guest)
        self._asking.add(guest.container.name)

        async def act() -> None:
            pass

        if (error := await self._ask(guest, key, question, act, ("allowed", key))) is not None:
            raise error

    def _check_policy(self, guest: Guest, kind: str) -> str:
        """The value of a policy.

        :raises GuestlinkError: it refuses the request.
        """
        if (policy := self._policies.value(guest.container.name, kind)) == DENY:
            raise GuestlinkError(
                f"the host's policy does not let this container {POLICIES[kind].about}",
                hint=how_to_allow(guest.container.name, kind),
            )
        return policy

    def _check_question(self, guest: Guest) -> None:
        """Refuse a question that would come too early after another.

        :raises GuestlinkError: says until when.
        """
        if guest.container.name in self._asking:
            raise GuestlinkError(
                "the host's user has not answered an earlier question of this container",
                hint="try again after the answer",
            )
        if left := self._pauses[guest.container.name].left(time.monotonic()):
            until = time.strftime("%H:%M:%S", time.localtime(time.time() + left))
            raise GuestlinkError(
                f"the host's user said no, so the host does not ask again for this container until {until}",
                hint="try again after that time; each further no doubles the wait",
            )

    async def _decide(
        self,
        guest: Guest,
        kind: str,
        question: str,
        act: Callable[[], Awaitable[None]],
        done: tuple[str, str],
        count: Callable[[], None],
    ) -> None:
        if self._check_policy(guest, kind) == ALLOW:
            count()
            await act()
            guest.event(*done)
        else:
            self._check_question(guest)
            count()
            self._asking.add(guest.container.name)
            name = f"question of {guest.container.name}"
            asked = self._tasks.start(self._ask(guest, kind, question, act, done), name=name)
            try:
                await asyncio.wait({asked}, timeout=OUTCOME_TIME)
            finally:
                if not asked.done():  # Also if this call was cancelled.
                    asked.add_done_callback(functools.partial(self._decided_late, guest, done[1]))
            if asked.done() and (error := asked.result()) is not None:
                raise error

    async def _ask(
        self, guest: Guest, kind: str, question: str, act: Callable[[], Awaitable[None]], done: tuple[str, str]
    ) -> GuestlinkError | None:
        """Ask the user, and do as the user decides; returns why it was not done."""
        try:
            answer = await self._desktop.ask(question)
            if answer is not Answer.YES:
                self._pauses[guest.container.name].refused(time.monotonic())
                if answer is Answer.NEVER:
                    self._deny(guest, kind)
                return GuestlinkError(f"the host's user refused to {_REFUSED[kind]}")
            self._pauses[guest.container.name].agreed()
            self._check_policy(guest, kind)  # The user may have changed it meanwhile.
            await act()
            guest.event(*done)
        except GuestlinkError as error:
            return error
        finally:
            self._asking.discard(guest.container.name)
        return None

    def _deny(self, guest: Guest, kind: str) -> None:
        """Keep the user's "no, and never again". The container does not hear why it cannot be kept."""
        name = guest.container.name
        try:
            self._policies.change(name, **{kind: DENY})
        except GuestlinkError as error:
            guest.log.warning("the policy %s of %s is not deny: %s", kind, name, error)
            guest.event("failed", f"{kind}: deny: {error}")
            self._notifications.show(f"The container {name} can ask again", str(error))
        else:
            guest.event("policy", f"{kind}: deny, because the user answered no, and never again")

    def _decided_late(self, guest: Guest, what: str, asked: asyncio.Task[GuestlinkError | None]) -> None:
        """Report what came of a question, because the container's call has already been answered."""
        if asked.cancelled() or (error := asked.result()) is None:
            return
        if isinstance(error, DesktopFailed):
            self._failed(guest, what, error)
        else:
            self._warn(guest, what, error)
            guest.event("refused", f"{what}: {error}")

    def _failed(self, guest: Guest, what: str, error: DesktopFailed) -> None:
        """Report a failure to the user, because the container's call has already been answered."""
        name = guest.container.name
        self._warn(guest, what, error)
        guest.event("failed", f"{what}: {error}")
        self._notifications.show(f"The container {name} wanted to open {what}", str(error))

    def _warn(self, guest: Guest, what: str, error: GuestlinkError) -> None:
        """Write to the daemon's log that a request came to nothing; a repeated one is counted."""
        guest.log.warning("%s wanted to open %s: %s", guest.container.name, what, error)


def _checked_path(url: str, shares: Iterable[Share]) -> str:
    """The path of a shared document or folder, without links below the shared folder.

    :raises UrlRefused: as :func:`~guestlink_host.border.shared_file.open_shared`.
    """
    with open_shared(unquote(urlsplit(url).path, errors="surrogateescape"), shares) as file:
        return file.path
