"""vsh's session against servers that send arbitrary data: it ends with a status or one error, and leaks nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from support.fuzzing import SEED, repeat
from support.stage import LIMIT
from support.vsh_peers import environ

LEAST = 300
"""Minimum number of sessions of a test: enough for each kind of outcome."""
PROGRAM = """
import itertools, os, random, socket, sys, time

from guestlink.errors import GuestlinkError
from guestlink.vsh import (
    Setup, SetupAnswer, StatusChange, encode_data, encode_setup_answer, encode_status, killed_by,
)
from guestlink_host.vsh.client_session import ClientSession

READY = encode_setup_answer(SetupAnswer(1, "ready", 7))


def frames(dice):
    yield READY if dice.random() < 0.9 else encode_setup_answer(SetupAnswer(dice.randrange(5), "no"))
    for _ in range(dice.randrange(12)):
        match dice.randrange(6):
            case 0 | 1:
                yield encode_data(dice.randrange(5), dice.randbytes(dice.randrange(200)))
            case 2:
                why, code = killed_by(dice.randrange(200)), dice.randrange(-9, 999)
                yield encode_status(StatusChange(dice.randrange(5), why, code))
            case 3:
                yield dice.randrange(5000).to_bytes(4, "little") + dice.randbytes(dice.randrange(60))
            case 4:
                yield b"\\0\\0\\0\\0"
            case 5:
                yield encode_data(2, b"")


def damaged(dice, data):
    data = bytearray(data)
    for _ in range(dice.choice((0, 0, 1, 3))):
        if data:
            data[dice.randrange(len(data))] = dice.randrange(256)
    return bytes(data[: dice.randrange(len(data) + 1)] if dice.random() < 0.3 else data)


def main():
    outcomes = {}
    opened = len(os.listdir("/proc/self/fd"))
    first, least, end = int(sys.argv[1]), int(sys.argv[2]), time.monotonic() + float(sys.argv[3])
    for seed in itertools.count(first):
        if seed >= first + least and time.monotonic() >= end:
            break
        dice = random.Random(seed)
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.sendall(damaged(dice, b"".join(frames(dice))))
            if dice.random() < 0.9:
                theirs.shutdown(socket.SHUT_WR)
            else:
                theirs.close()
            try:
                outcome = ClientSession(ours, Setup(), None, None).run()
                assert 0 <= outcome < 256, seed
            except GuestlinkError as error:
                outcome = "refused"
                assert "\\n" not in error.message, seed
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    assert len(os.listdir("/proc/self/fd")) <= opened
    assert outcomes.keys() >= {123, "refused"} and len(outcomes) > 4, outcomes


main()
"""


@pytest.mark.parametrize("standard_input", ["nothing", "a pipe"])
def test_whatever_a_server_says_there_is_a_status_or_one_error(standard_input: str, fuzz_seconds: float) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(SEED), str(LEAST), str(fuzz_seconds)],
        env=environ(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=10 * LIMIT + fuzz_seconds,
        check=False,
        **({"stdin": subprocess.DEVNULL} if standard_input == "nothing" else {"input": b"typed" * 1000}),
    )
    lines = [line for line in done.stderr.decode(errors="replace").splitlines() if not line.startswith("vsh: ")]
    assert done.returncode == 0, "\n".join([*lines[-20:], f"{repeat(SEED)} repeats the first {LEAST} sessions"])
