"""ContainerReady and ContainerShutdown: a container registers, and stops."""

from __future__ import annotations

import time

from guestlink.errors import GuestlinkError
from guestlink.pb import common_pb2
from guestlink.pb import container_host_pb2 as pb
from guestlink.rpc import Refusal
from guestlink_host.border.rate_limit import RateLimit
from guestlink_host.containers.guest import Guest
from guestlink_host.containers.registry import Containers, new_token
from guestlink_host.listener.token_check import NOT_REGISTERED, TokenCheck

REGISTRATION_LIMIT, REGISTRATION_WINDOW = 50, 60.0
"""Registrations of one container in a window, and its seconds; each makes the host connect and fetch every icon."""


class RegistrationCalls:
    """The RPCs about a container's start and stop."""

    def __init__(self, guest: Guest, check: TokenCheck, containers: Containers) -> None:
        self._guest = guest
        self._check = check
        self._containers = containers
        self._limit = RateLimit(REGISTRATION_LIMIT, REGISTRATION_WINDOW)

    async def container_ready(self, request: pb.ContainerStartupInfo) -> common_pb2.EmptyMessage:
        """Register, or register again."""
        self._check.token(request.token, NOT_REGISTERED)
        if not self._limit.allows(time.monotonic()):
            raise Refusal(
                "RESOURCE_EXHAUSTED",
                f"more than {REGISTRATION_LIMIT} registrations in {REGISTRATION_WINDOW:g} s",
            )
        try:
            self._guest.ready(request.garcon_port, request.sftp_port)
        except GuestlinkError as error:
            raise Refusal("FAILED_PRECONDITION", error.message) from error
        self._guest.log.info("%s registered", self._guest.container.name)
        return common_pb2.EmptyMessage()

    async def container_shutdown(self, request: pb.ContainerShutdownInfo) -> common_pb2.EmptyMessage:
        """Note that the container stops, and replace its token."""
        self._check.strict_call(request.token)
        guest = self._guest
        guest.log.info("%s shut down", guest.container.name)
        guest.gone()
        # The old token is invalid from now on, even if the new one cannot be stored.
        guest.container = guest.container._replace(token=new_token())
        try:
            guest.container = self._containers.renew_token(guest.container.name)
        except GuestlinkError as error:
            guest.log.error("%s gets no new token: %s", guest.container.name, error)
        guest.event("shut down", "")
        return common_pb2.EmptyMessage()
