"""Sessions of a real vshd: the server cases of chromeos-vsh.md §11.2."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from guestlink.vsh import (
    READY_IN_CWD,
    Setup,
    SetupAnswer,
    Status,
    StatusChange,
    encode_data,
    encode_resize,
    encode_setup,
    encode_signal,
    encode_status,
)
from support.stage import LIMIT
from support.vsh_peer import EOF, Vshd, names_of_children, terminal
from vshd.fork_server import SPARE_NAME

# Frames of chromeos-vsh.md §11.1.
RESIZED = bytes.fromhex("07 00 00 00 1a 05 08 32 10 84 01")
SIGNAL_0 = bytes.fromhex("02 00 00 00 20 00")
EMPTY = bytes(4)
OWN = pwd.getpwuid(os.getuid())


def gone(pid: int) -> bool:
    """Whether a process has exited; zombies count as exited."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until(condition: Callable[[], bool], what: str = "") -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def wait_gone(pid: int) -> None:
    wait_until(lambda: gone(pid), f"{pid} is still there")


def test_a_command_ends_with_its_status(vshd: Vshd) -> None:
    """Case S1 (chromeos-vsh.md §11.2)."""
    assert vshd.run("true").code == 0


def test_output_and_errors_are_apart(vshd: Vshd) -> None:
    """Case S2 (chromeos-vsh.md §11.2)."""
    peer = vshd.run("sh", "-c", "echo o; echo e >&2; exit 3")
    assert (peer.out, peer.err, peer.code) == (b"o\n", b"e\n", 3)
    assert sorted(peer.ended_streams) == [2, 3]


def test_what_comes_behind_the_end_of_input_is_dropped(vshd: Vshd) -> None:
    """Case S3 (chromeos-vsh.md §11.2)."""
    with vshd.peer() as peer:
        peer.begin(Setup(argv=(b"cat",), nopty=True))
        peer.say(encode_data(1, b"a\n"), EOF, encode_data(1, b"late\n"))
        assert peer.finish().out == b"a\n"
        assert peer.code == 0


@pytest.mark.parametrize("number", [9, 11, 15])
def test_a_death_by_signal_is_the_bare_number(vshd: Vshd, number: int) -> None:
    """Case S4 (chromeos-vsh.md §11.2)."""
    peer = vshd.run("sh", "-c", f"kill -{number} $$")
    assert peer.code == number
    assert peer.end is not None
    assert peer.end.description == f"killed by signal {number}"


@pytest.mark.parametrize(
    ("program", "code", "reason"),
    [
        ("/does/not/exist", 127, "no such file"),
        ("nosuchprogram", 127, "no such program"),
        ("/etc/passwd", 126, "perm"),
    ],
)
def test_what_cannot_be_executed_is_told(vshd: Vshd, program: str, code: int, reason: str) -> None:
    """Case S5 (chromeos-vsh.md §11.2)."""
    peer = vshd.run(program)
    assert peer.code == code
    assert program in peer.err.decode()
    assert reason in peer.err.decode()
    assert peer.answer is not None
    assert program in peer.answer.description


def test_an_unknown_user_is_refused(vshd: Vshd) -> None:
    """Case S6 (chromeos-vsh.md §11.2)."""
    with vshd.peer() as peer:
        peer.say(encode_setup(Setup(user=b"nosuchuser", argv=(b"true",), nopty=True)))
        peer.finish()
        assert peer.answer == SetupAnswer(Status.FAILED, "there is no user 'nosuchuser'")


def test_nobody_asked_for_is_the_daemons_user(vshd: Vshd) -> None:
    """Case S7 (chromeos-vsh.md §11.2)."""
    assert vshd.run("id", "-un").out.decode().strip() == OWN.pw_name


def test_the_dead_field_command_is_ignored(vshd: Vshd) -> None:
    """Case S8 (chromeos-vsh.md §11.2)."""
    message = bytes([0x22, 6]) + b"echo x" + bytes([0x40, 1])
    with vshd.peer() as peer:
        peer.say(len(message).to_bytes(4, "little"), message, EOF)
        assert b"x" not in peer.finish().out
        assert peer.code == 0


