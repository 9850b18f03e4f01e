"""Direct scale on the wire: the messages on both sides for a client whose units are pixels."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from guestlink.config import Config
from sommelier_shim.features.scaling.direct import ATTACHED
from support.direct import DIRECT_GLOBALS, LEFT, RIGHT, Direct
from support.scaled import Scaled
from support.wayland_peers import heard_by, stage


@pytest.fixture
def direct(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Direct]:
    settings = {"direct_scale": True} | getattr(request, "param", {})
    with stage(tmp_path, Config(settings), DIRECT_GLOBALS) as (between, host), between.client() as client:
        client.start()
        found = Direct(client, host.connection(at_least=2))
        found.describe_all()
        yield found


def test_clients_see_pixels_side_by_side(direct: Direct) -> None:
    client = direct.client
    outputs = []
    for name in (5, 10):
        outputs.append(client.new_id())
        client.request(client.registry, "bind", name, "wl_output", 2, outputs[-1])
    client.sync()
    for panel, bound in zip((LEFT, RIGHT), direct.host.bound["wl_output"][2:], strict=True):
        direct.describe(panel, bound)
    heard = client.sync()
    assert heard_by(heard, outputs[0], "mode") == [[1, 1920, 2160, 60000]]
    assert heard_by(heard, outputs[0], "geometry")[0][:4] == [0, 0, 344, 193]
    assert heard_by(heard, outputs[1], "geometry")[0][:2] == [1920, 0]
    assert [heard_by(heard, output, "scale") for output in outputs] == [[[1]], [[1]]]
    # The left output is removed, so the right one moves.
    for registry in direct.host.registries:
        direct.host.event(registry, "global_remove", 5)
    assert heard_by(client.sync(), outputs[1], "geometry")[0][:2] == [0, 0]


def test_window_geometry_and_positioners_are_divided_by_two_and_four(direct: Direct) -> None:
    """chromeos-sommelier.md §9.5."""
    window = direct.window()
    client = direct.client
    client.request(window.xdg, "set_window_geometry", 100, 100, 100, 100)
    positioner = client.create(direct.wm, "create_positioner")
    client.request(positioner, "set_size", 100, 100)
    client.request(positioner, "set_anchor_rect", 100, 100, 0, 8)
    popup_surface, host_popup_surface = direct.surface()
    popup_xdg = client.create(direct.wm, "get_xdg_surface", popup_surface)
    popup = client.create(popup_xdg, "get_popup", window.xdg, positioner)
    client.sync()
    assert direct.host.wait_request(window.host_xdg, "set_window_geometry").arguments == [50, 25, 50, 25]
    host_positioner = direct.made(direct.host_id("xdg_wm_base"), "create_positioner")
    assert direct.host.wait_request(host_positioner, "set_size").arguments == [50, 25]
    assert direct.host.wait_request(host_positioner, "set_anchor_rect").arguments == [50, 25, 0, 2]
    host_popup = direct.made(direct.made(direct.host_id("xdg_wm_base"), "get_xdg_surface"), "get_popup")
    direct.host.event(host_popup, "configure", 50, 25, 50, 25)
    assert heard_by(client.sync(), popup, "configure") == [[100, 100, 100, 100]]
    direct.show(popup_surface, 100, 100)
    assert direct.shown(host_popup_surface) == [50, 25]


def test_a_popup_has_the_units_of_its_window(direct: Direct) -> None:
    """The popup is not on any output yet; the original uses the first output's units."""
    window = direct.window()
    direct.enter(window, 1)
    positioner = direct.client.create(direct.wm, "create_positioner")
    direct.client.request(positioner, "set_size", 101, 33)
    popup_surface, _ = direct.surface()
    popup_xdg = direct.client.create(direct.wm, "get_xdg_surface", popup_surface)
    direct.client.create(popup_xdg, "get_popup", window.xdg, positioner)
    direct.client.sync()
    host_positioner = direct.made(direct.host_id("xdg_wm_base"), "create_positioner")
    assert direct.host.wait_request(host_positioner, "set_size").arguments == [101, 33]


