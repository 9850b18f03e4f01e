"""Fixtures that the packages' tests share: each format is built once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.packages import SigningKey, build_arch_packages, build_debs, build_rpms, older_checkout
from support.parallel import made_once


@pytest.fixture(scope="session")
def debs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return sorted(made_once(tmp_path_factory, "debs", build_debs).glob("*.deb"))


@pytest.fixture(scope="session")
def rpms(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return sorted(made_once(tmp_path_factory, "rpms", build_rpms).glob("*.noarch.rpm"))


@pytest.fixture(scope="session")
def arch_packages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return sorted(made_once(tmp_path_factory, "arch", build_arch_packages).glob("*.pkg.tar.zst"))


@pytest.fixture(scope="session")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of version 0.0.9."""
    return (
        made_once(tmp_path_factory, "older", lambda place: older_checkout(place / "guestlink", "0.0.9"))
        / "guestlink"
    )


@pytest.fixture(scope="session")
def older_debs(older: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    place = made_once(tmp_path_factory, "older-debs", lambda place: build_debs(place, older))
    return sorted(place.glob("*.deb"))


@pytest.fixture(scope="module")
def key() -> Iterator[SigningKey]:
    # gpg's agent listens on a Unix socket, whose path has a maximum length.
    import tempfile

    with tempfile.TemporaryDirectory(prefix="guestlink-key-") as directory:
        key = SigningKey(Path(directory) / "gnupg")
        yield key
        key.close()
