"""How garcon starts an application (chromeos-garcon.md §5, §9.7 L1 to L5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from garcon.desktop.desktop_entry import parse_desktop_entry
from garcon.session.launch_plan import CannotLaunch, LaunchPlan, plan_launch

SESSION = {
    "DISPLAY": ":0",
    "WAYLAND_DISPLAY": "wayland-0",
    "DISPLAY_LOW_DENSITY": ":1",
    "WAYLAND_DISPLAY_LOW_DENSITY": "wayland-1",
    "XCURSOR_SIZE_LOW_DENSITY": "12",
}


def _plan(keys: str = "", files: Sequence[str] = (), **options: Any) -> LaunchPlan:
    session: Mapping[str, str] = options.pop("session", SESSION)
    entry = parse_desktop_entry(f"[Desktop Entry]\nType=Application\nName=N\n{keys}".encode())
    return plan_launch(
        options.pop("id", "org.example.App"),
        entry,
        "/x/app.desktop",
        files,
        scaled=options.pop("scaled", False),
        features=options.pop("features", ()),
        session=session,
        startup_notify=options.pop("startup_notify", True),
    )


def test_an_entry_without_exec_cannot_start() -> None:
    """Case L2 (chromeos-garcon.md §9.7)."""
    with pytest.raises(CannotLaunch, match="argv"):
        _plan()


def test_a_link_cannot_start() -> None:
    """Case L2 (chromeos-garcon.md §9.7)."""
    entry = parse_desktop_entry(b"[Desktop Entry]\nType=Link\nName=N\nExec=x")
    with pytest.raises(CannotLaunch, match="not for an application"):
        plan_launch("a", entry, "", (), scaled=False, features=(), session={}, startup_notify=True)


def test_scaled_takes_the_low_density_displays() -> None:
    """Case L3 (chromeos-garcon.md §9.7)."""
    plan = _plan("Exec=p", scaled=True)
    assert plan.environ == {"DISPLAY": ":1", "WAYLAND_DISPLAY": "wayland-1", "XCURSOR_SIZE": "12"}


def test_scaled_without_low_density_displays_falls_back() -> None:
    """Case L3 (chromeos-garcon.md §9.7)."""
    assert _plan("Exec=p", scaled=True, session={"DISPLAY": ":0"}).environ == {}


def test_input_method_features_do_not_override_the_user() -> None:
    """Case L4 (chromeos-garcon.md §9.7)."""
    assert _plan("Exec=p", features=[1, 2, 3]).environ == {
        "GTK_IM_MODULE": "cros",
        "QT_IM_MODULE": "cros",
        "CROS_IM_VIRTUAL_KEYBOARD": "1",
    }
    session = {"GTK_IM_MODULE": "ibus", "QT_IM_MODULE": ""}
    assert _plan("Exec=p", features=[1, 3, 99], session=session).environ == {}


def test_the_startup_id_is_the_application_unless_switched_off() -> None:
    """Case L5 (chromeos-garcon.md §9.7)."""
    assert _plan("Exec=p\nStartupNotify=true").environ == {"DESKTOP_STARTUP_ID": "org.example.App"}
    assert _plan("Exec=p\nStartupNotify=true", startup_notify=False).environ == {}
    assert _plan("Exec=p").environ == {}


def test_path_and_terminal_are_kept() -> None:
    plan = _plan("Exec=p\nPath=/tmp\nTerminal=true")
    assert (plan.directory, plan.terminal) == ("/tmp", True)


@pytest.mark.parametrize(
    ("keys", "options", "name"),
    [
        ("DBusActivatable=true", {}, "org.example.App"),
        ("", {}, None),
        ("DBusActivatable=true", {"id": "no-bus-name"}, None),
        ("DBusActivatable=true", {"scaled": True}, None),
    ],
)
def test_dbus_activation_needs_a_bus_name_and_the_session_display(
    keys: str, options: dict[str, Any], name: str | None
) -> None:
    assert _plan(f"Exec=p\n{keys}", **options).bus_name == name


def test_a_program_for_one_file_is_started_for_each() -> None:
    assert _plan("Exec=p %f", ["/a", "/b"]).argvs == [["p", "/a"], ["p", "/b"]]
    assert _plan("Exec=p %F", ["/a", "/b"]).argvs == [["p", "/a", "/b"]]
