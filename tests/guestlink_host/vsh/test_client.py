"""vsh with a server that sends given bytes: the client cases of chromeos-vsh.md §11.3, and bad servers."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from guestlink.vsh import READY_IN_CWD, SetupAnswer, Status, encode_setup_answer
from guestlink.vsh.messages import REQUIRES_CWD
from support.stage import LIMIT
from support.vsh_peers import READY, VSH, FakeServer, environ, fake_server, terminal, vsh

# Frames of chromeos-vsh.md §11.1.
REFUSED = "15 00 00 00 08 03 12 11 6e 6f 20 73 75 63 68 20 75 73 65 72 3a 20 7a 65 64"
STDIN_EOF = bytes.fromhex("04 00 00 00 0a 02 08 01")
RESIZED = bytes.fromhex("07 00 00 00 1a 05 08 32 10 84 01")
HI = "09 00 00 00 0a 07 08 02 12 03 68 69 0a"
ERROR_BYTES = "09 00 00 00 0a 07 08 03 12 03 ff 00 45"
END_OF_OUTPUT = "04 00 00 00 0a 02 08 02"
EXITED = "0a 00 00 00 12 08 08 02 12 04 64 6f 6e 65"
EXITED_3 = "0c 00 00 00 12 0a 08 02 12 04 64 6f 6e 65 18 06"
EXITED_130 = "07 00 00 00 12 05 08 02 18 84 02"
EXITED_MINUS_1 = "06 00 00 00 12 04 08 02 18 01"


def exited(code: int) -> bytes:
    """An EXITED frame; the code is zig-zag encoded."""
    number, code = b"", code * 2
    while code > 127:
        number, code = number + bytes([code & 127 | 128]), code >> 7
    body = b"\x08\x02\x18" + number + bytes([code])
    message = b"\x12" + bytes([len(body)]) + body
    return len(message).to_bytes(4, "little") + message


def data(stream: int, content: bytes) -> bytes:
    """A data frame with up to 120 bytes."""
    inner = bytes([8, stream, 0x12, len(content)]) + content
    message = bytes([0x0A, len(inner)]) + inner
    return len(message).to_bytes(4, "little") + message


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with fake_server() as made:
        yield made


def session(server: FakeServer, *frames: str | bytes, hang_up: bool = False) -> tuple[int, bytes, bytes]:
    """Play a whole session to a client without input; returns the client's exit status, output and error output."""
    with vsh(f"--connect={server.address}", "--", "x", stdin=subprocess.DEVNULL) as process:
        server.accept()
        server.play(*frames)
        if hang_up:
            server.hang_up()
        out, err = process.communicate(timeout=LIMIT)
    return process.returncode, out, err


def test_output_errors_and_status_arrive_apart(server: FakeServer) -> None:
    """Case K1 (chromeos-vsh.md §11.3)."""
    assert session(server, READY, HI, ERROR_BYTES, END_OF_OUTPUT, EXITED_3) == (3, b"hi\n", b"\xff\x00E")


@pytest.mark.parametrize(("frame", "status"), [(EXITED_130, 130), (EXITED_MINUS_1, 255), (EXITED, 0)])
def test_codes_become_the_status(server: FakeServer, frame: str, status: int) -> None:
    """Case K2 (chromeos-vsh.md §11.3)."""
    assert session(server, READY, frame) == (status, b"", b"")


@pytest.mark.parametrize(("code", "status"), [(256, 0), (300, 44)])
def test_codes_are_taken_modulo_256(server: FakeServer, code: int, status: int) -> None:
    """Case K3 (chromeos-vsh.md §11.3)."""
    assert session(server, READY, exited(code))[0] == status


def test_a_refusal_is_shown(server: FakeServer) -> None:
    """Case K4 (chromeos-vsh.md §11.3)."""
    status, out, err = session(server, REFUSED)
    assert (status, out, err) == (1, b"", b"vsh: no such user: zed\n")


@pytest.mark.parametrize("frames", [[], ["10 00"], ["10 00 00 00 08 01"]])
def test_a_server_that_hangs_up_before_it_answers_is_told(server: FakeServer, frames: list[str]) -> None:
    """Case K4 (chromeos-vsh.md §11.3)."""
    status, out, err = session(server, *frames, hang_up=True)
    assert (status, out) == (1, b"")
    assert err == b"vsh: no session came about: the other side hung up\n"


