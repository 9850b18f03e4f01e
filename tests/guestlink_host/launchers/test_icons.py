"""A container's icons: which the host accepts, where it writes them, and which it refuses."""

from __future__ import annotations

import struct
import zlib
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guestlink_host.launchers.icons import SIZE_LIMIT, BadPicture, check_picture, owner_of
from support.fake_garcon import SVG, chunk, png


@pytest.mark.parametrize(
    ("side", "directory"),
    [
        (48, "48x48"),
        (47, "48x48"),
        (1, "16x16"),
        *((size, f"{size}x{size}") for size in (16, 22, 24, 32, 36, 64, 72, 96, 128, 192, 256, 512)),
        (100, "96x96"),
        (600, "512x512"),
        (1024, "512x512"),
        (112, "128x128"),
    ],
)
def test_a_png_goes_where_themes_look_for_its_size(side: int, directory: str) -> None:
    picture = check_picture(png(side), is_svg=False, container="demo")
    assert (picture.directory, picture.suffix) == (f"{directory}/apps", ".png")
    assert owner_of(picture.content) == "demo"


@pytest.mark.parametrize("container", ["a", "ab", "a-b", "x" * 63, *(f"c{n}" for n in range(50))])
@pytest.mark.parametrize("is_svg", [False, True])
def test_the_mark_names_exactly_the_container(container: str, is_svg: bool) -> None:
    picture = check_picture(SVG if is_svg else png(), is_svg=is_svg, container=container)
    assert owner_of(picture.content) == container


def test_a_marked_png_is_a_png_with_the_same_pixels() -> None:
    original = png(48, 32)
    content = check_picture(original, is_svg=False, container="demo").content
    assert content.startswith(original[:33])
    assert original[33:] in content
    assert check_picture(content, is_svg=False, container="other").content != content


def test_what_a_picture_does_not_need_is_left_out() -> None:
    extra = chunk(b"iCCP", b"x" * 100) + chunk(b"tEXt", b"Comment\0hello") + chunk(b"eXIf", b"gps")
    assert check_picture(png(extra=extra), is_svg=False, container="a") == check_picture(
        png(), is_svg=False, container="a"
    )
    assert check_picture(png() + b"trailing", is_svg=False, container="a") == check_picture(
        png(), is_svg=False, container="a"
    )


def test_chunks_that_decide_the_colours_stay() -> None:
    kinds = (b"gAMA", b"sRGB", b"cHRM", b"sBIT", b"PLTE", b"tRNS")
    colours = b"".join(chunk(kind, b"\x10\x20\x30") for kind in kinds)
    assert colours in check_picture(png(extra=colours), is_svg=False, container="a").content


def test_a_side_has_at_most_1024_pixels() -> None:
    assert check_picture(png(1024, 1), is_svg=False, container="a").directory == "512x512/apps"
    with pytest.raises(BadPicture, match="1025 x 1 pixels"):
        check_picture(png(1025, 1), is_svg=False, container="a")


BAD_PNGS = {
    "empty": b"",
    "text": b"hello",
    "cut off": png()[:-5],
    "header only": png()[:33],
    "damaged": png().replace(b"IDAT", b"IDAU"),
    "wrong checksum": png()[:40] + b"\xff" + png()[41:],
    "bomb": b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 6, 0, 0, 0))
    + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b""),
    "no pixels": b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 0, 4, 8, 6, 0, 0, 0))
    + chunk(b"IDAT", b"") + chunk(b"IEND", b""),
    "unknown chunk": png(extra=chunk(b"XXXX", b"")),
    "two headers": png(extra=chunk(b"IHDR", b"\0" * 13)),
    "short header": b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", b"\0") + chunk(b"IDAT", b"") + chunk(b"IEND", b""),
    "too long": png() + b"\0" * SIZE_LIMIT,
    "an SVG": SVG,
}  # fmt: skip


@pytest.mark.parametrize("content", BAD_PNGS.values(), ids=BAD_PNGS.keys())
def test_other_pngs_are_refused(content: bytes) -> None:
    with pytest.raises(BadPicture):
        check_picture(content, is_svg=False, container="demo")