def test_no_words_are_a_login_shell(vshd: Vshd) -> None:
    """Case S9 (chromeos-vsh.md §11.2)."""
    peer = vshd.run(stdin=b"echo $0; exit 4\n")
    assert peer.out.decode() == f"-{Path(OWN.pw_shell or '/bin/sh').name}\n"
    assert peer.code == 4


def test_the_window_has_its_size_at_once(vshd: Vshd) -> None:
    """Case S10 (chromeos-vsh.md §11.2)."""
    with vshd.peer() as peer:
        peer.begin(terminal("stty", "size", rows=33, cols=101))
        assert peer.finish().out == b"33 101\r\n"
        assert peer.ended_streams == []


@pytest.mark.parametrize(("rows", "cols"), [(24, 0), (0, 0), (70000, 80), (-1, 80)])
def test_half_a_size_is_none(vshd: Vshd, rows: int, cols: int) -> None:
    """Case S11 (chromeos-vsh.md §11.2)."""
    with vshd.peer() as peer:
        peer.begin(terminal("stty", "size", rows=rows, cols=cols))
        assert peer.finish().out == b"0 0\r\n"


def test_a_terminal_has_a_name(vshd: Vshd) -> None:
    """Case S12 (chromeos-vsh.md §11.2)."""
    with vshd.peer() as peer:
        peer.begin(terminal("sh", "-c", "echo $TERM"))
        assert peer.finish().out == b"linux\r\n"


def test_end_of_input_at_the_beginning_of_a_line(vshd: Vshd) -> None:
    """Case S13 (chromeos-vsh.md §11.2)."""
    with vshd.peer() as peer:
        peer.begin(terminal("cat"))
        peer.type(b"line\n")
        peer.until(lambda: peer.out == b"line\r\nline\r\n")
        peer.say(EOF)
        assert peer.finish().code == 0


def test_end_of_input_within_a_line_only_flushes(vshd: Vshd) -> None:
    """Case S14 (chromeos-vsh.md §11.2)."""
    with vshd.peer() as peer:
        peer.begin(terminal("cat"))
        peer.type(b"part")
        peer.say(EOF)
        peer.until(lambda: peer.out == b"partpart")
        peer.say(EOF)
        assert peer.finish().code == 0


def test_a_raw_program_receives_the_byte(vshd: Vshd) -> None:
    """Case S15 (chromeos-vsh.md §11.2)."""
    with vshd.peer() as peer:
        peer.begin(terminal("sh", "-c", "stty raw -echo; echo go; head -c 1 | od -An -tx1"))
        peer.until(lambda: b"go" in peer.out)
        peer.say(EOF)
        assert b"04" in peer.finish().out


def test_ctrl_c_interrupts_the_foreground(vshd: Vshd) -> None:
    """Case S16 (chromeos-vsh.md §11.2)."""
    with vshd.peer() as peer:
        peer.begin(terminal("sh", "-c", "echo go; exec sleep 1000"))
        peer.until(lambda: b"go" in peer.out)
        peer.type(b"\x03")
        assert peer.finish().code == signal.SIGINT
        assert b"^C" in peer.out


def test_a_new_size_is_seen_by_the_program(vshd: Vshd) -> None:
    """Case S17 (chromeos-vsh.md §11.2)."""
    with vshd.peer() as peer:
        peer.begin(terminal("sh", "-c", "trap 'stty size; exit' WINCH; echo go; while :; do sleep 0.05; done"))
        peer.until(lambda: b"go" in peer.out)
        peer.say(RESIZED)
        assert b"50 132" in peer.finish().out


def test_without_a_terminal_a_size_is_ignored(vshd: Vshd) -> None:
    """Case S18 (chromeos-vsh.md §11.2)."""
    with vshd.peer() as peer:
        peer.begin(Setup(argv=(b"cat",), nopty=True))
        peer.say(RESIZED, encode_data(1, b"x"), EOF)
        assert peer.finish().out == b"x"


@pytest.mark.parametrize("number", [2, 15, 1, 3])
def test_signals_reach_the_program(vshd: Vshd, number: int) -> None:
    """Case S19 (chromeos-vsh.md §11.2)."""
    with vshd.peer() as peer:
        peer.begin(Setup(argv=(b"sleep", b"1000"), nopty=True))
        peer.say(encode_signal(number))
        assert peer.finish().code == number


