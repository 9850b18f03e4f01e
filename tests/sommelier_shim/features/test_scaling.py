"""Scaling: its arithmetic (chromeos-sommelier.md §9.1), and the messages on both sides of a scaled client."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from guestlink.config import Config
from sommelier_shim.core.layouts import interface_layout
from sommelier_shim.features.scaling import coordinates
from sommelier_shim.features.scaling.arithmetic import Axis, clamped, usable
from sommelier_shim.features.scaling.outputs import nearest_density
from support.scaled import Scaled
from support.wayland_peers import GLOBALS, HostConnection, Message, heard_by, stage

# -- arithmetic (§9.1) -------------------------------------------------------------------------------------------


def test_stable_scaling_by_one_changes_nothing() -> None:
    axis = Axis(1.0, stable=True)
    assert all(axis.to_guest(v) == axis.to_host(v) == v for v in (-5, 0, 1, 16, 99999))


@pytest.mark.parametrize(("factor", "buffer_scale", "expected"), [(2, 1, 8), (2, 1.5, 6), (0.9, 1.6, 12)])
def test_a_destination_is_divided_by_factor_and_buffer_scale(
    factor: float, buffer_scale: float, expected: int
) -> None:
    assert Axis(factor).destination(16, buffer_scale) == expected


@pytest.mark.parametrize(
    ("factor", "buffer_scale", "expected"),
    [(1, 1, (15, 17)), (1, 1.6, (9, 11)), (0.9, 1, (16, 19)), (0.9, 1.6, (10, 12))],
)
def test_damage_covers_every_unit_that_it_touches(
    factor: float, buffer_scale: float, expected: tuple[int, int]
) -> None:
    assert Axis(factor).damage(16, 16, buffer_scale) == expected


def test_numbers_stay_in_the_range_of_the_wire() -> None:
    assert [clamped(value) for value in (-(2**40), -(2**31), 0, 2**31 - 1, 2**40)] == [
        -(2**31), -(2**31), 0, 2**31 - 1, 2**31 - 1,
    ]  # fmt: skip


def test_damage_of_everything_does_not_overflow() -> None:
    low, high = Axis(0.1).damage(-(2**31), 2**32)
    assert -(2**31) <= low < high < 2**31


def test_a_size_comes_back_as_it_was() -> None:
    axis = Axis(0.9, stable=True)
    assert axis.to_guest(16) == 15
    assert axis.to_host(15) == 16


def test_truncation_is_toward_zero_unless_stable() -> None:
    assert Axis(0.5).to_guest(-3) == -1
    assert Axis(0.5, stable=True).to_guest(-3) == -1
    assert Axis(2.0).to_host(-3) == -1
    assert Axis(2.0, stable=True).to_host(-3) == -2


@pytest.mark.parametrize(
    ("desired", "viewporter", "expected"), [(0.01, True, 0.1), (50, True, 10), (1.5, True, 1.5), (1.6, False, 2)]
)
def test_the_factor_that_can_be_had(desired: float, viewporter: bool, expected: float) -> None:
    assert usable(desired, has_viewporter=viewporter) == expected


def test_the_nearest_density_of_the_list_is_reported() -> None:
    # 1920 pixels on 344 mm are 142 dpi.
    assert nearest_density((1920, 1080), (344, 193), (72, 96, 160, 240)) == (304, 171)
    assert nearest_density((1920, 1080), (344, 193), ()) == (344, 193)


@pytest.mark.parametrize("is_request", [True, False])
def test_conversions_fit_their_messages(is_request: bool) -> None:
    for name, patterns in (coordinates.REQUESTS if is_request else coordinates.EVENTS).items():
        shape = interface_layout(name)
        for message, pattern in patterns.items():
            layout = shape.request(message) if is_request else shape.event(message)
            letters = layout.signature[: len(pattern)].replace("h", "")
            assert len(letters) == len(pattern)
            for letter, kind in zip(letters, pattern, strict=True):
                assert kind == "-" or letter in {"o": "o", "f": "f", "g": "f"}.get(kind, "iu"), f"{name}.{message}"


# -- on the wire -------------------------------------------------------------------------------------------------


@pytest.fixture
def scaled(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Scaled]:
    settings = {"scale": 0.5} | getattr(request, "param", {})
    globals_ = settings.pop("globals", GLOBALS)
    with stage(tmp_path, Config(settings), globals_) as (between, host), between.client() as client:
        client.start()
        yield Scaled(client, host.connection(at_least=2))


def test_a_surface_is_shown_in_the_clients_size_divided_by_the_scale(scaled: Scaled) -> None:
    surface, _ = scaled.surface()
    scaled.client.request(surface, "attach", scaled.buffer(101, 50), 0, 0)
    scaled.client.request(surface, "commit")
    assert scaled.viewport_requests() == [("set_destination", [202, 100])]
    scaled.client.request(surface, "commit")
    assert scaled.viewport_requests() == [("set_destination", [202, 100])], "nothing changed, nothing is said"


def test_a_buffer_scale_is_divided_once(scaled: Scaled) -> None:
    surface, host_surface = scaled.surface()
    scaled.client.request(surface, "set_buffer_scale", 2)
    scaled.client.request(surface, "attach", scaled.buffer(100, 50), 0, 0)
    scaled.client.request(surface, "commit")
    assert scaled.viewport_requests() == [("set_destination", [100, 50])]
    assert scaled.host.wait_request(host_surface, "set_buffer_scale").arguments == [2]


def test_a_rotated_buffer_is_shown_rotated(scaled: Scaled) -> None:
    surface, _ = scaled.surface()
    scaled.client.request(surface, "set_buffer_transform", 1)
    scaled.client.request(surface, "attach", scaled.buffer(100, 50), 0, 0)
    scaled.client.request(surface, "commit")
    assert scaled.viewport_requests() == [("set_destination", [100, 200])]


def test_a_clients_viewport_is_merged_and_never_seen_by_the_host(scaled: Scaled) -> None:
    surface, _ = scaled.surface()
    viewporter = scaled.client.bind("wp_viewporter")
    viewport = scaled.client.create(viewporter, "get_viewport", surface)
    scaled.client.request(viewport, "set_source", 0, 0, 32, 16)
    scaled.client.request(viewport, "set_destination", 64, 48)
    scaled.client.request(surface, "set_buffer_scale", 2)
    scaled.client.request(surface, "attach", scaled.buffer(100, 50), 0, 0)
    scaled.client.request(surface, "commit")
    # A viewport's destination is in surface units already, so the buffer scale does not apply
    # (chromeos-sommelier.md §8.2.10).
    assert scaled.viewport_requests() == [("set_source", [0, 0, 32, 16]), ("set_destination", [128, 96])]
    scaled.client.request(viewport, "destroy")
    scaled.client.request(surface, "commit")
    assert scaled.viewport_requests()[2:] == [("set_source", [-1] * 4), ("set_destination", [100, 50])]
    again = scaled.client.create(viewporter, "get_viewport", surface)
    assert again != viewport
    scaled.client.sync()


@pytest.mark.parametrize("destination", [(0, 5), (-1, 5), (-2, -2)])
def test_an_invalid_destination_is_refused(scaled: Scaled, destination: tuple[int, int]) -> None:
    surface, _ = scaled.surface()
    viewport = scaled.client.create(scaled.client.bind("wp_viewporter"), "get_viewport", surface)
    scaled.client.request(viewport, "set_destination", *destination)
    assert scaled.client.error_in(scaled.client.until_end())


def test_the_viewport_goes_before_its_surface(scaled: Scaled) -> None:
    surface, host_surface = scaled.surface()
    scaled.client.request(surface, "attach", scaled.buffer(10, 10), 0, 0)
    scaled.client.request(surface, "commit")
    scaled.client.request(surface, "destroy")
    assert scaled.viewport_requests()[-1] == ("destroy", [])
    destroyed = [m.object_id for m in scaled.host.requests if m.name == "destroy"]
    assert destroyed[-1] == host_surface
    assert len(destroyed) == 2


@pytest.mark.parametrize("commit", [(), (None,)])
def test_a_commit_without_contents_says_nothing_of_sizes(scaled: Scaled, commit: tuple[None, ...]) -> None:
    surface, host_surface = scaled.surface()
    for _ in commit:
        scaled.client.request(surface, "attach", 0, 0, 0)
    scaled.client.request(surface, "commit")
    scaled.client.sync()
    assert scaled.host.wait_request(host_surface, "commit")
    (viewporter,) = scaled.host.bound["wp_viewporter"]
    assert not [m for m in scaled.host.requests if m.object_id == viewporter]


def test_window_sizes_are_converted_both_ways(scaled: Scaled) -> None:
    toplevel, host_toplevel = scaled.toplevel()
    scaled.host.event(host_toplevel, "configure", 1000, 601, b"")
    assert heard_by(scaled.client.sync(), toplevel, "configure") == [[500, 300, b""]]
    scaled.client.request(toplevel, "set_min_size", 100, 50)  # set_min_size, which the original does not scale
    scaled.client.request(toplevel, "set_max_size", 0, 0)  # 0 means no maximum, and stays 0
    scaled.client.sync()
    assert scaled.host.wait_request(host_toplevel, "set_min_size").arguments == [200, 100]
    assert scaled.host.wait_request(host_toplevel, "set_max_size").arguments == [0, 0]


@pytest.mark.parametrize("scaled", [{"scale": 2.0}], indirect=True)
def test_positioners_at_scale_two(scaled: Scaled) -> None:
    positioner = scaled.client.create(scaled.wm, "create_positioner")
    scaled.client.request(positioner, "set_size", 100, 1)
    scaled.client.request(positioner, "set_anchor_rect", 100, 20, 30, 40)
    scaled.client.sync()
    host = scaled.made(scaled.host_id("xdg_wm_base"), "create_positioner")
    assert scaled.host.wait_request(host, "set_size").arguments == [50, 1], "a size never becomes nothing"
    assert scaled.host.wait_request(host, "set_anchor_rect").arguments == [50, 10, 15, 20]
    scaled.client.request(positioner, "set_anchor_rect", 7, 5, 1, 1)
    scaled.client.sync()
    assert scaled.host.wait_request(host, "set_anchor_rect").arguments == [3, 2, 1, 1], "nor does an anchor"


def test_pointer_positions_are_exact(scaled: Scaled) -> None:
    pointer = scaled.client.create(scaled.seat, "get_pointer")
    scaled.client.sync()
    host = scaled.made(scaled.host_id("wl_seat"), "get_pointer")
    scaled.host.event(host, "motion", 5, 101.5, -3)
    assert heard_by(scaled.client.sync(), pointer, "motion") == [[5, 50.75, -1.5]]


def test_regions_and_damage_are_converted(scaled: Scaled) -> None:
    region = scaled.client.create(scaled.compositor, "create_region")
    scaled.client.request(region, "add", 5, 6, 7, 8)
    surface, host_surface = scaled.surface()
    scaled.client.request(surface, "damage", 0, 0, 0x7FFFFFFF, 0x7FFFFFFF)
    scaled.client.request(surface, "damage_buffer", 1, 2, 3, 4)  # damage_buffer is in pixels
    scaled.client.sync()
    host_region = scaled.made(scaled.host_id("wl_compositor"), "create_region")
    assert scaled.host.wait_request(host_region, "add").arguments == [10, 12, 14, 16]
    assert scaled.host.wait_request(host_surface, "damage").arguments[2] > 1_000_000
    assert scaled.host.wait_request(host_surface, "damage_buffer").arguments == [1, 2, 3, 4]


def _describe(host: HostConnection, output: int, *, scale: int = 1, version: int = 3) -> None:
    """Send the host's events that describe an output of 1920×1080 pixels."""
    host.event(output, "geometry", 1920, 0, 344, 193, 0, "maker", "panel", 0)
    host.event(output, "mode", 3, 1920, 1080, 60000)
    if version >= 2:
        host.event(output, "scale", scale)
        host.event(output, "done")


