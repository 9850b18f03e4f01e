"""Clipboard and primary selection between programs behind the proxy and the host's programs."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from support.needs import need
from support.proxied import Proxied
from support.virtual_input import LEFT, MIDDLE

if TYPE_CHECKING:
    from conftest import Desktop

pytestmark = pytest.mark.interop

# wl-copy and wl-paste use the data control protocol if the compositor has it, as they would on the host; if the
# proxy denies it, they open a small window and wait for keyboard focus, as other programs do.
CONTROL = "--allow=zwlr_data_control_manager_v1"
LARGE = 64 * 1024 * 1024


@pytest.fixture(autouse=True)
def _tools() -> None:
    need("wl-copy", "wl-paste", packages="wl-clipboard")


@contextmanager
def _copied(proxied: Proxied, *words: str, through: bool, data: bytes) -> Iterator[subprocess.Popen[bytes]]:
    """Offer data as a selection inside this block."""
    source = subprocess.Popen(
        ["wl-copy", "--foreground", *words],
        env=proxied.variables(through),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert source.stdin is not None
    source.stdin.write(data)
    source.stdin.close()
    try:
        yield source
    finally:
        source.kill()
        source.wait()


def _pasted(proxied: Proxied, *words: str, through: bool) -> bytes:
    return proxied.run("wl-paste", "--no-newline", *words, through=through, check=False)


def _arrives(proxied: Proxied, data: bytes, *words: str, to: bool) -> None:
    """Wait until a paste returns the data, because the offer may not have arrived yet."""
    proxied.wait("it can be pasted", lambda: _pasted(proxied, *words, through=to) == data)


@pytest.mark.parametrize("kind", [[], ["--primary"]], ids=["clipboard", "primary"])
@pytest.mark.parametrize("through", [True, False], ids=["to the host", "to the guest"])
@pytest.mark.parametrize("switch", [CONTROL, "--log-level=info"], ids=["data control", "a program's window"])
def test_text_crosses(make_desktop: Callable[..., Desktop], kind: list[str], through: bool, switch: str) -> None:
    desktop = make_desktop(switch)
    text = "Grüße, 世界".encode()
    with _copied(desktop.proxied, *kind, through=through, data=text):
        _arrives(desktop.proxied, text, *kind, to=not through)
        _arrives(desktop.proxied, text, *kind, to=through)


@pytest.mark.parametrize("through", [True, False], ids=["to the host", "to the guest"])
def test_a_picture_keeps_its_type_and_64_mib_arrive_whole(
    make_desktop: Callable[..., Desktop], through: bool
) -> None:
    desktop = make_desktop(CONTROL)
    picture = b"\x89PNG\r\n\x1a\n" + os.urandom(LARGE - 8)
    with _copied(desktop.proxied, "--type", "image/png", through=through, data=picture):
        desktop.proxied.wait(
            "its type is offered",
            lambda: _pasted(desktop.proxied, "--list-types", through=not through).strip() == b"image/png",
        )
        pasted = _pasted(desktop.proxied, "--type", "image/png", through=not through)
        assert hashlib.sha256(pasted).digest() == hashlib.sha256(picture).digest()


def test_several_programs_paste_at_once(make_desktop: Callable[..., Desktop]) -> None:
    proxied = make_desktop(CONTROL).proxied
    first, second = os.urandom(LARGE // 16), os.urandom(LARGE // 16)
    with (
        _copied(proxied, "--type", "image/png", through=True, data=first),
        _copied(proxied, "--primary", "--type", "image/png", through=False, data=second),
    ):
        _arrives(proxied, first, "--type", "image/png", to=False)
        _arrives(proxied, second, "--primary", "--type", "image/png", to=True)
        with ThreadPoolExecutor(8) as pool:
            firsts = [pool.submit(_pasted, proxied, "-t", "image/png", through=n % 2 == 0) for n in range(6)]
            seconds = [pool.submit(_pasted, proxied, "-p", "-t", "image/png", through=n % 2 == 0) for n in range(6)]
        assert all(done.result() == first for done in firsts)
        assert all(done.result() == second for done in seconds)


@pytest.mark.parametrize("kind", [[], ["--primary"]], ids=["clipboard", "primary"])
@pytest.mark.parametrize("policy", ["both", "to-host", "to-guest", "off"])
@pytest.mark.parametrize("switch", [CONTROL, "--log-level=info"], ids=["data control", "a program's window"])
def test_a_policy_closes_a_direction(
    make_desktop: Callable[..., Desktop], policy: str, kind: list[str], switch: str
) -> None:
    proxied = make_desktop(f"--clipboard={policy}", switch).proxied
    with _copied(proxied, *kind, through=False, data=b"of the host"):
        _arrives(proxied, b"of the host", *kind, to=False)
        pasted = _pasted(proxied, *kind, through=True)
        assert pasted == (b"of the host" if policy in ("both", "to-guest") else b"")
        with _copied(proxied, *kind, through=True, data=b"of the guest") as source:
            if policy in ("both", "to-host"):
                _arrives(proxied, b"of the guest", *kind, to=False)
            else:
                proxied.wait("the program hears that its offer is void", lambda: source.poll() is not None)
                assert _pasted(proxied, *kind, through=False) == b"of the host"


def test_a_word_marked_in_a_terminal_is_the_primary_selection(desktop: Desktop) -> None:
    need("foot", packages="foot")
    desktop.proxied.program("foot", "sh", "-c", "printf 'marked-word other'; exec sleep 1000")
    desktop.compositor.wait_for_window(desktop.proxied.directory / "window.png")
    place = desktop.compositor.windows()[0]
    left, top = (place["rect"][axis] + place["window_rect"][axis] for axis in "xy")

    def marked() -> bool:
        desktop.given.click(left + 20, top + 8, LEFT, 2)
        for _ in range(10):  # these pauses also separate one double click from the next
            if _pasted(desktop.proxied, "--primary", through=False) == b"marked-word":
                return True
            desktop.given.rest()
        return False

    desktop.proxied.wait("the word is selected", marked)


def test_the_middle_button_inserts_what_is_marked_on_the_host(desktop: Desktop) -> None:
    need("foot", packages="foot")
    typed = desktop.proxied.home / "typed"
    script = f"stty -icanon; head -c 8 > {typed}.new; mv {typed}.new {typed}; exec sleep 1000"
    desktop.proxied.program("foot", "sh", "-c", script)
    desktop.compositor.wait_for_window(desktop.proxied.directory / "window.png")
    with _copied(desktop.proxied, "--primary", through=False, data=b"inserted"):
        _arrives(desktop.proxied, b"inserted", "--primary", to=False)
        desktop.given.click(512, 384, MIDDLE)
        desktop.proxied.wait("it was read", typed.exists)
    assert typed.read_text() == "inserted"