def test_signals_reach_everything_that_the_program_started(vshd: Vshd) -> None:
    """Case S19 (chromeos-vsh.md §11.2)."""
    with vshd.peer() as peer:
        peer.begin(Setup(argv=(b"sh", b"-c", b"sleep 1000; echo never"), nopty=True))
        peer.say(encode_signal(15))
        assert peer.finish().code == 15


def test_a_signal_on_a_terminal_goes_to_the_foreground(vshd: Vshd) -> None:
    """As after Ctrl-C, the shell survives."""
    with vshd.peer() as peer:
        peer.begin(terminal("bash", "--norc", "--noediting", "-i"))
        peer.type(b"sh -c 'echo go; exec sleep 1000'\n")
        peer.until(lambda: b"go\r\n" in peer.out)
        peer.say(encode_signal(2))
        peer.type(b"echo on; exit 7\n")
        assert peer.finish().code == 7
        assert b"on\r\n" in peer.out


def test_other_signals_are_ignored(vshd: Vshd) -> None:
    """Case S20 (chromeos-vsh.md §11.2)."""
    with vshd.peer() as peer:
        peer.begin(Setup(argv=(b"sh", b"-c", b"read line; exit 0"), nopty=True))
        peer.say(SIGNAL_0, encode_signal(9), encode_signal(-1), encode_data(1, b"\n"))
        assert peer.finish().code == 0


def test_a_message_with_nothing_in_it_is_passed_over(vshd: Vshd) -> None:
    """Case S21 (chromeos-vsh.md §11.2)."""
    with vshd.peer() as peer:
        peer.begin(Setup(argv=(b"cat",), nopty=True))
        peer.say(EMPTY, encode_data(1, b"x"), EOF)
        assert peer.finish().out == b"x"


@pytest.mark.parametrize(
    "nonsense",
    [(4097).to_bytes(4, "little"), (2**31).to_bytes(4, "little"), bytes.fromhex("04 00 00 00 ff ff ff ff")],
    ids=["length 4097", "length 2^31", "no message"],
)
def test_nonsense_ends_the_session(vshd: Vshd, nonsense: bytes) -> None:
    """Cases S22 and S23 (chromeos-vsh.md §11.2)."""
    with vshd.peer() as peer:
        peer.begin(Setup(argv=(b"cat",), nopty=True))
        assert peer.answer is not None
        peer.say(nonsense)
        assert peer.finish().end is None
        wait_gone(peer.answer.pid)


@pytest.mark.parametrize("status", [0, 2, 3, 7])
def test_a_status_of_the_client_ends_the_session(vshd: Vshd, status: int) -> None:
    """Case S24 (chromeos-vsh.md §11.2)."""
    with vshd.peer() as peer:
        peer.begin(Setup(argv=(b"sleep", b"1000"), nopty=True))
        assert peer.answer is not None
        peer.say(encode_status(StatusChange(status)))
        assert peer.finish().end is None
        wait_gone(peer.answer.pid)


def test_ready_of_the_client_is_passed_over(vshd: Vshd) -> None:
    """Case S25 (chromeos-vsh.md §11.2)."""
    with vshd.peer() as peer:
        peer.begin(Setup(argv=(b"cat",), nopty=True))
        peer.say(encode_status(StatusChange(Status.READY)), encode_data(1, b"x\n"), EOF)
        assert peer.finish().out == b"x\n"


def test_the_largest_legal_frame_passes(vshd: Vshd) -> None:
    """Case S26 (chromeos-vsh.md §11.2)."""
    with vshd.peer() as peer:
        peer.begin(Setup(argv=(b"wc", b"-c"), nopty=True))
        peer.say(encode_data(1, bytes(4088)), EOF)
        assert peer.finish().out == b"4088\n"


