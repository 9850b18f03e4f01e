"""Packages of this checkout, built once."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from support.needs import need
from support.stage import CHECKOUT


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the Debian packages of the last commit."""
    need("dpkg-buildpackage", "dh_python3", packages="dpkg-dev debhelper dh-python")
    target = tmp_path_factory.mktemp("debs")
    subprocess.run([str(CHECKOUT / "packaging" / "build-deb"), str(target)], check=True, timeout=300)
    target.chmod(0o755)  # id-mapped containers read it as strangers
    target.chmod(0o755)  # id-mapped containers read it as strangers
    return target