def _output(scaled: Scaled, version: int = 2, scale: int = 1) -> tuple[int, list[Message]]:
    """An output that the host describes to the proxy and the client: its client id, and the client's events."""
    (own,) = scaled.host.bound["wl_output"]
    _describe(scaled.host, own, scale=scale)
    output = scaled.client.bind("wl_output", version)
    scaled.client.sync()
    _describe(scaled.host, scaled.host_id("wl_output"), scale=scale, version=version)
    return output, scaled.client.sync()


def test_an_output_is_described_in_the_clients_units(scaled: Scaled) -> None:
    output, heard = _output(scaled)
    assert [m.name for m in heard if m.object_id == output] == ["geometry", "mode", "scale", "done"]
    assert heard_by(heard, output, "scale") == [[2]]
    assert heard_by(heard, output, "mode") == [[1, 1920, 1080, 60000]]
    assert heard_by(heard, output, "geometry")[0][:4] == [960, 0, 344, 193]
    scaled.host.event(scaled.host_id("wl_output"), "done")
    assert [m.name for m in scaled.client.sync() if m.object_id == output] == ["done"], (
        "what is known is not repeated"
    )


@pytest.mark.parametrize("scaled", [{"scale": 2.0, "dpi": (96, 160)}], indirect=True)
def test_an_output_at_scale_two_with_densities(scaled: Scaled) -> None:
    output, heard = _output(scaled)
    assert heard_by(heard, output, "scale") == [[1]]
    assert heard_by(heard, output, "mode") == [[1, 3840, 2160, 60000]]
    assert heard_by(heard, output, "geometry")[0][2:4] == [609, 342]  # 160 dpi