def svg(inside: str, before: str = "") -> bytes:
    return f'{before}<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">{inside}</svg>'.encode()


GOOD_SVGS = {
    "plain": SVG,
    "gradient": svg('<linearGradient id="a"/><rect fill="url(#a)"/><use xlink:href="#a"/>'),
    "picture inside": svg('<image xlink:href="data:image/png;base64,iVBORw0KGgo="/>'),
    "style": svg("<style>.a{fill:url(#a)}</style>"),
    "doctype": svg("", '<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/svg11.dtd">\n'),
    "comment of another": SVG + b"<!-- Guestlink-Container: other -->\n",
}


@pytest.mark.parametrize("content", GOOD_SVGS.values(), ids=GOOD_SVGS.keys())
def test_plain_svgs_pass_and_are_marked(content: bytes) -> None:
    picture = check_picture(content, is_svg=True, container="demo")
    assert (picture.directory, picture.suffix) == ("scalable/apps", ".svg")
    assert owner_of(picture.content) == "demo"
    assert check_picture(picture.content, is_svg=True, container="demo").directory == "scalable/apps"


ADOBE = (
    '<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://w3.org/1"[\n'
    '\t<!ENTITY ns_svg "http://www.w3.org/2000/svg"> <!-- ]> -->\n'
    '\t<!ENTITY ns_xlink "http://www.w3.org/1999/xlink">\n\t<!ENTITY st0 "fill:#FF0000;">\n'
    "\t<!ENTITY ns_ai 'http://ns.adobe.com/AdobeIllustrator/10.0/'>\n\t<!ENTITY odd '\"x>y'>\n]>\n"
    '<svg xmlns="&ns_svg;" xmlns:xlink="&ns_xlink;" xmlns:i="&ns_ai;"><title>&odd; &amp; &#65;</title>'
    '<path style="&st0;" d="M0 0"/><use xlink:href="#a"/></svg>'
)


def test_entities_of_drawing_programs_become_their_texts() -> None:
    picture = check_picture(ADOBE.encode(), is_svg=True, container="demo")
    text = picture.content.decode()
    assert (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:i="http://ns'
        in text
    )
    assert '<path style="fill:#FF0000;" d="M0 0"/>' in text
    assert "<title>&quot;x&gt;y &amp; &#65;</title>" in text
    assert "ENTITY" not in text
    assert ElementTree.fromstring(text)[0].text == '"x>y & A'


def declaring(declarations: str, inside: str) -> bytes:
    return svg(inside, f"<!DOCTYPE svg [{declarations}]>")


BAD_ENTITIES = {
    "laughs": declaring('<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;"><!ENTITY c "&b;&b;">', "<title>&c;</title>"),
    "hidden laughs": declaring('<!ENTITY a "ha"><!ENTITY b "&#38;a;&#38;a;">', "<title>&b;</title>"),
    "itself": declaring('<!ENTITY a "&a;">', "<title>&a;</title>"),
    "quadratic": declaring(f'<!ENTITY a "{"x" * 1000}">', "<title>" + "&a;" * 2000 + "</title>"),
    "long": declaring(f'<!ENTITY a "{"x" * 100_000}">', "<title>&a;</title>"),
    "many": declaring("".join(f'<!ENTITY a{n} "x">' for n in range(1000)), "<title>&a1;</title>"),
    "markup": declaring('<!ENTITY a "<script/>">', "<g>&a;</g>"),
    "hidden markup": declaring('<!ENTITY a "&#60;script/>">', "<g>&a;</g>"),
    "twice hidden markup": declaring('<!ENTITY a "&#38;#60;script/>">', "<g>&a;</g>"),
    "file": declaring('<!ENTITY a SYSTEM "file:///etc/passwd">', "<title>&a;</title>"),
    "unparsed": declaring('<!NOTATION n SYSTEM "x"><!ENTITY a SYSTEM "file:///x" NDATA n>', ""),
    "parameter": declaring('<!ENTITY % a "x"> %a;', ""),
    "parameter outside": declaring('<!ENTITY % a SYSTEM "http://evil.example/x.dtd"> %a;', ""),
    "reference": declaring('<!ENTITY a "https://evil.example/x.png">', '<image xlink:href="&a;"/>'),
    "style": declaring('<!ENTITY a "url(https://evil.example/x)">', '<rect fill="&a;"/>'),
    "style in a part": declaring('<!ENTITY a "u"><!ENTITY b "rl(file:///x)">', "<style>.a{fill:&a;&b;}</style>"),
    "unknown": declaring('<!ENTITY a "x">', "<title>&b;</title>"),
    "cut off": b'<!DOCTYPE svg [<!ENTITY a "x">',
    "no entity": b"<!ENTITY",
}


