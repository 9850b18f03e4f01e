"""Icon look-up (chromeos-garcon.md §4; C1 to C17 of §9.5) and our extensions of the original."""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garcon.desktop.icon_lookup import IconLookup, desktop_icon_theme
from garcon.desktop.icon_theme import (
    BrokenTheme,
    IconDirectory,
    IconTheme,
    compatible_order,
    distance,
    fallback_order,
    inheritance,
    parse_index_theme,
    parse_specified_theme,
    specified_order,
    within_limit,
)
from garcon.desktop.pictures import SIZE_LIMIT, Icon, IconFormat, read_icon
from garcon.desktop.xpm import xpm_to_png
from support.fake_garcon import png
from support.needs import need
from support.privileges import unprivileged

PNG = b"\x89PNG\r\n\x1a\n" + b"picture"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'
XPM = b'/* XPM */\nstatic char *x[] = {\n"2 1 2 1",\n"a c #ff0000",\n". c None",\n"a."\n};\n'


def directory(
    name: str, size: int, scale: int = 1, kind: str = "Threshold", low: int = 0, high: int = 0
) -> IconDirectory:
    return IconDirectory(name, size, scale, kind, low or size, high or size)


WORKED = [
    directory("16", 16),
    directory("32", 32),
    directory("32@2", 32, 2),
    directory("64", 64),
    directory("scalable", 128, kind="Scalable", low=8, high=512),
    directory("256", 256, kind="Fixed"),
]


@pytest.mark.parametrize(
    ("size", "scale", "order"),
    [
        (64, 1, ["64", "32@2", "32", "scalable", "16", "256"]),
        (64, 2, ["scalable", "64", "32@2", "256", "32", "16"]),
        (32, 2, ["32@2", "64", "32", "scalable", "16", "256"]),
    ],
)
def test_the_worked_example(size: int, scale: int, order: list[str]) -> None:
    assert compatible_order(WORKED, size, scale) == order


def test_sizes_without_an_index() -> None:
    """Case C3 (chromeos-garcon.md §9.5)."""
    assert fallback_order(48) == [f"{n}x{n}/apps" for n in (48, 1024, 512, 256, 128, 96, 64, 32)]


def theme(*groups: str, listed: str = "") -> bytes:
    return f"[Icon Theme]\nName=T\nDirectories={listed}\n{''.join(groups)}".encode()


def test_the_index_alone_decides() -> None:
    """Case C4 (chromeos-garcon.md §9.5)."""
    parsed = parse_index_theme(theme("[48x48/apps]\nSize=48\n", listed="48x48/apps"))
    assert [entry.name for entry in parsed.directories] == ["48x48/apps"]


def test_an_unlisted_group_rejects_the_file() -> None:
    """Case C5 (chromeos-garcon.md §9.5)."""
    with pytest.raises(BrokenTheme, match="not listed"):
        parse_index_theme(theme("[48x48/apps]\nSize=48\n", listed="other"))


@pytest.mark.parametrize("content", [b"", b"[Icon Theme]\nName=T\n", b"nonsense", b"\xff\xfe"])
def test_an_index_without_directories_is_rejected(content: bytes) -> None:
    """Case C6 (chromeos-garcon.md §9.5)."""
    with pytest.raises(BrokenTheme):
        parse_index_theme(content)


def test_senseless_numbers_cost_only_their_directory() -> None:
    """Case C7 (chromeos-garcon.md §9.5)."""
    parsed = parse_index_theme(
        theme(
            "[a/apps]\nSize=48\nScale=50000\n",
            "[b/apps]\nSize=-234\n",
            "[c/apps]\nSize=96\n",
            listed="a/apps,b/apps,c/apps",
        )
    )
    assert [entry.name for entry in parsed.directories] == ["c/apps"]


def test_directories_outside_the_theme_are_not_searched() -> None:
    names = ["/x/apps", "a/../../apps", "../apps", "c..d/apps"]
    parsed = parse_index_theme(theme(*(f"[{name}]\nSize=48\n" for name in names), listed=",".join(names)))
    assert [entry.name for entry in parsed.directories] == ["c..d/apps"]


