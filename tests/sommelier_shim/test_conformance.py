"""Cases of chromeos-sommelier.md §9 and §8.1 that no other module tests, each with its section.

The proxy has no X11, copied buffers, GPU memory or channels across a virtual machine's border, so the cases about
these do not apply.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from guestlink.config import Config
from sommelier_shim.core.wire import DISPLAY, MESSAGE_LIMIT, decode
from sommelier_shim.features.scaling.arithmetic import Axis
from sommelier_shim.features.scaling.outputs import HostOutput, Outputs, ScaledOutputs, View
from support.protocol import message
from support.wayland_peers import GLOBALS, Between, Client, Host, HostConnection, Message, heard_by, stage


@pytest.fixture
def staged(tmp_path: Path) -> Iterator[tuple[Between, Host]]:
    with stage(tmp_path) as found:
        yield found


@pytest.fixture(params=[{}, {"scale": 2.0}], ids=["as it is", "scaled"])
def both(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Client, HostConnection]]:
    """A client and its host without and with a scale."""
    with stage(tmp_path, Config(request.param)) as (between, host), between.client() as client:
        client.start()
        yield client, host.connection(at_least=2)


def _surface(client: Client, host: HostConnection) -> tuple[int, int]:
    mine = client.create(client.bind("wl_compositor"), "create_surface")
    client.sync()
    return mine, host.made("wl_compositor", "create_surface")


def _buffer(client: Client, width: int, height: int) -> int:
    descriptor = os.memfd_create("pool")
    os.ftruncate(descriptor, 4096)
    pool = client.create(client.bind("wl_shm"), "create_pool", 4096, fds=[descriptor])
    os.close(descriptor)
    return client.create(pool, "create_buffer", 0, width, height, max(4, width * 4), 0)


# -- §9.1 coordinate arithmetic ------------------------------------------------------------------------------------


def test_contents_of_scale_three_are_shown_in_a_third_of_their_size() -> None:
    """chromeos-sommelier.md §9.1."""
    assert Axis(1.0).destination(16, 3) == 6


@pytest.mark.parametrize("raw", [0, 1, -1, 16 * 256, -16 * 256, 256 + 128])
def test_fixed_point_is_multiplied_and_divided_exactly(raw: int) -> None:
    """chromeos-sommelier.md §9.1."""
    for axis in (Axis(2.0), Axis(0.5), Axis(2.0, stable=True), Axis(3, 2, direct=True)):
        assert axis.fixed_to_guest(raw) == round(raw * axis.guest / axis.host)
        assert axis.fixed_to_host(raw) == round(raw * axis.host / axis.guest)


# -- §9.2 outputs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zoom", "transform", "logical"), [(1.5, 0, (1280, 720)), (0.8, 1, (1350, 2400))], ids=["1500", "800, rotated"]
)
def test_the_logical_size_of_a_zoomed_output(zoom: float, transform: int, logical: tuple[int, int]) -> None:
    """chromeos-sommelier.md §9.2."""
    output = HostOutput()
    output.pixels, output.zoom, output.transform = (1920, 1080), zoom, transform
    described = ScaledOutputs(1.0).described(output, Outputs())
    told = View(9, 2, output).events(described, ends_set=True)
    geometry, mode, scale = (told[start:] for start in _starts(told)[:3])
    _, width, height, _ = decode("uiii", mode[:24])
    (shown,) = decode("i", scale[:12])
    assert decode("iiiiissi", geometry[: len(geometry) - len(mode)])[7] == transform
    assert isinstance(width, int)
    assert isinstance(height, int)
    assert isinstance(shown, int)
    assert described.logical == logical
    size = width // shown, height // shown
    assert (size if transform == 0 else size[::-1]) == logical


def _starts(data: bytes) -> list[int]:
    found, at = [], 0
    while at < len(data):
        found.append(at)
        at += int.from_bytes(data[at + 6 : at + 8], sys.byteorder)
    return found


def test_the_proxys_objects_of_an_output_go_with_it(tmp_path: Path) -> None:
    """chromeos-sommelier.md §9.2."""
    globals_ = (*GLOBALS, ("zxdg_output_manager_v1", 3), ("zaura_shell", 38))
    with stage(tmp_path, Config({"scale": 0.5}), globals_) as (between, host), between.client() as client:
        client.start()
        connection = host.connection(at_least=2)
        seen = []
        for number in range(100, 103):
            for registry in connection.registries:
                connection.event(registry, "global", number, "wl_output", 3)
            client.sync()
            mine = client.new_id()
            client.request(client.registry, "bind", number, "wl_output", 3, mine)
            client.sync()
            own, theirs = connection.bound["wl_output"][-2:]
            made = [
                connection.wait_request(connection.bound["zxdg_output_manager_v1"][0], "get_xdg_output").arguments[
                    0
                ],
                connection.wait_request(connection.bound["zaura_shell"][0], "get_aura_output").arguments[0],
            ]
            seen.append([*made, own])
            for registry in connection.registries:
                connection.event(registry, "global_remove", number)
            client.sync()
            client.request(mine, "release")
            client.sync()
            destroyed = [m.object_id for m in connection.requests[-8:] if m.name in ("destroy", "release")]
            assert destroyed == [*made, own, theirs]
            for gone in destroyed:
                connection.event(1, "delete_id", gone)
            client.sync()
        assert len({number for made in seen for number in made}) <= 8, "their numbers are used again"


# -- §9.5 protocol -------------------------------------------------------------------------------------------------


def test_positioners_and_window_geometry_are_halved_at_scale_two(tmp_path: Path) -> None:
    """chromeos-sommelier.md §9.5."""
    with stage(tmp_path, Config({"scale": 2.0})) as (between, host), between.client() as client:
        client.start()
        connection = host.connection(at_least=2)
        surface, _ = _surface(client, connection)
        wm = client.bind("xdg_wm_base")
        xdg = client.create(wm, "get_xdg_surface", surface)
        client.request(xdg, "set_window_geometry", 100, 100, 100, 100)
        positioner = client.create(wm, "create_positioner")
        client.request(positioner, "set_size", 100, 100)
        client.sync()
        made = connection.made("xdg_wm_base", "get_xdg_surface")
        assert connection.wait_request(made, "set_window_geometry").arguments == [50, 50, 50, 50]
        assert connection.wait_request(
            connection.made("xdg_wm_base", "create_positioner"), "set_size"
        ).arguments == [50, 50]


def test_serials_of_ping_pong_and_configure_are_not_touched(both: tuple[Client, HostConnection]) -> None:
    """chromeos-sommelier.md §9.5."""
    client, host = both
    surface, _ = _surface(client, host)
    wm = client.bind("xdg_wm_base")
    xdg = client.create(wm, "get_xdg_surface", surface)
    client.sync()
    host_wm, host_xdg = host.bound["xdg_wm_base"][-1], host.made("xdg_wm_base", "get_xdg_surface")
    host.event(host_wm, "ping", 0xFEDCBA98)
    host.event(host_xdg, "configure", 77)
    heard = client.sync()
    assert heard_by(heard, wm, "ping") == [[0xFEDCBA98]]
    assert heard_by(heard, xdg, "configure") == [[77]]
    client.request(wm, "pong", 0xFEDCBA98)
    client.request(xdg, "ack_configure", 77)
    client.sync()
    assert host.wait_request(host_wm, "pong").arguments == [0xFEDCBA98]
    assert host.wait_request(host_xdg, "ack_configure").arguments == [77]


@pytest.mark.parametrize("kind", ["no buffer", "destroyed buffer", "size 0"])
def test_a_commit_that_shows_nothing(both: tuple[Client, HostConnection], kind: str) -> None:
    """chromeos-sommelier.md §9.5."""
    client, host = both
    surface, host_surface = _surface(client, host)
    if kind != "no buffer":
        buffer = _buffer(client, *((0, 0) if kind == "size 0" else (16, 16)))
        client.request(surface, "attach", buffer, 0, 0)
        if kind == "destroyed buffer":
            client.request(buffer, "destroy")
    client.request(surface, "damage", 0, 0, 0x7FFFFFFF, 0x7FFFFFFF)
    client.request(surface, "commit")
    client.sync()
    assert host.wait_request(host_surface, "commit")


# -- §9.6 of this project ------------------------------------------------------------------------------------------


def test_a_descriptor_may_come_with_any_byte_of_its_message(both: tuple[Client, HostConnection]) -> None:
    """Both in one piece and in several (chromeos-sommelier.md §9.6)."""
    client, host = both
    shm = client.bind("wl_shm")
    client.sync()
    with open(os.devnull, "rb") as null:
        for place in range(16):
            message = client.encode(shm, "create_pool", client.new_id(), 1000 + place)
            for at, byte in enumerate(message):
                client.send(bytes([byte]), fds=[null.fileno()] if at == place else ())
    client.sync()
    sizes = [size for _, _, size in heard_by(host.requests, host.bound["wl_shm"][-1], "create_pool")]
    assert sizes == list(range(1000, 1016))
    assert len(host.fds) == 16


def test_messages_of_4096_bytes_pass_both_ways(both: tuple[Client, HostConnection]) -> None:
    """chromeos-sommelier.md §9.6."""
    client, host = both
    surface, _ = _surface(client, host)
    xdg = client.create(client.bind("xdg_wm_base"), "get_xdg_surface", surface)
    toplevel = client.create(xdg, "get_toplevel")
    title = "x" * (MESSAGE_LIMIT - 13)
    client.request(toplevel, "set_title", title)
    client.sync()
    host_toplevel = host.made(host.made("xdg_wm_base", "get_xdg_surface"), "get_toplevel")
    request = host.wait_request(host_toplevel, "set_title")
    assert len(request.data) == MESSAGE_LIMIT
    assert request.arguments == [title.encode()]
    states = bytes(MESSAGE_LIMIT - 20)
    host.event(host_toplevel, "configure", 0, 0, states)
    assert heard_by(client.sync(), toplevel, "configure") == [[0, 0, states]]


_DIES = """
import os, signal, socket, sys
sock = socket.socket(fileno=int(sys.argv[1]))
sock.sendall(bytes.fromhex(sys.argv[2]))
print("said", flush=True)
signal.pause()
"""


def test_the_session_of_a_client_that_is_killed_with_events_unread_ends(staged: tuple[Between, Host]) -> None:
    """chromeos-sommelier.md §9.6."""
    between, host = staged
    client = between.client()
    said = message(DISPLAY, "wl_display.get_registry", 2) + message(DISPLAY, "wl_display.sync", 3)[:9]
    with (
        client,
        subprocess.Popen(
            [sys.executable, "-c", _DIES, str(client.sock.fileno()), said.hex()],
            pass_fds=[client.sock.fileno()],
            stdout=subprocess.PIPE,
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline()
        connection = host.connection(at_least=2)
        connection.wait("it asked for the registry", lambda: connection.registries)
        client.sock.close()
        process.send_signal(signal.SIGKILL)
    connection.wait("the host sees the end", lambda: connection.ended)
    between.wait("the session ended", lambda: not between.server.clients)


# -- §8.1 what a naive proxy gets wrong ----------------------------------------------------------------------------


def test_events_of_a_destroyed_object_are_read_with_their_descriptors(
    both: tuple[Client, HostConnection],
) -> None:
    """chromeos-sommelier.md §8.1.2."""
    client, host = both
    keyboard = client.create(client.bind("wl_seat"), "get_keyboard")
    client.sync()
    host_keyboard = host.made("wl_seat", "get_keyboard")
    client.request(keyboard, "release")
    client.sync()
    with open(os.devnull, "rb") as null:
        host.event(host_keyboard, "keymap", 1, 1, fds=[null.fileno()])
    # The descriptor of the next keymap event must not be mixed up with that of the ignored event.
    again = client.create(client.bind("wl_seat"), "get_keyboard")
    client.sync()
    descriptor = os.memfd_create("keymap")
    os.ftruncate(descriptor, 321)
    host.event(host.made("wl_seat", "get_keyboard"), "keymap", 1, 321, fds=[descriptor])
    os.close(descriptor)
    heard = client.sync()
    assert [m.arguments for m in heard if m.object_id == again] == [[1, None, 321]]
    assert os.fstat(client.fds[-1]).st_size == 321


@pytest.mark.parametrize(
    ("request_", "values", "code"),
    [
        ("set_source", (0, 0, 0, 1), 0),
        ("set_destination", (0, 1), 0),
        ("set_destination", (5, 5), 3),
    ],
    ids=["source", "destination", "surface gone"],
)
def test_errors_of_a_viewport_are_its_interfaces_own(
    tmp_path: Path, request_: str, values: tuple[int, ...], code: int
) -> None:
    """chromeos-sommelier.md §8.1.13."""
    with stage(tmp_path, Config({"scale": 2.0})) as (between, _), between.client() as client:
        client.start()
        surface = client.create(client.bind("wl_compositor"), "create_surface")
        viewport = client.create(client.bind("wp_viewporter"), "get_viewport", surface)
        if code == 3:
            client.request(surface, "destroy")
        client.request(viewport, request_, *values)
        error = client.error_in(client.until_end())
        assert error is not None
        assert error[:2] == (viewport, code)


def test_a_viewport_may_be_destroyed_after_its_surface(tmp_path: Path) -> None:
    """chromeos-sommelier.md §8.1.7."""
    with stage(tmp_path, Config({"scale": 2.0})) as (between, _), between.client() as client:
        client.start()
        surface = client.create(client.bind("wl_compositor"), "create_surface")
        viewport = client.create(client.bind("wp_viewporter"), "get_viewport", surface)
        client.request(surface, "destroy")
        client.request(viewport, "destroy")
        assert [viewport] in heard_by(client.sync(), DISPLAY, "delete_id")


def test_a_cursors_hotspot_is_scaled(tmp_path: Path) -> None:
    """chromeos-sommelier.md §8.1.35."""
    with stage(tmp_path, Config({"scale": 0.5})) as (between, host), between.client() as client:
        client.start()
        pointer = client.create(client.bind("wl_seat"), "get_pointer")
        surface = client.create(client.bind("wl_compositor"), "create_surface")
        client.request(pointer, "set_cursor", 7, surface, 5, 3)
        client.sync()
        connection = host.connection(at_least=2)
        host_pointer = connection.made("wl_seat", "get_pointer")
        host_surface = connection.made(connection.bound["wl_compositor"][0], "create_surface")
        assert connection.wait_request(host_pointer, "set_cursor").arguments == [7, host_surface, 10, 6]


def test_a_second_viewport_is_an_error_of_the_viewporter(tmp_path: Path) -> None:
    """chromeos-sommelier.md §8.1.13."""
    with stage(tmp_path, Config({"scale": 2.0})) as (between, _), between.client() as client:
        client.start()
        surface = client.create(client.bind("wl_compositor"), "create_surface")
        viewporter = client.bind("wp_viewporter")
        client.create(viewporter, "get_viewport", surface)
        client.create(viewporter, "get_viewport", surface)
        error = client.error_in(client.until_end())
        assert error is not None
        assert error[:2] == (viewporter, 0)


def test_a_descriptor_that_cannot_be_written_passes(both: tuple[Client, HostConnection]) -> None:
    """chromeos-sommelier.md §8.1.15."""
    client, host = both
    with open(__file__, "rb") as file:
        client.create(client.bind("wl_shm"), "create_pool", 4096, fds=[file.fileno()])
        client.sync()
        assert os.fstat(host.fds[-1]).st_ino == os.fstat(file.fileno()).st_ino


def test_a_seat_that_lost_and_found_its_pointer_gives_a_new_one(both: tuple[Client, HostConnection]) -> None:
    """chromeos-sommelier.md §8.1.25."""
    client, host = both
    seat = client.bind("wl_seat")
    first = client.create(seat, "get_pointer")
    client.sync()
    host_seat, host_first = host.bound["wl_seat"][-1], host.made("wl_seat", "get_pointer")
    host.event(host_seat, "capabilities", 0)
    client.request(first, "release")
    host.event(host_seat, "capabilities", 1)
    client.sync()
    second = client.create(seat, "get_pointer")
    client.sync()
    host_second = host.made("wl_seat", "get_pointer")
    assert host_second != host_first
    host.event(host_second, "motion", 5, 10, 10)
    assert _of(client.sync(), second) == ["motion"]


def test_an_output_that_is_gone_may_still_be_named(both: tuple[Client, HostConnection]) -> None:
    """chromeos-sommelier.md §8.1.24."""
    client, host = both
    surface, host_surface = _surface(client, host)
    output = client.bind("wl_output")
    client.sync()
    host_output = host.bound["wl_output"][-1]
    name = client.names["wl_output"][0]
    for registry in host.registries:
        host.event(registry, "global_remove", name)
    host.event(host_surface, "leave", host_output)
    heard = client.sync()
    assert heard_by(heard, surface, "leave") == [[output]]


def _of(messages: list[Message], object_id: int) -> list[str]:
    return [m.name for m in messages if m.object_id == object_id]