@pytest.mark.parametrize("content", BAD_ENTITIES.values(), ids=BAD_ENTITIES.keys())
def test_entities_that_multiply_or_reach_outside_are_refused(content: bytes) -> None:
    with pytest.raises(BadPicture):
        check_picture(content, is_svg=True, container="demo")


def test_defaults_of_attributes_do_not_reach_the_desktop() -> None:
    content = declaring('<!ENTITY a "x"><!ATTLIST rect onload CDATA "x()">', "<rect/>")
    assert b"onload" not in check_picture(content, is_svg=True, container="demo").content


BAD_SVGS = {
    "a PNG": png(),
    "HTML": b"<html/>",
    "script": svg("<script>alert(1)</script>"),
    "handler": svg('<rect onload="x()"/>'),
    "file": svg('<image xlink:href="file:///etc/passwd"/>'),
    "relative file": svg('<image href="secret.png"/>'),
    "net": svg('<image href="https://evil.example/x.png"/>'),
    "svg inside": svg('<image href="data:image/svg+xml;base64,eA=="/>'),
    "use": svg('<use xlink:href="other.svg#a"/>'),
    "style": svg("<style>@import url(https://evil.example/x.css);</style>"),
    "split style": svg("<style>.a{background:url(<!-- -->file:///x)}</style>"),
    "escaped style": svg(r"<style>.a{background:u\72l(https://evil.example/) url}</style>"),
    "attribute": svg('<rect fill="url(https://evil.example/#a)"/>'),
    "foreign": svg("<foreignObject><p/></foreignObject>"),
    "entities": svg("&b;", '<!DOCTYPE svg [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'),
    "outside entity": svg("&x;", '<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>'),
    "stylesheet": svg("", '<?xml-stylesheet href="https://evil.example/x.css"?>'),
    "deep": svg("<g>" * 100 + "</g>" * 100),
    "many": svg("<g/>" * 30_000),
    "broken": b"<svg xmlns='http://www.w3.org/2000/svg'>",
    "encoding": b"<?xml version='1.0' encoding='nonsense'?><svg/>",
    "another encoding": b"<?xml version='1.0' encoding='utf-7'?><svg xmlns='http://www.w3.org/2000/svg'/>",
    "gzip": b"\x1f\x8b\x08\x00",
}


@pytest.mark.parametrize("content", BAD_SVGS.values(), ids=BAD_SVGS.keys())
def test_svgs_that_reach_outside_are_refused(content: bytes) -> None:
    with pytest.raises(BadPicture):
        check_picture(content, is_svg=True, container="demo")


@pytest.mark.parametrize(
    "content", [b"", SVG, png(), b"<!-- Guestlink-Container: a", png(extra=chunk(b"tEXt", b"x"))]
)
def test_other_pictures_belong_to_nobody(content: bytes) -> None:
    assert owner_of(content) is None


@given(st.data())
@settings(max_examples=200)
def test_whatever_is_changed_it_is_a_picture_or_refused(data: st.DataObject) -> None:
    is_svg = data.draw(st.booleans())
    content = bytearray(SVG if is_svg else png(4))
    for _ in range(data.draw(st.integers(0, 4))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position : position + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    try:
        picture = check_picture(bytes(content), is_svg=is_svg, container="demo")
    except BadPicture:
        return
    assert owner_of(picture.content) == "demo"
