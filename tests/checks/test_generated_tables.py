"""The interface tables are what their XML sources say, and what pywayland's own metadata says."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import pytest

from sommelier_shim import tables

pytest.importorskip("pywayland")


def test_the_tables_are_up_to_date() -> None:
    from sommelier_shim.protocols.generate import generate

    committed = Path(tables.__file__).read_text()
    assert committed == generate(), "run `python -m sommelier_shim.protocols.generate` and commit what it writes"


def test_pywayland_describes_the_same_messages() -> None:
    """Its modules were generated from other versions: what both know must agree, message by message."""
    import pywayland.protocol

    compared = 0
    for module in pkgutil.iter_modules(pywayland.protocol.__path__):
        contents = vars(importlib.import_module(f"pywayland.protocol.{module.name}"))
        for peer in contents.values():
            ours = tables.INTERFACES.get(getattr(peer, "name", None) or "")
            if ours is None or not hasattr(peer, "requests"):
                continue
            if module.name in ("xdg_shell_unstable_v5", "tablet_unstable_v1", "tablet_unstable_v2"):
                continue  # Other interfaces under the same names, which the tables leave out.
            for mine, theirs in ((ours.requests, peer.requests), (ours.events, peer.events)):
                for left, right in zip(mine, theirs, strict=False):
                    assert left.name == right.name.rstrip("_"), (
                        f"{ours.name}: {left.name} is {right.name} in {module.name}"
                    )
                    compared += 1
    assert compared > 500