def test_numbers_have_up_to_four_digits() -> None:
    sizes = {"a/apps": 1024, "b/apps": 4095, "c/apps": 4096, "d/apps": 10000}
    groups = (f"[{name}]\nSize={size}\n" for name, size in sizes.items())
    parsed = parse_index_theme(theme(*groups, listed=",".join(sizes)))
    assert [(entry.name, entry.size) for entry in parsed.directories] == [("a/apps", 1024), ("b/apps", 4095)]


@pytest.mark.parametrize("parse", [parse_index_theme, parse_specified_theme])
def test_directories_of_a_scale_are_listed_on_their_own(parse: Callable[[bytes], IconTheme]) -> None:
    groups = "[a/apps]\nSize=48\n[b/apps]\nSize=48\nScale=2\n"
    parsed = parse(f"[Icon Theme]\nDirectories=a/apps\nScaledDirectories=b/apps\n{groups}".encode())
    assert [(entry.name, entry.scale) for entry in parsed.directories] == [("a/apps", 1), ("b/apps", 2)]


def test_only_space_around_names_is_dropped() -> None:
    parsed = parse_specified_theme(b"[Icon Theme]\n Inherits = NeXT , \t XX\r\n")
    assert parsed.inherits == ("NeXT", "XX")


def test_the_order_of_directories() -> None:
    """Cases C8 to C11 (chromeos-garcon.md §9.5)."""
    assert compatible_order([directory("48@2", 48, 2), directory("96", 96)], 96, 1) == ["96", "48@2"]
    assert compatible_order([directory("12", 12), directory("40", 40)], 24, 1) == ["40", "12"]
    assert compatible_order([directory("12", 12), directory("40", 40, kind="Fixed")], 24, 1) == ["12", "40"]
    three = [directory("12@2", 12, 2), directory("40", 40, kind="Scalable"), directory("24", 24, kind="Fixed")]
    assert compatible_order(three, 24, 1) == ["24", "12@2", "40"]


def test_the_distance_of_a_directory_from_a_size() -> None:
    """Case C12 (chromeos-garcon.md §9.5)."""
    entry = directory("48@2", 48, 2)
    assert [distance(entry, 48, 2), distance(entry, 96, 1), distance(entry, 48, 1)] == [0, 0, 100]


@pytest.mark.parametrize(
    ("entry", "wanted", "within"),
    [
        (directory("t", 48), 96, True),
        (directory("t", 48), 97, False),
        (directory("s", 48, kind="Scalable", low=48, high=96), 64, True),
        (directory("s", 48, kind="Scalable", low=48, high=96), 97, False),
        (directory("f", 48, kind="Fixed"), 48, True),
        (directory("f", 48, kind="Fixed"), 96, False),
    ],
)
def test_the_sizes_of_a_directory(entry: IconDirectory, wanted: int, within: bool) -> None:
    """Case C13 (chromeos-garcon.md §9.5)."""
    assert within_limit(entry, wanted, 1) is within


