"""The proxy's deliberate changes to the conversation, seen from both sides of the wire."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from guestlink.config import Config
from guestlink_host.names import file_stem
from sommelier_shim.core.trace import Trace
from sommelier_shim.core.wire import FIRST_SERVER_ID, encode
from sommelier_shim.features.policy.identity import linux_naming, shortened
from sommelier_shim.features.policy.interfaces import GlobalPolicy
from support.wayland_peers import GLOBALS, Between, Client, HostConnection, heard_by, stage

CHROMEOS = (*GLOBALS, ("zaura_shell", 38))
DATA_DEVICE = {
    "wl_data_device_manager": ("get_data_device", "create_data_source"),
    "zwp_primary_selection_device_manager_v1": ("get_device", "create_source"),
}
"""The managers of selections, and their requests for a device and for a source."""


@contextmanager
def connected(
    tmp_path: Path, globals_: tuple[tuple[str, int], ...] = GLOBALS, **settings: Any
) -> Iterator[tuple[Between, Client, HostConnection]]:
    """A client that has read the globals, and its connection as the host sees it."""
    with stage(tmp_path, Config(settings), globals_) as (between, host), between.client() as client:
        client.start()
        yield between, client, host.connection(at_least=2)


def _toplevel(client: Client) -> int:
    surface = client.create(client.bind("wl_compositor"), "create_surface")
    xdg_surface = client.create(client.bind("xdg_wm_base"), "get_xdg_surface", surface)
    return client.create(xdg_surface, "get_toplevel")


def _app_id(tmp_path: Path, app_id: str | bytes, globals_: tuple[tuple[str, int], ...], **settings: Any) -> str:
    with connected(tmp_path, globals_, **settings) as (_, client, host):
        toplevel = _toplevel(client)
        client.request(toplevel, "set_app_id", app_id)
        client.sync()
        text: bytes = host.wait_request(toplevel, "set_app_id").arguments[0]
        return text.decode()


def test_chromeos_gets_application_ids_of_its_exact_form(tmp_path: Path) -> None:
    named = _app_id(tmp_path, "org.gnome.gedit", CHROMEOS, token_file="/nonexistent")
    assert named == "org.chromium.guest_os.termina.wayland.org.gnome.gedit"


def test_the_token_is_the_middle_part_on_a_chromebook(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("d4f35b4e-0f4f-4b4e-9a3f-0123456789ab\n")
    named = _app_id(tmp_path, "foot", CHROMEOS, token_file=str(token))
    assert named == "org.chromium.guest_os.d4f35b4e-0f4f-4b4e-9a3f-0123456789ab.wayland.foot"


def test_the_identifier_that_is_set_wins(tmp_path: Path) -> None:
    assert _app_id(tmp_path, "foot", CHROMEOS, vm_identifier="bruschetta").endswith("os.bruschetta.wayland.foot")


def test_a_linux_host_gets_the_plain_id(tmp_path: Path) -> None:
    assert _app_id(tmp_path, "foot", GLOBALS) == "foot"


def test_a_long_application_id_stays_within_a_message(tmp_path: Path) -> None:
    named = _app_id(tmp_path, "ä" * 2000, CHROMEOS, token_file="/nonexistent")
    assert len(named.encode()) <= 4080
    assert named.endswith("ä")


@pytest.mark.parametrize(
    ("container", "app_id", "has_entry", "expected"),
    [
        ("box", "foot", True, "guestlink-box-foot"),
        ("box", "foot", False, "foot"),
        ("", "foot", True, "foot"),
        ("a-b", "foot", True, "foot"),  # the launcher's name contains a hash; its StartupWMClass matches
        ("box", "../etc/passwd", True, "../etc/passwd"),
    ],
)
def test_a_linux_host_gets_the_launchers_name_where_there_is_one(
    container: str, app_id: str, has_entry: bool, expected: str
) -> None:
    assert linux_naming(container, lambda _: has_entry)(app_id) == expected


@pytest.mark.parametrize(
    ("app_id", "is_plain"),
    [
        ("org.gnome.Foo-bar_2", True),
        ("a" * 100, True),
        ("a" * 101, False),
        ("café", False),
        ("_foo", False),
        ("-foo", False),
        ("foo_0123456789abcdef", False),
        ("foo_0123456789abcdeg", True),
    ],
)
def test_a_windows_id_is_the_name_of_its_launchers_file_or_its_own(app_id: str, is_plain: bool) -> None:
    assert (file_stem("box", app_id) == f"guestlink-box-{app_id}") is is_plain
    assert linux_naming("box", lambda _: True)(app_id) == (f"guestlink-box-{app_id}" if is_plain else app_id)


def test_texts_are_cut_between_characters() -> None:
    assert shortened("aä", 2) == b"a"
    assert shortened("aä", 3) == "aä".encode()


def test_titles_get_their_prefix(tmp_path: Path) -> None:
    with connected(tmp_path, title_prefix="[box] ") as (_, client, host):
        toplevel = _toplevel(client)
        client.request(toplevel, "set_title", "Notes")
        client.sync()
        assert host.wait_request(toplevel, "set_title").arguments == [b"[box] Notes"]


@pytest.mark.parametrize(
    ("shell", "window", "app_id"),
    [
        ("zxdg_shell_v6", ("get_xdg_surface", "get_toplevel"), "set_app_id"),
        ("wl_shell", ("get_shell_surface",), "set_class"),
    ],
)
def test_windows_of_older_shells_are_named_alike(
    tmp_path: Path, shell: str, window: tuple[str, ...], app_id: str
) -> None:
    offered, settings = (*CHROMEOS, (shell, 1)), {"title_prefix": "[box] ", "vm_identifier": "vm"}
    with connected(tmp_path, offered, **settings) as (_, client, host):
        surface = client.create(client.bind("wl_compositor"), "create_surface")
        made = client.create(client.bind(shell), window[0], surface)
        for name in window[1:]:
            made = client.create(made, name)
        client.request(made, app_id, "foot")
        client.request(made, "set_title", "Notes")
        client.sync()
        assert host.wait_request(made, app_id).arguments == [b"org.chromium.guest_os.vm.wayland.foot"]
        assert host.wait_request(made, "set_title").arguments == [b"[box] Notes"]


def test_the_program_that_a_token_is_for_is_named_alike(tmp_path: Path) -> None:
    offered = (*CHROMEOS, ("xdg_activation_v1", 1))
    with connected(tmp_path, offered, vm_identifier="vm") as (between, client, host):
        token = client.create(client.bind("xdg_activation_v1"), "get_activation_token")
        client.request(token, "set_app_id", "foot")
        client.sync()
        assert host.wait_request(token, "set_app_id").arguments == [b"org.chromium.guest_os.vm.wayland.foot"]
        assert [info.app_ids for info in between.server.clients if info.app_ids] == []  # not a window


def test_gtk_programs_keep_their_id_and_no_names_on_the_containers_bus(tmp_path: Path) -> None:
    offered = (*CHROMEOS, ("gtk_shell1", 5))
    with connected(tmp_path, offered, vm_identifier="vm") as (_, client, host):
        surface = client.create(client.bind("wl_compositor"), "create_surface")
        window = client.create(client.bind("gtk_shell1", 5), "get_gtk_surface", surface)
        client.request(
            window, "set_dbus_properties", "org.gnome.gedit", "/menu", None, "/window/1", "/org/gnome/gedit", ":1.7"
        )
        client.sync()
        named = b"org.chromium.guest_os.vm.wayland.org.gnome.gedit"
        assert host.wait_request(window, "set_dbus_properties").arguments == [named, *[None] * 5]
        client.request(window, "set_dbus_properties", None, None, None, None, None, ":1.7")
        client.sync()
        assert host.wait_request(window, "set_dbus_properties").arguments == [None] * 6


# -- globals -----------------------------------------------------------------------------------------------------


def test_privileged_globals_are_hidden(tmp_path: Path) -> None:
    offered = (*GLOBALS, ("zwlr_screencopy_manager_v1", 3), ("zwlr_data_control_manager_v1", 2))
    with connected(tmp_path, offered) as (_, client, _host):
        assert set(client.names) == {interface for interface, _ in GLOBALS}


def test_globals_can_be_allowed_and_denied(tmp_path: Path) -> None:
    offered = (*GLOBALS, ("zwlr_screencopy_manager_v1", 3), ("zwlr_data_control_manager_v1", 2))
    settings = {"allow": ("zwlr_*",), "deny": ("zwlr_screencopy*", "wp_viewporter")}
    with connected(tmp_path, offered, **settings) as (_, client, _host):
        assert "zwlr_data_control_manager_v1" in client.names
        assert not {"zwlr_screencopy_manager_v1", "wp_viewporter"} & set(client.names)


def test_a_pattern_that_matches_nothing_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = {"allow": ("zwlr_*", "zwlr_screncopy_*"), "deny": ("wl_data_device_manager", "wl_dta_*")}
    with connected(tmp_path, **settings):
        said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [text.split()[5] for text in said] == ["zwlr_screncopy_*,", "wl_dta_*,"]


def test_a_hidden_global_cannot_be_bound_by_guessing_its_name(tmp_path: Path) -> None:
    offered = (*GLOBALS, ("zwlr_screencopy_manager_v1", 3))
    with connected(tmp_path, offered) as (_, client, _host):
        client.request(client.registry, "bind", len(offered), "zwlr_screencopy_manager_v1", 1, client.new_id())
        error = client.error_in(client.until_end())
        assert error is not None
        assert "invalid global" in error[2]


def test_clients_never_see_what_chromeos_means_for_the_proxy() -> None:
    policy = GlobalPolicy(allowed=("*",))
    assert policy.offered_version("zaura_shell", 38) == 0


# -- clipboard ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("manager", DATA_DEVICE)
@pytest.mark.parametrize("policy", ["both", "to-host", "to-guest", "off"])
def test_the_clipboard_policy_closes_directions(tmp_path: Path, manager: str, policy: str) -> None:
    get_device, create_source = DATA_DEVICE[manager]
    with connected(tmp_path, clipboard=policy) as (_, client, host):
        seat, bound = client.bind("wl_seat"), client.bind(manager)
        device = client.create(bound, get_device, seat)
        client.sync()

        host.event(device, "data_offer", FIRST_SERVER_ID)
        host.event(FIRST_SERVER_ID, "offer", "text/plain")
        host.event(device, "selection", FIRST_SERVER_ID)
        heard = client.sync()
        selection = heard_by(heard, device, "selection")
        if policy in ("both", "to-guest"):
            assert selection == [[FIRST_SERVER_ID]]
            assert any(m.object_id == FIRST_SERVER_ID for m in heard)
        else:
            assert selection == [[0]]
            assert not any(m.object_id == FIRST_SERVER_ID for m in heard)
            host.wait_request(FIRST_SERVER_ID, "destroy")

        source = client.create(bound, create_source)
        client.request(source, "offer", "text/plain")
        client.request(device, "set_selection", source, 1)
        heard = client.sync()
        arrived = host.asked(device, "set_selection")
        cancelled = [m for m in heard if m.object_id == source]
        assert (bool(arrived), bool(cancelled)) == (
            (True, False) if policy in ("both", "to-host") else (False, True)
        )


def test_a_drag_is_refused_where_nothing_may_go_to_the_host(tmp_path: Path) -> None:
    with connected(tmp_path, clipboard="to-guest") as (_, client, host):
        seat, bound = client.bind("wl_seat"), client.bind("wl_data_device_manager")
        surface = client.create(client.bind("wl_compositor"), "create_surface")
        device = client.create(bound, "get_data_device", seat)
        source = client.create(bound, "create_data_source")
        client.request(device, "start_drag", source, surface, 0, 5)
        heard = client.sync()
        assert [m.name for m in heard if m.object_id == source] == ["cancelled"]
        assert not host.asked(device, "start_drag")
        # The compositor restricts a drag without a source to the drag's own client.
        client.request(device, "start_drag", 0, surface, 0, 6)
        client.sync()
        assert host.wait_request(device, "start_drag").arguments == [0, surface, 0, 6]


@pytest.mark.parametrize("end", ["leave", "drop"])
def test_the_hidden_offer_of_a_drag_lives_as_long_as_the_drag_is_over_the_window(tmp_path: Path, end: str) -> None:
    with connected(tmp_path, clipboard="to-host") as (_, client, host):
        surface = client.create(client.bind("wl_compositor"), "create_surface")
        device = client.create(client.bind("wl_data_device_manager"), "get_data_device", client.bind("wl_seat"))
        client.sync()
        host.event(device, "data_offer", FIRST_SERVER_ID)
        host.event(FIRST_SERVER_ID, "offer", "text/plain")
        host.event(device, "enter", 7, surface, 0.0, 0.0, FIRST_SERVER_ID)
        (entered,) = (m for m in client.sync() if m.object_id == device)
        assert entered.arguments[4] == 0
        # To the host, such requests would mean that the client refuses the drag for good.
        assert not [m for m in host.requests if m.object_id == FIRST_SERVER_ID]
        host.event(device, end)
        assert [m.name for m in client.sync() if m.object_id == device] == [end]
        assert host.wait_request(FIRST_SERVER_ID, "destroy")


@pytest.mark.parametrize("manager", DATA_DEVICE)
@pytest.mark.parametrize("offer", [0, 4, FIRST_SERVER_ID - 1])
def test_a_hidden_offer_in_the_clients_range_ends_the_conversation(
    tmp_path: Path, manager: str, offer: int
) -> None:
    get_device, _ = DATA_DEVICE[manager]
    with connected(tmp_path, clipboard="off") as (_, client, host):
        device = client.create(client.bind(manager), get_device, client.bind("wl_seat"))
        client.sync()
        host.event(device, "data_offer", offer)
        error = client.error_in(client.until_end())
        assert error is not None
        assert f"the host made an object with the id {offer}" in error[2]


def test_contents_pass_through_a_pipe_that_the_proxy_does_not_touch(tmp_path: Path) -> None:
    with connected(tmp_path) as (_, client, host):
        device = client.create(client.bind("wl_data_device_manager"), "get_data_device", client.bind("wl_seat"))
        client.sync()
        host.event(device, "data_offer", FIRST_SERVER_ID)
        client.sync()
        reading, writing = os.pipe()
        client.request(FIRST_SERVER_ID, "receive", "image/png", fds=[writing])
        os.close(writing)
        client.sync()
        os.write(host.fds[0], b"pixels")
        os.close(host.fds.pop())
        assert os.read(reading, 100) == b"pixels"
        assert os.read(reading, 100) == b""
        os.close(reading)


# -- trace -------------------------------------------------------------------------------------------------------


def test_the_last_messages_are_logged_when_a_client_breaks_the_protocol(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"), connected(tmp_path, trace="ring") as (between, client, _):
        client.bind("wl_compositor")
        client.send(encode(99, 0))
        client.until_end()
        bind = f"[{os.getpid()}] -> wl_registry#2.bind(1, 'wl_compositor', 4, 4)"
        between.wait("the failure is logged", lambda: bind in caplog.text)
        assert "invalid object 99" in caplog.text


def test_what_the_user_types_is_not_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"), connected(tmp_path, trace="events,-wl_registry") as (_, client, host):
        keyboard = client.create(client.bind("wl_seat"), "get_keyboard")
        client.sync()
        host.event(keyboard, "key", 1, 2, 30, 1)
        client.sync()
        assert f"<- wl_keyboard#{keyboard}.key(hidden)" in caplog.text
        assert "wl_registry" not in caplog.text
        assert "->" not in caplog.text


def test_a_trace_of_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    Trace("requests,xdg_*,-wl_pointer,ring,typed,all")
    assert not caplog.records
    Trace("1,-wl_surfac")
    assert [record.getMessage().split()[4] for record in caplog.records] == ["1", "wl_surfac"]
