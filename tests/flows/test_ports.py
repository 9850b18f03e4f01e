"""Forwarded ports between a host and a container with a network of its own, as a user names and uses them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from guestlink.errors import GuestlinkError
from support.needs import need
from support.ports import OWN_NETWORK, free_port
from support.stage import LIMIT, Stage, stage

_ECHO = """
import socket, sys, threading
kind, host, port = sys.argv[1:]
if kind == "udp":
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, int(port)))
    print("ready", flush=True)
    while True:
        data, peer = sock.recvfrom(65535)
        sock.sendto(b"inside:" + data, peer)
if kind == "unix":
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(host)
    listener.listen(100)
else:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, int(port)), family=family)
print("ready", flush=True)

def serve(connection):
    connection.sendall(b"inside:")
    while piece := connection.recv(65536):
        connection.sendall(piece)
    connection.close()

while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""
"""A server: it answers "inside:" and what it gets, until an end of file."""
_ASK = """
import socket, sys
kind, port = sys.argv[1:]
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
sock.settimeout(60)
sock.connect(("127.0.0.1", int(port)))
sock.send(b"from inside")
print(sock.recv(100).decode())
"""
_AS_ROOT = [] if os.getuid() == 0 else ["unshare", "--user", "--map-root-user"]


class Ports:
    """A stage whose container has a network of its own."""

    def __init__(self, running: Stage) -> None:
        self.stage = running
        running.start_host()
        running.host("add", running.name)
        self.start_garcon()
        running.wait_registered()

    def start_garcon(self) -> None:
        """Start garcon in a new network, as a container that starts."""
        argv = [*_AS_ROOT, *OWN_NETWORK, sys.executable, "-m", "garcon", "--server", "--allow_any_user"]
        process = self.stage.start("garcon", argv, self.stage.guest_environ)
        ours = os.readlink("/proc/self/ns/net")
        self.stage.wait("the network", lambda: os.readlink(f"/proc/{process.pid}/ns/net") != ours)

    def inside(self, *words: str) -> list[str]:
        """A command line in the container's network."""
        user = [] if os.getuid() == 0 else ["--user", "--preserve-credentials"]
        return ["nsenter", f"--target={self.stage.processes['garcon'].pid}", *user, "--net", *words]

    @contextlib.contextmanager
    def server(self, kind: str, host: str = "127.0.0.1", port: int = 0) -> Iterator[None]:
        """A server in the container."""
        argv = self.inside(sys.executable, "-c", _ECHO, kind, host, str(port))
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            try:
                assert process.stdout.readline() == b"ready\n"
                yield
            finally:
                process.kill()

    def ask_from_inside(self, kind: str, port: int) -> str:
        argv = self.inside(sys.executable, "-c", _ASK, kind, str(port))
        return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=LIMIT).stdout.strip()

    def state(self) -> dict[str, dict[str, object]]:
        """The forwards by where they listen."""
        answer = self.stage.ask_host("ports", name=self.stage.name)
        return {one["listen"]: one for one in answer["forwards"]}

    def events(self) -> list[str]:
        return [one["detail"] for one in self.stage.host_json("events", self.stage.name) if one["event"] == "port"]

    def relay(self) -> psutil.Process | None:
        """The process that relays the ports."""
        daemon = psutil.Process(self.stage.processes["host"].pid)
        for child in daemon.children():
            with contextlib.suppress(psutil.Error):
                if "relay_process" in " ".join(child.cmdline()):
                    return child
        return None

    def answers(self, port: int) -> bool:
        """Whether a forward leads to an echo server."""
        try:
            return talk(("127.0.0.1", port), b"x") == b"inside:x"
        except OSError:
            return False


def talk(address: tuple[str, int] | str, content: bytes) -> bytes:
    """Send something and an end of file, and return what comes back until the end."""
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as sock:
        sock.settimeout(LIMIT)
        sock.connect(address)
        sock.sendall(content)
        sock.shutdown(socket.SHUT_WR)
        received = bytearray()
        while piece := sock.recv(1 << 16):
            received += piece
        return bytes(received)


