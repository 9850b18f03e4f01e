"""What GLib reads from desktop files, and the arguments with which it starts them. For the distribution's Python.

Reads JSON lines ``[PATH, [FILE, ...]]``; a FILE may be a URL. Answers each line with an object, or with ``null`` if
GLib refuses the desktop file at PATH.
GLib would refuse programs that are not installed, so a script replaces the first word of the Exec value.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from typing import Any

import gi

gi.require_version("Gio", "2.0")
from gi.repository import Gio, GLib  # noqa: E402

GROUP = "Desktop Entry"
SCRIPT = """#!/bin/sh
printf '%s\\0' "$@" x > "$0.$$"
"""


def main() -> None:
    """Answer until the input ends."""
    with tempfile.TemporaryDirectory() as scratch:
        program = os.path.join(scratch, "program")
        with open(program, "w") as stream:
            stream.write(SCRIPT)
        os.chmod(program, 0o755)
        for line in sys.stdin:
            path, files = json.loads(line)
            print(json.dumps(read(program, path, files)), flush=True)


def read(program: str, path: str, files: list[str]) -> dict[str, Any] | None:
    """One desktop file."""
    keys = GLib.KeyFile()
    try:
        keys.load_from_file(path, GLib.KeyFileFlags.KEEP_TRANSLATIONS)
        raw = keys.get_value(GROUP, "Exec")
        keys.set_value(GROUP, "Exec", program + re.sub(r'^("[^"]*"|\S+)', "", raw.strip()))
        for key in ("TryExec", "Path", "Terminal", "DBusActivatable"):  # Keys that could prevent the start here.
            if keys.has_group(GROUP) and key in keys.get_keys(GROUP)[0]:
                keys.remove_key(GROUP, key)
        info = Gio.DesktopAppInfo.new_from_keyfile(keys)
    except (GLib.Error, TypeError):
        return None
    if info is None:
        return None
    pids: list[int] = []
    flags = GLib.SpawnFlags.SEARCH_PATH | GLib.SpawnFlags.DO_NOT_REAP_CHILD
    uris = [file if "://" in file else GLib.filename_to_uri(file) for file in files]
    try:
        info.launch_uris_as_manager(uris, None, flags, None, None, lambda _info, pid: pids.append(pid))
    except GLib.Error:
        return None
    return {
        "program": program,
        "name": info.get_name(),
        "mime types": info.get_supported_types() or [],
        "shown": info.should_show(),
        "arguments": [_arguments(program, pid) for pid in pids],
    }


def _arguments(program: str, pid: int) -> list[str]:
    os.waitpid(pid, 0)
    with open(f"{program}.{pid}", newline="", errors="surrogateescape") as stream:
        words = stream.read().split("\0")[:-2]
    os.unlink(f"{program}.{pid}")
    return words


if __name__ == "__main__":
    main()