def test_an_anchor_of_one_pixel_does_not_become_nothing(direct: Direct) -> None:
    """Hosts close the connection for an empty anchor, and menus at the pointer have an anchor of one pixel."""
    window = direct.window()
    positioner = direct.client.create(direct.wm, "create_positioner")
    direct.client.request(positioner, "set_size", 100, 100)
    direct.client.request(positioner, "set_anchor_rect", 7, 5, 1, 1)
    popup_surface, _ = direct.surface()
    popup_xdg = direct.client.create(direct.wm, "get_xdg_surface", popup_surface)
    direct.client.create(popup_xdg, "get_popup", window.xdg, positioner)
    direct.client.sync()
    host_positioner = direct.made(direct.host_id("xdg_wm_base"), "create_positioner")
    assert direct.host.wait_request(host_positioner, "set_anchor_rect").arguments == [3, 1, 1, 1]


def test_a_window_is_as_large_as_the_host_says(direct: Direct) -> None:
    window = direct.window()
    direct.host.event(window.host_toplevel, "configure", 301, 201, b"")
    assert heard_by(direct.client.sync(), window.toplevel, "configure") == [[602, 804, b""]]
    direct.show(window.surface, 602, 804)
    assert direct.shown(window.host_surface) == [301, 201]


def test_a_size_that_no_unit_divides_is_told_again(direct: Direct) -> None:
    window = direct.window()
    direct.show(window.surface, 603, 806)
    assert direct.shown(window.host_surface) == [301, 201]
    direct.host.event(window.host_toplevel, "configure", 301, 201, b"")
    assert heard_by(direct.client.sync(), window.toplevel, "configure") == [[603, 806, b""]]


def test_the_pointer_has_the_ratio_of_the_surface_that_it_is_in(direct: Direct) -> None:
    window, other = direct.window(), direct.window()
    direct.enter(other, 1)
    direct.show(window.surface, 603, 806)
    pointer = direct.client.create(direct.seat, "get_pointer")
    direct.client.sync()
    host = direct.made(direct.host_id("wl_seat"), "get_pointer")
    direct.host.event(host, "enter", 1, window.host_surface, 301, 201)
    direct.host.event(host, "motion", 5, 150.5, 100.5)
    direct.host.event(host, "axis", 5, 0, 10)
    direct.host.event(host, "axis", 5, 1, 10)
    heard = direct.client.sync()
    assert heard_by(heard, pointer, "enter") == [[1, window.surface, 603, 806]]
    assert heard_by(heard, pointer, "motion") == [[5, 301.5, 403]]
    vertical, horizontal = (values[2] for values in heard_by(heard, pointer, "axis"))
    assert vertical == pytest.approx(10 * 806 / 201, abs=0.01)
    assert horizontal == pytest.approx(10 * 603 / 301, abs=0.01)
    direct.host.event(host, "enter", 1, other.host_surface, 7, 9)
    assert heard_by(direct.client.sync(), pointer, "enter") == [[1, other.surface, 7, 9]]


def test_a_region_is_in_the_units_of_the_surface_that_uses_it(direct: Direct) -> None:
    window, other = direct.window(), direct.window()
    direct.enter(other, 1)
    client, compositor = direct.client, direct.host.bound["wl_compositor"][0]  # the proxy's own global
    region = client.create(direct.compositor, "create_region")
    client.request(region, "add", 10, 20, 30, 40)
    client.request(region, "subtract", 20, 20, 2, 4)
    used = []
    for user, name in ((window, "set_input_region"), (other, "set_opaque_region")):
        client.request(user.surface, name, region)
        client.sync()
        own = direct.made(compositor, "create_region")
        used.append([direct.host.wait_request(own, operation).arguments for operation in ("add", "subtract")])
        assert direct.host.wait_request(user.host_surface, name).arguments == [own]
        assert direct.host.wait_request(own, "destroy")
    assert used == [[[5, 5, 15, 10], [10, 5, 1, 1]], [[10, 20, 30, 40], [20, 20, 2, 4]]]
    client.request(window.surface, "set_input_region", 0)
    client.request(region, "destroy")
    client.sync()
    assert direct.host.wait_request(window.host_surface, "set_input_region").arguments == [0]


