"""What garcon publishes, and what an id means (chromeos-garcon.md §3.3 to §3.9; F1 to F12, I1 to I9 of §9)."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garcon.desktop import app_scanner
from garcon.desktop.app_list import AppList, is_published, path_resolver
from garcon.desktop.app_scanner import AppScanner
from garcon.desktop.data_directories import data_directories
from garcon.desktop.desktop_entry import parse_desktop_entry
from garcon.desktop.id_lookup import find_desktop_file

BASE = "[Desktop Entry]\nType=Application\nName=N\nExec=prog\n"


@pytest.mark.parametrize(
    ("keys", "published"),
    [
        ("", True),
        ("Type=Link\n", False),
        ("Type=Directory\n", False),
        ("Hidden=true\n", False),
        ("Hidden=false\n", True),
        ("NoDisplay=true\n", False),
        ("NoDisplay=true\nMimeType=text/plain\n", True),
        ("NoDisplay=false\n", True),
        ("OnlyShowIn=KDE\n", False),
        ("OnlyShowIn=KDE;GNOME;\n", True),
        ("OnlyShowIn=gnome\n", False),
        ("NotShowIn=GNOME\n", False),
        ("NotShowIn=KDE\n", True),
        ("Terminal=true\n", True),
        ("Categories=Network\n", True),
        ("Categories=Qt;Settings\n", False),
    ],
)
def test_which_entries_are_published(keys: str, published: bool) -> None:
    """Cases F1 to F9 (chromeos-garcon.md §9.2)."""
    entry = parse_desktop_entry((BASE + keys).encode())
    assert is_published(entry, lambda _: True) is published


def test_an_entry_without_exec_is_not_published() -> None:
    """Case F4 (chromeos-garcon.md §9.2)."""
    assert not is_published(parse_desktop_entry(BASE.replace("Exec=prog\n", "").encode()), lambda _: True)


def test_try_exec_needs_the_owners_execute_bit(tmp_path: Path) -> None:
    """Case F10 (chromeos-garcon.md §9.2)."""
    for name, mode in (("plain", 0o644), ("owner", 0o500), ("group", 0o610)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    resolves = path_resolver(f"/nonexistent:{tmp_path}")
    assert [resolves(str(tmp_path / name)) for name in ("plain", "owner", "group")] == [False, True, False]
    assert [resolves(name) for name in ("plain", "owner", "missing", "a\0b")] == [False, True, False, False]
    assert resolves(f"{tmp_path.name}/x") is False
    assert [path_resolver(None)(name) for name in (str(tmp_path / "owner"), "owner")] == [True, False]


class Tree:
    """Data directories in a temporary directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environ = {"XDG_DATA_DIRS": f"{root}/d1:{root}/d2", "XDG_DATA_HOME": f"{root}/h", "PATH": "/bin"}
        self.scanner = AppScanner(self.environ)

    def add(self, path: str, text: str = BASE) -> Path:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        return target

    def scan(self) -> AppList:
        return self.scanner.scan()

    def ids(self) -> list[str]:
        return [application.desktop_file_id for application in self.scan().applications]

    def find(self, desktop_file_id: str) -> str | None:
        path = find_desktop_file(desktop_file_id, self.scanner.directories)
        return path.removeprefix(f"{self.root}/") if path else None


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_directories_are_searched_as_given_and_the_users_last() -> None:
    environ = {"XDG_DATA_DIRS": " /a :: /b/ :relative:/a", "XDG_DATA_HOME": "/h"}
    assert data_directories(environ) == ["/a", "/b", "/h"]
    for unset in ({}, {"XDG_DATA_DIRS": "", "XDG_DATA_HOME": ""}, {"XDG_DATA_HOME": "relative"}):
        found = data_directories({"HOME": "/u"} | unset)
        assert found == ["/usr/local/share", "/usr/share", "/u/.local/share"]


