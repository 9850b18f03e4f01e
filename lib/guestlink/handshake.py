"""Both sides of a connection prove that they know a container's token, and the token stays at home
(chromeos-vsh.md §9). Pure: no input or output.

TCP does not identify a peer, and several containers may share one vsock context id. Before the first byte of gRPC,
SFTP or vsh, the listener sends a challenge, the dialer answers with a proof and a challenge of its own, and the
listener answers with its proof. A proof is HMAC-SHA-256 (RFC 2104) with the token as its key, over the protocol's
name and version, the prover's role, the purpose and both challenges. So a recorded conversation proves nothing
later, and nobody can send a side's proof back to that side. The bytes after the handshake are plain text.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from enum import IntEnum

from guestlink.errors import GuestlinkError

MAGIC = b"GUESTLINK"
"""The first bytes of both sides. No older peer begins with them: an auth line is a token, gRPC begins with PRI."""
VERSION = 1
NONCE_SIZE = 32
PROOF_SIZE = 32
"""Bytes of an HMAC-SHA-256."""
TIME_LIMIT = 10.0
"""Seconds for the whole handshake."""

_HEADER = MAGIC + bytes([VERSION])
CHALLENGE_SIZE = len(_HEADER) + NONCE_SIZE
"""Bytes of the listener's challenge: magic, version, nonce."""
RESPONSE_SIZE = len(_HEADER) + 1 + NONCE_SIZE + PROOF_SIZE
"""Bytes of the dialer's response: magic, version, purpose, nonce, proof."""

_UPDATE = "update Guestlink in the container and on the host"
_HEXADECIMAL = frozenset(b"0123456789abcdef")


class Purpose(IntEnum):
    """What a connection is for; the value is the byte on the wire. A proof for one purpose is none for another."""

    LISTENER = 1
    """garcon's calls of the host: gRPC."""
    CALLS = 2
    """The host's calls of garcon: gRPC, on a connection that garcon has opened."""
    SFTP = 3
    """SFTP, on a connection that garcon has opened."""
    VSH = 4
    """A shell, on a connection from vshd to vsh."""
    VSHD = 5
    """A shell, on a connection from vsh to a vshd that listens."""
    CHUNNEL = 6
    """Bytes of one TCP connection to a server in the container, on a connection that garcon has opened."""


class HandshakeFailed(GuestlinkError):
    """The other side does not know the token, or does not speak this protocol."""


def call_token(token: str) -> str:
    """The text in the place of the token in gRPC's messages on a connection that has had a handshake.

    Whoever reads the connection gets this text, which proves nothing in a handshake.
    """
    return _hmac(token, b"guestlink call token\0" + bytes([VERSION])).hex()


class Handshake:
    """One side of one connection.

    The caller sends :meth:`begin`'s bytes, then receives at most :attr:`wanted` bytes at a time, gives them to
    :meth:`receive` and sends what it returns, until the handshake is :attr:`complete`.

    :param token: the container's token.
    :param nonce: this side's challenge: :data:`NONCE_SIZE` random bytes, never used before.
    :ivar complete: whether the other side has proved that it knows the token.
    :ivar wanted: bytes that the other side still has to send in this step.
    :ivar purpose: what the connection is for; the listener learns it from the dialer.
    """

    complete = False
    wanted: int
    purpose: Purpose | None

    def __init__(self, token: str, nonce: bytes | None) -> None:
        if not token:
            raise ValueError("an empty token proves nothing")
        self._token = token
        self._nonce = os.urandom(NONCE_SIZE) if nonce is None else nonce
        if len(self._nonce) != NONCE_SIZE:
            raise ValueError(f"a nonce has {NONCE_SIZE} bytes")
        self._received = b""

    def begin(self) -> bytes:
        """The bytes to send first."""
        raise NotImplementedError

    def receive(self, data: bytes) -> bytes:
        """Handle received bytes.

        :param data: 1 to :attr:`wanted` bytes.
        :returns: bytes to send now.
        :raises HandshakeFailed: the other side proves nothing; the connection has to be closed.
        :raises ValueError: these are more bytes than were wanted, as after a failure.
        """
        if len(data) > self.wanted:
            raise ValueError(f"{len(data)} bytes instead of at most {self.wanted}")
        self._received += data
        self.wanted -= len(data)
        self._check_beginning(self._received)
        if self.wanted or not data:
            return b""
        frame, self._received = self._received, b""
        return self._handle(frame)

    def ended(self) -> HandshakeFailed:
        """The error if the other side closes the connection, or says nothing, before the handshake is complete."""
        raise NotImplementedError

    def _check_beginning(self, received: bytes) -> None:
        raise NotImplementedError

    def _handle(self, frame: bytes) -> bytes:
        raise NotImplementedError


