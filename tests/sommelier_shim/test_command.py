"""The program as users and systemd start it."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from guestlink.control import ControlClient
from guestlink.errors import GuestlinkError
from sommelier_shim import options
from support.sommelier_program import Program
from support.wayland_peers import LIMIT, Client, Host


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    started = Program(tmp_path)
    yield started
    started.close()


def _stop(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> str:
    process.send_signal(number)
    output = process.communicate(timeout=LIMIT)[0].decode()
    assert process.returncode == 0, output
    return output


def test_a_service_serves_its_socket_and_leaves_nothing_behind(program: Program) -> None:
    process = program.start("--parent", "--socket=wayland-7")
    with program.connect("wayland-7") as client:
        client.start()
        assert "wl_compositor" in client.names
    assert (program.runtime / "wayland-7").stat().st_mode & 0o777 == 0o600
    assert "Traceback" not in _stop(process)
    assert not (program.runtime / "wayland-7").exists()
    assert not list((program.runtime / "guestlink").iterdir())


def test_a_stale_socket_is_replaced_and_a_live_one_is_not(program: Program) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(program.runtime / "wayland-0"))
    process = program.start("--parent")
    with program.connect() as client:
        client.start()
    status, said = program.run("--parent")
    assert status == 1
    assert "another proxy or compositor serves" in said
    with program.connect() as client:
        client.start()
    _stop(process)


@pytest.mark.parametrize(
    ("name", "reason"), [("missing/wayland-0", "no such file or directory"), ("file", "another file is there")]
)
def test_a_socket_that_cannot_be_made_is_named(program: Program, name: str, reason: str) -> None:
    path = program.runtime / name
    (program.runtime / "file").touch()
    assert program.run("--parent", f"--socket={name}") == (
        1, f"sommelier: cannot make the socket {path}: {reason}\n  choose another place with --socket\n",
    )  # fmt: skip


def test_a_socket_that_somebody_has_removed_does_not_disturb_the_end(program: Program) -> None:
    process = program.start("--parent")
    with program.connect() as client:
        client.start()
    (program.runtime / "wayland-0").unlink()
    _stop(process)


_ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.executable, [sys.executable, "-m", "sommelier_shim", "--parent"])
"""


def test_systemd_hands_over_a_listening_socket(program: Program) -> None:
    path = program.runtime / "activated"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        process = subprocess.Popen(
            [sys.executable, "-c", _ACTIVATE, str(listener.fileno())],
            env=program.environ,
            pass_fds=[listener.fileno()],
            stdout=subprocess.PIPE,
        )
    program.processes.append(process)
    with program.connect("activated") as client:
        client.start()
    _stop(process)
    assert path.exists(), "the socket belongs to systemd"