@pytest.mark.parametrize(
    "frames",
    [
        [],
        ["04 00 00 00 12 02 08 03"],
        ["04 00 00 00 12 02 08 00"],
        ["04 00 00 00 12 02 08 07"],
        ["01 10 00 00"],
        ["ff ff ff ff"],
        ["04 00 00 00 ff ff ff ff"],
        ["09 00 00 00 0a 07 08"],
    ],
    ids=["close", "FAILED", "UNKNOWN", "status 7", "length 4097", "length 2^32-1", "garbage", "half a frame"],
)
def test_a_session_that_breaks_is_told_with_123(server: FakeServer, frames: list[str]) -> None:
    """Case K5 (chromeos-vsh.md §11.3)."""
    status, out, err = session(server, READY, *frames, hang_up=True)
    assert (status, out) == (123, b"")
    assert err.startswith(b"vsh: the session broke: ")
    assert err.count(b"\n") == 1


def test_a_second_ready_is_passed_over(server: FakeServer) -> None:
    """Case K6 (chromeos-vsh.md §11.3)."""
    assert session(server, READY, "04 00 00 00 12 02 08 01", exited(3))[0] == 3


def test_data_behind_the_end_of_a_stream_is_dropped(server: FakeServer) -> None:
    """Case K7 (chromeos-vsh.md §11.3)."""
    assert session(server, READY, HI, END_OF_OUTPUT, data(2, b"late"), exited(0)) == (0, b"hi\n", b"")


def test_the_end_of_standard_output_reaches_its_reader_before_the_end_of_the_session(server: FakeServer) -> None:
    with vsh(f"--connect={server.address}", "--", "x", stdin=subprocess.DEVNULL) as process:
        server.accept()
        server.play(READY, HI, END_OF_OUTPUT)
        assert process.stdout is not None
        assert process.stdout.read() == b"hi\n"
        assert process.poll() is None
        server.play(exited(4))
        assert process.wait(LIMIT) == 4


@pytest.mark.parametrize("stream", [0, 1, 7])
def test_data_of_an_unknown_stream_is_dropped(server: FakeServer, stream: int) -> None:
    """Case K8 (chromeos-vsh.md §11.3)."""
    assert session(server, READY, data(stream, b"x"), HI, exited(0)) == (0, b"hi\n", b"")


def test_unknown_fields_and_variants_are_passed_over(server: FakeServer) -> None:
    unknown = ["00 00 00 00", "02 00 00 00 20 02", "06 00 00 00 52 04 01 02 03 04", "03 00 00 00 a0 06 01"]
    assert session(server, READY, *unknown, HI, exited(0)) == (0, b"hi\n", b"")


def test_signals_are_forwarded_and_the_client_stays(server: FakeServer) -> None:
    """Case K9 (chromeos-vsh.md §11.3)."""
    with vsh(f"--connect={server.address}", "--", "x") as process:
        server.accept()
        server.play(READY, HI)
        assert process.stdout is not None
        assert process.stdout.read(3) == b"hi\n"
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            process.send_signal(number)
            assert server.frame() == bytes([2, 0, 0, 0, 0x20, number])
        assert process.poll() is None
        server.play(exited(0))
        assert process.wait(LIMIT) == 0


def test_a_second_termination_ends_the_client(server: FakeServer) -> None:
    with vsh(f"--connect={server.address}", "--", "x") as process:
        server.accept()
        server.play(READY, HI)
        assert process.stdout is not None
        process.stdout.read(3)
        process.terminate()
        assert server.frame() == bytes.fromhex("02000000200f")
        process.terminate()
        assert process.wait(LIMIT) == 143
        assert server.frame() == b""


