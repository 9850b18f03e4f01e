"""The Debian packages of this checkout, built once."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.packages import build_debs
from support.parallel import made_once


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the Debian packages of the last commit."""
    return made_once(tmp_path_factory, "debs", build_debs)
