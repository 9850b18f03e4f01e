"""Pictures of a container: whatever it sends, the desktop gets PNGs of the expected sizes that guestlink-host made.

What a container's picture does, it does in a confined process; the last part has a renderer that was taken over.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pytest

from guestlink_host.border.pictures import renderer as renderer_module
from guestlink_host.border.pictures.draw_protocol import ReceivedPicture
from guestlink_host.border.pictures.png import BadPicture, encode
from guestlink_host.border.pictures.renderer import DRAWINGS_LIMIT, NoRenderer, Renderer, RendererFailed
from support.fake_garcon import SVG, application, chunk, png
from support.host import Host, host_in_test
from support.needs import absent, need, need_renderer
from support.pixels import alpha_range, difference, pixels
from support.stage import CHECKOUT

SIGNATURE = b"\x89PNG\r\n\x1a\n"
SIDES = (16, 22, 24, 32, 48, 64, 96, 128, 256)


@pytest.fixture(autouse=True)
def _needs() -> None:
    need_renderer()


@pytest.fixture
async def host(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Host]:
    async with host_in_test(monkeypatch) as running:
        yield running


@pytest.fixture
async def renderer() -> AsyncIterator[Renderer]:
    one = Renderer("demo", asyncio.Semaphore(1))
    yield one
    await one.close()


def svg(inside: str, before: str = "", size: str = 'width="64" height="64"') -> bytes:
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f"{before}<svg {names} {size}>{inside}</svg>".encode()


def bomb(width: int, height: int, *, interlaced: bool = False) -> bytes:
    """A PNG of zeros with one bit for each pixel."""
    compressor = zlib.compressobj(9)
    line = bytes(1 + width // 8 + interlaced)
    data = b"".join(compressor.compress(line) for _ in range(height)) + compressor.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, interlaced)
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def data_uri(content: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def image(uri: str) -> bytes:
    return svg(f'<image width="64" height="64" xlink:href="{uri}"/>')


def renderers() -> list[psutil.Process]:
    """The renderers that this process has started, and their pictures' processes."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.cmdline()[1:4] == ["-I", "-S", "-c"]:
                found.append(process)
    return found


async def peak_of(renderer: Renderer, content: bytes, *, is_svg: bool) -> tuple[bool, int]:
    """Draw; returns whether there is a picture, and the largest memory of the renderer's processes meanwhile."""
    peak = 0
    drawing = asyncio.ensure_future(renderer.draw(ReceivedPicture(is_svg, content), SIDES if is_svg else (48,)))
    while not drawing.done():
        for process in renderers():
            with contextlib.suppress(psutil.NoSuchProcess):
                peak = max(peak, process.memory_info().rss)
        await asyncio.sleep(0.01)
    try:
        return len(drawing.result()) > 0, peak
    except BadPicture:
        return False, peak


# -- what arrives --------------------------------------------------------------------------------------------------


def on_the_desktop(host: Host) -> dict[str, bytes]:
    theme = host.data / "icons/hicolor"
    return {name: (theme / name).read_bytes() for name in host.icons()}


async def test_an_svg_reaches_the_desktop_as_png_in_all_sizes_of_launchers(host: Host) -> None:
    guest = await host.registered()
    guest.icons = {"a": (True, svg('<rect width="64" height="64" fill="#f00"/>'))}
    await guest.publish(application("a"))
    await host.until(lambda: len(host.icons()) == len(SIDES))
    for name, content in on_the_desktop(host).items():
        side = int(name.partition("x")[0])
        assert name == f"{side}x{side}/apps/guestlink-demo-a.png"
        assert pixels(content) == (side, side, b"\xff\0\0\xff" * side * side)


async def test_a_png_is_decoded_and_encoded_anew(host: Host) -> None:
    """Nothing of the container's file is left but its pixels."""
    hidden = b"<script>alert(1)</script>"
    profile = chunk(b"iCCP", b"x\0\0" + zlib.compress(hidden)) + chunk(b"tEXt", b"Comment\0" + hidden)
    sent = png(48, extra=profile + chunk(b"eXIf", hidden)) + hidden
    guest = await host.registered()
    guest.icons = {"a": (False, sent)}
    await guest.publish(application("a"))
    await host.until(lambda: host.icons() == ["48x48/apps/guestlink-demo-a.png"])
    (content,) = on_the_desktop(host).values()
    assert pixels(content) == pixels(sent)
    assert [content[12:16], content[37:41]] == [b"IHDR", b"tEXt"]
    assert hidden not in content
    assert b"iCCP" not in content


