"""One vshd for all sessions of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.vsh_peer import Vshd


@pytest.fixture(scope="module")
def vshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vshd]:
    server = Vshd(tmp_path_factory.mktemp("vshd"))
    yield server
    server.close()