def _listening(program: Program, *switches: str) -> tuple[socket.socket, subprocess.Popen[bytes], int]:
    """A listening socket, the proxy that serves it for a container, and the proxy's lifeline."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(program.runtime / "listening"))
    listener.listen()
    theirs, ours = os.pipe()
    words = [f"--listen-fd={listener.fileno()}", f"--lifeline-fd={theirs}", *switches]
    host = f"--display={program.host.path}"
    process = program.start("--parent", "--for-container=work", host, *words, pass_fds=(listener.fileno(), theirs))
    os.close(theirs)
    return listener, process, ours


def test_for_a_container_it_serves_a_socket_that_it_is_given_and_leaves_no_file(program: Program) -> None:
    before = sorted(program.runtime.iterdir())
    listener, process, lifeline = _listening(program)
    with listener, program.connect("listening") as client:
        client.start()
        assert "wl_compositor" in client.names
    assert sorted(program.runtime.iterdir()) == sorted([*before, program.runtime / "listening"])
    os.close(lifeline)
    assert process.wait(LIMIT) == 0


def test_when_its_lifeline_ends_it_serves_its_clients_to_the_end_and_no_others(program: Program) -> None:
    listener, process, lifeline = _listening(program)
    with program.connect("listening") as client:
        client.start()
        listener.close()
        os.close(lifeline)
        Program.wait("it no longer listens", lambda: not _connects(program.runtime / "listening"))
        client.sync()
        assert process.poll() is None
    assert process.wait(LIMIT) == 0


def test_without_clients_it_exits_after_its_idle_time_and_leaves_the_next_one_to_its_starter(
    program: Program,
) -> None:
    listener, process, lifeline = _listening(program, "--idle-time=0.2")
    with listener:
        with program.connect("listening") as client:
            client.start()
        assert process.wait(LIMIT) == 0
        assert _connects(program.runtime / "listening")
    os.close(lifeline)


def _connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(str(path)) == 0


@contextmanager
def _notified(program: Program) -> Iterator[socket.socket]:
    """The socket that gets the sd_notify messages of programs started inside this block."""
    address = program.runtime / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(address))
        notified.settimeout(LIMIT)
        program.environ["NOTIFY_SOCKET"] = str(address)
        yield notified


def test_readiness_is_notified_after_the_program_has_run(program: Program) -> None:
    with _notified(program) as notified:
        script = 'echo "$WAYLAND_DISPLAY $SOMMELIER_VERSION" > "$XDG_RUNTIME_DIR/said"'
        process = program.start("--parent", "--sd-notify=READY=1", "/bin/sh", "-c", script)
        texts = []
        while "READY=1" not in texts:
            texts.append(notified.recv(1000).decode())
        assert (program.runtime / "said").read_text().startswith("wayland-0 0.")
        _stop(process)
        while "STOPPING=1" not in texts:
            texts.append(notified.recv(1000).decode())


def test_systemd_hears_signs_of_life(program: Program) -> None:
    program.environ["WATCHDOG_USEC"] = "20000"
    with _notified(program) as notified:
        process = program.start("--parent")
        texts: list[str] = []
        while texts.count("WATCHDOG=1") < 3:
            texts.append(notified.recv(1000).decode())
        assert texts.index("READY=1") < texts.index("WATCHDOG=1")
    _stop(process)  # before the socket closes: with nobody reading, a full socket would block the proxy


def test_systemd_and_people_hear_when_the_host_goes_and_comes_back(program: Program) -> None:
    with _notified(program) as notified:

        def hears(start: str) -> None:
            while not notified.recv(1000).decode().startswith(f"STATUS={start}"):
                pass

        process = program.start("--parent")
        hears("the host at ")
        program.host.close()
        hears("waiting for the host: the host compositor closed the connection")
        program.host = Host(program.runtime / "host")
        control = ControlClient(program.runtime / "guestlink" / "sommelier-0.sock", daemon="sommelier")
        program.wait("it looks again when it is asked", lambda: control.call("status", timeout=LIMIT)["host_known"])
        assert not control.call("status", timeout=LIMIT)["host_asked"]
        hears("the host at ")
        _stop(process)


def test_a_failing_program_fails_the_service(program: Program) -> None:
    status, said = program.run("--parent", "/bin/sh", "-c", "exit 7")
    assert status == 7
    assert "/bin/sh failed with status 7" in said


def test_the_wrapper_gives_its_program_a_display_and_ends_like_it(program: Program) -> None:
    program.environ["DISPLAY"] = ":9"
    program.environ["WAYLAND_SOCKET"] = "77"
    script = 'echo "$WAYLAND_DISPLAY/$DISPLAY/$WAYLAND_SOCKET"; test -S "$XDG_RUNTIME_DIR/$WAYLAND_DISPLAY"; exit 3'
    assert program.run("sh", "-c", script) == (3, "wayland-1//\n")
    assert sorted(path.name for path in program.runtime.iterdir()) == ["host"], "something is left behind"


@pytest.mark.parametrize(
    ("number", "handler", "expected"),
    [
        (signal.SIGTERM, signal.SIG_DFL, 143),
        (signal.SIGHUP, signal.SIG_DFL, 129),
        (signal.SIGTERM, signal.SIG_IGN, 137),
        (signal.SIGTERM, "lambda *_: os._exit(9)", 9),
        (signal.SIGINT, "lambda *_: os._exit(7)", 7),
    ],
)
def test_a_wrapped_program_hears_of_a_signal_and_its_status_is_ours(
    program: Program, number: int, handler: object, expected: int
) -> None:
    code = f"import os, signal, time; signal.signal({int(number)}, {handler}); print('up', flush=True)"
    process = program.start(sys.executable, "-c", f"{code}; time.sleep(600)", start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(number)
    assert process.wait(LIMIT) == expected


def test_the_terminals_interrupt_is_the_wrapped_programs_own_business(program: Program) -> None:
    code = (
        "import os, signal, sys; signal.signal(2, lambda *_: os.write(1, b'caught\\n')); os.write(1, b'up\\n')\n"
        "sys.exit(int(sys.stdin.readline()))"
    )
    terminal, theirs = pty.openpty()
    with open(terminal, "r+b", buffering=0) as terminal_file, open(theirs, "r+b", buffering=0) as ours:
        process = subprocess.Popen(
            ["setsid", "--ctty", sys.executable, "-m", "sommelier_shim", sys.executable, "-c", code],
            env=program.environ, stdin=ours, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        program.processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        terminal_file.write(b"\x03")
        assert process.stdout.readline() == b"caught\n"
        terminal_file.write(b"6\n")
        assert process.wait(LIMIT) == 6


_TALK = """
import os, socket, sys, time
if "WAYLAND_SOCKET" in os.environ:
    s = socket.socket(fileno=int(os.environ["WAYLAND_SOCKET"]))
