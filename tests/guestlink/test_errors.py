"""What a user sees when a command fails."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest

from guestlink.errors import GuestlinkError, reason, run_command


def _raise(error: BaseException) -> int:
    raise error


@pytest.mark.parametrize(
    ("error", "status", "shown"),
    [
        (GuestlinkError("wrong", hint="mend it", exit_code=4), 4, "prog: wrong\n  mend it\n"),
        (KeyboardInterrupt(), 130, ""),
        (FileNotFoundError(2, "No such file or directory", "/x"), 1, "prog: /x: no such file or directory\n"),
    ],
)
def test_errors_become_sentences(
    error: BaseException, status: int, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("prog", lambda _: _raise(error), []) == status
    assert capsys.readouterr().err == shown


def test_a_reader_that_went_away_is_no_error() -> None:
    program = "from guestlink.errors import run_command\nimport sys\n"
    program += "def main(argv):\n    for _ in range(100000): print('x' * 100)\n    return 0\n"
    program += "sys.exit(run_command('prog', main, []))"
    done = subprocess.run(
        ["sh", "-c", '"$0" -c "$1" | head -1; echo', sys.executable, program],
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == b""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/x"), "no such file or directory"),
        (OSError("Half a message"), "half a message"),
        (ValueError("embedded null byte"), "embedded null byte"),
    ],
)
def test_a_reason_is_the_systems_text_in_lower_case(error: Exception, expected: str) -> None:
    assert reason(error) == expected


def test_closed_standard_streams_are_no_error_and_get_no_other_meaning() -> None:
    program = "from guestlink.errors import run_command\nimport json, os, sys\n"
    program += "def main(argv):\n    assert os.open('/', os.O_RDONLY) > 2\n"
    program += "    json.dump(sys.stdin.read(), sys.stdout)\n    print(file=sys.stderr)\n    return 7\n"
    program += "sys.exit(run_command('prog', main, []))"
    done = subprocess.run(
        ["sh", "-c", '"$0" -c "$1" <&- >&- 2>&-; exec "$0" -c "$1" <&- >&-', sys.executable, program],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, b"", b"\n")
