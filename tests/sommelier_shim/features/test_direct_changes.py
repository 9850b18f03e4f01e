"""Direct scale when the ratio changes: the proxy converts the pixel values that a client sent earlier again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guestlink.config import Config
from sommelier_shim.core.hooks import Hooks
from sommelier_shim.core.relay import Hook
from support.direct import DIRECT_GLOBALS, LEFT, Direct, Window
from support.wayland_peers import heard_by, stage

GLOBALS = (
    *(one for one in DIRECT_GLOBALS if one[0] != "xdg_wm_base"),
    ("xdg_wm_base", 5),
    ("zwp_pointer_constraints_v1", 1),
    ("zwp_text_input_manager_v3", 1),
    ("zwp_relative_pointer_manager_v1", 1),
    ("zwp_text_input_manager_v1", 1),
    ("wp_cursor_shape_manager_v1", 1),
    ("zwlr_layer_shell_v1", 4),
)


class _Backwards(Hooks):
    """Hooks that run in the reverse order of their installation, inside each phase."""

    def of(self, interface: str, name: str, *, is_request: bool) -> list[Hook]:
        found = list((self._requests if is_request else self._events).get((interface, name), []))
        found.reverse()
        return [hook for _, hook in sorted(found, key=lambda item: item[0])]


@pytest.fixture(params=[Hooks, _Backwards], ids=["as installed", "backwards"])
def direct(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Direct]:
    """A client whose host has two outputs: 2 × 4 pixels per unit on the first, 1 × 1 on the second.

    Direct scale has the most hooks per message. Their order inside a phase has no meaning."""
    monkeypatch.setattr("sommelier_shim.daemon.proxy.Hooks", request.param)
    with (
        stage(tmp_path, Config({"direct_scale": True, "allow": ["zwlr_layer_shell_v1"]}), GLOBALS) as (
            between,
            host,
        ),
        between.client() as client,
    ):
        client.start()
        found = Direct(client, host.connection(at_least=2))
        found.describe_all()
        yield found


def configured(direct: Direct, window: Window, width: int, height: int, serial: int) -> list[Any]:
    """Configure a window from the host, and answer; returns the size that the client received."""
    direct.host.event(window.host_toplevel, "configure", width, height, b"")
    direct.host.event(window.host_xdg, "configure", serial)
    heard = direct.client.sync()
    direct.client.request(window.xdg, "ack_configure", serial)
    (size,) = heard_by(heard, window.toplevel, "configure")
    return list(size[:2])


def answer(direct: Direct, window: Window, heard: list[Any]) -> None:
    """Ack the last configure among received messages."""
    serial = heard_by(heard, window.xdg, "configure")[-1][0]
    direct.client.request(window.xdg, "ack_configure", serial)


def said(direct: Direct, host_id: int, name: str) -> list[list[Any]]:
    """The arguments of every request with this name that the host received for an object."""
    direct.client.sync()
    return heard_by(direct.host.requests, host_id, name)


def order(direct: Direct, *wanted: tuple[int, str]) -> list[tuple[int, str]]:
    """The requests with these object ids and names that the host received, in their order."""
    direct.client.sync()
    return [(m.object_id, m.name) for m in direct.host.requests if (m.object_id, m.name) in wanted]


def test_a_window_that_keeps_its_pixels_is_converted_anew(direct: Direct) -> None:
    """A window with a shadow that only acks: on the new output it has the same number of pixels as before."""
    window = direct.window()
    assert configured(direct, window, 300, 200, 5) == [600, 800]
    direct.client.request(window.xdg, "set_window_geometry", 20, 20, 600, 800)
    direct.client.request(window.toplevel, "set_min_size", 100, 200)
    direct.client.request(window.toplevel, "set_max_size", 1000, 2000)
    direct.show(window.surface, 640, 840)
    assert direct.shown(window.host_surface) == [320, 210]
    heard = direct.enter(window, 1)
    assert configured(direct, window, 600, 800, 6) == [600, 800]
    assert heard
    direct.client.request(window.surface, "commit")
    assert direct.shown(window.host_surface) == [640, 840]
    assert said(direct, window.host_xdg, "set_window_geometry") == [[10, 5, 300, 200], [20, 20, 600, 800]]
    assert said(direct, window.host_toplevel, "set_min_size") == [[50, 50], [100, 200]]
    assert said(direct, window.host_toplevel, "set_max_size") == [[500, 500], [1000, 2000]]
    wanted = (
        (window.host_xdg, "ack_configure"),
        (window.host_xdg, "set_window_geometry"),
        (window.host_surface, "commit"),
    )
    assert order(direct, *wanted)[-3:] == list(wanted), "it takes effect with the commit that answers"

    # Back on the first output: the same values as before.
    direct.enter(window, 0)
    assert configured(direct, window, 300, 200, 7) == [600, 800]
    direct.client.request(window.surface, "commit")
    assert direct.shown(window.host_surface) == [320, 210]
    assert said(direct, window.host_xdg, "set_window_geometry")[-1] == [10, 5, 300, 200]
    direct.client.request(window.surface, "commit")
    assert len(said(direct, window.host_xdg, "set_window_geometry")) == 3, "nothing has changed"


def test_a_place_does_not_depend_on_what_was_shown_when_it_was_said(direct: Direct) -> None:
    """An x of 6 pixels rounds differently in a window of 7 pixels (3 units) and one of 8 pixels (4 units)."""
    window = direct.window()
    configured(direct, window, 0, 0, 5)
    direct.client.request(window.xdg, "set_window_geometry", 6, 8, 1, 1)
    for width in (7, 8, 7):
        direct.show(window.surface, width, 16)
    assert [x for x, *_ in said(direct, window.host_xdg, "set_window_geometry")] == [3, 2, 3, 2]


def test_what_a_client_says_before_it_answers_is_in_the_old_pixels(direct: Direct) -> None:
    window = direct.window()
    configured(direct, window, 300, 200, 5)
    direct.show(window.surface, 600, 800)
    heard = direct.enter(window, 1)
    direct.client.request(window.xdg, "set_window_geometry", 20, 20, 560, 760)
    direct.show(window.surface, 600, 800)
    assert direct.shown(window.host_surface) == [300, 200]
    assert said(direct, window.host_xdg, "set_window_geometry") == [[10, 5, 280, 190]]
    answer(direct, window, heard)
    direct.client.request(window.surface, "commit")
    assert direct.shown(window.host_surface) == [600, 800]
    assert said(direct, window.host_xdg, "set_window_geometry")[1:] == [[20, 20, 560, 760]]


def test_an_answer_to_an_older_configure_is_in_the_pixels_of_that(direct: Direct) -> None:
    window = direct.window()
    direct.host.event(window.host_toplevel, "configure", 300, 200, b"")
    direct.host.event(window.host_xdg, "configure", 5)
    heard = direct.enter(window, 1)
    direct.client.request(window.xdg, "ack_configure", 5)
    direct.show(window.surface, 600, 800)
    assert direct.shown(window.host_surface) == [300, 200]
    answer(direct, window, heard)
    direct.show(window.surface, 300, 200)
    assert direct.shown(window.host_surface) == [300, 200]


def test_a_window_that_chose_its_size_hears_that_its_pixels_changed(direct: Direct) -> None:
    window = direct.window()
    assert configured(direct, window, 0, 0, 5) == [0, 0]
    direct.show(window.surface, 600, 800)
    heard = direct.enter(window, 1)
    assert heard_by(heard, window.toplevel, "configure") == [[0, 0, b""]]
    answer(direct, window, heard)
    direct.client.request(window.surface, "commit")
    assert direct.shown(window.host_surface) == [600, 800]


def test_regions_are_made_anew(direct: Direct) -> None:
    window = direct.window()
    client, compositor = direct.client, direct.host.bound["wl_compositor"][0]  # the proxy's own global
    configured(direct, window, 300, 200, 5)
    region = client.create(direct.compositor, "create_region")
    client.request(region, "add", 20, 20, 600, 800)
    client.request(window.surface, "set_opaque_region", region)
    client.request(window.surface, "set_input_region", region)
    constraints = client.bind("zwp_pointer_constraints_v1")
    pointer = client.create(direct.seat, "get_pointer")
    confined = client.create(constraints, "confine_pointer", window.surface, pointer, region, 2)
    client.request(region, "destroy")
    direct.show(window.surface, 640, 840)
    client.request(window.surface, "set_input_region", 0)  # the input region becomes the whole surface again
    client.sync()
    before = len(said(direct, compositor, "create_region"))
    answer(direct, window, direct.enter(window, 1))
    client.request(window.surface, "commit")
    client.sync()
    made = [new for (new,) in said(direct, compositor, "create_region")][before:]
    assert [said(direct, own, "add") for own in made] == [[[20, 20, 600, 800]]] * 2
    assert said(direct, window.host_surface, "set_opaque_region")[-1:] + _set_region(direct) == [
        [own] for own in made
    ]
    assert said(direct, window.host_surface, "set_input_region")[-1] == [0]
    assert confined


def _set_region(direct: Direct) -> list[list[Any]]:
    host = direct.made(direct.host_id("zwp_pointer_constraints_v1"), "confine_pointer")
    return said(direct, host, "set_region")


def test_parts_of_a_window_change_with_it(direct: Direct) -> None:
    """For a subsurface that its client leaves alone, the proxy sends a commit before the commit of the window."""
    window = direct.window()
    configured(direct, window, 300, 200, 5)
    child, host_child = direct.surface()
    subcompositor = direct.client.bind("wl_subcompositor")
    subsurface = direct.client.create(subcompositor, "get_subsurface", child, window.surface)
    direct.client.request(subsurface, "set_position", 100, 200)
    direct.show(child, 60, 80)
    direct.show(window.surface, 600, 800)
    direct.client.sync()
    host_subsurface = direct.made(direct.host_id("wl_subcompositor"), "get_subsurface")
    assert said(direct, host_subsurface, "set_position") == [[50, 50]]
    assert direct.shown(host_child) == [30, 20]
    heard = direct.enter(window, 1)
    assert direct.shown(host_child) == [30, 20], "the client has not answered yet"
    answer(direct, window, heard)
    direct.client.request(window.surface, "commit")
    assert direct.shown(host_child) == [60, 80]
    assert said(direct, host_subsurface, "set_position") == [[50, 50], [100, 200]]
    wanted = (host_child, "commit"), (host_subsurface, "set_position"), (window.host_surface, "commit")
    assert order(direct, *wanted)[-3:] == list(wanted)
    direct.host.event(host_child, "enter", direct.own_outputs()[0])
    direct.client.request(child, "commit")
    assert direct.shown(host_child) == [60, 80], "it is drawn in its window's pixels, wherever it is"


def test_a_part_with_words_that_wait_is_left_to_its_client(direct: Direct) -> None:
    window = direct.window()
    configured(direct, window, 300, 200, 5)
    child, host_child = direct.surface()
    direct.client.create(direct.client.bind("wl_subcompositor"), "get_subsurface", child, window.surface)
    direct.show(child, 60, 80)
    direct.show(window.surface, 600, 800)
    direct.client.request(child, "damage", 0, 0, 10, 10)
    answer(direct, window, direct.enter(window, 1))
    assert len(said(direct, host_child, "commit")) == 1
    direct.client.request(child, "commit")
    assert len(said(direct, host_child, "commit")) == 2
    assert direct.shown(host_child) == [60, 80]


def test_a_part_whose_viewport_waits_for_a_commit_is_left_to_its_client(direct: Direct) -> None:
    """A viewport's destination is double-buffered state of its surface, although the proxy drops the request."""
    window = direct.window()
    configured(direct, window, 300, 200, 5)
    child, host_child = direct.surface()
    direct.client.create(direct.client.bind("wl_subcompositor"), "get_subsurface", child, window.surface)
    viewport = direct.client.create(direct.client.bind("wp_viewporter"), "get_viewport", child)
    direct.show(child, 60, 80)
    direct.show(window.surface, 600, 800)
    direct.client.request(viewport, "set_destination", 30, 40)
    answer(direct, window, direct.enter(window, 1))
    assert len(said(direct, host_child, "commit")) == 1
    direct.client.request(child, "commit")
    assert len(said(direct, host_child, "commit")) == 2