def test_the_setup_says_what_the_command_line_asks(server: FakeServer) -> None:
    """Cases K10 and K11 (chromeos-vsh.md §11.3)."""
    required = b"\x22\x1a" + REQUIRES_CWD
    answer = encode_setup_answer(SetupAnswer(Status.READY, READY_IN_CWD, 712))
    for words, frame in (
        (
            ["--", "K=v", "PATH=", "cmd", "a=b"],
            b"\x1a\x16\x0a\x04TERM\x12\x0exterm-256color\x1a\x06\x0a\x01K\x12\x01v"
            b"\x2a\x05PATH=\x2a\x03cmd\x2a\x03a=b\x40\x01",
        ),
        (["--cwd=42"], b"\x1a\x16\x0a\x04TERM\x12\x0exterm-256color" + required + b"\x40\x01\x50\x2a"),
        (["--cwd=/x/y"], b"\x1a\x16\x0a\x04TERM\x12\x0exterm-256color" + required + b"\x40\x01\x4a\x04/x/y"),
        (["--user=ana", "-T"], b"\x12\x03ana\x1a\x16\x0a\x04TERM\x12\x0exterm-256color\x40\x01"),
    ):
        with vsh(f"--connect={server.address}", *words, stdin=subprocess.DEVNULL) as process:
            setup = server.accept()
            assert setup[4:] == frame
            server.play(answer, exited(0))
            assert process.wait(LIMIT) == 0
        server.hang_up()


def test_arguments_that_are_not_utf8_travel_as_they_are(server: FakeServer) -> None:
    with vsh(f"--connect={server.address}", "--", "printf", os.fsdecode(b"a\xff")) as process:
        assert b"\x2a\x02a\xff" in server.accept()
        server.play(READY, exited(0))
        assert process.wait(LIMIT) == 0


