"""Chromium and Firefox behind the proxy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.needs import need
from support.virtual_input import LEFT

if TYPE_CHECKING:
    from conftest import Desktop

pytestmark = [pytest.mark.interop, pytest.mark.slow]

PAGE = """\
<!doctype html><meta charset="utf-8"><title>ready</title>
<style>html { background: #0a5a2a; color: white; font: 40px "DejaVu Sans" }</style>
<p>Seen through the proxy</p><p id="drag" draggable="true">drag me</p><p id="drop">drop here</p>
<script>
let keys = "", clicks = 0, wheel = 0, copied = "", dropped = "";
const tell = () => document.title = `keys ${keys} clicks ${clicks} wheel ${wheel > 0} dropped ${dropped} .`;
addEventListener("keydown", e => { if (e.key.length === 1) { keys += e.key; tell(); } });
addEventListener("mousedown", () => { clicks++; tell(); });
addEventListener("wheel", e => { wheel += e.deltaY; tell(); });
const drop = document.getElementById("drop");
document.getElementById("drag").addEventListener("dragstart", e => e.dataTransfer.setData("text/plain", "dragged"));
drop.addEventListener("dragover", e => e.preventDefault());
drop.addEventListener("drop", e => { e.preventDefault(); dropped = e.dataTransfer.getData("text/plain"); tell(); });
</script>
"""
GREEN = b"\x0a\x5a\x2a"

BROWSERS = {
    "chromium": [
        "chromium",
        "--no-sandbox",
        "--ozone-platform=wayland",
        "--disable-gpu",
        "--no-first-run",
        "--password-store=basic",
        "--disable-dev-shm-usage",
        "--user-data-dir={home}/chromium",
    ],
    "firefox": ["firefox-esr", "--no-remote", "--new-instance", "--profile", "{home}/firefox"],
}
_FIREFOX_PREFERENCES = """\
user_pref("browser.aboutwelcome.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("datareporting.policy.dataSubmissionPolicyBypassNotification", true);
user_pref("browser.startup.homepage_override.mstone", "ignore");
user_pref("termsofuse.bypassNotification", true);
user_pref("trailhead.firstrun.didSeeAboutWelcome", true);
user_pref("toolkit.cosmeticAnimations.enabled", false);
"""


def _start(desktop: Desktop, name: str, through: bool = True) -> None:
    argv = BROWSERS[name]
    need(argv[0], packages="chromium firefox-esr")
    home = desktop.proxied.home
    page = home / "page.html"
    page.write_text(PAGE)
    profile = home / "firefox"
    profile.mkdir(exist_ok=True)
    (profile / "user.js").write_text(_FIREFOX_PREFERENCES)
    words = [word.format(home=home) for word in argv]
    desktop.proxied.program(*words, page.as_uri(), through=through, MOZ_ENABLE_WAYLAND="1")
    desktop.proxied.wait("the page is shown", lambda: _titled(desktop, "ready"), limit=180)
    desktop.proxied.wait("it is painted", lambda: desktop.compositor.picture().count(GREEN) > 100000, limit=180)


def _window(desktop: Desktop) -> dict[str, Any]:
    return max(desktop.compositor.windows(), key=lambda window: int(window["rect"]["width"]))


def _titled(desktop: Desktop, text: str) -> bool:
    return any(text in window["name"] for window in desktop.compositor.windows())


def _until(desktop: Desktop, what: str, text: str, act: Callable[[], None]) -> None:
    """Repeat an action until the page has reacted: a page may not handle events right after its first frame."""

    def noticed() -> bool:
        act()
        for _ in range(20):
            if _titled(desktop, text):
                return True
            desktop.given.rest()
        return False

    desktop.proxied.wait(what, noticed)


@pytest.mark.parametrize("name", BROWSERS)
@pytest.mark.parametrize("switches", [[], ["--scale=0.5"]], ids=["unscaled", "low density"])
def test_a_browser_is_shown_and_hears_keys_and_pointer(
    make_desktop: Callable[..., Desktop], name: str, switches: list[str], tmp_path: Path
) -> None:
    size = "2048x1536" if switches else "1024x768"
    desktop = make_desktop(*switches, size=size)
    _start(desktop, name)
    desktop.compositor.screenshot(tmp_path / f"{name}.png")
    rect = _window(desktop)["rect"]
    middle = rect["x"] + rect["width"] // 2, rect["y"] + rect["height"] * 3 // 4
    _until(desktop, "a click", "clicks 1", lambda: desktop.given.click(*middle, LEFT))
    _until(desktop, "a key", "keys q", lambda: desktop.given.type("q"))
    _until(desktop, "the wheel", "wheel true", lambda: desktop.given.scroll(1))
    desktop.compositor.screenshot(tmp_path / f"{name}-used.png")
    assert "Traceback" not in desktop.proxied.log()


@pytest.mark.parametrize("name", BROWSERS)
def test_a_browser_copies_to_the_host_and_pastes_from_it(desktop: Desktop, name: str) -> None:
    _start(desktop, name)
    rect = _window(desktop)["rect"]
    desktop.given.click(rect["x"] + rect["width"] // 2, rect["y"] + rect["height"] * 3 // 4)

    def copied() -> bool:
        desktop.given.key("a", "ctrl")
        desktop.given.key("c", "ctrl")
        return b"Seen through the proxy" in desktop.proxied.run("wl-paste", through=False, check=False)

    desktop.proxied.wait("the page's text is on the host's clipboard", copied)


@pytest.mark.parametrize("name", BROWSERS)
def test_a_browser_fills_the_screen(desktop: Desktop, name: str) -> None:
    _start(desktop, name)

    def fills() -> bool:
        desktop.given.key("F11")
        for _ in range(20):
            if _window(desktop)["fullscreen_mode"] == 1:
                return True
            desktop.given.rest()
        return False

    desktop.proxied.wait("it is fullscreen", fills)
    desktop.proxied.wait("it fills the screen", lambda: desktop.compositor.picture().count(GREEN) > 650000)
