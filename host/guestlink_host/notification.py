"""Shows a notification on the user's desktop, for errors and events that no terminal shows."""

from __future__ import annotations

import os


def notify(summary: str, body: str) -> None:
    """Show a notification with notify-send, if there is a desktop and that program."""
    # Imported late, because most commands show no notification and start faster without these modules.
    import shutil
    import subprocess

    if not (os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY")) or not shutil.which("notify-send"):
        return
    # Some servers read the body as rich text, and notify-send reads escapes such as \n in it.
    plain = body.replace("&", "＆").replace("<", "‹").replace("\\", "\\\\")
    try:
        subprocess.run(
            ["notify-send", "--app-name=Guestlink", "--", summary, plain],
            check=False,
            timeout=10,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        pass  # The log or standard error has it in any case.