class Icons:
    """Icon directories in a temporary directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environ = {"XDG_DATA_DIRS": f"{root}/d1:{root}/d2", "XDG_DATA_HOME": f"{root}/h", "HOME": str(root)}

    def add(self, path: str, content: bytes = PNG) -> Path:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        return target

    def find(self, icon: str, size: int = 48, scale: int = 1, theme: str = "") -> Icon | None:
        return IconLookup(self.environ, theme).find(icon, size, scale)


@pytest.fixture
def icons(tmp_path: Path) -> Icons:
    return Icons(tmp_path)


def test_gnome_before_hicolor_in_every_directory(icons: Icons) -> None:
    """Case C1 (chromeos-garcon.md §9.5)."""
    order = [f"{root}/icons/{theme}" for theme in ("gnome", "hicolor") for root in ("d1", "d2", "h")]
    for number, place in reversed(list(enumerate(order))):
        icons.add(f"{place}/48x48/apps/x.png", PNG + str(number).encode())
        assert icons.find("x") == Icon(PNG + str(number).encode(), IconFormat.PNG)


@pytest.mark.parametrize("environ", [{}, {"XDG_DATA_DIRS": "", "XDG_DATA_HOME": ""}])
def test_without_variables_the_systems_directories_are_searched(environ: dict[str, str]) -> None:
    """Case C2 (chromeos-garcon.md §9.5)."""
    candidates = list(IconLookup({"HOME": "/u"} | environ)._candidates("x", 48, 1))
    roots = ("/usr/local/share", "/usr/share", "/u/.local/share")
    gnome = [candidates.index(f"{root}/icons/gnome/48x48/apps/x.png") for root in roots]
    assert gnome == sorted(gnome)
    assert all(any(path.startswith(f"{root}/icons/hicolor/") for path in candidates) for root in roots)


def test_every_place_and_format_is_searched(icons: Icons) -> None:
    """Case C14 (chromeos-garcon.md §9.5)."""
    icons.add("d1/icons/hicolor/32x32/apps/a.png")
    icons.add("d2/pixmaps/b.png")
    icons.add("d2/icons/hicolor/scalable/apps/c.svg", SVG)
    formats = [found.format if (found := icons.find(name)) else None for name in "abc"]
    assert formats == [IconFormat.PNG, IconFormat.PNG, IconFormat.SVG]


@pytest.mark.parametrize("icon", ["unknown", "", "/nonexistent.png", "../x", "a\0b", "/etc/passwd"])
def test_a_name_without_a_file_has_no_icon(icons: Icons, icon: str) -> None:
    """Case C15 (chromeos-garcon.md §9.5)."""
    assert icons.find(icon) is None


def test_a_name_that_leads_out_of_the_directories_finds_nothing(icons: Icons) -> None:
    icons.add("d1/x.png")
    icons.add("d1/pixmaps/x..y.png")
    assert icons.find("../x") is None
    assert icons.find("a/../../x") is None
    assert icons.find("x..y") is not None


def test_absolute_names_are_read_without_a_search(icons: Icons) -> None:
    """Case C16 (chromeos-garcon.md §9.5)."""
    assert icons.find(str(icons.add("x.png"))) == Icon(PNG, IconFormat.PNG)
    assert icons.find(str(icons.add("x.svg", SVG))) == Icon(SVG, IconFormat.SVG)


def test_large_files_are_left_out(icons: Icons) -> None:
    """Case C17 (chromeos-garcon.md §9.5)."""
    icons.add("d1/pixmaps/x.png", PNG.ljust(SIZE_LIMIT, b"x"))
    assert icons.find("x") is not None
    icons.add("d1/pixmaps/x.png", PNG.ljust(SIZE_LIMIT + 1, b"x"))
    assert icons.find("x") is None


# -- beyond the original -----------------------------------------------------------------------------------------


def test_a_name_with_a_suffix_is_taken_without(icons: Icons) -> None:
    icons.add("d1/icons/hicolor/48x48/apps/foo.png")
    assert icons.find("foo.png") is not None
    icons.add("d1/icons/hicolor/48x48/apps/foo.png.png", PNG + b"literal")
    assert icons.find("foo.png") == Icon(PNG + b"literal", IconFormat.PNG)  # the original's result comes first


def test_the_active_theme_and_what_it_inherits(icons: Icons) -> None:
    icons.add("d1/icons/Child/index.theme", theme("[48/apps]\nSize=48\n", listed="48/apps\nInherits=Parent,Child"))
    icons.add("d2/icons/Parent/index.theme", theme("[48/apps]\nSize=48\n", listed="48/apps\nInherits=Child"))
    icons.add("d2/icons/Parent/48/apps/x.svg", SVG)
    assert icons.find("x") is None
    assert icons.find("x", theme="Child") == Icon(SVG, IconFormat.SVG)
    icons.add(".config/gtk-3.0/settings.ini", b"[Settings]\ngtk-icon-theme-name=Child\n")
    assert icons.find("x") == Icon(SVG, IconFormat.SVG)


def test_in_the_specified_order_threshold_means_pixels() -> None:
    near, far = directory("47", 47), directory("40", 40)
    assert specified_order([far, near], 48, 1) == ["47", "40"]
    scaled, plain = directory("24@2", 24, 2), directory("48", 48)
    assert specified_order([plain, scaled], 24, 2) == ["24@2", "48"]
    # Outside its threshold a directory's distance is that of its size: 32 is 8 away from 24, although it serves 30.
    assert specified_order([directory("32", 32), directory("31", 31, kind="Fixed")], 24, 1) == ["31", "32"]
    assert specified_order([directory("20", 20), directory("21", 21, kind="Fixed")], 24, 1) == ["21", "20"]
    scalable = directory("s", 128, kind="Scalable", low=64, high=256)
    assert specified_order([scalable, directory("48", 48)], 256, 1) == ["s", "48"]
    assert specified_order([scalable, directory("48", 48)], 40, 1) == ["48", "s"]


def test_the_specification_knows_every_context_and_other_groups() -> None:
    content = theme(
        "[48/devices]\nSize=48\nContext=Devices\n",
        "[X-Extension]\nKey=1\n",
        "[bad/apps]\nSize=-1\n",
        listed=" 48/devices , bad/apps,/abs/apps,missing/apps,\nInherits= A ,,B",
    )
    with pytest.raises(BrokenTheme):
        parse_index_theme(content)
    parsed = parse_specified_theme(content)
    assert [entry.name for entry in parsed.directories] == ["48/devices"]
    assert parsed.inherits == ("A", "B")
    with pytest.raises(BrokenTheme):
        parse_specified_theme(b"[Other]\n")


def test_an_icon_of_another_context(icons: Icons) -> None:
    index = theme("[48/devices]\nSize=48\nContext=Devices\n", listed="48/devices")
    icons.add("d1/icons/hicolor/index.theme", index)
    icons.add("d1/icons/hicolor/48/devices/printer.png")
    assert icons.find("printer") == Icon(PNG, IconFormat.PNG)


def test_a_users_directories_follow_the_systems_index(icons: Icons) -> None:
    """Users have no index.theme in ~/.local/share/icons/hicolor."""
    icons.add("d1/icons/hicolor/index.theme", theme("[22x22/apps]\nSize=22\n", listed="22x22/apps"))
    icons.add("h/icons/hicolor/22x22/apps/x.png")
    assert icons.find("x") == Icon(PNG, IconFormat.PNG)


@pytest.mark.parametrize(
    "place",
    [
        ".icons/hicolor/48x48/apps/x.png",
        ".icons/x.png",
        "d1/icons/x.svg",
        "d2/icons/Adwaita/scalable/apps/x.svg",
        "d1/pixmaps/x.svg",
        "d2/pixmaps/x.svg",
    ],
)
def test_places_beyond_the_original(icons: Icons, place: str) -> None:
    icons.add(place, SVG if place.endswith("svg") else PNG)
    assert icons.find("x") is not None


@pytest.mark.parametrize("chosen", ["..", "../d1", "/", "a/b", "a\0b"])
def test_a_theme_cannot_lead_elsewhere(icons: Icons, chosen: str) -> None:
    icons.add("d1/48x48/apps/x.png")
    icons.add("d1/icons/a/b/48x48/apps/x.png")
    assert icons.find("x", theme=chosen) is None


def test_kdes_theme_where_gtk_names_none(icons: Icons) -> None:
    icons.add("d1/icons/Own/48x48/apps/x.png")
    icons.add(".config/kdeglobals", b"[General]\nTheme=Other\n[Icons]\nTheme = Own\n")
    assert icons.find("x") == Icon(PNG, IconFormat.PNG)
    icons.add(
        ".config/gtk-4.0/settings.ini", b"[Other]\ngtk-icon-theme-name=Own\n[Settings]\ngtk-icon-theme-name=Not\n"
    )
    assert desktop_icon_theme(icons.environ) == "Not"


def test_a_changed_index_is_read_again(icons: Icons) -> None:
    index = icons.add("d1/icons/hicolor/index.theme", theme("[a/apps]\nSize=48\n", listed="a/apps"))
    icons.add("d1/icons/hicolor/bb/apps/x.png")
    lookup = IconLookup(icons.environ)
    assert lookup.find("x", 48, 1) is None
    index.write_bytes(theme("[bb/apps]\nSize=48\n", listed="bb/apps"))
    assert lookup.find("x", 48, 1) is not None
    index.unlink()
    assert lookup.find("x", 48, 1) is None


def test_inheritance_ends_and_hicolor_is_last() -> None:
    parents = {"a": ("b", "hicolor", "../d", "..", ""), "b": ("a", "c")}
    assert inheritance(["a"], lambda name: parents.get(name, ())) == ["a", "b", "c", "hicolor"]
    endless = inheritance(["0"], lambda name: (str(int(name) + 1),))
    assert len(endless) < 100


@pytest.mark.parametrize("name", ["x.PNG", "x", "x.svg", "x.1.2", "x.jpg", "x.png"])
def test_the_content_says_what_a_picture_is(icons: Icons, name: str) -> None:
    path = icons.add(name)
    assert icons.find(str(path)) == Icon(PNG, IconFormat.PNG)
    for svg in (SVG, b'<?xml version="1.0"?><svg:svg xmlns:svg="http://www.w3.org/2000/svg"/>', gzip.compress(SVG)):
        path.write_bytes(svg)
        found = icons.find(str(path))
        assert found is not None
        assert found.format is IconFormat.SVG
    path.write_bytes(XPM)
    assert icons.find(str(path)) == Icon(xpm_to_png(XPM) or b"", IconFormat.PNG)
    path.write_bytes(b"<svgfoo>")
    assert icons.find(str(path)) is None


def ico(*frames: bytes) -> bytes:
    """An ICO file that contains these pictures."""
    position, entries = 6 + 16 * len(frames), b""
    for frame in frames:
        entries += struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, len(frame), position)
        position += len(frame)
    return struct.pack("<HHH", 0, 1, len(frames)) + entries + b"".join(frames)


def test_an_ico_gives_its_largest_picture(icons: Icons) -> None:
    path = icons.add("x.ico", ico(png(16), png(64), png(32), png(2048, 1)))
    assert icons.find(str(path)) == Icon(png(64), IconFormat.PNG)
    for broken in (b"\0\0\1\0", b"\0\0\1\0\xff\xff", ico(png(16))[:30], b"\0\0\1\0\2\0" + b"\xff" * 40):
        path.write_bytes(broken)
        assert icons.find(str(path)) is None


def bitmap(side: int) -> bytes:
    """A BMP file."""
    rows = b"\x10\x20\x30" * side * side
    header = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, 0, len(rows), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(rows), 0, 0, 54) + header + rows


@pytest.mark.parametrize("content", [bitmap(20), png(2000, 1000)], ids=["other", "large"])
def test_other_and_large_pictures_are_converted_by_gdk_pixbuf(icons: Icons, content: bytes) -> None:
    need("gdk-pixbuf-thumbnailer", packages="libgdk-pixbuf2.0-bin")
    path = str(icons.add("x.picture", content))
    found = [icons.find(path, size) for size in (48, 128)]
    assert [icon and max(struct.unpack_from(">II", icon.content, 16)) for icon in found] == [48, 128]


def test_without_gdk_pixbuf_a_large_picture_stays_and_others_are_none(
    icons: Icons, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert icons.find(str(icons.add("a", png(1500)))) == Icon(png(1500), IconFormat.PNG)
    assert icons.find(str(icons.add("b", bitmap(24)))) is None


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "packed"])
def test_a_large_svg_is_drawn_by_gdk_pixbuf(icons: Icons, pack: Callable[[bytes], bytes]) -> None:
    """The host takes no picture of more than 1 MiB, and some applications' drawings are larger."""
    need("gdk-pixbuf-thumbnailer", packages="libgdk-pixbuf2.0-bin librsvg2-common")
    drawing = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><!-- %s --><rect width="9"/></svg>'
    path = str(icons.add("x.svg", pack(drawing % (b"x" * SIZE_LIMIT))))
    found = icons.find(path, 48)
    assert found is not None
    assert found.format is IconFormat.PNG
    assert struct.unpack_from(">II", found.content, 16) == (48, 48)


