"""``./dev demo [--stay]``: a host and a container side as real processes, and the result that a user would see."""

from __future__ import annotations

import configparser
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

from demo.shell import show_shell
from support.compositor import Compositor, is_available
from support.stage import Stage, StageError

NAME = "demo"
EDITOR, CALCULATOR, X_TERMINAL = "org.xfce.mousepad", "galculator", "debian-xterm"
"""Real applications from Debian whose windows the demo shows: two by Wayland, and one that knows only X11."""
PLACES = {EDITOR: "360 px 40 px", CALCULATOR: "660 px 330 px", X_TERMINAL: "340 px 420 px"}
"""Where their windows are in the picture."""
MENU = (
    "wofi",
    "--show=drun",
    "--allow-images",
    "--location=left",
    "--width=320",
    "--height=700",
    "--prompt=Programs",
    "--sort-order=alphabetical",
)
"""A menu program of the host, which reads the launchers as every menu does."""
_LETTER = """\
This editor runs in the container.

The container's own package manager installed it. garcon
found its desktop file and told the host. guestlink-host
wrote a launcher and an icon for it. A click there has
started it here, and a proxy on the host passes its
window on to the host's compositor.
"""


def main() -> int:
    """Run the demonstration; returns its exit status."""
    stay = "--stay" in sys.argv[1:]
    started = time.monotonic()
    stage = Stage(NAME, system_applications=True)
    try:
        with Compositor(stage.root / "compositor") as compositor:
            _run(stage, compositor)
            if stay:
                _stay(stage)
            _shut_down(stage)
    except StageError as error:
        print(f"\nThe demonstration failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; everything is being stopped", file=sys.stderr)
        return 130
    finally:
        stage.close()
    print(f"\nDone in {time.monotonic() - started:.1f} s; nothing is left running.")
    return 0


def _say(title: str, *lines: str) -> None:
    print(f"\n\033[1m{title}\033[0m" if sys.stdout.isatty() else f"\n{title}")
    for line in lines:
        print(f"  {line}")
    sys.stdout.flush()


def _run(stage: Stage, compositor: Compositor) -> None:
    opened = stage.root / "opened-urls"
    opener = stage.root / "opener"
    opener.write_text(f'#!/bin/sh\nprintf "%s\\n" "$1" >> {shlex.quote(str(opened))}\n')
    opener.chmod(0o755)
    stage.host_environ["GUESTLINK_HOST_OPENER"] = str(opener)
    stage.host_environ |= compositor.environ
    stage.guest_environ |= {"GDK_BACKEND": "wayland", "GTK_A11Y": "none", "NO_AT_BRIDGE": "1"}
    _install_url_handler(stage)

    stage.start_host()
    stage.host("add", NAME)
    stage.use_mounted_display()
    stage.start_x11()
    began = time.monotonic()
    stage.start_garcon()
    entry = stage.wait_registered()
    registered = time.monotonic() - began
    _say(
        "The container registers with the host",
        *stage.guestlink("status").stdout.splitlines(),
        f"container {entry['name']!r}, {registered * 1000:.0f} ms after the start of garcon",
    )

    launchers = stage.wait("launchers are written", lambda: _settled(stage))
    icons = sorted(Path(stage.host_environ["XDG_DATA_HOME"], "icons").rglob(f"guestlink-{NAME}-*"))
    _say(
        f"{len(stage.host_json('apps', NAME))} applications are published",
        *(f"{app['id']}: {app['name']}" for app in stage.host_json("apps", NAME)[:8]),
    )
    _say(
        f"The host's launcher has {len(launchers)} new entries and {len(icons)} icons",
        f"{launchers[0].parent}/",
        *(f"  {path.name}" for path in launchers[:4]),
        f"{icons[0].parent}/" if icons else "no icons",
        *(f"  {path.name}" for path in icons[:2]),
    )
    subprocess.run(["desktop-file-validate", *map(str, launchers)], check=True, timeout=60)

    show_shell(stage, _say)

    stage.guest("xdg-open", "https://example.org/from-inside")
    url = stage.wait("the URL is opened on the host", lambda: opened.exists() and opened.read_text().strip())
    _say("xdg-open inside opens a link on the host", f"the host's opener was given {url}")

    began = time.monotonic()
    path = stage.add_application("org.example.Fresh", Name="Fresh application", Exec="true")
    launcher = Path(
        stage.host_environ["XDG_DATA_HOME"], "applications", f"guestlink-{NAME}-org.example.Fresh.desktop"
    )
    stage.wait("the new application is in the launcher", launcher.exists, 0.002)
    appeared = time.monotonic() - began
    path.unlink()
    stage.wait("the removed application has left the launcher", lambda: not launcher.exists())
    _say(
        "An application is installed while everything runs",
        f"in the host's launcher after {appeared * 1000:.0f} ms, and gone again after its removal",
    )

    _show_windows(stage, compositor)


def _settled(stage: Stage) -> list[Path] | None:
    """The launchers, once each application has one and the first icons exist; None before."""
    launchers = stage.launchers()
    applications = stage.host_json("apps", NAME)
    icons = any(Path(stage.host_environ["XDG_DATA_HOME"], "icons").rglob(f"guestlink-{NAME}-*"))
    return launchers if launchers and len(launchers) == len(applications) and icons else None


