"""Direct scale on the wire: the messages on both sides for a client whose units are pixels."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from guestlink.config import Config
from sommelier_shim.scaling.direct import ATTACHED
from support.direct import DIRECT_GLOBALS, LEFT, RIGHT, Direct
from support.scaled import Scaled, heard_by
from support.wayland_peers import stage


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
        client.request(client.registry, 0, "usun", name, "wl_output", 2, outputs[-1])
    client.sync()
    for panel, bound in zip((LEFT, RIGHT), direct.host.bound["wl_output"][2:], strict=True):
        direct.describe(panel, bound)
    heard = client.sync()
    assert heard_by(heard, outputs[0], 1, "uiii") == [[1, 1920, 2160, 60000]]
    assert heard_by(heard, outputs[0], 0, "iiiiissi")[0][:4] == [0, 0, 344, 193]
    assert heard_by(heard, outputs[1], 0, "iiiiissi")[0][:2] == [1920, 0]
    assert [heard_by(heard, output, 3, "i") for output in outputs] == [[[1]], [[1]]]
    # The left output is removed, so the right one moves.
    for registry in direct.host.registries:
        direct.host.event(registry, 1, "u", 5)
    assert heard_by(client.sync(), outputs[1], 0, "iiiiissi")[0][:2] == [0, 0]


def test_9_5_geometry_and_positioner_by_two_and_four(direct: Direct) -> None:
    window = direct.window()
    client = direct.client
    client.request(window.xdg, 3, "iiii", 100, 100, 100, 100)
    positioner = client.create(direct.wm, 1)
    client.request(positioner, 1, "ii", 100, 100)
    client.request(positioner, 2, "iiii", 100, 100, 0, 8)
    popup_surface, host_popup_surface = direct.surface()
    popup_xdg = client.create(direct.wm, 2, "no", popup_surface)
    popup = client.create(popup_xdg, 2, "noo", window.xdg, positioner)
    client.sync()
    assert direct.host.wait_request(window.host_xdg, 3).arguments("iiii") == [50, 25, 50, 25]
    host_positioner = direct.made(direct.host_id("xdg_wm_base"), 1)
    assert direct.host.wait_request(host_positioner, 1).arguments("ii") == [50, 25]
    assert direct.host.wait_request(host_positioner, 2).arguments("iiii") == [50, 25, 0, 2]
    host_popup = direct.made(direct.made(direct.host_id("xdg_wm_base"), 2, "no"), 2, "noo")
    direct.host.event(host_popup, 0, "iiii", 50, 25, 50, 25)
    assert heard_by(client.sync(), popup, 0, "iiii") == [[100, 100, 100, 100]]
    direct.show(popup_surface, 100, 100)
    assert direct.shown(host_popup_surface) == [50, 25]


def test_a_popup_has_the_units_of_its_window(direct: Direct) -> None:
    """The popup is not on any output yet; the original uses the first output's units."""
    window = direct.window()
    direct.enter(window, 1)
    positioner = direct.client.create(direct.wm, 1)
    direct.client.request(positioner, 1, "ii", 101, 33)
    popup_surface, _ = direct.surface()
    popup_xdg = direct.client.create(direct.wm, 2, "no", popup_surface)
    direct.client.create(popup_xdg, 2, "noo", window.xdg, positioner)
    direct.client.sync()
    host_positioner = direct.made(direct.host_id("xdg_wm_base"), 1)
    assert direct.host.wait_request(host_positioner, 1).arguments("ii") == [101, 33]


def test_an_anchor_of_one_pixel_does_not_become_nothing(direct: Direct) -> None:
    """Hosts close the connection for an empty anchor, and menus at the pointer have an anchor of one pixel."""
    window = direct.window()
    positioner = direct.client.create(direct.wm, 1)
    direct.client.request(positioner, 1, "ii", 100, 100)
    direct.client.request(positioner, 2, "iiii", 7, 5, 1, 1)
    popup_surface, _ = direct.surface()
    popup_xdg = direct.client.create(direct.wm, 2, "no", popup_surface)
    direct.client.create(popup_xdg, 2, "noo", window.xdg, positioner)
    direct.client.sync()
    host_positioner = direct.made(direct.host_id("xdg_wm_base"), 1)
    assert direct.host.wait_request(host_positioner, 2).arguments("iiii") == [3, 1, 1, 1]


def test_a_window_is_as_large_as_the_host_says(direct: Direct) -> None:
    window = direct.window()
    direct.host.event(window.host_toplevel, 0, "iia", 301, 201, b"")
    assert heard_by(direct.client.sync(), window.toplevel, 0, "iia") == [[602, 804, b""]]
    direct.show(window.surface, 602, 804)
    assert direct.shown(window.host_surface) == [301, 201]


def test_a_size_that_no_unit_divides_is_told_again(direct: Direct) -> None:
    window = direct.window()
    direct.show(window.surface, 603, 806)
    assert direct.shown(window.host_surface) == [301, 201]
    direct.host.event(window.host_toplevel, 0, "iia", 301, 201, b"")
    assert heard_by(direct.client.sync(), window.toplevel, 0, "iia") == [[603, 806, b""]]


