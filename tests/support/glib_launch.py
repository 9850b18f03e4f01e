"""Print the arguments that GLib passes to the processes of a desktop file. Needs the distribution's Python, which
has GLib's own bindings.

Reads JSON lines ``[EXEC, [FILE, ...]]``; EXEC is the Exec value after the program, as the file writes it. Answers
each line with one argument list per process that GLib started, or ``null`` where GLib refuses the line.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile

import gi

gi.require_version("Gio", "2.0")
from gi.repository import Gio, GLib  # noqa: E402

SCRIPT = """#!/bin/sh
printf '%s\\0' "$@" x > "$0.$$"
"""


def main() -> None:
    """Answer until standard input ends."""
    with tempfile.TemporaryDirectory() as scratch:
        program = os.path.join(scratch, "program")
        with open(program, "w") as stream:
            stream.write(SCRIPT)
        os.chmod(program, 0o755)
        for line in sys.stdin:
            text, files = json.loads(line)
            print(json.dumps(launched(program, text, files)), flush=True)


def launched(program: str, text: str, files: list[str]) -> list[list[str]] | None:
    """The argument list of each process that GLib started."""
    entry = f"[Desktop Entry]\nType=Application\nName=The Name\nIcon=the-icon\nExec={program} {text}\n"
    path = program + ".desktop"
    with open(path, "w") as stream:
        stream.write(entry)
    try:
        info = Gio.DesktopAppInfo.new_from_filename(path)
        if info is None:
            return None
        pids: list[int] = []
        uris = [file if "://" in file else GLib.filename_to_uri(file) for file in files]
        flags = GLib.SpawnFlags.SEARCH_PATH | GLib.SpawnFlags.DO_NOT_REAP_CHILD
        info.launch_uris_as_manager(uris, None, flags, None, None, lambda _info, pid: pids.append(pid))
    except (GLib.Error, TypeError):
        return None
    found = []
    for pid in pids:
        os.waitpid(pid, 0)
        with open(f"{program}.{pid}", newline="", errors="surrogateescape") as stream:
            found.append(stream.read().split("\0")[:-2])
        os.unlink(f"{program}.{pid}")
    # GLib takes a field code for one byte, and so leaves half of a character.
    halves = any("\udc80" <= char <= "\udcff" for words in found for word in words for char in word)
    return None if halves else found


if __name__ == "__main__":
    main()