@pytest.mark.parametrize("scaled", [{"scale": 1.0, "dpi": (96, 160)}], indirect=True)
def test_densities_are_reported_without_a_scale_as_well(scaled: Scaled) -> None:
    output, heard = _output(scaled, scale=3)
    assert heard_by(heard, output, "scale") == [[3]]
    assert heard_by(heard, output, "mode") == [[1, 1920, 1080, 60000]]
    assert heard_by(heard, output, "geometry")[0][:4] == [1920, 0, 304, 171]  # 160 dpi, nearest to 142
    surface, host_surface = scaled.surface()
    scaled.client.request(surface, "attach", scaled.buffer(101, 50), 0, 0)
    scaled.client.request(surface, "commit")
    scaled.client.sync()
    assert scaled.host.wait_request(host_surface, "commit")
    assert "wp_viewporter" not in scaled.host.bound


def test_the_first_version_of_outputs_has_no_end_of_a_set(scaled: Scaled) -> None:
    output, heard = _output(scaled, version=1)
    assert [m.name for m in heard if m.object_id == output] == ["geometry", "mode"]


def test_an_output_that_the_host_describes_late_is_described_late(scaled: Scaled) -> None:
    output = scaled.client.bind("wl_output")
    scaled.client.sync()
    own, theirs = scaled.host.bound["wl_output"]
    _describe(scaled.host, theirs)
    assert not [m for m in scaled.client.sync() if m.object_id == output]
    _describe(scaled.host, own)
    assert [m.name for m in scaled.client.sync() if m.object_id == output] == ["geometry", "mode", "scale", "done"]


