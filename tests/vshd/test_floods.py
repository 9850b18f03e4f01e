"""Floods in both directions at once: nothing stalls and nothing is lost (chromeos-vsh.md §3.12, S36 and S37)."""

from __future__ import annotations

import gzip
import random
import threading
from collections.abc import Callable

import pytest

from guestlink.vsh import Setup, encode_data
from support.stage import LIMIT
from support.vsh_peer import EOF, Vshd, VshPeer, terminal

MIB = 1 << 20
Client = Callable[[VshPeer, bytes], None]


def original_client(peer: VshPeer, data: bytes) -> None:
    """Write as the original client does: one frame at a time, without reading before a write is complete."""
    for at in range(0, len(data), 4000):
        peer.sock.sendall(encode_data(1, data[at : at + 4000]))
    peer.sock.sendall(EOF)


def both_ways(peer: VshPeer, data: bytes) -> None:
    """Write in a separate thread while this one reads."""
    writer = threading.Thread(target=original_client, args=(peer, data))
    writer.start()
    try:
        peer.finish()
    finally:
        writer.join(LIMIT)
    assert not writer.is_alive()


def writes_first(peer: VshPeer, data: bytes) -> None:
    """Write everything before the first read."""
    peer.sock.settimeout(LIMIT)
    original_client(peer, data)
    peer.finish()


LINES = b"".join(b"%07d\n" % n for n in range(MIB))  # 8 MiB
NOISE = random.Random(1).randbytes(8 * MIB)


@pytest.mark.parametrize("client", [both_ways, writes_first])
@pytest.mark.parametrize(
    ("argv", "data", "expected"),
    [
        (("cat",), NOISE * 8, NOISE * 8),
        (("sed", "s/./&&&&&&&&/g"), LINES[: 4 * MIB], None),
        (("gzip", "-1"), NOISE * 4, None),
        (("od", "-An", "-v", "-tx1"), LINES[: 4 * MIB], None),
    ],
    ids=["cat 64 MiB", "sed that makes 8 of 1", "gzip 32 MiB", "od 4 MiB"],
)
def test_filters_lose_nothing(
    vshd: Vshd, client: Client, argv: tuple[str, ...], data: bytes, expected: bytes | None
) -> None:
    """Case S36 (chromeos-vsh.md §11.2)."""
    with vshd.peer() as peer:
        peer.begin(Setup(argv=tuple(word.encode() for word in argv), nopty=True))
        client(peer, data)
        assert peer.code == 0
        out = peer.out
    if argv[0] == "gzip":
        assert gzip.decompress(out) == data
    elif argv[0] == "od":
        assert bytes.fromhex(out.decode()) == data
    elif argv[0] == "sed":
        assert len(out) == len(data) // 8 * (7 * 8 + 1)
    else:
        assert out == expected


@pytest.mark.parametrize("client", [both_ways, writes_first])
@pytest.mark.parametrize("echo", [True, False])
def test_a_paste_into_a_terminal_arrives_whole(vshd: Vshd, client: Client, echo: bool) -> None:
    """Case S37 (chromeos-vsh.md §11.2)."""
    lines = b"".join(b"%015d\n" % n for n in range(MIB // 16))
    shown = lines.replace(b"\n", b"\r\n")
    with vshd.peer() as peer:
        peer.begin(terminal("sh", "-c", "echo go; exec cat" if echo else "stty -echo; echo go; exec cat"))
        peer.until(lambda: b"go\r\n" in peer.out)
        client(peer, lines)
        assert peer.code == 0
        out = peer.out.removeprefix(b"go\r\n")
    if echo:
        # Echo and output are interleaved, and the kernel drops echoes that its buffer has no room for.
        assert 1.95 * len(shown) < len(out) <= 2 * len(shown)
    else:
        assert out == shown


def test_a_paste_into_a_program_that_does_not_read(vshd: Vshd) -> None:
    """The client does not block, and vshd still reads its next frames."""
    with vshd.peer() as peer:
        peer.begin(terminal("sh", "-c", "stty raw -echo; echo go; sleep 1000"))
        peer.until(lambda: b"go" in peer.out)
        peer.type(b"x" * 131072)
        peer.say(bytes.fromhex("02 00 00 00 20 0f"))
        assert peer.finish().code == 15


def test_a_slow_reader_gets_everything(vshd: Vshd) -> None:
    with vshd.peer() as peer:
        peer.begin(Setup(argv=(b"head", b"-c", b"3000000", b"/dev/zero"), nopty=True))
        assert peer.answer is not None
        for _ in range(20):
            assert peer.is_silent(LIMIT) is False
            peer.listen()
        assert len(peer.finish().out) == 3000000
        assert peer.code == 0


def test_a_slow_writer_is_waited_for(vshd: Vshd) -> None:
    with vshd.peer() as peer:
        peer.begin(Setup(argv=(b"wc", b"-c"), nopty=True))
        for byte in b"slow":
            assert peer.is_silent(0.05)
            peer.type(bytes([byte]))
        peer.say(EOF)
        assert peer.finish().out == b"4\n"


def test_a_client_that_takes_nothing_does_not_fill_memory(vshd: Vshd) -> None:
    """Buffers are bounded both ways: the program's write blocks, and vshd stops reading from the client."""
    import psutil

    with vshd.peer() as peer:
        peer.begin(Setup(argv=(b"yes",), nopty=True))
        assert peer.answer is not None
        session = psutil.Process(psutil.Process(peer.answer.pid).ppid())
        frame = encode_data(1, bytes(4000))
        peer.sock.settimeout(2.0)
        with pytest.raises(TimeoutError):
            peer.sock.sendall(frame * (256 * MIB // len(frame)))
        assert session.memory_info().rss < 160 * MIB
