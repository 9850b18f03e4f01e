"""Log messages fit the place that gets them."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest

from guestlink.errors import GuestlinkError
from guestlink.logs import JournalFormatter, setup_logging

PROGRAM = """
import logging, os, sys
from guestlink.logs import setup_logging
if sys.argv[1] == "journal":
    status = os.fstat(2)
    os.environ["JOURNAL_STREAM"] = f"{status.st_dev}:{status.st_ino}"
setup_logging("prog", "info,chatty")
logging.getLogger("quiet").debug("hidden")
logging.getLogger("chatty").debug("shown")
logging.getLogger("quiet").warning("two\\nlines")
"""


def _output(kind: str) -> str:
    environ = {key: value for key, value in os.environ.items() if key != "JOURNAL_STREAM"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, kind], capture_output=True, check=True, timeout=60, env=environ
    )
    return done.stderr.decode()


def test_the_journal_gets_priorities_on_every_line() -> None:
    assert _output("journal") == "<7>shown\n<4>two\n<4>lines\n"


def test_a_terminal_gets_time_and_name() -> None:
    first, *_ = _output("terminal").splitlines()
    assert first.endswith(" prog: shown")


def test_a_traceback_keeps_its_priority() -> None:
    record = logging.LogRecord("n", logging.ERROR, "f", 1, "m", None, (ValueError, ValueError("x"), None))
    assert all(line.startswith("<3>") for line in JournalFormatter("%(message)s").format(record).splitlines())


def test_a_wrong_level_is_named() -> None:
    with pytest.raises(GuestlinkError, match="no log level 'loud'"):
        setup_logging("prog", "loud")