def test_the_pointer_has_the_ratio_of_the_surface_that_it_is_in(direct: Direct) -> None:
    window, other = direct.window(), direct.window()
    direct.enter(other, 1)
    direct.show(window.surface, 603, 806)
    pointer = direct.client.create(direct.seat, 0)
    direct.client.sync()
    host = direct.made(direct.host_id("wl_seat"), 0)
    direct.host.event(host, 0, "uoff", 1, window.host_surface, 301, 201)
    direct.host.event(host, 2, "uff", 5, 150.5, 100.5)
    direct.host.event(host, 4, "uuf", 5, 0, 10)
    direct.host.event(host, 4, "uuf", 5, 1, 10)
    heard = direct.client.sync()
    assert heard_by(heard, pointer, 0, "uoff") == [[1, window.surface, 603, 806]]
    assert heard_by(heard, pointer, 2, "uff") == [[5, 301.5, 403]]
    vertical, horizontal = (values[2] for values in heard_by(heard, pointer, 4, "uuf"))
    assert vertical == pytest.approx(10 * 806 / 201, abs=0.01)
    assert horizontal == pytest.approx(10 * 603 / 301, abs=0.01)
    direct.host.event(host, 0, "uoff", 1, other.host_surface, 7, 9)
    assert heard_by(direct.client.sync(), pointer, 0, "uoff") == [[1, other.surface, 7, 9]]


def test_a_region_is_in_the_units_of_the_surface_that_uses_it(direct: Direct) -> None:
    window, other = direct.window(), direct.window()
    direct.enter(other, 1)
    client, compositor = direct.client, direct.host.bound["wl_compositor"][0]  # the proxy's own global
    region = client.create(direct.compositor, 1)
    client.request(region, 1, "iiii", 10, 20, 30, 40)
    client.request(region, 2, "iiii", 20, 20, 2, 4)
    used = []
    for user, opcode in ((window, 5), (other, 4)):
        client.request(user.surface, opcode, "o", region)
        client.sync()
        own = direct.made(compositor, 1)
        used.append([direct.host.wait_request(own, operation).arguments("iiii") for operation in (1, 2)])
        assert direct.host.wait_request(user.host_surface, opcode).arguments("o") == [own]
        assert direct.host.wait_request(own, 0)
    assert used == [[[5, 5, 15, 10], [10, 5, 1, 1]], [[10, 20, 30, 40], [20, 20, 2, 4]]]
    client.request(window.surface, 5, "o", 0)
    client.request(region, 0)
    client.sync()
    assert direct.host.wait_request(window.host_surface, 5).arguments("o") == [0]


def test_a_region_is_used_as_often_as_the_host_answers(direct: Direct) -> None:
    client = direct.client
    surface, _ = direct.surface()
    region = client.create(direct.compositor, 1)
    for number in range(1000):
        client.request(region, 1, "iiii", number, number, 1, 1)
    for _ in range(20):
        client.request(surface, 5, "o", region)
        client.sync()
        direct.host.event(1, 1, "u", direct.made(direct.host.bound["wl_compositor"][0], 1))
        client.sync()
    # Without the host's delete_id, twelve bytes that become a thousand messages would slow down all clients.
    for _ in range(20):
        client.request(surface, 5, "o", region)
    error = client.error_in(client.until_end())
    assert error is not None
    assert "rectangles in use without an answer" in error[2]


def test_a_region_that_is_gone_is_an_invalid_object(direct: Direct) -> None:
    surface, _ = direct.surface()
    region = direct.client.create(direct.compositor, 1)
    direct.client.request(region, 0)
    direct.client.request(surface, 5, "o", region)
    error = direct.client.error_in(direct.client.until_end())
    assert error is not None
    assert error[:2] == (1, 0)


def test_damage_and_subsurfaces_have_their_surfaces_ratio(direct: Direct) -> None:
    window = direct.window()
    child, host_child = direct.surface()
    subsurface = direct.client.create(direct.client.bind("wl_subcompositor"), 1, "noo", child, window.surface)
    direct.client.request(subsurface, 1, "ii", 100, 100)
    direct.client.request(child, 2, "iiii", 10, 10, 11, 11)
    direct.client.sync()
    host = direct.made(direct.host_id("wl_subcompositor"), 1, "noo")
    assert direct.host.wait_request(host, 1).arguments("ii") == [50, 25]
    assert direct.host.wait_request(host_child, 2).arguments("iiii") == [5, 2, 6, 4]


