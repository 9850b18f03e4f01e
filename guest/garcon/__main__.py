"""Entry point of ``garcon``: the daemon, or a command of ChromeOS garcon's client mode."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from garcon.client import compat_cli
from guestlink.errors import GuestlinkError, report, run_command

USAGE = """\
usage: garcon --server [--allow_any_user] [--no_startup_notify] [--log-level LEVEL]
       garcon --client --url|--terminal|--selectfile|--metrics|--borealis-shader-cache ...
       garcon --version | --help

--server serves the host for this container; it runs as guestlink-garcon.service.
--client makes the running garcon call the host; `guestlink` has friendlier commands.
"""


def main() -> int:
    """Run ``garcon``."""
    return run_command("garcon", _main)


def _main(argv: list[str]) -> int:
    """Choose the mode by ChromeOS garcon's switches: exactly one of ``--server`` and ``--client``."""
    switches = compat_cli.CompatArguments(argv).switches
    if ("server" in switches) == ("client" in switches):
        return _usage(argv)
    if "server" in switches:
        from garcon.daemon import main as serve

        serve(argv)
    return compat_cli.run(argv)


def _usage(argv: Sequence[str]) -> int:
    if argv in (["--help"], ["-h"]):
        print(USAGE, end="")
        return 0
    if list(argv) == ["--version"]:
        from guestlink import __version__

        print(f"garcon (Guestlink) {__version__}")
        return 0
    report("garcon", GuestlinkError("use either --server or --client", hint=USAGE))
    return 255


if __name__ == "__main__":
    sys.exit(main())
