"""InhibitScreensaver and UninhibitScreensaver: a program keeps the screen on (chromeos-garcon.md §6.13)."""

from __future__ import annotations

from guestlink.pb import common_pb2
from guestlink.pb import container_host_pb2 as pb
from guestlink.rpc import Refusal
from guestlink_host.border.policies import DENY, how_to_allow
from guestlink_host.border.screensaver import NotInhibited, Screensaver
from guestlink_host.containers.container_policies import ContainerPolicies
from guestlink_host.containers.guest import Guest
from guestlink_host.listener.token_check import TokenCheck


class ScreensaverCalls:
    """The RPCs about the screen of the desktop.

    :param screensaver: keeps the screen on.
    :param policies: has the policy ``screensaver``.
    """

    def __init__(
        self, guest: Guest, check: TokenCheck, screensaver: Screensaver, policies: ContainerPolicies
    ) -> None:
        self._guest = guest
        self._check = check
        self._screensaver = screensaver
        self._policies = policies
        guest.when_gone(lambda: screensaver.release(guest.container.name))

    async def inhibit_screensaver(self, request: pb.InhibitScreensaverInfo) -> common_pb2.EmptyMessage:
        """Keep the screen on, if the policy allows it."""
        self._check.call(request.token, "InhibitScreensaver")
        name = self._guest.container.name
        if self._policies.value(name, "screensaver") == DENY:
            reason = f"{name} may not keep the screen on\n{how_to_allow(name, 'screensaver')}"
            raise Refusal("FAILED_PRECONDITION", f"Failure in InhibitScreensaver: {reason}")
        try:
            await self._screensaver.inhibit(name, request.cookie, request.client, request.reason)
        except NotInhibited as error:
            text = f"Failure in InhibitScreensaver: {error}\n{error.hint}"
            raise Refusal("FAILED_PRECONDITION", text.strip()) from error
        return common_pb2.EmptyMessage()

    async def uninhibit_screensaver(self, request: pb.UninhibitScreensaverInfo) -> common_pb2.EmptyMessage:
        """Let the screen go off again."""
        self._check.call(request.token, "UninhibitScreensaver")
        await self._screensaver.uninhibit(self._guest.container.name, request.cookie)
        return common_pb2.EmptyMessage()