def test_frames_may_come_in_single_bytes_and_many_at_once(vshd: Vshd) -> None:
    """Case S27 (chromeos-vsh.md §11.2)."""
    conversation = encode_setup(Setup(argv=(b"cat",), nopty=True)) + encode_data(1, b"a\n") + EOF
    with vshd.peer() as peer:
        for byte in conversation:
            peer.say(bytes([byte]))
        assert (peer.finish().out, peer.code) == (b"a\n", 0)
    with vshd.peer() as peer:
        peer.begin(Setup(argv=(b"cat",), nopty=True))
        peer.say(encode_data(1, b"a\n") * 100, EOF)
        assert (peer.finish().out, peer.code) == (b"a\n" * 100, 0)


def test_input_before_ready_is_kept(vshd: Vshd) -> None:
    """Case S28 (chromeos-vsh.md §11.2)."""
    with vshd.peer() as peer:
        peer.say(encode_setup(Setup(argv=(b"cat",), nopty=True)), encode_data(1, b"early"), EOF)
        assert (peer.finish().out, peer.code) == (b"early", 0)
        assert peer.answer is not None


@pytest.mark.parametrize(
    ("cwd", "place"),
    [("/usr", "/usr"), ("/missing", OWN.pw_dir), ("..", str(Path(OWN.pw_dir).parent)), ("~", OWN.pw_dir)],
)
def test_a_command_starts_in_the_clients_directory(vshd: Vshd, cwd: str, place: str) -> None:
    """Case S29 (chromeos-vsh.md §11.2)."""
    assert vshd.run("pwd", "-P", cwd=cwd.encode()).out.decode().strip() == str(Path(place).resolve())


def test_a_command_starts_in_the_directory_of_a_process(vshd: Vshd, tmp_path: Path) -> None:
    """Case S30 (chromeos-vsh.md §11.2)."""
    other = subprocess.Popen(["sleep", "1000"], cwd=tmp_path)
    try:
        assert vshd.run("pwd", "-P", cwd_pid=other.pid).out.decode().strip() == str(tmp_path)
        assert vshd.run("pwd", "-P", cwd_pid=other.pid, cwd=b"/usr").out.decode().strip() == str(tmp_path)
    finally:
        other.kill()
        other.wait()
    home = str(Path(OWN.pw_dir).resolve())
    assert vshd.run("pwd", "-P", cwd_pid=2**31 - 1).out.decode().strip() == home
    assert vshd.run("pwd", "-P", cwd_pid=-1).out.decode().strip() == home


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"cwd": b"/does/not/exist"}, "in /does/not/exist: no such file or directory"),
        ({"cwd": b"/etc/passwd"}, "in /etc/passwd: not a directory"),
        ({"cwd": b"lost/and/found"}, "in lost/and/found: no such file or directory"),
        ({"cwd": b"~nobody"}, "in ~nobody: no such file or directory"),
        ({"cwd": b"/\xff"}, "no such file or directory"),
        ({"cwd_pid": 2**31 - 1}, "in the directory of process 2147483647: no such file or directory"),
    ],
)
def test_a_directory_that_is_required_is_entered_or_nothing_runs(
    vshd: Vshd, tmp_path: Path, fields: dict[str, Any], reason: str
) -> None:
    mark = tmp_path / "mark"
    with vshd.peer() as peer:
        peer.say(encode_setup(Setup(argv=(b"touch", bytes(mark)), nopty=True, requires_cwd=True, **fields)))
        peer.until(lambda: peer.answer is not None)
        assert peer.answer is not None
        assert peer.answer.status == Status.FAILED
        assert peer.answer.description.startswith("the session cannot begin in ")
        assert reason in peer.answer.description
    assert not mark.exists()


def test_a_required_directory_that_is_entered_is_told(vshd: Vshd) -> None:
    peer = vshd.run("pwd", cwd=b"/usr", requires_cwd=True)
    assert (peer.out, peer.answer and peer.answer.description) == (b"/usr\n", READY_IN_CWD)
    # Unless the client requires the directory, vshd behaves like the original (chromeos-vsh.md §11.2, S29).
    assert vshd.run("true", cwd=b"/does/not/exist").code == 0


def test_a_directory_that_is_gone(vshd: Vshd, tmp_path: Path) -> None:
    lost = tmp_path / "lost"
    lost.mkdir()
    other = subprocess.Popen(["sleep", "1000"], cwd=lost)
    lost.rmdir()
    try:
        assert vshd.run("true", cwd_pid=other.pid, cwd=str(lost).encode()).code == 0
    finally:
        other.kill()
        other.wait()