def test_a_place_does_not_outlive_its_object(direct: Direct) -> None:
    window = direct.window()
    configured(direct, window, 300, 200, 5)
    child, _ = direct.surface()
    subcompositor = direct.client.bind("wl_subcompositor")
    subsurface = direct.client.create(subcompositor, "get_subsurface", child, window.surface)
    direct.client.request(subsurface, "set_position", 100, 200)
    direct.client.request(subsurface, "destroy")
    direct.client.sync()
    host_subsurface = direct.made(direct.host_id("wl_subcompositor"), "get_subsurface")
    direct.show(window.surface, 600, 800)
    answer(direct, window, direct.enter(window, 1))
    direct.client.request(window.surface, "commit")
    assert said(direct, host_subsurface, "set_position") == [[50, 50]]


def test_a_pointer_s_picture_that_comes_to_another_output_keeps_its_pixels(direct: Direct) -> None:
    pointer = direct.client.create(direct.seat, "get_pointer")
    cursor, host_cursor = direct.surface()
    direct.client.request(pointer, "set_cursor", 9, cursor, 8, 8)
    direct.show(cursor, 24, 24)
    host_pointer = direct.made(direct.host_id("wl_seat"), "get_pointer")
    assert direct.shown(host_cursor) == [12, 6]
    direct.host.event(host_cursor, "enter", direct.own_outputs()[1])
    direct.client.sync()
    assert direct.shown(host_cursor) == [24, 24]
    assert said(direct, host_pointer, "set_cursor") == [[9, host_cursor, 4, 2], [9, host_cursor, 8, 8]]
    assert len(said(direct, host_cursor, "commit")) == 2