@pytest.fixture(scope="module")
def made() -> Iterator[Ports]:
    need("unshare", "nsenter", packages="util-linux")
    with stage() as running:
        yield Ports(running)


@pytest.fixture
def own() -> Iterator[Ports]:
    """A stage for one test, which restarts its daemons."""
    need("unshare", "nsenter", packages="util-linux")
    with stage() as running:
        yield Ports(running)


@pytest.fixture
def ports(made: Ports) -> Iterator[Ports]:
    yield made
    made.stage.host("policy", made.stage.name, "ports", "allow")
    for listen, one in made.state().items():
        switch = "--remove-back" if one["back"] else "--remove"
        spec = f"{listen}:{str(one['target']).removeprefix('localhost:')}"
        made.stage.host("ports", made.stage.name, switch, spec, *(["--udp"] if one["kind"] == "udp" else []))
    assert made.state() == {}


def test_a_forward_leads_to_a_server_in_the_container_until_it_is_removed(ports: Ports) -> None:
    here, there = free_port(), free_port()
    with ports.server("tcp", port=there):
        said = ports.stage.host("ports", "demo", "--forward", f"{here}:{there}").stdout
        assert f"localhost:{here} to localhost:{there}, here to the container" in said
        assert f"listening in the container: 127.0.0.1:{there} python" in said
        content = os.urandom(3 << 20)
        assert talk(("127.0.0.1", here), content) == b"inside:" + content
        ports.stage.host("ports", "demo", "--remove", f"{here}:{there}")
        with pytest.raises(ConnectionRefusedError):
            talk(("127.0.0.1", here), b"")
    assert "nothing listens in the container" in ports.stage.host("ports", "demo").stdout
    assert ports.relay() is None


def test_only_this_machine_reaches_a_forward_without_an_address(ports: Ports) -> None:
    here = free_port()
    ports.stage.host("ports", "demo", "--forward", str(here))
    found = {one.laddr.ip for one in psutil.net_connections("tcp") if one.laddr and one.laddr.port == here}
    assert found <= {"127.0.0.1", "::1"}
    assert "127.0.0.1" in found


def test_a_server_on_ipv6_and_one_at_a_unix_socket_are_reached(ports: Ports) -> None:
    here, there = free_port(), free_port()
    near, far = f"{ports.stage.root}/near", f"{ports.stage.root}/far"
    with ports.server("tcp", "::1", there), ports.server("unix", far):
        ports.stage.host("ports", "demo", "--forward", f"{here}:{there}", f"{near}:{far}")
        assert talk(("127.0.0.1", here), b"six") == b"inside:six"
        assert talk(near, b"local") == b"inside:local"
    ports.stage.host("ports", "demo", "--remove", f"{near}:{far}")
    assert not os.path.exists(near)


def test_a_port_without_a_server_is_reset_at_once(ports: Ports) -> None:
    here = free_port()
    ports.stage.host("ports", "demo", "--forward", f"{here}:{free_port()}")
    with pytest.raises(ConnectionResetError):
        talk(("127.0.0.1", here), b"x")


def test_datagrams_go_there_and_back(ports: Ports) -> None:
    here, there = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM)
    with ports.server("udp", port=there):
        ports.stage.host("ports", "demo", "--forward", f"{here}:{there}", "--udp")
        for content in (b"", b"one", os.urandom(20_000)):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.settimeout(LIMIT)
                sock.connect(("127.0.0.1", here))
                sock.send(content)
                assert sock.recv(65535) == b"inside:" + content


def test_programs_in_the_container_reach_a_port_of_this_machine(ports: Ports) -> None:
    there = free_port()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(LIMIT)
        ports.stage.host("ports", "demo", "--back", f"{there}:{server.getsockname()[1]}")
        argv = ports.inside(sys.executable, "-c", _ASK, "tcp", str(there))
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as client:
            connection, _ = server.accept()
            with connection:
                assert connection.recv(100) == b"from inside"
                connection.sendall(b"from outside")
            assert client.communicate(timeout=LIMIT)[0] == b"from outside\n"