def test_the_accounts_variables_are_its_own(vshd: Vshd) -> None:
    """Case S31 (chromeos-vsh.md §11.2)."""
    env = {b"SHELL": b"/x", b"HOME": b"/y", b"FOO": b"a=b", b"": b"1", b"A=B": b"1"}
    lines = vshd.run("env", env=env).out.decode().splitlines()
    assert f"SHELL={OWN.pw_shell}" in lines
    assert f"HOME={OWN.pw_dir}" in lines
    assert f"LOGNAME={OWN.pw_name}" in lines
    assert "FOO=a=b" in lines
    assert not any(line.startswith(("=", "A=B")) for line in lines)


def test_the_clients_variables_win(tmp_path: Path) -> None:
    """Case S32 (chromeos-vsh.md §11.2)."""
    environ = {"PATH": os.environ["PATH"], "FOO": "i", "BAR": "i", "NOTIFY_SOCKET": "", "INVOCATION_ID": "1"}
    server = Vshd(tmp_path, ["--inherit_env"], environ)
    try:
        lines = server.run("env", env={b"FOO": b"c"}).out.decode().splitlines()
    finally:
        server.close()
    assert "FOO=c" in lines
    assert "BAR=i" in lines
    assert not any(line.startswith(("INVOCATION_ID", "NOTIFY_SOCKET", "PYTHON")) for line in lines)


def test_a_broken_pipe_is_silent(vshd: Vshd) -> None:
    """Case S33 (chromeos-vsh.md §11.2)."""
    peer = vshd.run("bash", "-c", "yes | head -1")
    assert (peer.out, peer.err) == (b"y\n", b"")


def test_a_background_process_does_not_hold_the_session(vshd: Vshd) -> None:
    """Case S34 (chromeos-vsh.md §11.2)."""
    peer = vshd.run("sh", "-c", "sleep 1000 & echo $!")
    os.kill(int(peer.out), signal.SIGKILL)
    assert peer.code == 0


def test_a_background_process_that_writes_for_ever_does_not_hold_the_session(vshd: Vshd) -> None:
    """Case S34 (chromeos-vsh.md §11.2)."""
    peer = vshd.run("sh", "-c", "yes & echo $! >&2")
    os.kill(int(peer.err), signal.SIGKILL)
    assert peer.code == 0


def test_a_stop_is_no_end(vshd: Vshd) -> None:
    """Case S35 (chromeos-vsh.md §11.2)."""
    with vshd.peer() as peer:
        peer.begin(Setup(argv=(b"sh", b"-c", b"echo go; kill -STOP $$; exit 5"), nopty=True))
        assert peer.answer is not None
        process = psutil.Process(peer.answer.pid)
        deadline = time.monotonic() + LIMIT
        while process.status() != psutil.STATUS_STOPPED:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        peer.until(lambda: peer.out == b"go\n")
        assert peer.is_silent(0.3)
        process.send_signal(signal.SIGCONT)
        assert peer.finish().code == 5


@pytest.mark.parametrize("nopty", [True, False])
def test_a_client_that_vanishes_takes_its_program_with_it(vshd: Vshd, nopty: bool) -> None:
    """Case S38 (chromeos-vsh.md §11.2)."""
    with vshd.peer() as peer:
        peer.begin(Setup(argv=(b"sleep", b"1000"), nopty=nopty))
        assert peer.answer is not None
        pid = peer.answer.pid
    wait_gone(pid)


@pytest.mark.parametrize("nopty", [True, False])
def test_a_client_that_vanishes_ends_even_a_program_that_ignores_signals(vshd: Vshd, nopty: bool) -> None:
    """Case S38 (chromeos-vsh.md §11.2)."""
    with vshd.peer() as peer:
        peer.begin(Setup(argv=(b"sh", b"-c", b"trap '' HUP; echo go; while :; do sleep 0.1; done"), nopty=nopty))
        peer.until(lambda: b"go" in peer.out)
        assert peer.answer is not None
        pid = peer.answer.pid
    wait_gone(pid)