def test_a_region_is_used_as_often_as_the_host_answers(direct: Direct) -> None:
    client = direct.client
    surface, _ = direct.surface()
    region = client.create(direct.compositor, "create_region")
    for number in range(1000):
        client.request(region, "add", number, number, 1, 1)
    for _ in range(20):
        client.request(surface, "set_input_region", region)
        client.sync()
        direct.host.event(1, "delete_id", direct.made(direct.host.bound["wl_compositor"][0], "create_region"))
        client.sync()
    # Without the host's delete_id, twelve bytes that become a thousand messages would slow down all clients.
    for _ in range(20):
        client.request(surface, "set_input_region", region)
    error = client.error_in(client.until_end())
    assert error is not None
    assert "rectangles in use without an answer" in error[2]


def test_a_region_that_is_gone_is_an_invalid_object(direct: Direct) -> None:
    surface, _ = direct.surface()
    region = direct.client.create(direct.compositor, "create_region")
    direct.client.request(region, "destroy")
    direct.client.request(surface, "set_input_region", region)
    error = direct.client.error_in(direct.client.until_end())
    assert error is not None
    assert error[:2] == (1, 0)


def test_damage_and_subsurfaces_have_their_surfaces_ratio(direct: Direct) -> None:
    window = direct.window()
    child, host_child = direct.surface()
    subsurface = direct.client.create(
        direct.client.bind("wl_subcompositor"), "get_subsurface", child, window.surface
    )
    direct.client.request(subsurface, "set_position", 100, 100)
    direct.client.request(child, "damage", 10, 10, 11, 11)
    direct.client.sync()
    host = direct.made(direct.host_id("wl_subcompositor"), "get_subsurface")
    assert direct.host.wait_request(host, "set_position").arguments == [50, 25]
    assert direct.host.wait_request(host_child, "damage").arguments == [5, 2, 6, 4]


def test_a_window_that_goes_to_another_output_gets_its_size_in_the_pixels_there(direct: Direct) -> None:
    window = direct.window()
    direct.host.event(window.host_toplevel, "configure", 300, 200, b"\1\0\0\0")
    direct.host.event(window.host_xdg, "configure", 77)
    assert heard_by(direct.client.sync(), window.toplevel, "configure") == [[600, 800, b"\1\0\0\0"]]
    direct.client.request(window.xdg, "ack_configure", 77)
    direct.show(window.surface, 600, 800)
    assert direct.shown(window.host_surface) == [300, 200]
    heard = direct.enter(window, 1)
    assert heard_by(heard, window.toplevel, "configure") == [[300, 200, b"\1\0\0\0"]]
    ((serial,),) = heard_by(heard, window.xdg, "configure")
    assert serial != 77, "toolkits pass over a number that they know"
    direct.client.request(window.surface, "commit")
    assert direct.shown(window.host_surface) == [300, 200], "what it shows stays as large as it is"
    direct.client.request(window.xdg, "ack_configure", serial)
    direct.show(window.surface, 300, 200)
    assert direct.shown(window.host_surface) == [300, 200]
    answers = heard_by(direct.host.requests, window.host_xdg, "ack_configure")
    assert answers == [[77]], "the host hears of its own configure alone"
    assert not heard_by(direct.enter(window, 1), window.toplevel, "configure"), "nothing has changed"


def test_an_answer_to_the_proxys_configure_answers_the_hosts(direct: Direct) -> None:
    window = direct.window()
    direct.host.event(window.host_toplevel, "configure", 300, 200, b"")
    direct.host.event(window.host_xdg, "configure", 77)
    ((serial,),) = heard_by(direct.enter(window, 1), window.xdg, "configure")[1:]
    direct.client.request(window.xdg, "ack_configure", serial)
    direct.client.sync()
    assert direct.host.wait_request(window.host_xdg, "ack_configure").arguments == [77]


def test_a_window_that_leaves_an_output_is_on_the_one_before(direct: Direct) -> None:
    window = direct.window()
    for name, output, expected in (
        ("enter", 0, 2),
        ("enter", 1, 1),
        ("leave", 1, 2),
        ("enter", 1, 1),
        ("leave", 0, 1),
        ("leave", 1, 1),
    ):
        direct.host.event(window.host_surface, name, direct.own_outputs()[output])
        direct.host.event(window.host_toplevel, "configure", 100, 0, b"")
        assert heard_by(direct.client.sync(), window.toplevel, "configure")[-1] == [100 * expected, 0, b""]


