"""What the tests of the packages share: each format is built once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.packages import SigningKey, build_arch_packages, build_debs, build_rpms, older_checkout


@pytest.fixture(scope="session")
def debs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return build_debs(tmp_path_factory.mktemp("debs"))


@pytest.fixture(scope="session")
def rpms(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return build_rpms(tmp_path_factory.mktemp("rpms"))


@pytest.fixture(scope="session")
def arch_packages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return build_arch_packages(tmp_path_factory.mktemp("arch"))


@pytest.fixture(scope="session")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of version 0.0.9."""
    return older_checkout(tmp_path_factory.mktemp("older") / "guestlink", "0.0.9")


@pytest.fixture(scope="module")
def key() -> Iterator[SigningKey]:
    # gpg's agent listens on a socket, and the names of sockets are short.
    import tempfile

    with tempfile.TemporaryDirectory(prefix="guestlink-key-") as directory:
        key = SigningKey(Path(directory) / "gnupg")
        yield key
        key.close()