def test_a_picture_that_a_shape_has_replaced_does_not_come_back(direct: Direct) -> None:
    pointer = direct.client.create(direct.seat, "get_pointer")
    cursor, host_cursor = direct.surface()
    direct.client.request(pointer, "set_cursor", 9, cursor, 8, 8)
    direct.show(cursor, 24, 24)
    device = direct.client.create(direct.client.bind("wp_cursor_shape_manager_v1"), "get_pointer", pointer)
    direct.client.request(device, "set_shape", 9, 1)
    direct.client.sync()
    direct.host.event(host_cursor, "enter", direct.own_outputs()[1])
    assert len(said(direct, direct.made(direct.host_id("wl_seat"), "get_pointer"), "set_cursor")) == 1


def test_a_panel_is_as_many_pixels_high_at_every_scale(direct: Direct) -> None:
    panel, host_panel = direct.surface()
    layer = direct.client.create(
        direct.client.bind("zwlr_layer_shell_v1"), "get_layer_surface", panel, 0, 2, "panel"
    )
    direct.client.request(layer, "set_size", 0, 40)
    direct.client.request(layer, "set_exclusive_zone", 40)
    direct.client.request(layer, "set_margin", 4, 4, 4, 4)
    direct.show(panel, 1920, 40)
    direct.client.sync()
    host_layer = direct.made(direct.host_id("zwlr_layer_shell_v1"), "get_layer_surface")
    direct.host.event(host_panel, "enter", direct.own_outputs()[1])
    direct.client.sync()
    assert said(direct, host_layer, "set_size") == [[0, 10], [0, 40]]
    assert said(direct, host_layer, "set_exclusive_zone") == [[10], [40]]
    assert said(direct, host_layer, "set_margin") == [[1, 2, 1, 2], [4, 4, 4, 4]]
    assert len(said(direct, host_panel, "commit")) == 2
    direct.client.request(layer, "destroy")
    direct.client.sync()
    direct.host.event(host_panel, "enter", direct.own_outputs()[0])
    assert len(said(direct, host_panel, "commit")) == 2, "without a role it is left alone"


