"""Programs of the system run to their end without an event loop."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from guestlink.program import OUTPUT_LIMIT, CommandFailed, Identity, ProgramMissing, run_program


def test_output_and_status_come_back() -> None:
    done = run_program(["sh", "-c", "cat; echo one >&2; echo two >&2; exit 3"], timeout=60)
    assert (done.status, done.stdout, done.stderr) == (3, b"", b"one\ntwo\n")
    assert done.messages == ["one", "two"]
    with pytest.raises(CommandFailed, match="sh failed with 3: two"):
        done.check()


def test_a_program_reads_a_given_descriptor_and_writes_both_streams_in_order() -> None:
    read, write = os.pipe()
    with open(read, "rb"), open(write, "wb") as stream:
        stream.write(b"in\n")
        stream.close()
        done = run_program(["sh", "-c", "cat; echo no >&2; echo out"], timeout=60, stdin=read, is_merged=True)
    assert done.output == "in\nno\nout\n"
    assert done.stderr == b""


def test_a_missing_program_is_named() -> None:
    with pytest.raises(ProgramMissing, match="there is no program /nonexistent"):
        run_program(["/nonexistent"], timeout=60)


def test_a_program_that_cannot_run_is_named_with_the_reason() -> None:
    with pytest.raises(CommandFailed, match="cannot run /: permission denied"):
        run_program(["/"], timeout=60)
    with pytest.raises(CommandFailed, match="cannot run echo: embedded null byte"):
        run_program(["echo", "a\0b"], timeout=60)


def test_too_long_means_killed() -> None:
    with pytest.raises(CommandFailed, match=r"sleep did not end within 0\.2 s"):
        run_program(["sleep", "1000"], timeout=0.2)


def test_of_long_output_the_beginning_is_kept_and_the_program_ends_as_usual() -> None:
    script = f"echo begin; head -c {3 * OUTPUT_LIMIT} /dev/zero; echo end >&2; exit 3"
    done = run_program(["sh", "-c", script], timeout=60)
    assert done.stdout.startswith(b"begin\n")
    assert (done.status, len(done.stdout), done.stderr) == (3, OUTPUT_LIMIT, b"end\n")


def test_endless_output_ends_at_the_time_limit() -> None:
    with pytest.raises(CommandFailed, match=r"yes did not end within 0\.2 s"):
        run_program(["yes"], timeout=0.2)


@pytest.mark.skipif(os.getuid() != 0, reason="only root changes its identity")
def test_a_program_runs_as_another_user_with_that_users_variables() -> None:
    done = run_program(["sh", "-c", "id -u; id -g; id -G; env"], timeout=60,
                       environ={"A": "1", "PATH": os.defpath}, identity=Identity(1234, 1235, [1236]))  # fmt: skip
    assert done.output.splitlines()[:3] == ["1234", "1235", "1235 1236"]
    assert "A=1" in done.output.splitlines()


def test_importing_it_starts_no_event_loop() -> None:
    program = "import sys, guestlink.program; print('asyncio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout == b"False\n"