def test_the_first_valid_file_claims_the_id_before_the_filter(tree: Tree) -> None:
    """Case F11 (chromeos-garcon.md §9.2)."""
    tree.add("d1/applications/a.desktop", BASE + "Hidden=true\n")
    tree.add("d2/applications/a.desktop")
    assert tree.ids() == []


def test_an_invalid_file_claims_nothing(tree: Tree) -> None:
    """Case F12 (chromeos-garcon.md §9.2)."""
    tree.add("d1/applications/a.desktop", "[Desktop Entry]\nHidden=true\n")
    tree.add("d2/applications/a.desktop")
    assert tree.scan().paths == {"a": f"{tree.root}/d2/applications/a.desktop"}
    assert tree.ids() == ["a"]


def test_ids_are_relative_to_the_directory_that_was_scanned(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "applications" / "deep")
    tree.add("d1/applications/x/applications/y.desktop")
    assert tree.ids() == ["x-applications-y"]


def test_other_extensions_do_not_count(tree: Tree) -> None:
    """Case D8 (chromeos-garcon.md §9.1)."""
    tree.add("d1/applications/a.txt")
    tree.add("d1/applications/b.desktop.bak")
    tree.add("d1/applications/c.DESKTOP")
    assert tree.ids() == []


def test_odd_things_cost_only_themselves(tree: Tree, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    applications = tree.add("d1/applications/good.desktop").parent
    tree.add("d1/applications/broken.desktop", "nonsense")
    os.mkfifo(applications / "fifo.desktop")
    (applications / "dir.desktop").mkdir()
    (applications / "loop.desktop").symlink_to("loop.desktop")
    (applications / "gone.desktop").symlink_to("/nonexistent")
    (applications / "around").symlink_to(applications)
    os.symlink("/dev/zero", applications / "zero.desktop")
    (tree.root / "elsewhere").mkdir()
    (tree.root / "elsewhere" / "linked.desktop").write_text(BASE)
    (applications / "sub").symlink_to(tree.root / "elsewhere")
    with open(os.fsencode(applications) + b"/\xff.desktop", "w") as stream:
        stream.write(BASE)
    assert tree.ids() == ["good", "sub-linked"]
    assert "broken.desktop is not published: no [Desktop Entry] group" in caplog.text
    caplog.clear()
    assert tree.ids() == ["good", "sub-linked"]
    assert not caplog.text  # garcon logs this only once.


def test_a_directory_named_like_a_file_is_a_directory(tree: Tree) -> None:
    tree.add("d1/applications/a.desktop/b.desktop")
    assert tree.ids() == ["a.desktop-b"]


def test_a_file_that_becomes_readable_is_published(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tree.add("d1/applications/a.desktop")
    path.chmod(0)
    real_open = os.open

    def open_as_user(name: str, flags: int, *rest: int) -> int:
        """Like os.open, but without root's privileges."""
        if name == str(path) and not path.stat().st_mode & 0o400:
            raise PermissionError(errno.EACCES, "Permission denied", name)
        return real_open(name, flags, *rest)

    monkeypatch.setattr(os, "open", open_as_user)
    assert tree.ids() == []
    path.chmod(0o644)
    assert tree.ids() == ["a"]


def test_a_file_with_the_old_files_time_is_read_again(tree: Tree) -> None:
    path = tree.add("d1/applications/a.desktop")
    before = path.stat().st_mtime_ns
    tree.scan()
    path.write_text(BASE.replace("Name=N", "Name=M"))
    os.utime(path, ns=(before, before))
    assert tree.scan().applications[0].entry.name == "M"


def test_a_scan_ends_at_its_limits(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(6):
        tree.add(f"d1/applications/{number}.desktop")
    tree.add("d1/applications/" + "d/" * 40 + "deep.desktop")
    assert tree.ids() == [str(number) for number in range(6)]
    monkeypatch.setattr(app_scanner, "FILE_LIMIT", 4)
    assert len(tree.ids()) == len(tree.ids()) == 4
    assert caplog.text.count("more than 4 desktop files") == 1


def test_one_file_among_unchanged_ones_is_read(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        tree.add(f"d1/applications/{number}.desktop")
    tree.scan()
    read: list[str] = []
    real = app_scanner.read_desktop_file
    monkeypatch.setattr(app_scanner, "read_desktop_file", lambda path: read.append(path) or real(path))
    tree.scan()
    assert read == []
    path = tree.add("d1/applications/3.desktop", BASE + "Comment=C\n")
    assert tree.scan().applications[3].entry.comments == {"": "C"}
    assert read == [str(path)]


def test_changed_files_are_read_again_and_removed_ones_forgotten(tree: Tree) -> None:
    path = tree.add("d1/applications/a.desktop")
    assert tree.scan().applications[0].entry.name == "N"
    path.write_text(BASE.replace("Name=N", "Name=Other"))
    assert tree.scan().applications[0].entry.name == "Other"
    path.unlink()
    assert tree.ids() == []


@pytest.mark.parametrize(
    ("files", "desktop_file_id", "found"),
    [
        (["p-q"], "p-q", "p-q"),
        (["a/b-c"], "a-b-c", "a/b-c"),
        (["a-b/c"], "a-b-c", "a-b/c"),
        (["a-b/c-d"], "a-b-c-d", "a-b/c-d"),
        (["a/b-c/d-e"], "a-b-c-d-e", "a/b-c/d-e"),
        (["a/b/c", "a-b/c"], "a-b-c", "a/b/c"),
        (["a-b-c-d-e-f-g-h-i-j-k-l"], "a-b-c-d-e-f-g-h-i-j-k-l", "a-b-c-d-e-f-g-h-i-j-k-l"),
        (["a/b-c-d-e-f-g-h-i-j-k-l"], "a-b-c-d-e-f-g-h-i-j-k-l", None),
        ([], "x-y", None),
    ],
)
def test_an_id_names_a_file(tree: Tree, files: list[str], desktop_file_id: str, found: str | None) -> None:
    """Cases I1 to I9 (chromeos-garcon.md §9.3)."""
    for name in files:
        tree.add(f"d1/applications/{name}.desktop")
    expected = f"d1/applications/{found}.desktop" if found else None
    assert tree.find(desktop_file_id) == expected


def test_a_nested_file_in_a_later_directory_wins_on_disk(tree: Tree) -> None:
    """Case I7 (chromeos-garcon.md §9.3)."""
    tree.add("d1/applications/a-b.desktop")
    tree.add("d2/applications/a/b.desktop")
    assert tree.find("a-b") == "d2/applications/a/b.desktop"


@pytest.mark.parametrize(
    "bad", ["", "..", "../x", "a/../../x", "..-..-etc-x", "/etc/x", "a//b", "a\0b", "x" * 5000, "-x", "--x", ".-x"]
)
def test_ids_that_lead_out_of_the_directory_find_nothing(tree: Tree, bad: str) -> None:
    tree.add("x.desktop")
    tree.add("d1/x.desktop")
    tree.add("d1/applications/x.desktop")
    tree.add("d1/applications/etc/x.desktop")
    assert tree.find(bad) is None


@pytest.mark.parametrize("odd", ["-x", "a--b", "a-..-b", "a.-"])
def test_odd_names_are_found_as_they_are(tree: Tree, odd: str) -> None:
    tree.add("d1/applications/x.desktop")
    tree.add("d1/applications/a/b.desktop")
    tree.add(f"d1/applications/{odd}.desktop")
    assert tree.find(odd) == f"d1/applications/{odd}.desktop"


@given(st.text(max_size=60))
def test_no_id_leads_out_of_the_directory(tmp_path_factory: pytest.TempPathFactory, desktop_file_id: str) -> None:
    root = tmp_path_factory.getbasetemp() / "ids"
    path = find_desktop_file(desktop_file_id, [f"{root}/applications"])
    assert path is None or os.path.realpath(path).startswith(f"{root}/applications/")