def test_a_hint_and_a_text_cursor_move_with_their_window(direct: Direct) -> None:
    window = direct.window()
    client = direct.client
    configured(direct, window, 300, 200, 5)
    pointer = client.create(direct.seat, "get_pointer")
    locked = client.create(client.bind("zwp_pointer_constraints_v1"), "lock_pointer", window.surface, pointer, 0, 2)
    client.request(locked, "set_cursor_position_hint", 10.0, 20.0)
    text_input = client.create(client.bind("zwp_text_input_manager_v3"), "get_text_input", direct.seat)
    older = client.create(client.bind("zwp_text_input_manager_v1"), "create_text_input")
    client.sync()
    host_text_input = direct.made(direct.host_id("zwp_text_input_manager_v3"), "get_text_input")
    host_older = direct.made(direct.host_id("zwp_text_input_manager_v1"), "create_text_input")
    direct.host.event(host_text_input, "enter", window.host_surface)
    client.sync()
    client.request(text_input, "set_cursor_rectangle", 10, 20, 4, 20)
    client.request(older, "activate", direct.seat, window.surface)
    client.request(older, "set_cursor_rectangle", 10, 20, 4, 20)
    direct.show(window.surface, 600, 800)
    client.sync()
    host_locked = direct.made(direct.host_id("zwp_pointer_constraints_v1"), "lock_pointer")
    answer(direct, window, direct.enter(window, 1))
    client.request(window.surface, "commit")
    assert said(direct, host_locked, "set_cursor_position_hint") == [[5, 5], [10, 20]]
    for rectangles in (
        said(direct, host_text_input, "set_cursor_rectangle"),
        said(direct, host_older, "set_cursor_rectangle"),
    ):
        assert rectangles == [[5, 5, 2, 5], [10, 20, 4, 20]]


