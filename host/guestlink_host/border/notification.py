"""Shows a notification on the user's desktop, for errors and events that no terminal shows."""

from __future__ import annotations

import contextlib
import os


def notify(summary: str, body: str) -> None:
    """Show a notification with notify-send, if there is a desktop and that program."""
    # Imported late, because most commands show no notification and start faster without these modules.
    import shutil

    from guestlink.program import CommandFailed, run_program

    if not (os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY")) or not shutil.which("notify-send"):
        return
    # Some servers read the body as rich text, and notify-send reads escapes such as \n in it.
    plain = body.replace("&", "＆").replace("<", "‹").replace("\\", "\\\\")
    with contextlib.suppress(CommandFailed):  # The log or standard error has the text in any case.
        run_program(["notify-send", "--app-name=Guestlink", "--", summary, plain], timeout=10)
