"""Coverage-guided fuzzing of the vsh core, in both roles, compared with protobuf.

``python tests/fuzz/vsh_atheris.py DIRECTORY [LIBFUZZER-OPTION...]``, with atheris installed; libFuzzer writes its
findings to the directory. The first byte of an input decides where the stream is cut, and the other bytes are the
stream; each role gets the stream alone, and appended to a flood of full frames.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS.parent / "lib"), str(TESTS), str(TESTS / "fuzz")]

with atheris.instrument_imports(include=["guestlink.vsh", "guestlink.vsh.framing", "guestlink.vsh.protobuf_wire"]):
    from test_fuzz_vsh import compare, fed
    from test_fuzz_vsh_floods import CLIENT, SERVER, full, received
    from test_fuzz_vsh_floods import fed as said

    from guestlink.pb import vsh_pb2 as pb
    from guestlink.vsh import ClientProtocol, ServerProtocol, decode_from_client, decode_from_server, decode_setup


def tell(data: bytes) -> None:
    """Run one input: cuts do not change the events or the error, and messages are read as protobuf reads them."""
    cuts = [data[0], data[0] // 3, data[0] // 7] if data else []
    stream = data[1:]
    for role in (ServerProtocol, ClientProtocol):
        whole, broken = fed(role(), stream, [])
        events, also_broken = fed(role(), stream, cuts)
        assert broken == also_broken
        assert broken or events == whole
    for make, first, number in ((ServerProtocol, SERVER, 1), (ClientProtocol, CLIENT, 2)):
        flooded = first + full(number, 20) + stream
        size = len(first) + 16 * 4012 + (cuts[0] if cuts else 0)
        assert received(make(), flooded, [size, 64, 5000])[:2] == said(make(), flooded)
    if not any(byte >= 0x80 for byte in stream):  # protobuf refuses texts that are not UTF-8, ours does not
        compare(stream, pb.GuestMessage, decode_from_client)
        compare(stream, pb.HostMessage, decode_from_server)
        compare(stream, pb.SetupConnectionRequest, decode_setup)


if __name__ == "__main__":
    atheris.Setup([f"{sys.executable} {__file__}", *sys.argv[1:]], tell)
    atheris.Fuzz()