@pytest.mark.parametrize("nopty", [True, False])
def test_a_program_that_prints_when_its_client_vanishes_finishes_what_it_does(
    vshd: Vshd, tmp_path: Path, nopty: bool
) -> None:
    mark = tmp_path / "mark"
    # more than a pipe or a terminal buffers, so the program finishes only if somebody reads
    work = f"i=0; while [ $i -lt 100 ]; do printf %01000d $i; i=$((i+1)); done; echo x >{mark}"
    with vshd.peer() as peer:
        script = f"trap '{work}; exit' HUP; echo go; while :; do sleep 0.1; done"
        peer.begin(Setup(argv=(b"sh", b"-c", script.encode()), nopty=nopty))
        peer.until(lambda: b"go" in peer.out)
        assert peer.answer is not None
        pid = peer.answer.pid
    wait_gone(pid)
    assert mark.exists()


def test_a_stopped_program_ends_with_its_client(vshd: Vshd) -> None:
    with vshd.peer() as peer:
        peer.begin(Setup(argv=(b"sh", b"-c", b"echo go; kill -STOP $$"), nopty=True))
        assert peer.answer is not None
        pid = peer.answer.pid
        wait_until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    wait_gone(pid)


def test_a_client_that_shuts_down_its_sending_side_has_left(vshd: Vshd) -> None:
    """Case S39 (chromeos-vsh.md §11.2)."""
    with vshd.peer() as peer:
        peer.begin(Setup(argv=(b"sleep", b"1000"), nopty=True))
        peer.sock.shutdown(1)
        assert peer.finish().end is None


def test_bytes_that_are_no_text_pass(vshd: Vshd) -> None:
    """Case S41 (chromeos-vsh.md §11.2)."""
    assert vshd.run("printf", "%s", b"\xff").out == b"\xff"
    assert b"A=\xfe" in vshd.run("env", env={b"A": b"\xfe"}).out


def test_the_program_has_three_descriptors(vshd: Vshd) -> None:
    """Case S42 (chromeos-vsh.md §11.2)."""
    lines = vshd.run("ls", "-l", "/proc/self/fd").out.decode().splitlines()[1:]
    assert [line.split()[8] for line in lines] == ["0", "1", "2", "3"]  # the last is ls's own


@pytest.mark.parametrize("nopty", [True, False])
def test_signals_are_as_they_were_born(vshd: Vshd, nopty: bool) -> None:
    """Case S43 (chromeos-vsh.md §11.2)."""
    with vshd.peer() as peer:
        peer.begin(Setup(argv=(b"grep", b"Sig", b"/proc/self/status"), nopty=nopty))
        masks = dict(line.split(":") for line in peer.finish().out.decode().splitlines())
    glibcs_own = (
        3 << 31
    )  # signals 32 and 33: posix_spawn(3), by which newer Pythons start vshd, leaves them ignored
    assert int(masks["SigIgn"], 16) & ~glibcs_own == int(masks["SigBlk"], 16) == 0


def test_an_empty_first_word_cannot_be_executed(vshd: Vshd) -> None:
    peer = vshd.run("", "x")
    assert peer.code == 127


def test_nul_in_a_word_is_refused(vshd: Vshd) -> None:
    with vshd.peer() as peer:
        peer.say(encode_setup(Setup(argv=(b"echo", b"a\0b"), nopty=True)))
        peer.finish()
        assert peer.answer is not None
        assert (peer.answer.status, "NUL" in peer.answer.description) == (Status.FAILED, True)


def test_data_without_a_known_stream_is_input(vshd: Vshd) -> None:
    with vshd.peer() as peer:
        peer.begin(Setup(argv=(b"cat",), nopty=True))
        peer.say(encode_data(0, b"a"), encode_data(2, b"b"), encode_data(7, b"c"), EOF)
        assert peer.finish().out == b"abc"


@pytest.mark.parametrize(("rows", "cols"), [(0, 0), (-1, -1), (70000, 65616), (0, 80)])
def test_sizes_that_no_window_has_are_ignored(vshd: Vshd, rows: int, cols: int) -> None:
    with vshd.peer() as peer:
        peer.begin(terminal("sh", "-c", "read line; stty size", rows=33, cols=101))
        peer.say(encode_resize(rows, cols))
        peer.type(b"\n")
        assert peer.finish().out.endswith(b"33 101\r\n")