async def test_the_icon_command_gets_a_png_made_by_us(host: Host) -> None:
    guest = await host.registered()
    guest.icons = {"svg": (True, svg('<rect width="64" height="64"/>')), "png": (False, png(40))}
    await guest.publish(application("svg"), application("png"))
    for name, asked, side in (("svg", 50, 50), ("svg", 4000, 1024), ("png", 20, 20), ("png", 128, 40)):
        answer = await host.ask("icon", name="demo", id=name, size=asked, scale=1)
        assert pixels(base64.b64decode(answer["content"]))[:2] == (side, side)


async def test_pictures_of_an_earlier_version_are_drawn_at_the_first_start(host: Host) -> None:
    guest = await host.registered()
    await guest.publish(application("svg"), application("png"), application("bad"))
    await host.until((host.root / "state/guestlink-host/applications/demo.json").exists)
    await host.until(lambda: len(host.launchers()) == 3)
    await guest.vanish()
    await host.stop()
    mark = chunk(b"tEXt", b"Guestlink-Container\0demo")
    old = {
        "scalable/apps/guestlink-demo-svg.svg": SVG + b"\n<!-- Guestlink-Container: demo -->\n",
        "scalable/apps/guestlink-demo-bad.svg": b"<svg>\n<!-- Guestlink-Container: demo -->\n",
        "48x48/apps/guestlink-demo-png.png": png(48)[:33] + mark + png(48)[33:],
    }
    theme = host.data / "icons/hicolor"
    for name, content in old.items():
        (theme / name).parent.mkdir(parents=True, exist_ok=True)
        (theme / name).write_bytes(content)
    await host.start()
    drawn = {f"{side}x{side}/apps/guestlink-demo-svg.png" for side in SIDES}
    await host.until(lambda: set(host.icons()) == drawn | {"48x48/apps/guestlink-demo-png.png"})
    await host.until(lambda: "Icon=application-x-exec" in host.launchers()["guestlink-demo-bad.desktop"])
    await host.until(lambda: b"Guestlink-Source" in (theme / "48x48/apps/guestlink-demo-png.png").read_bytes())