@pytest.mark.parametrize(
    ("words", "hint"),
    [(["-t", "--", "echo", "x" * 5000], "vsh -T"), (["--env=X=" + "x" * 5000, "--", "echo"], "shorter variables")],
)
def test_what_does_not_fit_is_told_before_anything_is_sent(server: FakeServer, words: list[str], hint: str) -> None:
    done = subprocess.run(
        [*VSH, f"--connect={server.address}", *words],
        env=environ(), capture_output=True, text=True, timeout=LIMIT, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "only 4096 fit" in done.stderr
    assert hint in done.stderr
    assert "Traceback" not in done.stderr


def test_a_regular_file_is_sent_and_ended(server: FakeServer, tmp_path: Path) -> None:
    """Case K12 (chromeos-vsh.md §11.3)."""
    (tmp_path / "input").write_bytes(b"from a file")
    with (tmp_path / "input").open("rb") as stream, vsh(f"--connect={server.address}", stdin=stream) as process:
        server.accept()
        server.play(READY)
        assert server.frame() == data(1, b"from a file")
        assert server.frame() == STDIN_EOF
        server.play(exited(0))
        assert process.wait(LIMIT) == 0


def test_standard_input_that_is_closed_or_nothing_ends_at_once(server: FakeServer) -> None:
    for redirection in ("<&-", "</dev/null", "<&- >&- 2>&-"):
        command = ["sh", "-c", f'exec "$@" {redirection}', "sh", *VSH, f"--connect={server.address}", "--", "x"]
        process = subprocess.Popen(command, env=environ(), stdout=subprocess.DEVNULL)
        server.accept()
        server.play(READY)
        assert server.frame() == STDIN_EOF
        server.play(HI, ERROR_BYTES, exited(5))
        assert process.wait(LIMIT) == 5
        server.hang_up()


def test_nothing_is_read_before_the_server_is_ready(server: FakeServer) -> None:
    with vsh(f"--connect={server.address}") as process:
        server.accept()
        assert process.stdin is not None
        process.stdin.write(b"early")
        process.stdin.close()
        process.stdin = None
        server.play(REFUSED)
        assert process.wait(LIMIT) == 1
        assert server.frame() == b""


def test_it_goes_on_reading_while_it_cannot_write(server: FakeServer, tmp_path: Path) -> None:
    """The original deadlocks here: nobody reads its input, and the server sends more than the buffers hold."""
    size = 8 * 1024 * 1024
    with (tmp_path / "zeros").open("wb+") as zeros:
        zeros.truncate(size)
        with vsh(f"--connect={server.address}", stdin=zeros) as process:
            server.accept()
            server.play(READY)
            assert process.stdout is not None
            received, frame = 0, data(2, b"x" * 100)
            os.set_blocking(process.stdout.fileno(), False)
            server.connection.setblocking(False)
            sent = 0
            deadline = time.monotonic() + LIMIT
            while received < 100 * 40_000:  # the server never reads
                assert time.monotonic() < deadline
                if sent < len(frame) * 40_000:
                    try:
                        sent += server.connection.send(
                            (frame * 400)[sent % len(frame) :][: len(frame) * 40_000 - sent]
                        )
                    except BlockingIOError:
                        pass
                try:
                    received += len(process.stdout.read(1 << 20) or b"")
                except BlockingIOError:
                    pass
            assert process.poll() is None


def test_a_reader_that_goes_away_ends_the_session(server: FakeServer) -> None:
    with vsh(f"--connect={server.address}", "--", "yes") as process:
        server.accept()
        server.play(READY, HI)
        assert process.stdout is not None
        process.stdout.read(3)
        process.stdout.close()
        process.stdout = None
        server.play(HI)
        assert process.wait(LIMIT) == 141
        assert server.frame() == b""


def test_a_reader_that_goes_away_while_nothing_comes_changes_nothing(server: FakeServer) -> None:
    with vsh(f"--connect={server.address}", "--", "x") as process:
        server.accept()
        server.play(READY, HI)
        assert process.stdout is not None
        process.stdout.read(3)
        process.stdout.close()
        process.stdout = None
        process.send_signal(signal.SIGINT)
        assert server.frame() == bytes.fromhex("020000002002")
        deadline = time.monotonic() + LIMIT
        while psutil.Process(process.pid).status() != psutil.STATUS_SLEEPING:  # vsh must not spin either
            assert time.monotonic() < deadline
        server.play(HI)
        assert process.wait(LIMIT) == 141


def test_a_termination_does_not_wait_for_a_reader(server: FakeServer) -> None:
    with vsh(f"--connect={server.address}", "--", "x") as process:
        server.accept()
        server.play(READY)
        server.connection.setblocking(False)
        frames = data(2, b"x" * 100) * 1000
        with contextlib.suppress(BlockingIOError):
            while True:  # until pipe, queue and socket are full
                server.connection.send(frames)
                time.sleep(0.001)
        deadline = time.monotonic() + LIMIT
        while process.poll() is None:  # signals that come together may count as one
            assert time.monotonic() < deadline
            process.terminate()
            time.sleep(0.05)
        # At exit the interpreter restores the signals' default actions.
        assert process.returncode in (143, -signal.SIGTERM)


def test_a_slow_reader_gets_everything_after_the_end(server: FakeServer) -> None:
    with vsh(f"--connect={server.address}", "--", "x", stdin=subprocess.DEVNULL) as process:
        server.accept()
        server.play(READY)
        for number in range(2000):
            server.play(data(2, b"%0100d" % number))
        server.play(exited(0))
        assert process.stdout is not None
        assert process.stdout.read() == b"".join(b"%0100d" % number for number in range(2000))
        assert process.wait(LIMIT) == 0


def test_a_full_disk_is_told(server: FakeServer) -> None:
    with Path("/dev/full").open("wb") as full:
        process = subprocess.Popen(
            [*VSH, f"--connect={server.address}", "--", "x"],
            env=environ(), stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE,
        )  # fmt: skip
        server.accept()
        server.play(READY, HI)
        _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 1
    assert b"no space left on device" in err
    assert b"Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_before_the_server_is_ready_a_signal_ends_the_client(server: FakeServer, number: int) -> None:
    with vsh(f"--connect={server.address}", "--", "x") as process:
        server.accept()
        process.send_signal(number)
        assert process.wait(LIMIT) == 128 + number


def test_mistakes_have_the_originals_status() -> None:
    for words, status in ((["--nonsense"], 64), (["--cid=x"], 65), ([], 1)):
        done = subprocess.run([*VSH, *words], env=environ(), capture_output=True, timeout=LIMIT, check=False)
        assert done.returncode == status
        assert b"Traceback" not in done.stderr


# -- on a terminal -------------------------------------------------------------------------------------------------


def test_keys_travel_as_they_are_and_a_resize_is_one_frame(server: FakeServer) -> None:
    """Case K13 (chromeos-vsh.md §11.3)."""
    with terminal([*VSH, f"--connect={server.address}"], rows=24, columns=80) as screen:
        setup = server.accept()
        assert setup.endswith(b"\x30\x18\x38\x50")  # 24 x 80, and a terminal
        server.play(READY)
        screen.wait_raw()
        keys = b"ls\r\x03\x04\x1a~."
        screen.type(keys)
        received = b""
        while len(received) < len(keys):
            frame = server.frame()
            assert frame[4:8] == bytes([0x0A, len(frame) - 6, 8, 1])
            received += frame[10:]
        assert received == keys
        screen.resize(50, 132)
        assert server.frame() == RESIZED
        screen.type(b"q")
        assert server.frame() == data(1, b"q")  # and no second frame for the size
        server.play(data(2, b"bye\r\n"), exited(7))
        assert screen.status() == 7
        assert b"bye\r\n" in screen.seen
        assert not screen.is_raw()


def test_a_new_size_is_told_before_what_is_typed_into_the_window(server: FakeServer) -> None:
    with terminal([*VSH, f"--connect={server.address}"]) as screen:
        server.accept()
        server.play(READY)
        screen.wait_raw()
        for rows in range(25, 60):
            screen.resize(rows, 80)
            screen.type(b"x")
            assert server.frame() == bytes([6, 0, 0, 0, 0x1A, 4, 8, rows, 0x10, 80])
            assert server.frame() == data(1, b"x")
        server.play(exited(0))
        assert screen.status() == 0


def test_what_was_typed_before_the_session_is_not_lost(server: FakeServer) -> None:
    with terminal([*VSH, f"--connect={server.address}"]) as screen:
        server.accept()
        screen.type(b"early\r")
        server.play(READY)
        received = b""
        while len(received) < 6:
            received += server.frame()[10:]
        assert received in (b"early\n", b"early\r")  # depends on whether the terminal was already raw
        server.play(exited(0))
        assert screen.status() == 0


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGUSR1, -signal.SIGUSR1), (signal.SIGALRM, -signal.SIGALRM), (signal.SIGXCPU, -signal.SIGXCPU)],
)
def test_a_deadly_signal_restores_the_terminal(server: FakeServer, number: int, status: int) -> None:
    with terminal([*VSH, f"--connect={server.address}"]) as screen:
        server.accept()
        server.play(READY)
        screen.wait_raw()
        screen.kill(number)
        assert screen.status() == status
        assert not screen.is_raw()