def test_datagrams_of_the_container_reach_a_port_of_this_machine(ports: Ports) -> None:
    there = free_port(socket.SOCK_DGRAM)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(LIMIT)
        ports.stage.host("ports", "demo", "--back", f"{there}:{server.getsockname()[1]}", "--udp")
        argv = ports.inside(sys.executable, "-c", _ASK, "udp", str(there))
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as client:
            content, peer = server.recvfrom(100)
            assert content == b"from inside"
            server.sendto(b"from outside", peer)
            assert client.communicate(timeout=LIMIT)[0] == b"from outside\n"


def test_a_taken_port_is_answered_with_a_remedy_and_changes_nothing(ports: Ports) -> None:
    there = free_port()
    with socket.create_server(("127.0.0.1", 0)) as server, ports.server("tcp", port=there):
        taken = server.getsockname()[1]
        refused = ports.stage.host("ports", "demo", "--forward", f"{taken}:80", check=False)
        assert refused.returncode == 1
        assert f"port {taken} is in use on this machine" in refused.stderr
        assert "choose another one" in refused.stderr
        inside = ports.stage.host("ports", "demo", "--back", str(there), check=False)
        assert "the port is in use in the container" in inside.stderr
    assert ports.state() == {}


def test_words_that_are_no_forward_are_refused(ports: Ports) -> None:
    for words in (["--forward", "0"], ["--back", "x:y"], ["--udp"], ["--remove", "8080"]):
        refused = ports.stage.host("ports", "demo", *words, check=False)
        assert refused.returncode == 1
        assert len(refused.stderr.splitlines()) == 2
    with pytest.raises(GuestlinkError, match="no list of forwards"):
        ports.stage.ask_host("ports", name="demo", add=[1])


def test_a_web_server_that_starts_in_the_container_opens_here_by_itself(ports: Ports) -> None:
    port = free_port()
    ports.stage.host("ports", "demo", "--auto")
    with ports.server("tcp", "0.0.0.0", port):
        ports.stage.wait("the port is open", lambda: ports.answers(port))
        assert ports.state()[f"localhost:{port}"]["automatic"]
        ports.stage.wait(
            "an event tells so", lambda: any(f"http://localhost:{port} leads" in one for one in ports.events())
        )
    ports.stage.wait("the port is closed", lambda: f"localhost:{port}" not in ports.state())
    ports.stage.wait(
        "an event tells so", lambda: any(f"http://localhost:{port} is closed" in one for one in ports.events())
    )
    ports.stage.host("ports", "demo", "--no-auto")
    with ports.server("tcp", "0.0.0.0", port):
        assert not ports.answers(port)


def test_the_policy_closes_forwards_and_opens_them_again(ports: Ports) -> None:
    here, there = free_port(), free_port()
    with ports.server("tcp", port=there):
        ports.stage.host("ports", "demo", "--forward", f"{here}:{there}")
        ports.stage.host("policy", "demo", "ports", "deny")
        ports.stage.wait("it is closed", lambda: not ports.answers(here))
        refused = ports.stage.host("ports", "demo", "--forward", f"{here}", check=False)
        assert "guestlink-host policy demo ports allow" in refused.stderr
        ports.stage.host("policy", "demo", "ports", "allow")
        ports.stage.wait("it is open", lambda: ports.answers(here))


def test_a_forward_survives_its_process_garcon_and_the_host(own: Ports) -> None:
    here, there = free_port(), free_port()
    own.stage.host("ports", "demo", "--forward", f"{here}:{there}")
    with own.server("tcp", port=there):
        own.stage.wait("it works", lambda: own.answers(here))
        process = own.relay()
        assert process is not None
        process.kill()
        own.stage.wait("a new process relays", lambda: own.answers(here))
        for number in (signal.SIGTERM, signal.SIGKILL):
            own.stage.stop("host", number)
            own.stage.wait("it is closed", lambda: not own.answers(here))
            own.stage.start_host()
            own.stage.wait("the new host relays", lambda: own.answers(here))
    # The container starts again, with another network.
    own.stage.stop("garcon", signal.SIGKILL)
    own.start_garcon()
    own.stage.wait_registered()
    with own.server("tcp", port=there):
        own.stage.wait("the new garcon connects", lambda: own.answers(here))