def _show_windows(stage: Stage, compositor: Compositor) -> None:
    letter = stage.root / "Welcome.txt"
    letter.write_text(_LETTER)
    argv = _command_of(_launcher(stage, EDITOR), letter.as_uri())
    began = time.monotonic()
    _click(stage, argv)
    launched = time.monotonic() - began
    _click(stage, _command_of(_launcher(stage, CALCULATOR)))
    compositor.wait("two windows", lambda: len(compositor.windows()) == 2)
    _click(stage, _command_of(_launcher(stage, X_TERMINAL)))
    compositor.wait("three windows", lambda: len(compositor.windows()) == 3)
    for window in compositor.windows():
        name = window["app_id"].lower()
        place = next(PLACES[one] for one in PLACES if one in name or name in one)
        compositor.sway(f"[con_id={window['id']}] move position {place}")
    environ = stage.host_environ | {"XDG_DATA_DIRS": str(_without_programs(stage))}
    with subprocess.Popen(MENU, env=environ, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as menu:
        try:
            screenshot = compositor.wait_for_window(Path.cwd() / "build" / "demo.png")
        finally:
            menu.terminate()
    _say(
        "A click in the launcher starts the application in the container",
        shlex.join(argv),
        f"answered after {launched * 1000:.0f} ms",
        f"its window, a second one, an X11 program's, and the host's menu: {screenshot}",
    )


def _without_programs(stage: Stage) -> Path:
    """A data directory for the menu without the host's own programs, which here equal the container's."""
    directory = stage.root / "menu"
    directory.mkdir()
    for name in ("icons", "mime", "themes", "glib-2.0"):
        (directory / name).symlink_to(Path("/usr/share", name))
    return directory


def _launcher(stage: Stage, application: str) -> Path:
    path = Path(stage.host_environ["XDG_DATA_HOME"], "applications", f"guestlink-{NAME}-{application}.desktop")
    stage.wait(f"the launcher of {application} is there", path.exists)
    return path


def _click(stage: Stage, argv: list[str]) -> None:
    subprocess.run(argv, env=stage.host_environ, check=True, timeout=60, stdin=subprocess.DEVNULL)


def _command_of(launcher: Path, url: str = "") -> list[str]:
    """A launcher's command, as a desktop runs it; with a URL, as when the user drops a file on the launcher."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(launcher)
    words = shlex.split(parser["Desktop Entry"]["Exec"])
    words = [url if word == "%U" else word.replace("%%", "%") for word in words]
    return [word for word in words if word]


def _install_url_handler(stage: Stage) -> None:
    """Install the desktop entry for links and the program that it starts, as the package does."""
    handler = stage.root / "guest" / "garcon-url-handler"
    handler.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m garcon --client --url "$@"\n')
    handler.chmod(0o755)
    entry = Path(__file__).resolve().parents[2] / "guest" / "garcon" / "data" / "garcon_host_browser.desktop"
    text = entry.read_text().replace("/usr/bin/garcon-url-handler", str(handler))
    (stage.guest_share / "applications" / entry.name).write_text(text)
    config = Path(stage.guest_environ["XDG_CONFIG_HOME"])
    config.mkdir(parents=True, exist_ok=True)
    schemes = "".join(f"x-scheme-handler/{scheme}={entry.name}\n" for scheme in ("http", "https", "mailto"))
    (config / "mimeapps.list").write_text(f"[Default Applications]\n{schemes}")
    stage.guest_environ["BROWSER"] = str(handler)


def _stay(stage: Stage) -> None:
    host = " ".join(f"{key}={shlex.quote(stage.host_environ[key])}" for key in ("XDG_RUNTIME_DIR", "XDG_DATA_HOME"))
    guest = f"XDG_RUNTIME_DIR={shlex.quote(stage.guest_environ['XDG_RUNTIME_DIR'])}"
    programs = Path(sys.executable).parent
    _say(
        "Everything stays up until Ctrl-C. Try, in another terminal:",
        f"env {host} {programs}/guestlink-host list",
        f"env {host} {programs}/guestlink-host apps {NAME}",
        f"env {host} {programs}/vsh {NAME}",
        f"env {guest} {programs}/guestlink status",
        f"env {guest} {programs}/guestlink open https://example.org",
        f"logs: {stage.root}/*.log",
    )
    try:
        signal.pause()
    except KeyboardInterrupt:
        print()


def _shut_down(stage: Stage) -> None:
    guest = stage.stop("garcon") or stage.stop("x11")
    stage.host("remove", NAME)
    host = stage.stop("host")
    if guest or host or stage.launchers():
        raise StageError(
            f"the container side ended with {guest}, the host with {host}, launchers: {stage.launchers()}"
        )
    _say("Clean shutdown", "both sides ended with 0; the launchers are gone from the host's directories")


if __name__ == "__main__":
    if not is_available():
        sys.exit("demo: sway or grim is missing; run ./dev demo, which installs it")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.environ.setdefault("LANG", "C.UTF-8")
    sys.exit(main())
