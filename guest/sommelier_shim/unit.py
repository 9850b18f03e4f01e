"""``sommelier-unit``: the program of the Wayland and X11 user units.

On a host that mounts its own proxy, the unit runs that one with the command line of ChromeOS's units
(chromeos-sommelier.md §2.3); elsewhere it runs Guestlink's, if a setting needs a proxy in the container. Else
programs use the socket that a Linux host has mounted, and the unit runs nothing. The setting ``implementation`` of
``[sommelier]`` overrides the choice.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping
from typing import NamedTuple

from guestlink import socket_directory, xdg
from guestlink.config import Config, ConfigError
from guestlink.errors import GuestlinkError, report, run_command
from guestlink.token import TokenError, read_token
from sommelier_shim import options
from sommelier_shim.direct_display import link_display, unlink_display

NATIVE = "/opt/google/cros-containers/bin/sommelier"
"""ChromeOS's own proxy, in a tree that its host mounts (chromeos-sommelier.md §2.3)."""
_PUBLISH_TIME = 10.0
"""Seconds for each command that publishes a variable."""
_RENDER_NODE = "/dev/dri/renderD128"
_ACCELERATORS = "Super_L,<Alt>bracketleft,<Alt>bracketright"
"""Keys on which ChromeOS acts when the proxy reports that the client has not handled them
(chromeos-sommelier.md §2.3). A Linux host's compositor handles its own keys before it sends any to programs: if the
proxy dropped more keys, they would have no effect at all."""
_FONTS = ("misc", "cyrillic", "100dpi/:unscaled", "75dpi/:unscaled", "Type1", "100dpi", "75dpi")

_PUBLISH = """\
systemctl --user set-environment "$@"
if [ -S "$XDG_RUNTIME_DIR/bus" ] && command -v dbus-update-activation-environment > /dev/null; then
    dbus-update-activation-environment "$@" &
fi
systemctl --user import-environment SOMMELIER_VERSION
"""
_WAYLAND_IS_UP = f"""\
set -- "$WAYLAND_DISPLAY_VAR=$WAYLAND_DISPLAY"
{_PUBLISH}"""
_HOOKS = "[ ! -r /etc/sommelierrc ] || . /etc/sommelierrc\n"
_X11_IS_UP = f"""\
set -- "$DISPLAY_VAR=$DISPLAY" "$XCURSOR_SIZE_VAR=$XCURSOR_SIZE"
{_PUBLISH}\
touch "$HOME/.Xauthority"
if command -v xauth > /dev/null; then
    cookie=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \\n')
    echo "add $(uname -n)$DISPLAY . $cookie" | xauth -q -f "$HOME/.Xauthority" source -
fi
{_HOOKS}"""
"""Shell scripts that the host's proxy runs when programs can connect; their output goes to the unit's log. With our
own X display only :data:`_HOOKS` runs: the administrator's file (chromeos-sommelier.md §2.3)."""


class UnitCommand(NamedTuple):
    """The command that a unit runs.

    :ivar native: whether the command is the host's proxy.
    :ivar argv: its arguments; for the host's proxy the first one is the program.
    :ivar environ: variables to add to the unit's environment.
    """

    native: bool
    argv: list[str]
    environ: dict[str, str]


def main() -> int:
    """Run ``sommelier-unit [--check|--needed] wayland|x INSTANCE``.

    With ``--check`` only report whether the unit can run a proxy: exit status 0, or 1 with an error message.
    With ``--needed`` let programs use the mounted socket if that is enough, and exit with 1; 0 means that the unit
    has to run a proxy.
    """
    return run_command("sommelier-unit", _main)