async def test_a_restart_or_a_registration_draws_nothing_again(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    guest = await host.registered()
    guest.icons = {"svg": (True, SVG), "png": (False, png(48)), "bad": (True, b"<svg")}
    applications = [application(name) for name in (*guest.icons, "none")]
    await guest.publish(*applications)
    await host.until(lambda: len(host.icons()) == len(SIDES) + 1)
    await host.until(lambda: "Icon=application-x-exec" in host.launchers()["guestlink-demo-bad.desktop"])
    drawn: list[ReceivedPicture] = []
    draw = Renderer.draw

    async def counted(self: Renderer, picture: ReceivedPicture, sides: tuple[int, ...]) -> object:
        drawn.append(picture)
        return await draw(self, picture, sides)

    monkeypatch.setattr(Renderer, "draw", counted)

    async def asked_again() -> None:
        guest.calls.clear()
        await guest.publish(*applications, application("last"))
        await host.until(lambda: "guestlink-demo-last.desktop" in host.launchers())
        await host.until(lambda: sum(name == "get_icon" for name, _ in guest.calls) >= 2)
        await host.until(lambda: "Icon=application-x-exec" in host.launchers()["guestlink-demo-last.desktop"])
        await guest.publish(*applications)
        await host.until(lambda: "guestlink-demo-last.desktop" not in host.launchers())

    await asked_again()
    assert drawn == []  # Not even the one that could not be drawn.
    await guest.vanish()
    await host.stop()
    await host.start()
    await guest.register()
    await asked_again()
    assert {picture.content for picture in drawn} == {b"<svg"}
    (host.data / "icons/hicolor/16x16/apps/guestlink-demo-svg.png").unlink()
    await asked_again()
    assert SVG in {picture.content for picture in drawn}


# -- real icons ----------------------------------------------------------------------------------------------------


def real_icons() -> list[Path]:
    """SVG icons of Debian packages."""
    found = sorted(Path("/usr/share/icons/hicolor/scalable/apps").glob("*.svg"))
    if len(found) < 4:
        absent("no SVG icons: apt install evince-common gnome-terminal-data tilix-common")
    return random.Random(1).sample(found, min(8, len(found)))


async def test_real_icons_look_as_librsvg_draws_them(renderer: Renderer) -> None:
    need("rsvg-convert", packages="librsvg2-bin")
    for path in real_icons():
        squares = await renderer.draw(ReceivedPicture(True, path.read_bytes()), (16, 48, 96))
        for square in squares:
            side = str(square.side)
            argv = ["rsvg-convert", "--keep-aspect-ratio", "--width", side, "--height", side, path]
            direct = subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout
            if pixels(direct)[:2] == (square.side, square.side):  # Else it is not square, and ours is centered.
                assert difference(encode(square), direct) < 2, f"{path} at {side}"


async def test_a_picture_that_is_no_square_keeps_its_proportions_in_the_middle(renderer: Renderer) -> None:
    wide = svg('<rect width="100" height="50" fill="#00f"/>', size='viewBox="0 0 100 50"')
    (square,) = await renderer.draw(ReceivedPicture(True, wide), (32,))
    width, _, found = pixels(encode(square))
    lines = [found[4 * width * y : 4 * width * (y + 1)] for y in range(32)]
    assert [line != bytes(4 * 32) for line in lines] == [False] * 8 + [True] * 16 + [False] * 8
    (square,) = await renderer.draw(ReceivedPicture(False, png(48, 24)), (24,))
    width, _, found = pixels(encode(square))
    assert found[: 4 * width * 6] == bytes(4 * width * 6)
    assert found[4 * width * 8 : 4 * width * 8 + 4] == b"\x40\x80\xc0\xff"


@pytest.mark.parametrize(
    "content",
    [
        svg('<text x="4" y="50" font-size="50">A</text>'),
        svg('<filter id="f"><feDiffuseLighting><fePointLight z="9"/></feDiffuseLighting></filter>'
            '<rect width="64" height="64" filter="url(#f)"/>'),
        image(data_uri(png(16))),
        gzip.compress(svg('<rect width="9" height="9"/>')),
        svg('<switch><foreignObject requiredExtensions="http://ns.adobe.com/AdobeIllustrator/10.0/"/>'
            '<rect width="64" height="64"/></switch>'),
        svg('<rect width="&side;" height="9"/>', '<!DOCTYPE svg [<!ENTITY side "9">]>'),
        svg("<script>alert(1)</script><rect width='9' height='9' onload='x()'/>"),
    ],
    ids=["text", "light", "picture", "SVGZ", "Illustrator", "entities", "script"],
)  # fmt: skip
async def test_confinement_costs_no_ordinary_svg_its_icon(renderer: Renderer, content: bytes) -> None:
    need("fc-list", packages="fontconfig fonts-dejavu-core")
    (square,) = await renderer.draw(ReceivedPicture(True, content), (64,))
    assert alpha_range(encode(square))[1] > 0


# -- PNGs that attack ----------------------------------------------------------------------------------------------


def header(width: int, height: int, depth: int = 8, color: int = 6) -> bytes:
    return SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))


IDAT, IEND = chunk(b"IDAT", zlib.compress(bytes(1 << 16))), chunk(b"IEND", b"")
TEXT_BOMB = zlib.compress(bytes(64 << 20), 9)
BAD_PNGS = {
    "empty": b"",
    "text": b"hello",
    "an SVG": SVG,
    "30000 x 30000 zeros": header(30_000, 30_000, color=0) + IDAT + IEND,
    "2^31 wide": header(2**31 - 1, 1) + IDAT + IEND,
    "negative": header(2**32 - 1, 2**32 - 1) + IDAT + IEND,
    "no pixels": header(0, 4) + IDAT + IEND,
    "header only": header(4, 4),
    "short header": SIGNATURE + chunk(b"IHDR", b"\0") + IDAT + IEND,
    "no header": SIGNATURE + IDAT + IEND,
    "odd depth": header(4, 4, depth=7) + IDAT + IEND,
    "odd color": header(4, 4, color=5) + IDAT + IEND,
    "palette missing": header(4, 4, color=3) + IDAT + IEND,
    "wrong checksum": png()[:40] + b"\xff" + png()[41:],
    "unknown chunk": png(extra=chunk(b"XXXX", b"")),
    "cut off": png(64)[:70],
    "endless chunk": header(4, 4) + struct.pack(">I4s", 2**31 - 1, b"IDAT"),
    "too long": png() + bytes(1 << 20),
}


