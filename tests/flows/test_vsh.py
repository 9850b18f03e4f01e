"""vsh, guestlink-host, garcon and vshd as real processes: a user's actions in a container's shell."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.loopback import free_address
from support.stage import LIMIT, Stage, stage
from support.vsh_peers import Terminal

NAME = "demo"
VSH = [sys.executable, "-m", "guestlink_host.vsh"]


@pytest.fixture(scope="module")
def rig() -> Iterator[Stage]:
    with stage(NAME) as made:
        terminal = made.root / "a-terminal"
        seen = made.root / "terminal"
        script = f'#!/bin/sh\n"$@" >{seen}.new\necho status $? >>{seen}.new\nmv {seen}.new {seen}\n'
        terminal.write_text(script)
        terminal.chmod(0o755)
        made.host_environ["GUESTLINK_HOST_TERMINAL"] = str(terminal)
        made.start_host()
        made.host("add", NAME)
        made.start_garcon()
        made.wait_registered()
        made.wait("the container can be called", lambda: made.host_json("list")[0]["username"])
        yield made


def vsh(rig: Stage, *words: str, stdin: bytes = b"", **options: object) -> tuple[int, bytes, bytes]:
    """Run vsh on the host side with pipes."""
    done = subprocess.run(
        [*VSH, NAME, *words], env=rig.host_environ, input=stdin, capture_output=True, timeout=LIMIT, check=False
    )
    return done.returncode, done.stdout, done.stderr


def on_terminal(rig: Stage, *words: str, rows: int = 24, columns: int = 80) -> Terminal:
    return Terminal([*VSH, NAME, *words], rig.host_environ | {"TERM": "xterm-256color"}, rows, columns)


def carried(rig: Stage) -> Path:
    return rig.root / "host/run/guestlink-host/containers" / NAME


def test_a_commands_output_errors_and_status_arrive_apart(rig: Stage) -> None:
    assert vsh(rig, "--", "sh", "-c", "echo out; echo err >&2; exit 3") == (3, b"out\n", b"err\n")


def test_a_directory_that_cannot_be_entered_is_named_and_nothing_runs(rig: Stage) -> None:
    for cwd in ("/does/not/exist", "/etc/passwd", "missing", "4194305"):
        status, out, err = vsh(rig, f"--cwd={cwd}", "--", "echo", "ran")
        assert (status, out) == (1, b"")
        assert cwd.encode() in err
        assert err.count(b"\n") == 2
    assert vsh(rig, "--cwd=~", "--", "pwd")[1] == vsh(rig, "--", "pwd")[1]


def test_a_death_by_signal_is_shown_as_a_shell_shows_it(rig: Stage) -> None:
    for number in (9, 11, 15):
        assert vsh(rig, "--", "sh", "-c", f"kill -{number} $$")[0] == 128 + number
        assert vsh(rig, "--", "sh", "-c", f"exit {number}")[0] == number


def test_a_command_that_is_not_there_is_named(rig: Stage) -> None:
    status, out, err = vsh(rig, "--", "/does/not/exist")
    assert (status, out) == (127, b"")
    assert b"/does/not/exist" in err


def test_input_passes_through_whole(rig: Stage) -> None:
    content = os.urandom(3 * 1024 * 1024 + 5)
    assert vsh(rig, "--", "cat", stdin=content) == (0, content, b"")


def test_variables_directory_and_arguments_arrive(rig: Stage) -> None:
    program = 'printf "%s|%s|%s|%s\\n" "$A" "$B" "$PWD" "$1"'
    words = [
        "--env=B=",
        "--env=A=x y",
        "--cwd=/usr",
        "--",
        "A=b c",
        "sh",
        "-c",
        program,
        "sh",
        os.fsdecode(b"\xff "),
    ]
    assert vsh(rig, *words) == (0, b"b c||/usr|\xff \n", b"")


def test_a_regular_file_is_standard_input(rig: Stage) -> None:
    """The original hangs here (chromeos-vsh.md §3.14)."""
    file = rig.root / "file"
    file.write_bytes(b"x" * 100_000)
    with file.open("rb") as stream:
        done = subprocess.run(
            [*VSH, NAME, "--", "wc", "-c"], env=rig.host_environ, stdin=stream, capture_output=True, timeout=LIMIT,
            check=True,
        )  # fmt: skip
    assert done.stdout.strip() == b"100000"


def test_nothing_of_a_session_stays_in_the_directory(rig: Stage) -> None:
    assert vsh(rig, "--", "true")[0] == 0
    names = {path.name for path in carried(rig).iterdir()}
    assert not {name for name in names if name.startswith("vsh-")}
    assert not list((rig.root / "host/run/guestlink-host/private").glob("vsh-*"))


def test_guestlink_host_shell_is_vsh(rig: Stage) -> None:
    done = rig.host("shell", NAME, "--", "sh", "-c", "echo here; exit 5", check=False)
    assert (done.returncode, done.stdout) == (5, "here\n")


def test_a_terminal_that_the_container_asks_for_is_a_shell_there(rig: Stage) -> None:
    rig.guestlink("terminal", "--", "sh", "-c", "echo $0 in $PWD; exit 3", "x y")
    seen = rig.root / "terminal"
    rig.wait("the terminal has run its command", lambda: seen.exists() and "status" in seen.read_text())
    assert seen.read_text() == f"x y in {pwd.getpwuid(os.getuid()).pw_dir}\nstatus 3\n"


def test_a_login_shell_on_a_terminal_follows_its_window(rig: Stage) -> None:
    screen = on_terminal(rig, rows=33, columns=101)
    try:
        screen.type(b"PS1='>''> '\r")
        screen.wait_for(b">> ")
        screen.type(b"stty size; echo $0 $TERM\r")
        screen.wait_for(b"33 101\r\n")
        screen.wait_for(b"-bash xterm-256color\r\n")
        screen.wait_for(b">> ")
        screen.resize(50, 132)
        screen.type(b"stty size\r")
        screen.wait_for(b"50 132\r\n")
        screen.type(b"sh -c 'echo on''ce; exec sleep 1000'\r")
        screen.wait_for(b"once\r\n")  # the process is in the foreground now
        screen.type(b"\x03")
        screen.wait_for(b"^C")
        screen.wait_for(b">> ")
        screen.type(b"exit 7\r")
        assert screen.status() == 7
        assert not screen.is_raw()
    finally:
        screen.close()


def test_keys_of_full_screen_programs_are_passed(rig: Stage) -> None:
    screen = on_terminal(rig, "--", "sh", "-c", "stty raw -echo; printf ready; head -c 6 | od -An -tx1")
    try:
        screen.wait_for(b"ready")
        screen.type(b"\x00\x03\x1a\x1c\x04\xff")
        screen.wait_for(b"00 03 1a 1c 04 ff")
        assert screen.status() == 0
    finally:
        screen.close()


def test_signals_reach_the_command(rig: Stage) -> None:
    program = "trap 'echo term; exit 9' TERM; trap 'echo int' INT; echo ready; while :; do sleep 0.05; done"
    process = subprocess.Popen(
        [*VSH, NAME, "--", "bash", "-c", program],
        env=rig.host_environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == b"int\n"
    process.terminate()
    assert process.stdout.readline() == b"term\n"
    assert process.wait(LIMIT) == 9
    process.stdout.close()
    assert process.stdin is not None
    process.stdin.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, "escape"])
def test_a_client_that_vanishes_takes_its_command_with_it(rig: Stage, number: int | str) -> None:
    mark = f"1000{os.getpid()}{1 if number == 'escape' else 2}"
    screen = on_terminal(rig, "--", "sleep", mark)
    try:
        rig.wait("the command runs", lambda: _running(f"sleep {mark}"))
        screen.wait_raw()
        if number == "escape":
            screen.type(b"~.")
            assert screen.status() == 123
            assert not screen.is_raw()
        else:
            screen.kill(signal.SIGKILL)
            screen.status()
    finally:
        screen.close()
    rig.wait("the command has ended", lambda: not _running(f"sleep {mark}"))


def _running(command: str) -> bool:
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True, timeout=LIMIT)
    return command in listing.stdout.splitlines()


def test_many_at_once(rig: Stage) -> None:
    processes = [
        subprocess.Popen(
            [*VSH, NAME, "--", "sh", "-c", f"cat; exit {number}"],
            env=rig.host_environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for number in range(20)
    ]
    for number, process in enumerate(processes):
        out, _ = process.communicate(b"%d" % number, LIMIT)
        assert (process.returncode, out) == (number, b"%d" % number)


def test_what_is_in_the_way_is_named(rig: Stage) -> None:
    for words, said in (
        (["nobody"], "no container 'nobody' is known here"),
        ([NAME, "--user=nosuchuser", "--", "true"], "nosuchuser"),
    ):
        done = subprocess.run(
            [*VSH, *words], env=rig.host_environ, capture_output=True, text=True, timeout=LIMIT, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 1
        assert said in done.stderr
        assert "Traceback" not in done.stderr


def test_without_the_daemon_it_is_said_how_to_start_it(tmp_path: Path) -> None:
    with stage(NAME) as rig:
        status, _, err = vsh(rig, "--", "true")
        assert status == 1
        assert b"guestlink-host is not running" in err
        rig.start_host()
        rig.host("add", NAME)
        status, _, err = vsh(rig, "--", "true")
        assert status == 1
        assert b"is not registered" in err


@pytest.fixture(scope="module")
def far_rig() -> Iterator[Stage]:
    """A container without a shared directory: every connection uses TCP."""
    address = free_address()
    with stage(NAME) as made:
        del made.guest_environ["GUESTLINK_VSH_ADDRESS"]
        made.guest_environ["GUESTLINK_HOST_ADDRESS"] = str(address)
        made.guest_environ.pop("GUESTLINK_GARCON_ADDRESS", None)
        made.start_host()
        made.host("add", NAME, "--listen", str(address))
        made.start_garcon()
        made.wait("the container can be called", lambda: made.host_json("list")[0]["username"])
        yield made


def test_over_tcp_a_session_is_the_same(far_rig: Stage) -> None:
    content = os.urandom(300_000)
    assert vsh(far_rig, "--", "sh", "-c", "cat; echo err >&2; exit 3", stdin=content) == (3, content, b"err\n")


def test_over_tcp_files_are_there(far_rig: Stage) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "guestlink_host", "sftp-stream", NAME],
        env=far_rig.host_environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(bytes.fromhex("000000050100000003"))
    assert process.stdout.read(9)[4:] == bytes.fromhex("0200000003")
    process.stdin.close()
    assert process.wait(LIMIT) == 0
    process.stdout.close()


def test_over_tcp_strangers_do_not_come_between(far_rig: Stage) -> None:
    """Every user of the machine can connect to the port; vsh reads only the connection that proves the token."""
    far_rig.processes["garcon"].send_signal(signal.SIGSTOP)
    strangers: list[socket.socket] = []
    try:
        process = subprocess.Popen(
            [*VSH, NAME, "--", "echo", "from the container"],
            env=far_rig.host_environ,
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        )
        address = far_rig.wait("vsh listens", lambda: _listening_address(process.pid))
        for said in (b"", b"x" * 37, b"\x10\0\0\0\x08\x01", b"\n") * 8:
            strangers.append(socket.create_connection(address, LIMIT))
            strangers[-1].sendall(said)
    finally:
        far_rig.processes["garcon"].send_signal(signal.SIGCONT)
    assert process.stdout is not None
    assert process.stdout.read() == b"from the container\n"
    process.stdout.close()
    assert process.wait(LIMIT) == 0
    for stranger in strangers:
        stranger.close()


def _listening_address(pid: int) -> tuple[str, int] | None:
    """The IPv4 address and port on which a process listens (proc(5))."""
    sockets = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            sockets.add(os.readlink(link))
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
            host, _, port = fields[1].rpartition(":")
            return socket.inet_ntoa(bytes.fromhex(host)[::-1]), int(port, 16)
    return None
