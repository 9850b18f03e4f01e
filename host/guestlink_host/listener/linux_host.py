"""The LinuxHost service for one container: what garcon reports to guestlink-host and to no other host.

The messages are our own (linux_host.proto); ChromeOS has no call for a program that fails after its launch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from guestlink.pb import common_pb2
from guestlink.pb import linux_host_pb2 as pb
from guestlink.program import signal_name
from guestlink.rpc import Refusal
from guestlink_host.border.rate_limit import RateLimit
from guestlink_host.containers.guest import Guest
from guestlink_host.listener.token_check import TokenCheck
from guestlink_host.names import is_usable_id, visible_line

FAILURES, FAILURE_WINDOW = 5, 60.0
"""Failures that one container may report in a window, and the window in seconds: each becomes a notification."""
DETAIL_LIMIT = 300
"""Characters of the container's text that are shown."""
_STATUS_LIMIT, _SIGNAL_LIMIT = 255, 64
"""The highest exit status and the highest signal number of Linux."""


class LinuxHost:
    """Serves one container.

    :param guest: the container.
    :param check: checks the token of each call.
    :param notify: shows a summary and a text to the user.
    :param windows: returns the ``way`` of a container's windows and ``why``, by the container's name.
    :param sound: the same for a container's sound.
    """

    def __init__(
        self,
        guest: Guest,
        check: TokenCheck,
        notify: Callable[[str, str], None],
        windows: Callable[[str], Mapping[str, str]],
        sound: Callable[[str], Mapping[str, str]],
    ) -> None:
        self._guest = guest
        self._check = check
        self._notify = notify
        self._windows = windows
        self._sound = sound
        self._failures = RateLimit(FAILURES, FAILURE_WINDOW)

    async def report_application_failure(self, request: pb.ApplicationFailure) -> common_pb2.EmptyMessage:
        """Note that a launched application has failed, and notify the user."""
        guest = self._guest
        self._check.call(request.token, "ReportApplicationFailure")
        how = _how(request)
        if not is_usable_id(request.desktop_file_id):
            raise Refusal("INVALID_ARGUMENT", "the application's id cannot be shown")
        if not self._failures.allows(time.monotonic()):
            raise Refusal("RESOURCE_EXHAUSTED", f"more than {FAILURES} failures in {FAILURE_WINDOW:g} s")
        name = guest.container.name
        guest.log.info("%s in %s %s", request.desktop_file_id, name, how)
        guest.event("failed", f"{request.desktop_file_id}: {how}")
        application = guest.publisher.applications.get(request.desktop_file_id)
        title = application.name if application is not None else request.desktop_file_id
        self._notify(f"{visible_line(title, DETAIL_LIMIT)} in the container {name} failed", f"It {how}")
        return common_pb2.EmptyMessage()

    async def describe_windows(self, request: pb.WindowsRequest) -> pb.WindowsDescription:
        """By which way the container's windows reach the compositor, and why."""
        self._check.call(request.token, "DescribeWindows")
        return pb.WindowsDescription(**self._windows(self._guest.container.name))

    async def describe_sound(self, request: pb.SoundRequest) -> pb.SoundDescription:
        """By which way the container's sound reaches the sound server, and why."""
        self._check.call(request.token, "DescribeSound")
        return pb.SoundDescription(**self._sound(self._guest.container.name))


def _how(request: pb.ApplicationFailure) -> str:
    """How the application ended, as the end of a sentence.

    :raises Refusal: the numbers are not those of a failure.
    """
    status, signal, detail = request.exit_status, request.signal, visible_line(request.detail, DETAIL_LIMIT)
    if status > _STATUS_LIMIT or signal > _SIGNAL_LIMIT or (status and signal):
        raise Refusal("INVALID_ARGUMENT", "there is no such end of a program")
    if not (status or signal or detail):
        raise Refusal("INVALID_ARGUMENT", "the failure says nothing")
    if signal:
        how = f"was killed by {signal_name(signal)}"
    else:
        how = f"ended with status {status}" if status else "could not be started"
    return f"{how}: {detail}" if detail else how