@pytest.mark.parametrize("content", BAD_PNGS.values(), ids=BAD_PNGS.keys())
async def test_a_png_that_is_none_or_too_large_costs_its_icon(renderer: Renderer, content: bytes) -> None:
    with pytest.raises(BadPicture):
        await renderer.draw(ReceivedPicture(False, content), (48,))


@pytest.mark.parametrize(
    "content",
    [
        bomb(4096, 4096),
        bomb(4096, 4096, interlaced=True),
        png(extra=chunk(b"zTXt", b"x\0\0" + TEXT_BOMB)),
        png(extra=chunk(b"iTXt", b"x\0\1\0\0\0" + TEXT_BOMB)),
        png(extra=chunk(b"iCCP", b"x\0\0" + TEXT_BOMB)),
        png(extra=chunk(b"tEXt", b"x\0y") * 50_000),
        png(extra=chunk(b"acTL", struct.pack(">II", 2**31, 0)) + chunk(b"fcTL", bytes(26))),
    ],
    ids=["4096 x 4096", "interlaced", "zTXt", "iTXt", "iCCP", "many chunks", "APNG"],
)
async def test_a_png_bomb_uses_bounded_memory(renderer: Renderer, content: bytes) -> None:
    _, peak = await peak_of(renderer, content, is_svg=False)
    assert peak < 400 << 20


# -- SVGs that attack ----------------------------------------------------------------------------------------------


def nested_pictures(depth: int) -> bytes:
    """A picture in a picture in a picture."""
    return image(data_uri(nested_pictures(depth - 1), "svg+xml")) if depth else SVG


BLUR = (
    '<filter id="f{0}" x="-500" y="-500" width="1000" height="1000"><feGaussianBlur stdDeviation="99"/>'
    '<feTurbulence numOctaves="99"/><feMorphology radius="50"/></filter>'
    '<rect width="64" height="64" filter="url(#f{0})"/>'
)
NESTED = "".join(f'<g id="a{n}">' + f'<use xlink:href="#a{n - 1}"/>' * 10 + "</g>" for n in range(1, 13))
EXPENSIVE: dict[str, Callable[[], bytes]] = {
    "a PNG of 30000 x 30000": lambda: image(data_uri(bomb(30_000, 30_000))),
    "filters": lambda: svg("".join(BLUR.format(n) for n in range(60))),
    "nested use": lambda: svg(f'<defs><path id="a0" d="M0 0h9v9z"/>{NESTED}</defs><use xlink:href="#a12"/>'),
    "nested patterns": lambda: svg("".join(
        f'<pattern id="p{n}" width=".1" height=".1"><rect width="9" height="9" fill="url(#p{n - 1})"/></pattern>'
        for n in range(1, 20)) + '<rect width="64" height="64" fill="url(#p19)"/>'),
    "nested elements": lambda: svg("<g>" * 100_000 + "</g>" * 100_000),
    "nested pictures": lambda: nested_pictures(8),
    "gzip": lambda: gzip.compress(svg(" " * (200 << 20)), 1),
    "laughs": lambda: svg("<title>&i;</title>", '<!DOCTYPE svg [<!ENTITY a "ha">' + "".join(
        f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 20}">' for n in range(8)) + "]>"),
    "huge view box": lambda: svg('<rect width="1e30" height="1e30"/>', size='viewBox="0 0 1e30 1e-30"'),
    "huge size": lambda: svg('<rect width="9" height="9"/>', size='width="1e30" height="1e30"'),
    "many dashes": lambda: svg('<path d="M0 0H64" stroke="red" stroke-width="9" stroke-dasharray="1e-9"/>'),
    "huge text": lambda: svg('<text font-size="1e9">' + "A" * 100_000 + "</text>"),
}  # fmt: skip


@pytest.mark.parametrize("make", EXPENSIVE.values(), ids=EXPENSIVE.keys())
async def test_an_expensive_svg_ends_within_its_limits(make: Callable[[], bytes]) -> None:
    """Without limits they took 6 GB or 40 seconds in each panel. They end, and the next picture is drawn."""
    renderer = Renderer("demo", asyncio.Semaphore(1), hostile("cpu_limit=1"))
    content = make()
    assert len(content) <= 1 << 20
    _, peak = await peak_of(renderer, content, is_svg=True)
    assert peak < 400 << 20
    assert await renderer.draw(ReceivedPicture(True, SVG), (16,))
    await renderer.close()


