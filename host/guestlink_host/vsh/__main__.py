"""Entry point of ``vsh``."""

from __future__ import annotations

import sys

from guestlink.errors import run_command
from guestlink_host.vsh.main import main as body


def main() -> int:
    """Entry point."""
    return run_command("vsh", body)


if __name__ == "__main__":
    sys.exit(main())
