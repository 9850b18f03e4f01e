"""The compositor's "kill this window" for a program behind the proxy."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from support import debian_13
from support.compositor import UNPRIVILEGED
from support.needs import need
from support.newer_compositors import Labwc, NewSway, need_debian_13
from support.proxied import Proxied
from support.virtual_input import WlrootsInput

pytestmark = pytest.mark.interop

_LONG = ("sleep", "1000")


def test_killing_a_window_ends_its_program_and_no_other(short: Path) -> None:
    need("foot", packages="foot")
    need_debian_13()
    with ExitStack() as stack:
        compositor = stack.enter_context(Labwc(short / "compositor"))
        keyboard = stack.enter_context(WlrootsInput(compositor.socket, compositor.size))
        # A compositor may kill only processes of its own user.
        proxied = stack.enter_context(Proxied(compositor, short / "container", user=UNPRIVILEGED))

        def is_focused(name: str) -> bool:
            words = debian_13.inside("wlrctl", "toplevel", "find", f"app_id:{name}", "state:focused")
            return subprocess.run(words, env=proxied.variables(through=False), check=False).returncode == 0

        good = proxied.program("foot", "-a", "good", *_LONG)
        proxied.wait("the first window has the focus", lambda: is_focused("good"))
        bad = proxied.program("foot", "-a", "bad", *_LONG)
        proxied.wait("the second window has the focus", lambda: is_focused("bad"))
        keyboard.key("k", "super")
        proxied.wait("the program ends", lambda: bad.poll() is not None)
        proxied.wait("the other window has the focus", lambda: is_focused("good"))
        assert good.poll() is None


def test_every_window_has_a_process_of_its_programs_name(short: Path) -> None:
    need("foot", "swaymsg", packages="foot sway")
    need_debian_13()
    with NewSway(short / "compositor") as compositor, Proxied(compositor, short / "container") as proxied:
        programs = [proxied.program("foot", "-a", name, *_LONG) for name in ("one", "two")]
        windows = compositor.wait("two windows", lambda: found if len(found := compositor.windows()) == 2 else [])
        pids = {window["pid"] for window in windows}
        assert len(pids) == 2
        for pid in pids:
            proxied.wait("its name", lambda pid=pid: Path(f"/proc/{pid}/comm").read_text() == "foot\n")
        compositor.sway('[app_id="one"]', "kill")  # this only closes the window
        programs[0].wait(60)
        assert [window["app_id"] for window in compositor.windows()] == ["two"]
