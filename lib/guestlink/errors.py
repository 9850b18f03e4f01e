"""Errors that a person reads: one sentence that names what is wrong, one that says what to do next."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Sequence

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a write, which name no file."""


class GuestlinkError(Exception):
    """An error that a user can understand and usually fix.

    :param message: one sentence without a full stop that names what is wrong.
    :param hint: what to do next; shown on a line of its own.
    :param exit_code: the exit status of a command that fails with this error.
    """

    def __init__(self, message: str, *, hint: str = "", exit_code: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code

    def __str__(self) -> str:
        return self.message


def not_utf8(error: UnicodeEncodeError) -> GuestlinkError:
    """The error for an argument or a file name that is not UTF-8."""
    return GuestlinkError(f"{error.object!a:.80} is not UTF-8", hint="only names in UTF-8 can be used here")


def reason(error: Exception) -> str:
    """The system's text for a failed call, in lower case, as in "X cannot be read: no such file or directory"."""
    return str(getattr(error, "strerror", None) or error).lower()


def report(name: str, error: GuestlinkError) -> None:
    """Print an error to standard error the way every program of the suite does."""
    lines = [f"{name}: {error.message}"]
    if error.hint:
        lines.append(f"  {error.hint}")
    print("\n".join(lines), file=sys.stderr)


def run_command(name: str, main: Callable[[list[str]], int], argv: Sequence[str] | None = None) -> int:
    """Run a command's body and return its exit status; report errors in one sentence, without a traceback.

    :param name: the program's name, the prefix of error messages.
    :param main: the body; gets the arguments without the program's name, returns the exit status.
    :param argv: arguments; ``sys.argv[1:]`` by default.
    :returns: the exit status: 130 after Ctrl-C, 141 when the reader of our output has closed the pipe.
    """
    open_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file name may not be valid text; it is printed with escapes, which JSON can read.
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            return main(list(sys.argv[1:] if argv is None else argv))
        finally:
            sys.stdout.flush()  # A closed pipe raises here, not when the interpreter exits.
    except GuestlinkError as error:
        report(name, error)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _drop_output()
        return 141
    except OSError as error:
        _drop_output()
        report(name, GuestlinkError(_os_error_text(error)))
        return 1
    except UnicodeEncodeError as error:
        report(name, not_utf8(error))
        return 1


def open_standard_streams() -> None:
    """Open closed standard streams on /dev/null; otherwise a socket could get descriptor 0, 1 or 2."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # The kernel gives the lowest free descriptor, which is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC), True)
    # Python has no objects for streams that were closed when it started.
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def _drop_output() -> None:
    """Flush standard output, or drop its buffer: Python flushes it once more at exit, and would print an error."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _os_error_text(error: OSError) -> str:
    if error.filename:
        return f"{error.filename}: {reason(error)}"
    return f"cannot write: {reason(error)}" if error.errno in _FULL else reason(error)