class Web:
    """A web server and a file with a red picture; either may be the target of a reference."""

    def __init__(self, directory: Path) -> None:
        self.requests: list[str] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.requests.append(self.path)
                self.send_error(404)

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        self.file = directory / "red.svg"
        self.file.write_bytes(svg('<rect id="r" width="64" height="64" fill="#f00"/>'))
        self.css = directory / "red.css"
        self.css.write_text("rect { fill: #f00 }")
        self.dtd = directory / "red.dtd"
        self.dtd.write_text('<!ENTITY red "#f00">')
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    server = Web(tmp_path)
    yield server
    server.close()


REFERENCES = {
    "image": '<image width="64" height="64" xlink:href="{svg}"/>',
    "image without xlink": '<image width="64" height="64" href="{svg}"/>',
    "use": '<use xlink:href="{svg}#r"/>',
    "feImage": '<filter id="f"><feImage href="{svg}"/></filter><rect width="64" height="64" filter="url(#f)"/>',
    "paint": '<rect width="64" height="64" fill="url({svg}#r)"/>',
    "mask": '<rect width="64" height="64" mask="url({svg}#r)"/>',
    "import": "<style>@import url({css});</style>",
    "escaped import": r"<style>@\69mport '{css}';</style>",
    "escaped url": r'<rect width="64" height="64" style="fill: \75\72\6c({svg}#r)"/>',
    "image-set": '<rect width="64" height="64" style="fill: image-set(\'{svg}\' 1x)"/>',
    "font": "<style>@font-face {{ font-family: x; src: url({css}) }}</style><text font-family='x'>x</text>",
    "SMIL": '<image width="64" height="64"><set attributeName="href" to="{svg}"/></image>',
    "SMIL animation": '<image width="64" height="64"><animate attributeName="xlink:href" values="{svg}"/></image>',
    "XInclude": '<include xmlns="http://www.w3.org/2001/XInclude" href="{svg}"/>',
    "XInclude of text": '<text><include xmlns="http://www.w3.org/2001/XInclude" href="{css}" parse="text"/></text>',
    "picture in a picture": '<image width="64" height="64" xlink:href="{inner}"/>',
}
PROLOGS = {
    "style sheet": ('<?xml-stylesheet type="text/css" href="{css}"?>', "black"),
    "external entity": ('<!DOCTYPE svg [<!ENTITY red SYSTEM "{css}">]>', "&red;"),
    "external DTD": ('<!DOCTYPE svg SYSTEM "{dtd}">', "&red;"),
    "parameter entity": ('<!DOCTYPE svg [<!ENTITY % x SYSTEM "{dtd}"> %x;]>', "&red;"),
}


def referring(web: Web) -> Iterator[tuple[str, bytes]]:
    for place in (f"file://{web.file.parent}", str(web.file.parent), web.url):
        targets = {name: f"{place}/red.{name}" for name in ("svg", "css", "dtd")}
        inner = data_uri(image(targets["svg"]), "svg+xml")
        for name, text in REFERENCES.items():
            yield f"{name} of {place}", svg(text.format(**targets, inner=inner))
        for name, (prolog, fill) in PROLOGS.items():
            rectangle = f'<rect width="64" height="64" fill="{fill}"/>'
            yield f"{name} of {place}", svg(rectangle, prolog.format(**targets))


async def test_an_svg_reads_no_file_and_no_address(renderer: Renderer, web: Web) -> None:
    """Each reference leads to something red, on the disk and on the network."""
    for name, content in referring(web):
        try:
            (square,) = await renderer.draw(ReceivedPicture(True, content), (16,))
        except BadPicture:
            continue
        _, _, found = pixels(encode(square))
        red = [n for n in range(0, len(found), 4) if found[n] > 128 and found[n + 3] > 128]
        assert not red, name
    assert web.requests == []


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "webp", "tiff", "bmp", "svg+xml", "avif"])
async def test_damaged_pictures_in_data_uris_cost_an_icon_at_most(renderer: Renderer, kind: str) -> None:
    starts = {
        "png": header(30_000, 30_000), "jpeg": b"\xff\xd8\xff\xe0\x00\x10JFIF", "gif": b"GIF89a" + b"\xff" * 5,
        "webp": b"RIFF\xff\xff\xff\xffWEBPVP8L", "tiff": b"II*\0\x08\0\0\0\xff\xff", "bmp": b"BM" + b"\x7f" * 50,
        "svg+xml": b"<svg", "avif": b"\0\0\0\x20ftypavif",
    }  # fmt: skip
    noise = random.Random(kind)
    for _ in range(5):
        content = image(data_uri(starts[kind] + noise.randbytes(2000), kind))
        ok, peak = await peak_of(renderer, content, is_svg=True)
        assert ok in (True, False)
        assert peak < 400 << 20
    assert await renderer.draw(ReceivedPicture(True, SVG), (16,))


