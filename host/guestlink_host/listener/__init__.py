"""The services for one container, ContainerListener and LinuxHost: checks of every call, and messages as values.

Each family of RPCs has a module. RPCs without a method answer UNIMPLEMENTED. Each container has its own server, so
the origin of a call is known; the server accepts a call only with that container's token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from guestlink.rpc import CONTAINER_LISTENER, LINUX_HOST
from guestlink_host.border.open_requests import OpenRequests
from guestlink_host.border.rate_limit import RateLimit
from guestlink_host.border.screensaver import Screensaver
from guestlink_host.border.user_notifications import UserNotifications
from guestlink_host.containers.container_policies import ContainerPolicies
from guestlink_host.containers.guest import Guest
from guestlink_host.containers.registry import Containers
from guestlink_host.listener.application_lists import ListCalls
from guestlink_host.listener.linux_host import LinuxHost
from guestlink_host.listener.opening import OpeningCalls
from guestlink_host.listener.package_progress import PackageProgressCalls
from guestlink_host.listener.registration import RegistrationCalls
from guestlink_host.listener.reports import ReportCalls
from guestlink_host.listener.screensaver_calls import ScreensaverCalls
from guestlink_host.listener.token_check import TokenCheck


def implementations(
    guest: Guest,
    containers: Containers,
    requests: OpenRequests,
    openings: RateLimit,
    notifications: UserNotifications,
    windows: Callable[[str], Mapping[str, str]],
    sound: Callable[[str], Mapping[str, str]],
    screensaver: Screensaver,
    policies: ContainerPolicies,
) -> dict[str, tuple[object, ...]]:
    """The objects that implement the RPCs of each service for one container.

    :param guest: the container.
    :param containers: the registry, which renews the token of a container that has shut down.
    :param requests: opens URLs and terminals for the container.
    :param openings: limits URLs and terminals, for all containers together.
    :param notifications: show failures and a full disk to the user.
    :param windows: describes the way of a container's windows to the compositor.
    :param sound: describes the way of a container's sound to the sound server.
    :param screensaver: keeps the desktop's screen on.
    :param policies: the policies of all containers.
    :returns: by full name of the service.
    """
    check = TokenCheck(guest)
    return {
        CONTAINER_LISTENER: (
            RegistrationCalls(guest, check, containers),
            ListCalls(guest, check),
            OpeningCalls(guest, check, requests, openings),
            ReportCalls(guest, check, notifications.show),
            PackageProgressCalls(guest, check),
            ScreensaverCalls(guest, check, screensaver, policies),
        ),
        LINUX_HOST: (LinuxHost(guest, check, notifications.show, windows, sound),),
    }