def test_a_popup_moves_when_its_window_changes(direct: Direct) -> None:
    window = direct.window()
    client = direct.client
    configured(direct, window, 300, 200, 5)
    direct.show(window.surface, 600, 800)
    positioner = client.create(direct.wm, "create_positioner")
    client.request(positioner, "set_size", 100, 100)
    client.request(positioner, "set_anchor_rect", 40, 40, 20, 20)
    client.request(positioner, "set_anchor", 8)
    popup_surface, host_popup_surface = direct.surface()
    popup_xdg = client.create(direct.wm, "get_xdg_surface", popup_surface)
    popup = client.create(popup_xdg, "get_popup", window.xdg, positioner)
    client.request(positioner, "destroy")
    direct.show(popup_surface, 100, 100)
    client.sync()
    wm = direct.host_id("xdg_wm_base")
    host_popup = direct.made(direct.made(wm, "get_xdg_surface"), "get_popup")
    assert direct.shown(host_popup_surface) == [50, 25]
    answer(direct, window, direct.enter(window, 1))
    client.request(window.surface, "commit")
    client.sync()
    ((own, token),) = said(direct, host_popup, "reposition")[-1:]
    assert said(direct, own, "set_anchor_rect")[-1] == [40, 40, 20, 20]
    assert said(direct, own, "set_size")[-1] == [100, 100]
    assert said(direct, own, "set_anchor")[-1] == [8]
    direct.host.event(host_popup, "repositioned", token)
    direct.host.event(host_popup, "configure", 40, 40, 100, 100)
    heard = client.sync()
    assert not heard_by(heard, popup, "repositioned"), "the client has not asked"
    assert heard_by(heard, popup, "configure") == [[40, 40, 100, 100]]


def test_an_output_s_new_scale_converts_what_is_on_it(direct: Direct) -> None:
    window = direct.window()
    direct.enter(window, 0)
    configured(direct, window, 300, 200, 5)
    direct.client.request(window.xdg, "set_window_geometry", 20, 20, 600, 800)
    direct.show(window.surface, 640, 840)
    own = direct.own_outputs()[0]
    manager = direct.host.bound["zxdg_output_manager_v1"][0]
    asked = heard_by(direct.host.requests, manager, "get_xdg_output")
    (xdg_output,) = [new for new, output in asked if output == own]
    for logical, geometry in (((0, 0, 1920, 2160), [20, 20, 600, 800]), (LEFT.logical, [10, 5, 300, 200])):
        direct.describe(LEFT._replace(logical=logical), own, xdg_output)
        answer(direct, window, direct.client.sync())
        direct.client.request(window.surface, "commit")
        assert said(direct, window.host_xdg, "set_window_geometry")[-1] == geometry
        assert direct.shown(window.host_surface) == [geometry[2] + 2 * geometry[0], geometry[3] + 2 * geometry[1]]


def test_relative_motion_is_as_long_as_the_pointer_s_way(direct: Direct) -> None:
    window, other = direct.window(), direct.window()
    direct.enter(other, 1)
    pointer = direct.client.create(direct.seat, "get_pointer")
    relative = direct.client.create(
        direct.client.bind("zwp_relative_pointer_manager_v1"), "get_relative_pointer", pointer
    )
    direct.client.sync()
    host_pointer = direct.made(direct.host_id("wl_seat"), "get_pointer")
    host = direct.made(direct.host_id("zwp_relative_pointer_manager_v1"), "get_relative_pointer")
    for focus, expected in ((window, [6, 20]), (other, [3, 5])):
        direct.host.event(host_pointer, "enter", 1, focus.host_surface, 0, 0)
        direct.host.event(host, "relative_motion", 0, 0, 3, 5, 7, 9)
        assert heard_by(direct.client.sync(), relative, "relative_motion") == [[0, 0, *expected, 7, 9]]