def test_terminations_restore_the_terminal(server: FakeServer) -> None:
    with terminal([*VSH, f"--connect={server.address}"]) as screen:
        server.accept()
        server.play(READY)
        screen.wait_raw()
        screen.kill(signal.SIGTERM)
        assert server.frame() == bytes.fromhex("02000000200f")
        screen.kill(signal.SIGTERM)
        assert screen.status() == 143
        assert not screen.is_raw()


def test_a_crash_restores_the_terminal(server: FakeServer) -> None:
    program = (
        "import sys; from guestlink_host.vsh import client_session, __main__;"
        "client_session.ClientSession._read_input = lambda self: 1 / 0;"
        f"sys.argv[1:] = ['--connect={server.address}']; sys.exit(__main__.main())"
    )
    with terminal([VSH[0], "-c", program]) as screen:
        server.accept()
        server.play(READY)
        screen.wait_raw()
        screen.type(b"x")
        assert screen.status() == 1
        assert not screen.is_raw()


def test_a_broken_session_restores_the_terminal_before_it_speaks(server: FakeServer) -> None:
    with terminal([*VSH, f"--connect={server.address}"]) as screen:
        server.accept()
        server.play(READY)
        screen.wait_raw()
        server.hang_up()
        assert screen.status() == 123
        screen.wait_for(b"vsh: the session broke: the other side hung up\r\n")
        assert not screen.is_raw()