async def test_whatever_is_changed_in_a_picture_the_next_one_is_drawn(renderer: Renderer) -> None:
    change = random.Random(11)
    for number in range(60):
        is_svg = number % 2 == 0
        content = bytearray(svg("<path d='M0 0H64' stroke='red'/>") if is_svg else png(24))
        for _ in range(change.randrange(1, 6)):
            position = change.randrange(len(content))
            content[position : position + change.randrange(4)] = change.randbytes(change.randrange(4))
        try:
            (square,) = await renderer.draw(ReceivedPicture(is_svg, bytes(content)), (16,))
        except BadPicture:
            continue
        assert pixels(encode(square))[:2] == (16, 16)


# -- containers do not delay each other ----------------------------------------------------------------------------


@pytest.mark.parametrize(("slots", "attackers"), [(DRAWINGS_LIMIT, 3), (1, 1)], ids=["at once", "in turn"])
async def test_slow_pictures_of_containers_delay_no_other_container(
    monkeypatch: pytest.MonkeyPatch, slots: int, attackers: int
) -> None:
    """The others have pictures for minutes; also where no second picture may be drawn at the same time."""
    monkeypatch.setattr("guestlink_host.host_daemon.DRAWINGS_LIMIT", slots)
    monkeypatch.setattr(Renderer.__init__, "__defaults__", (hostile("cpu_limit=1"),))
    slow = EXPENSIVE["nested use"]()
    async with host_in_test(monkeypatch) as host:
        for number in range(attackers):
            guest = await host.registered(f"slow{number}")
            guest.icons = {f"a{n}": (True, slow + b" " * n) for n in range(100)}
            await guest.publish(*(application(name) for name in guest.icons))
        quick = await host.registered("quick")
        quick.icons = {"a": (True, SVG), "b": (True, SVG + b" ")}
        await quick.publish(application("a"), application("b"))
        await host.until(lambda: len([name for name in host.icons() if "-quick-" in name]) == 2 * len(SIDES))
        await host.until(lambda: len(host.launchers()) == 100 * attackers + 2)


