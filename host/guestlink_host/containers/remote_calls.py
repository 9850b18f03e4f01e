"""A container's connections over TCP or vsock: the handshake, which tells what a connection is for, and what stands
for the token in the container's calls (chromeos-vsh.md §9).

The token never crosses such a connection. Both sides prove that they know it, and after that garcon's calls carry a
text that is derived from the token. Whoever reads the connection gets that text, which proves nothing in a
handshake, and without a handshake there is no call. This host accepts the text on these connections alone.
"""

from __future__ import annotations

import hmac
import socket
from typing import Any

from guestlink.authentication import authenticate_soon, set_tcp_options
from guestlink.errors import GuestlinkError
from guestlink.handshake import HandshakeFailed, ListenerHandshake, Purpose, call_token
from guestlink_host.containers.guest import Guest


class RemoteCalls:
    """The calls of one container at its ``listen`` address.

    :param guest: the container; its token may change at any time.
    """

    def __init__(self, guest: Guest) -> None:
        self._guest = guest

    async def admit(self, connection: socket.socket) -> bool:
        """Perform the handshake on a new connection.

        :returns: whether gRPC follows; else the connection is parked, for our own calls or for SFTP.
        :raises GuestlinkError: the other side does not know the token.
        :raises OSError: the connection is gone.
        """
        container = self._guest.container
        set_tcp_options(connection)
        parking = {Purpose.CALLS: self._guest.calls, Purpose.SFTP: self._guest.sftp}
        handshake = ListenerHandshake(container.token, (Purpose.LISTENER, *parking))
        try:
            await authenticate_soon(connection, handshake)
        except HandshakeFailed as error:
            advice = f"; {error.hint}" if error.hint else ""
            raise GuestlinkError(f"refused a connection for {container.name}: {error.message}{advice}") from error
        if self._guest.container.token != container.token:
            raise GuestlinkError(f"refused a connection for {container.name}: its token has just been replaced")
        parked = parking.get(handshake.purpose or Purpose.LISTENER)
        if parked is not None:
            parked.park(connection.dup())
        return parked is None

    def prepare(self, request: Any) -> None:
        """Replace the text that a call carries with the token, or with nothing if it is the wrong text."""
        if hasattr(request, "token"):
            token = self._guest.container.token
            given = request.token.encode(errors="replace")
            request.token = token if hmac.compare_digest(given, call_token(token).encode()) else ""