def test_input_that_the_program_does_not_want_is_dropped(vshd: Vshd, tmp_path: Path) -> None:
    typed = tmp_path / "typed"
    script = f"exec 0<&-; echo go; until [ -e {typed} ]; do sleep 0.01; done; echo on"
    with vshd.peer() as peer:
        peer.begin(Setup(argv=(b"sh", b"-c", script.encode()), nopty=True))
        peer.until(lambda: peer.out == b"go\n")
        peer.type(bytes(1 << 20))
        typed.touch()
        assert (peer.finish().out, peer.code) == (b"go\non\n", 0)


def test_a_program_may_close_its_terminal_and_open_it_again(vshd: Vshd) -> None:
    with vshd.peer() as peer:
        peer.begin(terminal("sh", "-c", "exec </dev/null >/dev/null 2>&1; sleep 0.5; echo on >/dev/tty"))
        assert peer.finish().out == b"on\r\n"


def test_the_terminal_erases_whole_characters(vshd: Vshd) -> None:
    with vshd.peer() as peer:
        peer.begin(terminal("stty", "-a"))
        assert b" iutf8" in peer.finish().out


def test_many_variables_and_words(vshd: Vshd) -> None:
    """As many as one message can contain; the protocol cannot transmit more (chromeos-vsh.md §3.3)."""
    env = {f"A{n}".encode(): b"" for n in range(400)}
    assert vshd.run("sh", "-c", "env | grep -c '^A[0-9]'", env=env).out == b"400\n"


@pytest.mark.parametrize("nopty", [True, False])
def test_a_program_goes_when_its_vshd_is_killed(vshd: Vshd, nopty: bool) -> None:
    with vshd.peer() as peer:
        peer.begin(Setup(argv=(b"sleep", b"1000"), nopty=nopty))
        assert peer.answer is not None
        session = psutil.Process(peer.answer.pid).ppid()
        os.kill(session, signal.SIGKILL)
        peer.finish()
        wait_gone(peer.answer.pid)


def test_a_program_that_is_killed_ends_its_session(vshd: Vshd) -> None:
    with vshd.peer() as peer:
        peer.begin(Setup(argv=(b"sleep", b"1000"), nopty=True))
        assert peer.answer is not None
        os.kill(peer.answer.pid, signal.SIGKILL)
        assert peer.finish().code == 9


def test_many_sessions_at_once_leave_nothing(vshd: Vshd) -> None:
    """Case S44 (chromeos-vsh.md §11.2)."""
    _settle(vshd)
    descriptors = psutil.Process(vshd.process.pid).num_fds()
    peers = [vshd.peer() for _ in range(200)]
    for number, peer in enumerate(peers):
        peer.say(encode_setup(Setup(argv=(b"cat",), nopty=True)), encode_data(1, b"%d" % number), EOF)
    for number, peer in enumerate(peers):
        assert (peer.finish().out, peer.code) == (b"%d" % number, 0)
        peer.sock.close()
    _settle(vshd)
    wait_until(lambda: psutil.Process(vshd.process.pid).num_fds() <= descriptors, "a descriptor is left")


def _settle(vshd: Vshd) -> None:
    """Wait until there are no sessions and two spare processes (fork_server.py)."""
    wait_until(lambda: names_of_children(vshd.process.pid) == [SPARE_NAME] * 2, "a session has not ended")


def test_only_this_user_and_root_may_connect(vshd: Vshd) -> None:
    if os.getuid() != 0:
        pytest.skip("needs root")
    os.chmod(vshd.path, 0o666)
    program = (
        "import os, socket, sys\n"
        "sock = socket.socket(socket.AF_UNIX)\n"
        "sock.connect(sys.argv[1])\n"
        "print(sock.recv(1))\n"
    )
    for parent in Path(vshd.path).parents[:-2]:  # except /tmp
        os.chmod(parent, 0o755)
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--clear-groups", "/usr/bin/python3", "-c", program, vshd.path],
        capture_output=True, text=True, timeout=LIMIT, check=False,
    )  # fmt: skip
    assert done.stdout == "b''\n", done.stderr
    assert "may not connect here" in vshd.log.read_text()