def test_svgz_is_unpacked_within_bounds(icons: Icons) -> None:
    icons.add("d1/pixmaps/x.svgz", gzip.compress(SVG))
    assert icons.find("x") == Icon(SVG, IconFormat.SVG)
    icons.add("d1/pixmaps/bomb.svgz", gzip.compress(SVG + b" " * 50_000_000))
    assert icons.find("bomb") is None
    icons.add("d1/pixmaps/cut.svgz", gzip.compress(SVG)[:5] + b"garbage")
    assert icons.find("cut") is None


def test_xpm_becomes_png(icons: Icons) -> None:
    icons.add("d1/pixmaps/x.xpm", XPM)
    found = icons.find("x")
    assert found is not None
    assert struct.unpack_from(">II", found.content, 16) == (2, 1)
    data = found.content[found.content.index(b"IDAT") + 4 : found.content.index(b"IEND") - 8]
    assert zlib.decompress(data) == b"\0\xff\0\0\xff\0\0\0\0"


@pytest.mark.parametrize("piece", [b"/* ", b"/*", b'"\\', b'\\"', b'"a\\', b'"" '])
def test_no_xpm_takes_longer_than_its_length(piece: bytes) -> None:
    for start in (b"/* XPM */", b'/* XPM */"'):
        assert xpm_to_png((start + piece * SIZE_LIMIT)[:SIZE_LIMIT]) is None


