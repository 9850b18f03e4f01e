"""Commands that are too long for the session's first message: they travel at the beginning of standard input. Pure.

ssh has no such limit, and rsync, for example, writes every name that it fetches on its command line.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

_READS_COMMAND = """\
eval "set -- $(dd bs=1 count="$0" 2>/dev/null)"
exec "$@"
"""
"""dd reads byte by byte, so that it leaves the command's own input in the pipe."""


def through_input(argv: Sequence[bytes]) -> tuple[tuple[bytes, ...], bytes]:
    """A short command that reads a long one from its standard input, a pipe, and becomes it.

    :param argv: the long command.
    :returns: the short command, and the bytes to send before the long command's own input.
    """
    words = b" ".join(map(_quoted, argv)) + b"\n"
    return (b"/bin/sh", b"-c", _READS_COMMAND.encode(), b"%d" % len(words)), words


def _quoted(word: bytes) -> bytes:
    return shlex.quote(word.decode("latin-1")).encode("latin-1")