def plan(
    kind: str,
    instance: int,
    config: Config,
    environ: Mapping[str, str],
    *,
    native_there: bool,
    xwayland_there: bool = False,
    mounted_there: bool = True,
    render_node: bool = False,
    token: str = "",
) -> UnitCommand:
    """Choose the command of a unit.

    :param kind: ``wayland`` or ``x``.
    :param instance: the number of the display.
    :param native_there: whether the host's proxy exists.
    :param render_node: whether the container has a GPU node.
    :param token: the container's token, or "".
    :param mounted_there: whether a Linux host has mounted its directory.
    :param xwayland_there: whether the X server that ours starts is installed.
    :raises ConfigError: ``implementation = native``, and the host's proxy does not exist.
    :raises GuestlinkError: the unit is for X11, and nothing here can show X11 programs.
    """
    implementation = config[options.IMPLEMENTATION]
    if implementation == "native" and not native_there:
        raise ConfigError(
            f"implementation = native, and there is no {NATIVE}",
            hint="set implementation = auto in the section [sommelier] of guestlink.conf",
        )
    if implementation == "guestlink" or not native_there:
        if kind == "x":
            if not (config[options.DISPLAY] or mounted_there):
                raise GuestlinkError(
                    "X11 programs cannot be shown: no Linux host has mounted a compositor's socket",
                    hint="on a Chromebook ChromeOS's own sommelier shows them, if it is mounted",
                )
            return _own_x11(instance, config, environ, native_there=native_there, xwayland_there=xwayland_there)
        argv = ["--parent", f"--socket=wayland-{instance}", f"--publish={environ.get('WAYLAND_DISPLAY_VAR', '')}"]
        if not config[options.DISPLAY]:
            argv.append(f"--display={options.MOUNTED_SOCKET}")  # the proxy waits until the socket appears
        if native_there and not config[options.ACCELERATORS]:
            argv.append(f"--accelerators={_ACCELERATORS}")
        return UnitCommand(False, argv, {})
    additions = {"SOMMELIER_ACCELERATORS": config[options.ACCELERATORS] or _ACCELERATORS}
    if token:
        additions["SOMMELIER_VM_IDENTIFIER"] = token
    if render_node:
        additions["SOMMELIER_DRM_DEVICE"] = _RENDER_NODE
    if kind == "wayland":
        argv = [NATIVE, "--parent", "--sd-notify=READY=1", f"--socket=wayland-{instance}"]
        return UnitCommand(True, [*argv, "/bin/sh", "-c", _WAYLAND_IS_UP], additions)
    if render_node:
        additions["SOMMELIER_GLAMOR"] = "1"
    additions["SOMMELIER_XFONT_PATH"] = ",".join(
        [*(f"/usr/share/fonts/X11/{name}" for name in _FONTS), "built-ins"]
    )
    argv = [NATIVE, "-X", f"--x-display={instance}", "--sd-notify=READY=1", "--no-exit-with-child"]
    argv += [f"--x-auth={environ.get('HOME', '')}/.Xauthority", "--stable-scaling", "--enable-xshape"]
    return UnitCommand(True, [*argv, "/bin/sh", "-c", _X11_IS_UP], additions)


def _own_x11(
    instance: int, config: Config, environ: Mapping[str, str], *, native_there: bool, xwayland_there: bool
) -> UnitCommand:
    """The command of the X11 unit with our own proxy.

    :raises GuestlinkError: it can show no X11 programs here.
    """
    if native_there:
        raise GuestlinkError(
            "Guestlink's sommelier cannot show X11 programs on ChromeOS yet; only the host's own sommelier can",
            hint="set implementation = auto in the section [sommelier] of guestlink.conf",
        )
    if instance:
        raise GuestlinkError(
            f"there is no X display {instance}: Guestlink's sommelier has no low density for X11 programs",
            hint="guestlink-sommelier-x@0.service serves all of them",
        )
    if not xwayland_there:
        raise GuestlinkError(
            f"X11 programs need the X server {config[options.XWAYLAND_PATH]}, which is not installed",
            hint="install the package xwayland (Fedora: xorg-x11-server-Xwayland, Arch: xorg-xwayland)",
        )
    argv = ["-X", f"--publish={environ.get('DISPLAY_VAR', '')}"]
    if not config[options.DISPLAY]:
        argv.append(f"--display={options.MOUNTED_SOCKET}")
    return UnitCommand(False, [*argv, "--no-exit-with-child", "/bin/sh", "-c", _HOOKS], {})


