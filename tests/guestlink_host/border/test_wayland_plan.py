"""Which way a container's programs take to the compositor."""

from __future__ import annotations

from pathlib import Path

import pytest

from guestlink.wayland_globals import FOR_APPLICATIONS, SECURITY_CONTEXT
from guestlink_host.border.policies import POLICIES
from guestlink_host.border.wayland_access import compositor_socket
from guestlink_host.border.wayland_plan import CLIPBOARD_SWITCH, DIRECT, NONE, PROXIED, WaylandRules, leak, plan

_WITH, _WITHOUT = {"wl_compositor", SECURITY_CONTEXT}, {"wl_compositor"}


def _policies(**values: str) -> dict[str, str]:
    return {"wayland": "allow", "clipboard": "allow"} | values


def test_a_security_context_needs_no_proxy() -> None:
    assert plan("work", _policies(), WaylandRules(), _WITH).way == DIRECT


@pytest.mark.parametrize(
    ("policies", "rules", "switch"),
    [
        ({"wayland": "proxy"}, WaylandRules(), "--clipboard=both"),
        ({"clipboard": "deny"}, WaylandRules(), "--clipboard=off"),
        ({"clipboard": "to-container"}, WaylandRules(), "--clipboard=to-guest"),
        ({}, WaylandRules(title_prefix="[{name}] "), "--title-prefix=[work] "),
        ({}, WaylandRules(allow=("zwlr_*", "x")), "--allow=zwlr_*,x"),
        ({}, WaylandRules(deny=("wl_drm",)), "--deny=wl_drm"),
    ],
)
def test_what_rewrites_messages_needs_a_proxy(policies: dict[str, str], rules: WaylandRules, switch: str) -> None:
    made = plan("work", _policies(**policies), rules, _WITH)
    assert made.way == PROXIED
    assert switch in made.switches
    assert "is proxy" in made.why or "policy clipboard" in made.why or "setting" in made.why


def test_without_security_contexts_there_is_a_proxy_and_deny_is_nothing() -> None:
    assert plan("work", _policies(), WaylandRules(), _WITHOUT).why == "the compositor has no security contexts"
    assert plan("work", _policies(), WaylandRules(), _WITH, obstacle="it leaks").why == "it leaks"
    for interfaces in (_WITH, _WITHOUT):
        assert plan("work", _policies(wayland="deny"), WaylandRules(), interfaces).way == NONE


def test_every_value_of_the_clipboards_policy_has_a_switch() -> None:
    assert CLIPBOARD_SWITCH.keys() == set(POLICIES["clipboard"].values)


def test_an_interface_that_nobody_has_listed_is_a_leak() -> None:
    assert leak(FOR_APPLICATIONS) == ""
    found = leak({"wl_shm", "zwlr_a", "zwlr_b", "zwlr_c", "zwlr_d"})
    assert found == "the compositor offers zwlr_a, zwlr_b, zwlr_c and 1 more also in a security context"


def test_the_compositor_is_the_sessions_or_the_one_that_is_set_or_none() -> None:
    environ = {"XDG_RUNTIME_DIR": "/run/user/7", "WAYLAND_DISPLAY": "wayland-1"}
    assert compositor_socket("auto", environ) == (Path("/run/user/7/wayland-1"), "")
    assert compositor_socket("auto", environ | {"WAYLAND_DISPLAY": "/elsewhere"})[0] == Path("/elsewhere")
    assert compositor_socket("/set", environ)[0] == Path("/set")
    assert compositor_socket("off", environ) == (None, "the setting compositor is off")
    assert compositor_socket("auto", {"XDG_RUNTIME_DIR": "/run/user/7"})[0] is None