def test_an_output_that_gets_another_scale_takes_its_windows_along(direct: Direct) -> None:
    window = direct.window()
    direct.enter(window, 0)
    direct.host.event(window.host_toplevel, "configure", 300, 200, b"")
    direct.host.event(window.host_xdg, "configure", 77)
    direct.client.sync()
    own = direct.own_outputs()[0]
    manager = direct.host.bound["zxdg_output_manager_v1"][0]
    asked = heard_by(direct.host.requests, manager, "get_xdg_output")
    (xdg_output,) = [new for new, output in asked if output == own]
    direct.describe(LEFT._replace(logical=(0, 0, 1920, 2160)), own, xdg_output)
    assert heard_by(direct.client.sync(), window.toplevel, "configure") == [[300, 200, b""]]


@pytest.mark.parametrize(("direct", "expected"), [({}, 120), ({"scale": 0.5}, 240)], indirect=["direct"])
def test_the_preferred_scale_is_pixels_for_units(direct: Direct, expected: int) -> None:
    surface, _ = direct.surface()
    fractional = direct.client.create(
        direct.client.bind("wp_fractional_scale_manager_v1"), "get_fractional_scale", surface
    )
    direct.client.sync()
    direct.host.event(
        direct.made(direct.host_id("wp_fractional_scale_manager_v1"), "get_fractional_scale"),
        "preferred_scale",
        240,
    )
    assert heard_by(direct.client.sync(), fractional, "preferred_scale") == [[expected]]


@pytest.mark.parametrize("direct", [{"stable_scaling": True, "scale": 0.75}], indirect=True)
def test_stable_scaling_rounds_up_for_the_client(direct: Direct) -> None:
    window = direct.window()
    direct.host.event(window.host_toplevel, "configure", 301, 201, b"")
    assert heard_by(direct.client.sync(), window.toplevel, "configure") == [[452, 603, b""]]
    direct.show(window.surface, 452, 603)
    assert direct.shown(window.host_surface) == [301, 201]


def test_nothing_is_kept_of_surfaces_that_are_gone(tmp_path: Path) -> None:
    with (
        stage(tmp_path, Config({"direct_scale": True}), DIRECT_GLOBALS) as (between, host),
        between.client() as client,
    ):
        client.start()
        direct = Direct(client, host.connection(at_least=2))
        for _ in range(3):
            window = direct.window()
            direct.show(window.surface, 100, 100)
            for number in (window.toplevel, window.xdg, window.surface):
                client.request(number, "destroy")
        client.sync()
        (session,) = between.server._sessions
        assert not between.do(lambda: len(ATTACHED.of(session.relay)))

        # Each parent refers to the one before, which is destroyed: the last one may keep only that one alive.
        subcompositor = client.bind("wl_subcompositor")
        parent = client.create(direct.compositor, "create_surface")
        for _ in range(5):
            child = client.create(direct.compositor, "create_surface")
            client.create(subcompositor, "get_subsurface", child, parent)
            client.request(parent, "destroy")
            parent = child
        client.sync()
        assert between.do(lambda: len({id(surface) for surface in ATTACHED.of(session.relay).values()})) == 2


@pytest.mark.parametrize("missing", ["wp_viewporter", "zxdg_output_manager_v1"])
def test_without_what_it_needs_scaling_is_as_without_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, missing: str
) -> None:
    globals_ = tuple(item for item in DIRECT_GLOBALS if item[0] != missing)
    with (
        caplog.at_level(logging.WARNING),
        stage(tmp_path, Config({"direct_scale": True, "scale": 2.0}), globals_) as (between, host),
        between.client() as client,
        between.client() as second,
    ):
        client.start()
        second.start()
        scaled = Scaled(client, host.connection(1, at_least=3))
        toplevel, host_toplevel = scaled.toplevel()
        scaled.host.event(host_toplevel, "configure", 100, 50, b"")
        assert heard_by(client.sync(), toplevel, "configure") == [[200, 100, b""]]
    said = [record.getMessage() for record in caplog.records]
    assert said == [f"direct scale needs {missing}, which the host does not have: scaling as without it"]
