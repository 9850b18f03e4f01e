"""The container token: the text that proves to the host which container calls (chromeos-garcon.md §2.1)."""

from __future__ import annotations

import errno

from guestlink.errors import GuestlinkError, reason
from guestlink.regular_file import read_regular

TOKEN_PATH = "/dev/.container_token"
"""Where the host mounts the token (chromeos-garcon.md §7.7)."""
TOKEN_LENGTH = 36
"""Bytes read at most: a lower-case UUID; further bytes (a newline) are ignored."""


class TokenError(GuestlinkError):
    """There is no usable token now."""


def read_token(path: str) -> str:
    """Read the token.

    A host may mount the file late, empty (chromeos-garcon.md §7.7) or again, so callers read it again.

    :returns: the first 36 bytes, without white space around them.
    :raises TokenError: with the reason: missing, empty, not a file, not text, not readable.
    """
    hint = "start the container from the host, or run `guestlink-host add` there"
    try:
        content = read_regular(path, TOKEN_LENGTH)
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise TokenError(f"there is no token file {path} yet", hint=hint) from error
        raise TokenError(f"the token file {path} cannot be read: {reason(error)}", hint=hint) from error
    try:
        token = content.decode("ascii").strip()
    except UnicodeDecodeError as error:
        raise TokenError(f"the token file {path} holds no text", hint=hint) from error
    if not token:
        raise TokenError(f"the token file {path} is empty", hint=hint)
    if not token.isprintable():
        raise TokenError(f"the token file {path} holds no text", hint=hint)
    return token
