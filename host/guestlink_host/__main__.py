"""Entry point of ``guestlink-host``: the daemon, or a command that calls it."""

from __future__ import annotations

import sys

from guestlink.errors import run_command
from guestlink_host.control.parser import run


def main() -> int:
    """Entry point."""
    return run_command("guestlink-host", run)


if __name__ == "__main__":
    sys.exit(main())