async def test_a_container_whose_pictures_took_too_much_time_waits_and_its_launchers_stay_up_to_date(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guestlink_host.launchers.icon_updates.DRAWING_RESERVE", 1e-4)
    monkeypatch.setattr("guestlink_host.launchers.icon_updates.DRAWING_SHARE", 1e-9)
    guest = await host.registered()
    guest.icons = {f"a{n}": (False, png(48)) for n in range(3)}
    await guest.publish(*(application(name) for name in guest.icons))
    await host.until(lambda: len(host.icons()) == 1)  # The next one would be drawn after hours.
    await guest.publish(*(application(name) for name in guest.icons), application("later"))
    await host.until(lambda: "guestlink-demo-later.desktop" in host.launchers())
    assert len(host.icons()) == 1


# -- a renderer that was taken over --------------------------------------------------------------------------------


def hostile(words: str = "") -> tuple[str, ...]:
    roots = [str(CHECKOUT / "host"), str(CHECKOUT / "tests")]
    start = f"import sys; sys.path[:0] = {roots!r}\nfrom support.hostile_drawing import main; main({words})"
    return (sys.executable, "-I", "-S", "-c", start)


@pytest.fixture
async def taken() -> AsyncIterator[Renderer]:
    one = Renderer("demo", asyncio.Semaphore(1), hostile("cpu_limit=1"))
    yield one
    await one.close()


async def attack(renderer: Renderer, name: str, argument: object = "") -> str:
    with pytest.raises(BadPicture) as caught:
        await renderer.draw(ReceivedPicture(False, f"{name}:{argument}".encode()), (16,))
    # It has harmed nobody, so the next picture is drawn.
    assert await renderer.draw(ReceivedPicture(True, SVG), (16,))
    return str(caught.value)


async def test_it_reads_no_file_of_the_user(taken: Renderer, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    secret.chmod(0o644)
    for path in (secret, "/etc/passwd", "/proc/self/environ", f"/proc/{os.getpid()}/environ", "/dev/null"):
        assert (await attack(taken, "read", path)).startswith("attack failed")
    for path in (tmp_path, "/", "/proc"):
        assert (await attack(taken, "list", path)).startswith("attack failed")


async def test_it_reads_no_file_where_the_kernel_has_no_landlock(tmp_path: Path) -> None:
    renderer = Renderer("demo", asyncio.Semaphore(1), hostile("has_landlock=False"))
    (tmp_path / "secret").write_text("secret")
    for path in (tmp_path / "secret", "/usr/share/fonts"):
        assert await attack(renderer, "read", path) == "attack failed: ENOSYS"
    await renderer.close()


async def test_it_writes_and_removes_no_file(taken: Renderer, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept")
    for name, path in (
        ("write", tmp_path / "new"),
        ("write", "/tmp/guestlink-taken-over"),
        ("append", tmp_path / "kept"),
        ("truncate", tmp_path / "kept"),
        ("temporary", tmp_path),
        ("remove", tmp_path / "kept"),
    ):
        assert await attack(taken, name, path) == "attack failed: ENOSYS", name
    assert (tmp_path / "kept").read_text() == "kept"
    assert os.listdir(tmp_path) == ["kept"]


async def test_it_opens_no_socket(taken: Renderer, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        assert await attack(taken, "connect", tmp_path / "socket") == "attack failed: ENOSYS"
    assert (await attack(taken, "internet")).startswith("attack failed")


@pytest.mark.parametrize("name", ["fork", "program", "signal", "own signal", "code"])
async def test_it_starts_signals_and_becomes_no_other_program(taken: Renderer, name: str) -> None:
    assert (await attack(taken, name)).startswith("attack failed")


async def test_it_makes_no_system_call_that_reaches_beyond_it(taken: Renderer) -> None:
    assert await attack(taken, "system calls") == "attack ended: allowed: []"


async def test_it_has_one_descriptor_for_its_answer_and_one_that_leads_nowhere(taken: Renderer) -> None:
    assert await attack(taken, "descriptors") == "attack ended: 2 descriptors"


async def test_its_memory_threads_time_and_output_are_bounded(taken: Renderer) -> None:
    assert await attack(taken, "memory") == "it takes too much memory"
    assert await attack(taken, "threads") == "attack ended: fewer than 1000 threads"
    assert "processor time" in await attack(taken, "forever")
    assert "ended" in await attack(taken, "flood") or "failed" in await attack(taken, "flood")


async def test_it_cannot_wait_for_ever(taken: Renderer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ignores every signal, sleeps, and ends with its renderer all the same."""
    assert await taken.draw(ReceivedPicture(True, SVG), (16,))
    (process,) = renderers()
    monkeypatch.setattr(renderer_module, "TIME_LIMIT", 1.0)
    with pytest.raises(BadPicture, match="more than 1 seconds"):
        await taken.draw(ReceivedPicture(False, b"deaf:"), (16,))
    assert not process.is_running()
    assert renderers() == []
    monkeypatch.undo()
    assert await taken.draw(ReceivedPicture(True, SVG), (16,))


async def test_closing_does_not_wait_for_it(taken: Renderer) -> None:
    drawing = asyncio.ensure_future(taken.draw(ReceivedPicture(False, b"deaf:"), (16,)))
    while len(renderers()) < 2:
        await asyncio.sleep(0.01)
    await taken.close()
    with pytest.raises((BadPicture, RendererFailed)):
        await drawing
    assert renderers() == []
    with pytest.raises(RendererFailed):
        await taken.draw(ReceivedPicture(True, SVG), (16,))


def test_it_ends_with_its_daemon() -> None:
    """Also if the kernel kills the daemon, and a service manager would let children go on."""
    start = f"""
import asyncio, sys
sys.path[:0] = {[str(CHECKOUT / "host"), str(CHECKOUT / "lib")]!r}
from guestlink_host.border.pictures.draw_protocol import ReceivedPicture
from guestlink_host.border.pictures.renderer import Renderer
renderer = Renderer("demo", asyncio.Semaphore(1), {hostile()!r})
asyncio.run(renderer.draw(ReceivedPicture(False, b"deaf:"), (16,)))
"""
    with subprocess.Popen([sys.executable, "-c", start]) as daemon:
        processes = psutil.Process(daemon.pid)
        while len(children := processes.children(recursive=True)) < 2:
            time.sleep(0.01)
        daemon.kill()
    psutil.wait_procs(children, timeout=60)
    assert [process for process in children if process.is_running()] == []


@pytest.mark.parametrize("wrong", ["longer", "shorter", "none", "PNG"])
async def test_it_sends_no_other_squares_than_were_asked_for(taken: Renderer, wrong: str) -> None:
    async def drawn() -> list[bytes]:
        return [encode(square) for square in await taken.draw(asked, (16, 24))]

    asked = ReceivedPicture(False, f"squares:{wrong}".encode())
    with pytest.raises(BadPicture):
        await drawn()


async def test_it_sends_no_lines_that_no_decoder_knows(taken: Renderer) -> None:
    (square,) = await taken.draw(ReceivedPicture(False, b"squares:filter"), (16,))
    with pytest.raises(BadPicture):
        encode(square)


@pytest.mark.parametrize(
    "program",
    [
        "import os\nwhile True: os.write(1, bytes(1 << 16))",
        "import os\nwhile True: os.write(1, b'x' * (1 << 16))",
        "import os; os.write(1, b'\\0\\xff\\xff\\xff\\xff'); os.read(0, 1)",
        "import os; os.write(1, b'\\7\\0\\0\\0\\0')",
        "pass",
    ],
    ids=["zeros", "a flood", "4 GB announced", "an unknown answer", "nothing"],
)
async def test_the_daemon_reads_no_more_of_a_renderer_than_an_answer(program: str) -> None:
    renderer = Renderer("demo", asyncio.Semaphore(1), (sys.executable, "-I", "-S", "-c", program))
    before = psutil.Process().memory_info().rss
    with pytest.raises((RendererFailed, BadPicture)):
        await renderer.draw(ReceivedPicture(True, SVG), (16,))
    assert psutil.Process().memory_info().rss - before < 64 << 20
    assert renderers() == []


# -- a machine that cannot confine ---------------------------------------------------------------------------------


async def test_without_confinement_nothing_is_drawn_and_list_says_why(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    await host.stop()
    monkeypatch.setattr(Renderer.__init__, "__defaults__", (hostile("has_filter=False"),))
    await host.start()
    guest = await host.registered()
    guest.icons = {"a": (True, SVG), "b": (False, png())}
    await guest.publish(application("a"), application("b"))

    async def problem() -> str:
        return str((await host.entry())["problem"])

    assert await host.until(problem) == "icons cannot be drawn: libseccomp is missing"
    for name in ("a", "b"):
        file = f"guestlink-demo-{name}.desktop"
        await host.until(lambda file=file: "Icon=application-x-exec" in host.launchers().get(file, ""))
    assert host.icons() == []


async def test_without_the_libraries_a_picture_is_no_bad_picture() -> None:
    start = (
        f"import sys; sys.path[:0] = [{str(CHECKOUT / 'host')!r}]\n"
        "from guestlink_host.border.pictures import drawing, renderer_process\n"
        "def load(): raise drawing.LibrariesMissing('librsvg or cairo is missing')\n"
        "renderer_process.main(load)"
    )
    renderer = Renderer("demo", asyncio.Semaphore(1), (sys.executable, "-I", "-S", "-c", start))
    with pytest.raises(NoRenderer, match="librsvg"):
        await renderer.draw(ReceivedPicture(True, SVG), (16,))
    assert renderer.problem


async def test_an_idle_renderer_ends_and_the_next_picture_starts_another(
    renderer: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renderer_module, "IDLE_LIMIT", 0.01)
    assert await renderer.draw(ReceivedPicture(True, SVG), (16,))
    while renderers():
        await asyncio.sleep(0.01)
    assert await renderer.draw(ReceivedPicture(True, SVG), (16,))


async def test_a_renderer_that_was_killed_while_it_waited_costs_no_icon(renderer: Renderer) -> None:
    assert await renderer.draw(ReceivedPicture(True, SVG), (16,))
    (process,) = renderers()
    process.kill()
    while renderers():
        await asyncio.sleep(0.01)
    assert await renderer.draw(ReceivedPicture(True, SVG), (16,))