def test_a_shell_restores_its_terminal_when_the_client_is_killed(server: FakeServer) -> None:
    """A killed process cannot restore anything; a shell with job control does."""
    shell = ["bash", "--norc", "--noprofile", "-i"]
    with terminal(shell, environ(PS1="$ ", BASH_SILENCE_DEPRECATION_WARNING="1")) as screen:
        screen.wait_for(b"$ ")
        screen.type(f"{' '.join(VSH)} --connect={server.address}\r".encode())
        server.accept()
        server.play(READY, data(2, b"in the session"))
        screen.wait_for(b"in the session")
        pid = _child_of(screen.pid)
        os.kill(pid, signal.SIGKILL)
        screen.wait_for(b"Killed")
        screen.type(b"stty -a\r")
        screen.wait_for(b" icanon ")
        screen.type(b"exit\r")
        screen.status()


def _child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def test_the_escape_sequence_ends_the_session_from_here(server: FakeServer) -> None:
    with terminal([*VSH, f"--connect={server.address}"]) as screen:
        server.accept()
        server.play(READY)
        screen.wait_raw()
        screen.type(b"~~\r")
        received = b""
        while len(received) < 2:
            received += server.frame()[10:]
        assert received == b"~\r"
        screen.type(b"~?")
        screen.wait_for(b"~.   end the session\r\n")
        screen.type(b"~.")
        assert screen.status() == 123
        screen.wait_for(b"vsh: the session was ended from here\r\n")
        assert server.frame() == b""
        assert not screen.is_raw()


def test_without_an_escape_character_the_sequence_is_typed(server: FakeServer) -> None:
    with terminal([*VSH, "-e", "none", f"--connect={server.address}"]) as screen:
        server.accept()
        server.play(READY)
        screen.wait_raw()
        screen.type(b"~.")
        received = b""
        while len(received) < 2:
            received += server.frame()[10:]
        assert received == b"~."
        server.play(exited(0))
        assert screen.status() == 0


def test_suspending_gives_the_terminal_back_and_continuing_takes_it(server: FakeServer) -> None:
    with terminal(["bash", "--norc", "--noprofile", "-i"], environ(PS1="$ ")) as screen:
        screen.wait_for(b"$ ")
        screen.type(f"{' '.join(VSH)} --connect={server.address}\r".encode())
        server.accept()
        server.play(READY, data(2, b"in the session"))
        screen.wait_for(b"in the session")
        screen.type(b"\r~\x1a")
        assert server.frame() == data(1, b"\r")
        screen.wait_for(b"Stopped")
        screen.type(b"stty -a\r")
        screen.wait_for(b" icanon ")
        screen.resize(30, 90)
        screen.type(b"fg\r")
        resize = server.frame()
        assert resize == bytes.fromhex("060000001a04081e105a")
        screen.wait_raw()
        screen.type(b"x")
        assert server.frame() == data(1, b"x")
        server.play(exited(9))
        screen.wait_for(b"$ ")
        screen.type(b"echo status $?\r")
        screen.wait_for(b"status 9\r\n")
        screen.type(b"exit\r")
        screen.status()


def test_a_terminal_that_is_closed_ends_the_session(server: FakeServer) -> None:
    with terminal([*VSH, f"--connect={server.address}"]) as screen:
        server.accept()
        server.play(READY)
        screen.wait_raw()
        master = os.dup(screen.master)  # keeps the descriptor's number in use for close()
        os.close(screen.master)
        screen.master = os.open(os.devnull, os.O_RDWR)
        os.close(master)
        while server.frame():
            pass  # the client may send a signal frame first
        assert screen.process.wait(LIMIT) == 129


def test_a_terminal_can_be_forced_and_refused(server: FakeServer) -> None:
    with terminal([*VSH, "-T", f"--connect={server.address}", "--", "x"]) as screen:
        assert server.accept().endswith(b"\x2a\x01x\x40\x01")
        server.play(READY, HI, exited(0))
        assert screen.status() == 0
        assert not screen.is_raw()
    server.hang_up()
    with vsh("-t", f"--connect={server.address}", "--", "x", stdin=subprocess.DEVNULL) as process:
        assert server.accept().endswith(b"\x2a\x01x")
        server.play(READY)
        assert server.frame() == STDIN_EOF
        server.play(HI, exited(0))
        assert process.wait(LIMIT) == 0