else:
    s = socket.socket(socket.AF_UNIX)
    s.connect(os.path.join(os.environ.get("XDG_RUNTIME_DIR", "/"), os.environ["WAYLAND_DISPLAY"]))
s.sendall(bytes.fromhex("01000000 01000c00 02000000"))
print(b"wl_compositor" in s.recv(65536), flush=True)
"""


def test_every_program_that_the_wrapped_one_starts_has_a_connection(program: Program) -> None:
    talk = f"{sys.executable} -c '{_TALK}'"
    assert program.run("sh", "-c", f"{talk}; {talk} & {talk}; wait; exit 5") == (5, "True\nTrue\nTrue\n")


def test_two_wrapped_programs_have_displays_of_their_own(program: Program) -> None:
    outer = "import subprocess, sys; print(subprocess.check_output(sys.argv[1:], text=True), end='')"
    inner = [sys.executable, "-m", "sommelier_shim", "sh", "-c", "echo $WAYLAND_DISPLAY"]
    assert program.run(sys.executable, "-c", outer, *inner) == (0, "wayland-2\n")


def test_the_wrapped_program_may_have_no_runtime_directory(program: Program) -> None:
    program.environ["SOMMELIER_DISPLAY"] = str(program.host.path)
    del program.environ["XDG_RUNTIME_DIR"]
    assert program.run(sys.executable, "-c", _TALK) == (0, "True\n")


def test_a_script_may_ask_for_the_originals_single_connection(program: Program) -> None:
    assert program.run("--wayland-socket", sys.executable, "-c", _TALK) == (0, "True\n")


def test_the_wrapper_serves_who_connects_after_its_program_has_ended(program: Program) -> None:
    later = "import os, sys, time\nwhile os.path.exists(f'/proc/{sys.argv[1]}'): time.sleep(0.01)"
    script = '"$0" -c "$1" $$ & exit 4'
    assert program.run("sh", "-c", script, sys.executable, f"{later}\n{_TALK}") == (4, "True\n")


def test_the_wrapper_does_not_wait_for_ever_for_what_its_program_leaves_behind(program: Program) -> None:
    process = program.start("sh", "-c", "sleep 600 > /dev/null 2>&1 & echo $!; exit 4")
    assert process.stdout is not None
    left = int(process.stdout.readline())
    try:
        assert process.wait(LIMIT) == 4
    finally:
        os.kill(left, signal.SIGKILL)


@pytest.mark.parametrize("switches", [(), ("--wayland-socket",)])
def test_a_wrapped_program_that_breaks_the_protocol_is_named(program: Program, switches: tuple[str, ...]) -> None:
    script = (
        f"{_TALK}s.sendall(bytes.fromhex('63000000 00000800'))\n"
        "s.recv(1000)\n"
        "print('I am', os.getpid(), flush=True)\n"
    )
    said = program.run(*switches, sys.executable, "-c", script)[1]
    (pid,) = (line.split()[2] for line in said.splitlines() if line.startswith("I am"))
    assert f"(pid {pid}) is disconnected: the client broke the protocol: invalid object 99" in said


def test_a_program_that_is_not_there(program: Program) -> None:
    status, said = program.run("no-such-program")
    assert (status, said) == (
        127,
        "sommelier: cannot run no-such-program: no such file or directory\n  install it, or check its name\n",
    )


def test_the_status_lists_clients(program: Program) -> None:
    process = program.start("--parent")
    with program.connect() as client:
        client.start()
        toplevel = client.create(
            client.create(client.bind("xdg_wm_base"), "get_xdg_surface", _surface(client)), "get_toplevel"
        )
        client.request(toplevel, "set_app_id", b"org.example.App\x1b[2J\xff")
        client.sync()
        control = ControlClient(program.runtime / "guestlink" / "sommelier-0.sock", daemon="sommelier")
        status = control.call("status", timeout=LIMIT)
        (listed,) = status["clients"]
        assert listed["pid"] == os.getpid()
        assert listed["app_ids"] == ["org.example.App�[2J�"]
        assert listed["objects"] > 5
        assert status["host"] == str(program.runtime / "host")
        with pytest.raises(GuestlinkError, match="does not know"):
            control.call("nonsense")
    _stop(process)


def _surface(client: Client) -> int:
    return client.create(client.bind("wl_compositor"), "create_surface")


def test_nonsense_on_the_status_socket_harms_nobody(program: Program) -> None:
    process = program.start("--parent")
    with program.connect() as client:
        for line in (b"\n", b"[]\n", b'{"call": []}\n', b"{" * 4000, b"x" * 9000, b"\xff\n"):
            with program.reach("guestlink/sommelier-0.sock") as sock:
                sock.sendall(line)
                sock.shutdown(socket.SHUT_WR)
                with suppress(ConnectionResetError):  # the proxy closed with our invalid bytes unread
                    sock.recv(65536)
        client.start()
    _stop(process)


def test_the_host_may_start_later(program: Program) -> None:
    program.host.path.rename(program.runtime / "later")
    process = program.start("--parent")
    with program.connect() as client:
        error = client.error_in(client.until_end())
        assert error is not None
        assert "cannot be reached" in error[2]
    (program.runtime / "later").rename(program.host.path)
    with program.connect() as client:
        client.start()
    _stop(process)


def test_it_ends_within_a_moment_although_clients_are_connected(program: Program) -> None:
    process = program.start("--parent")
    with program.connect() as client:
        client.start()
        _stop(process, signal.SIGINT)
        assert client.error_in(client.until_end()) is None


def test_without_anything_to_do_it_says_so(program: Program) -> None:
    assert program.run() == (
        1, "sommelier: nothing to do\n  give a program to run, or --parent to serve a socket\n",
    )  # fmt: skip


def test_help_names_every_setting(program: Program) -> None:
    status, said = program.run("--help")
    assert status == 0
    assert all(setting.meaning in said for setting in options.SCHEMA)