class ListenerHandshake(Handshake):
    """The side that has accepted the connection.

    :param purposes: what dialers may connect for.
    """

    def __init__(self, token: str, purposes: Collection[Purpose], nonce: bytes | None = None) -> None:
        super().__init__(token, nonce)
        self._purposes = purposes
        self.wanted = RESPONSE_SIZE
        self.purpose = None

    def begin(self) -> bytes:
        """The challenge."""
        return _HEADER + self._nonce

    def ended(self) -> HandshakeFailed:
        """See :meth:`Handshake.ended`."""
        if not self._received:
            return HandshakeFailed("the other side said nothing")
        return HandshakeFailed("the other side did not finish its proof")

    def _check_beginning(self, received: bytes) -> None:
        _check_header(received)

    def _handle(self, frame: bytes) -> bytes:
        number, rest = frame[len(_HEADER)], frame[len(_HEADER) + 1 :]
        theirs, proof = rest[:NONCE_SIZE], rest[NONCE_SIZE:]
        purpose = next((one for one in self._purposes if one == number), None)
        # The proof is checked first: a stranger does not learn which purposes there are.
        if not _is_proof(self._token, b"dialer", number, self._nonce, theirs, proof):
            raise HandshakeFailed("the other side does not know the container's token")
        if purpose is None:
            raise HandshakeFailed(
                f"the other side connects for purpose {number}, which is not served here", hint=_UPDATE
            )
        self.purpose = purpose
        self.complete = True
        return _proof(self._token, b"listener", number, self._nonce, theirs)


class DialerHandshake(Handshake):
    """The side that has opened the connection.

    :param purpose: what the connection is for.
    """

    purpose: Purpose

    def __init__(self, token: str, purpose: Purpose, nonce: bytes | None = None) -> None:
        super().__init__(token, nonce)
        self.wanted = CHALLENGE_SIZE
        self.purpose = purpose
        self._theirs = b""

    def begin(self) -> bytes:
        """Nothing: the listener begins."""
        return b""

    def ended(self) -> HandshakeFailed:
        """See :meth:`Handshake.ended`."""
        if self._theirs:
            return HandshakeFailed(
                "the other side did not accept our proof of the container's token",
                hint="the token in the container and on the host may differ: restart the container, or copy the "
                "token file again",
            )
        return HandshakeFailed("the other side sent no challenge", hint=f"it may be older: {_UPDATE}")

    def _check_beginning(self, received: bytes) -> None:
        if not self._theirs:
            _check_header(received)

    def _handle(self, frame: bytes) -> bytes:
        if self._theirs:
            if not _is_proof(self._token, b"listener", self.purpose, self._theirs, self._nonce, frame):
                raise HandshakeFailed(
                    "the other side does not know the container's token",
                    hint="another program serves this address; find it with `ss -lp` there",
                )
            self.complete = True
            return b""
        self._theirs = frame[len(_HEADER) :]
        self.wanted = PROOF_SIZE
        proof = _proof(self._token, b"dialer", self.purpose, self._theirs, self._nonce)
        return _HEADER + bytes([self.purpose]) + self._nonce + proof


def _check_header(received: bytes) -> None:
    """Refuse a peer that speaks another protocol by its first bytes, however few have arrived.

    :raises HandshakeFailed: with a sentence about what it speaks.
    """
    beginning = received[: len(_HEADER)]
    if _HEADER.startswith(beginning):
        return
    if beginning[:1] in (b"\x00", b"P"):  # HTTP/2: a server's first frame, a client's preface
        raise HandshakeFailed("the other side speaks gRPC without a handshake", hint=_UPDATE)
    if beginning[0] in _HEXADECIMAL:
        raise HandshakeFailed("the other side sent a token, as older versions of Guestlink do", hint=_UPDATE)
    if beginning.startswith(MAGIC):
        raise HandshakeFailed(f"the other side speaks version {beginning[-1]} of the handshake", hint=_UPDATE)
    raise HandshakeFailed("the other side does not speak Guestlink's handshake")


def _proof(token: str, role: bytes, purpose: int, listener: bytes, dialer: bytes) -> bytes:
    """What only a side that knows the token can compute.

    :param role: the prover's.
    :param listener: the listener's challenge; :param dialer: the dialer's.
    """
    fields = (b"guestlink handshake\0", bytes([VERSION]), role, b"\0", bytes([purpose]), listener, dialer)
    return _hmac(token, b"".join(fields))


def _is_proof(token: str, role: bytes, purpose: int, listener: bytes, dialer: bytes, received: bytes) -> bool:
    from hmac import compare_digest  # see _hmac

    return compare_digest(_proof(token, role, purpose, listener, dialer), received)


def _hmac(token: str, message: bytes) -> bytes:
    # hmac loads OpenSSL, which takes as long as the start of a session, and programs without TCP do not need it.
    from hmac import digest

    return digest(token.encode(), message, "sha256")