def test_an_index_has_a_sensible_number_of_groups() -> None:
    for parse in (parse_index_theme, parse_specified_theme):
        with pytest.raises(BrokenTheme, match="groups"):
            parse(b"[Icon Theme]\nDirectories=a\n" + b"[a]\nSize=48\n" * 20_000)


def test_comments_in_an_xpm_are_no_strings() -> None:
    odd = XPM.replace(b"static", b'/* by "somebody" */ static').replace(b"a.", b"/*").replace(b'"a c', b'"/ c')
    odd = odd.replace(b'". c', b'"* c')
    assert xpm_to_png(odd) == xpm_to_png(XPM) is not None


@pytest.mark.parametrize(
    "content",
    [b"", b"XPM", XPM.replace(b"2 1 2 1", b"9999 9999 2 1"), XPM.replace(b'"a."', b'"zz"'), XPM[:60]],
)
def test_odd_xpm_files_are_refused(content: bytes) -> None:
    assert xpm_to_png(content) is None


def test_an_unreadable_file_is_no_icon(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(PNG)
    path.chmod(0)
    with unprivileged():
        assert read_icon(str(path)) is None


def test_odd_files_are_no_icons(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "dir.png").mkdir()
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "text.svg").write_text("no picture")
    os.symlink("/dev/zero", tmp_path / "zero.png")
    for name in ("fifo.png", "dir.png", "text.png", "text.svg", "zero.png", "missing.png"):
        assert read_icon(str(tmp_path / name)) is None, name


@given(st.binary(max_size=300))
def test_any_bytes_are_a_theme_or_one_error(content: bytes) -> None:
    for candidate in (content, b"[Icon Theme]\nDirectories=a/apps\n[a/apps]\n" + content):
        try:
            parse_index_theme(candidate)
        except BrokenTheme:
            pass
    xpm_to_png(b"/* XPM */" + content)
    xpm_to_png(XPM[:30] + content)