def test_a_window_that_goes_to_another_output_gets_its_size_in_the_pixels_there(direct: Direct) -> None:
    window = direct.window()
    direct.host.event(window.host_toplevel, 0, "iia", 300, 200, b"\1\0\0\0")
    direct.host.event(window.host_xdg, 0, "u", 77)
    assert heard_by(direct.client.sync(), window.toplevel, 0, "iia") == [[600, 800, b"\1\0\0\0"]]
    direct.client.request(window.xdg, 4, "u", 77)
    direct.show(window.surface, 600, 800)
    assert direct.shown(window.host_surface) == [300, 200]
    heard = direct.enter(window, 1)
    assert heard_by(heard, window.toplevel, 0, "iia") == [[300, 200, b"\1\0\0\0"]]
    ((serial,),) = heard_by(heard, window.xdg, 0, "u")
    assert serial != 77, "toolkits pass over a number that they know"
    direct.client.request(window.surface, 6)
    assert direct.shown(window.host_surface) == [300, 200], "what it shows stays as large as it is"
    direct.client.request(window.xdg, 4, "u", serial)
    direct.show(window.surface, 300, 200)
    assert direct.shown(window.host_surface) == [300, 200]
    answers = [m.arguments("u") for m in direct.host.requests if (m.object_id, m.opcode) == (window.host_xdg, 4)]
    assert answers == [[77]], "the host hears of its own configure alone"
    assert not heard_by(direct.enter(window, 1), window.toplevel, 0, "iia"), "nothing has changed"


def test_an_answer_to_the_proxys_configure_answers_the_hosts(direct: Direct) -> None:
    window = direct.window()
    direct.host.event(window.host_toplevel, 0, "iia", 300, 200, b"")
    direct.host.event(window.host_xdg, 0, "u", 77)
    ((serial,),) = heard_by(direct.enter(window, 1), window.xdg, 0, "u")[1:]
    direct.client.request(window.xdg, 4, "u", serial)
    direct.client.sync()
    assert direct.host.wait_request(window.host_xdg, 4).arguments("u") == [77]


def test_a_window_that_leaves_an_output_is_on_the_one_before(direct: Direct) -> None:
    window = direct.window()
    for opcode, output, expected in ((0, 0, 2), (0, 1, 1), (1, 1, 2), (0, 1, 1), (1, 0, 1), (1, 1, 1)):
        direct.host.event(window.host_surface, opcode, "o", direct.own_outputs()[output])
        direct.host.event(window.host_toplevel, 0, "iia", 100, 0, b"")
        assert heard_by(direct.client.sync(), window.toplevel, 0, "iia")[-1] == [100 * expected, 0, b""]


def test_an_output_that_gets_another_scale_takes_its_windows_along(direct: Direct) -> None:
    window = direct.window()
    direct.enter(window, 0)
    direct.host.event(window.host_toplevel, 0, "iia", 300, 200, b"")
    direct.host.event(window.host_xdg, 0, "u", 77)
    direct.client.sync()
    own = direct.own_outputs()[0]
    manager = direct.host.bound["zxdg_output_manager_v1"][0]
    asked = [m.arguments("no") for m in direct.host.requests if (m.object_id, m.opcode) == (manager, 1)]
    (xdg_output,) = [new for new, output in asked if output == own]
    direct.describe(LEFT._replace(logical=(0, 0, 1920, 2160)), own, xdg_output)
    assert heard_by(direct.client.sync(), window.toplevel, 0, "iia") == [[300, 200, b""]]


@pytest.mark.parametrize(("direct", "expected"), [({}, 120), ({"scale": 0.5}, 240)], indirect=["direct"])
def test_the_preferred_scale_is_pixels_for_units(direct: Direct, expected: int) -> None:
    surface, _ = direct.surface()
    fractional = direct.client.create(direct.client.bind("wp_fractional_scale_manager_v1"), 1, "no", surface)
    direct.client.sync()
    direct.host.event(direct.made(direct.host_id("wp_fractional_scale_manager_v1"), 1, "no"), 0, "u", 240)
    assert heard_by(direct.client.sync(), fractional, 0, "u") == [[expected]]


@pytest.mark.parametrize("direct", [{"stable_scaling": True, "scale": 0.75}], indirect=True)
def test_stable_scaling_rounds_up_for_the_client(direct: Direct) -> None:
    window = direct.window()
    direct.host.event(window.host_toplevel, 0, "iia", 301, 201, b"")
    assert heard_by(direct.client.sync(), window.toplevel, 0, "iia") == [[452, 603, b""]]
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
                client.request(number, 0)
        client.sync()
        (session,) = between.server._sessions
        assert not between.do(lambda: len(ATTACHED.of(session.relay)))

        # Each parent refers to the one before, which is destroyed: the last one may keep only that one alive.
        subcompositor = client.bind("wl_subcompositor")
        parent = client.create(direct.compositor, 0)
        for _ in range(5):
            child = client.create(direct.compositor, 0)
            client.create(subcompositor, 1, "noo", child, parent)
            client.request(parent, 0)
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
        scaled.host.event(host_toplevel, 0, "iia", 100, 50, b"")
        assert heard_by(client.sync(), toplevel, 0, "iia") == [[200, 100, b""]]
    said = [record.getMessage() for record in caplog.records]
    assert said == [f"direct scale needs {missing}, which the host does not have: scaling as without it"]
