"""The check of a container's token, which comes with every call."""

from __future__ import annotations

from guestlink.rpc import Refusal
from guestlink_host.containers.guest import Guest

NOT_REGISTERED = "Cannot find VM for ContainerListener"
"""Cicerone's text for a token that it does not know."""


class TokenCheck:
    """Refuses calls without the token of a container, and calls of a container that has not registered."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest

    def call(self, token: str, name: str) -> None:
        """Check a call of a registered container.

        :param name: the RPC, for the message.
        :raises Refusal: the token is wrong, or the container is not registered.
        """
        self.token(token, f"Failure in {name}")
        if not self._guest.registered:
            raise Refusal("FAILED_PRECONDITION", f"Failure in {name}")

    def strict_call(self, token: str) -> None:
        """Refuse as cicerone does for ContainerShutdown and PendingUpdateApplicationListCalls
        (chromeos-garcon.md §7.1)."""
        if not token:
            raise Refusal("INVALID_ARGUMENT", "the token is empty")
        self.token(token, NOT_REGISTERED)
        if not self._guest.registered:
            raise Refusal("FAILED_PRECONDITION", NOT_REGISTERED)

    def token(self, token: str, text: str) -> None:
        """Check the token alone.

        :param text: the message of the refusal.
        :raises Refusal: the token is wrong.
        """
        if not self._guest.container.knows(token):
            self._guest.log.warning("a call on the socket of %s has a wrong token", self._guest.container.name)
            raise Refusal("FAILED_PRECONDITION", text)