def _main(argv: list[str]) -> int:
    mode = argv[0] if argv[:1] in (["--check"], ["--needed"]) else ""
    words = argv[1:] if mode else argv
    if len(words) != 2 or words[0] not in ("wayland", "x") or not words[1].isdecimal():
        raise GuestlinkError("usage: sommelier-unit [--check|--needed] wayland|x INSTANCE", exit_code=2)
    if mode == "--needed":
        return _needed(f"wayland-{words[1]}", os.environ)
    config = options.parse([]).config
    try:
        token = read_token(config[options.TOKEN_FILE])
    except TokenError:
        token = ""
    decided = plan(
        words[0],
        int(words[1]),
        config,
        os.environ,
        native_there=os.access(NATIVE, os.X_OK),
        xwayland_there=_is_program(config[options.XWAYLAND_PATH]),
        mounted_there=os.path.isdir(socket_directory.MOUNT_POINT),
        render_node=_is_character_device(_RENDER_NODE),
        token=token,
    )
    if mode == "--check":
        return 0
    if decided.native:
        _stop_watchdog()
        os.execve(decided.argv[0], decided.argv, os.environ | decided.environ)
    if words[0] == "wayland":
        unlink_display(options.socket_path(f"wayland-{words[1]}", os.environ))
    from sommelier_shim.__main__ import main as serve

    return serve(decided.argv)


def _needed(display: str, environ: Mapping[str, str]) -> int:
    """Let programs use the mounted socket, unless a proxy has to run.

    :returns: 0 if the unit has to run a proxy, also after an error, which that proxy then reports; else 1.
    """
    try:
        config = options.parse([]).config
        native = config[options.IMPLEMENTATION] == "native" or os.access(NATIVE, os.X_OK)
        why = options.why_proxy(config)
        if native or why or not os.path.isdir(socket_directory.MOUNT_POINT):
            return 0
        link_display(options.socket_path(display, environ), options.MOUNTED_SOCKET)
    except GuestlinkError as error:
        report("sommelier-unit", error)
        return 0
    _publish(f"{environ.get('WAYLAND_DISPLAY_VAR', 'WAYLAND_DISPLAY')}={display}", environ)
    print(f"programs use the host's socket {options.MOUNTED_SOCKET} themselves; no setting needs a proxy here")
    return 1


def _publish(variable: str, environ: Mapping[str, str]) -> None:
    """Set a variable for all programs that the user manager and the session bus start from now on."""
    import shutil
    import subprocess

    runtime = xdg.runtime_directory(environ)
    commands = [(f"{runtime}/systemd/private", ["systemctl", "--user", "set-environment", variable])]
    # The bus itself starts services without a systemd unit, in its own environment.
    commands.append((f"{runtime}/bus", ["dbus-update-activation-environment", variable]))
    for path, argv in commands:
        if os.path.exists(path) and shutil.which(argv[0]):
            try:
                subprocess.run(argv, stdin=subprocess.DEVNULL, timeout=_PUBLISH_TIME, check=True)
            except (OSError, subprocess.SubprocessError) as error:
                report("sommelier-unit", GuestlinkError(f"{argv[0]} did not set {variable}: {error}"))


def _stop_watchdog() -> None:
    """Turn systemd's watchdog off, which the host's proxy does not feed (sd_notify(3))."""
    from guestlink.notify_socket import NotifySocket

    NotifySocket(keeps_variable=True).send("WATCHDOG_USEC=0")
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
        os.environ.pop(name, None)


def _is_program(name: str) -> bool:
    directories = [""] if "/" in name else os.environ.get("PATH", os.defpath).split(":")
    return any(os.access(os.path.join(directory, name), os.X_OK) for directory in directories)


def _is_character_device(path: str) -> bool:
    try:
        return stat.S_ISCHR(os.stat(path).st_mode)
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main())