def test_the_client_never_hears_of_the_proxys_own_outputs(scaled: Scaled) -> None:
    surface, host_surface = scaled.surface()
    output = scaled.client.bind("wl_output")
    scaled.client.sync()
    for name in ("enter", "leave"):
        for bound in scaled.host.bound["wl_output"]:
            scaled.host.event(host_surface, name, bound)
        assert heard_by(scaled.client.sync(), surface, name) == [[output]]


XDG_OUTPUT = {"globals": (*GLOBALS, ("zxdg_output_manager_v1", 3))}


@pytest.mark.parametrize("scaled", [XDG_OUTPUT], indirect=True)
def test_a_fractional_host_scale_is_taken_from_its_logical_size(scaled: Scaled) -> None:
    host = scaled.host
    (own,) = host.bound["wl_output"]
    (manager,) = host.bound["zxdg_output_manager_v1"]
    xdg_output, named = host.wait_request(manager, "get_xdg_output").arguments
    assert named == own
    host.event(xdg_output, "logical_position", 1280, 0)
    host.event(xdg_output, "logical_size", 1280, 720)
    output, heard = _output(scaled, scale=2)
    assert heard_by(heard, output, "scale") == [[2]]  # 1.5 / 0.5, at most 2
    assert heard_by(heard, output, "mode") == [[1, 1280, 720, 60000]]
    assert heard_by(heard, output, "geometry")[0][:2] == [640, 0]
    theirs = scaled.client.create(scaled.client.bind("zxdg_output_manager_v1"), "get_xdg_output", output)
    scaled.client.sync()
    host_theirs = scaled.made(scaled.host_id("zxdg_output_manager_v1"), "get_xdg_output")
    host.event(host_theirs, "logical_position", 1280, 0)
    host.event(host_theirs, "logical_size", 1280, 720)
    heard = scaled.client.sync()
    assert heard_by(heard, theirs, "logical_position") == [[640, 0]]
    assert heard_by(heard, theirs, "logical_size") == [[640, 360]]
    # The host changes the output's size: every event that depends on it follows.
    host.event(xdg_output, "logical_size", 1920, 1080)
    host.event(own, "done")
    heard = scaled.client.sync()
    assert [m.name for m in heard if m.object_id == output] == ["geometry", "mode", "scale", "done"]
    assert heard_by(heard, output, "mode") == [[1, 1920, 1080, 60000]]
    assert heard_by(heard, theirs, "logical_size") == [[960, 540]]


