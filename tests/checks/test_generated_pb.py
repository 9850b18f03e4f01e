"""The committed modules beside the .proto files equal protoc's current output."""

from __future__ import annotations

from pathlib import Path

import guestlink.pb
from guestlink.pb import generate
from support.needs import need

COMMITTED = Path(guestlink.pb.__file__).parent


def test_generated_files_are_up_to_date(tmp_path: Path) -> None:
    need("protoc", packages="protobuf-compiler")
    assert generate.main([str(tmp_path)]) == 0
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    committed = {
        path.name: path.read_bytes()
        for pattern in ("*_pb2.py", "*_pb2.pyi", "*.binpb")
        for path in COMMITTED.glob(pattern)
    }
    stale = sorted(name for name in made.keys() | committed.keys() if made.get(name) != committed.get(name))
    assert not stale, f"{', '.join(stale)}: run `python -m guestlink.pb.generate` and commit what it writes"