@pytest.mark.parametrize("scaled", [{"globals": (*GLOBALS, ("wp_fractional_scale_manager_v1", 1))}], indirect=True)
def test_the_fractional_scale_is_divided(scaled: Scaled) -> None:
    surface, _ = scaled.surface()
    fractional = scaled.client.create(
        scaled.client.bind("wp_fractional_scale_manager_v1"), "get_fractional_scale", surface
    )
    scaled.client.sync()
    host = scaled.made(scaled.host_id("wp_fractional_scale_manager_v1"), "get_fractional_scale")
    scaled.host.event(host, "preferred_scale", 180)
    assert heard_by(scaled.client.sync(), fractional, "preferred_scale") == [[360]]


WITHOUT = {"scale": 2.0, "globals": tuple(item for item in GLOBALS if item[0] != "wp_viewporter")}


@pytest.mark.parametrize("scaled", [WITHOUT], indirect=True)
def test_without_viewports_a_whole_buffer_scale_must_do(scaled: Scaled) -> None:
    surface, host_surface = scaled.surface()
    assert scaled.host.wait_request(host_surface, "set_buffer_scale").arguments == [2]
    scaled.client.request(surface, "set_buffer_scale", 2)
    scaled.client.sync()
    assert scaled.host.wait_request(host_surface, "set_buffer_scale").arguments == [4]


def test_random_numbers_do_not_break_the_arithmetic(scaled: Scaled) -> None:
    surface, _ = scaled.surface()
    for values in ((-(2**31),) * 4, (2**31 - 1,) * 4, (-(2**31), 0, 2**31 - 1, 2**31 - 1)):
        scaled.client.send(struct.pack("=II4i", surface, 24 << 16 | 2, *values))
        scaled.client.request(surface, "attach", 0, *values[:2])
    scaled.client.sync()


VIRTUAL_POINTER = {
    "globals": (*GLOBALS, ("zwlr_virtual_pointer_manager_v1", 2)),
    "allow": ["zwlr_virtual_pointer_*"],
}


@pytest.mark.parametrize("scaled", [VIRTUAL_POINTER], indirect=True)
def test_a_virtual_pointers_wheel_is_scaled(scaled: Scaled) -> None:
    client = scaled.client
    manager, pointer = client.bind("zwlr_virtual_pointer_manager_v1"), client.new_id()
    client.request(manager, "create_virtual_pointer", scaled.seat, pointer)
    client.request(pointer, "axis", 1, 0, 3.0)
    client.request(pointer, "axis_discrete", 2, 1, 5.0, 1)
    client.sync()
    host_pointer = scaled.made(scaled.host_id("zwlr_virtual_pointer_manager_v1"), "create_virtual_pointer")
    assert scaled.host.wait_request(host_pointer, "axis").arguments == [1, 0, 6.0]
    assert scaled.host.wait_request(host_pointer, "axis_discrete").arguments == [2, 1, 10.0, 1]
