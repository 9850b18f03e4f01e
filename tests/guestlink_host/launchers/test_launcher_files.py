"""Files in the user's directories: guestlink-host changes only its own, and never leaves a partly written file."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from guestlink_host.border.pictures.png import Square
from guestlink_host.launchers import launcher_files
from guestlink_host.launchers.applications import read_applications
from guestlink_host.launchers.icons import IconFile, icon_files
from guestlink_host.launchers.launcher_files import DiskProblem, LauncherFiles, Stopped
from guestlink_host.launchers.launcher_plan import plan
from support.fake_garcon import SVG, application, chunk, png
from support.host import fill_disk


def launchers(*names: str, container: str = "demo") -> dict[str, bytes]:
    applications, _ = read_applications([application(name) for name in names])
    return plan(container, applications.values(), ["/usr/bin/guestlink-host"])


def icon(*sides: int, container: str = "demo", source: str = "x") -> list[IconFile]:
    squares = [Square(side, 6, (b"\0" + b"\x40\x80\xc0\xff" * side) * side) for side in sides or (48,)]
    return icon_files(squares, container, source)


def everything(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_files_follow_the_list(tmp_path: Path) -> None:
    files = LauncherFiles("demo", tmp_path)
    files.scan()
    assert files.write_launchers(launchers("a", "b")) == (2, 0)
    assert files.write_icon("guestlink-demo-a", icon(48, 128)) == 2
    assert files.write_icon("guestlink-demo-b", []) == 0
    assert files.write_launchers(launchers("a", "b")) == (0, 0)
    assert files.write_icon("guestlink-demo-a", icon(48, source="y")) == 2
    assert set(everything(tmp_path)) == {
        "applications/guestlink-demo-a.desktop",
        "applications/guestlink-demo-b.desktop",
        "icons/hicolor/48x48/apps/guestlink-demo-a.png",
    }
    assert files.write_launchers(launchers("b", "c")) == (1, 1)
    assert set(everything(tmp_path)) == {
        "applications/guestlink-demo-b.desktop",
        "applications/guestlink-demo-c.desktop",
    }
    files.remove_all()
    assert everything(tmp_path) == {}


def old_icon(content: bytes, container: str = "demo") -> bytes:
    """An icon as an earlier version stored it: the container's picture with a mark."""
    if content == SVG:
        return content + f"\n<!-- Guestlink-Container: {container} -->\n".encode()
    return content[:33] + chunk(b"tEXt", b"Guestlink-Container\0" + container.encode()) + content[33:]


def test_icons_that_the_container_encoded_are_found_and_replaced(tmp_path: Path) -> None:
    theme = tmp_path / "icons/hicolor"
    contents = {
        "scalable/apps/guestlink-demo-a.svg": old_icon(SVG),
        "48x48/apps/guestlink-demo-a.png": old_icon(png(48)),
        "48x48/apps/guestlink-demo-b.png": icon(48)[0].content,
        "scalable/apps/guestlink-demo-c.svg": old_icon(SVG, "other"),
    }
    for name, content in contents.items():
        (theme / name).parent.mkdir(parents=True, exist_ok=True)
        (theme / name).write_bytes(content)
    files = LauncherFiles("demo", tmp_path)
    files.scan()
    old = files.old_icons()
    assert list(old) == ["guestlink-demo-a"]
    assert {(picture.is_svg, picture.content) for picture in old["guestlink-demo-a"]} == {
        (True, old_icon(SVG)),
        (False, old_icon(png(48))),
    }
    files.write_icon("guestlink-demo-a", icon(16))
    assert set(everything(theme)) == {
        "16x16/apps/guestlink-demo-a.png",
        "48x48/apps/guestlink-demo-b.png",
        "scalable/apps/guestlink-demo-c.svg",
    }
    files.scan()
    assert not files.old_icons()


def test_an_icon_is_there_if_all_its_files_are(tmp_path: Path) -> None:
    files = LauncherFiles("demo", tmp_path)
    files.write_icon("guestlink-demo-a", icon(48, 128, source="x"))
    assert files.has_icon("guestlink-demo-a", "x")
    assert not files.has_icon("guestlink-demo-a", "y")
    assert not files.has_icon("guestlink-demo-b", "x")
    later = LauncherFiles("demo", tmp_path)
    later.scan()
    assert later.has_icon("guestlink-demo-a", "x")
    (tmp_path / "icons/hicolor/48x48/apps/guestlink-demo-a.png").unlink()
    assert not files.has_icon("guestlink-demo-a", "x")
    later.scan()
    assert not later.has_icon("guestlink-demo-a", "x")


def test_a_later_run_knows_the_files_of_an_earlier_one(tmp_path: Path) -> None:
    first = LauncherFiles("demo", tmp_path)
    first.write_launchers(launchers("a", "b"))
    first.write_icon("guestlink-demo-a", icon())
    first.write_icon("guestlink-demo-b", icon())
    second = LauncherFiles("demo", tmp_path)
    second.scan()
    assert set(second.icon_stems()) == {"guestlink-demo-a", "guestlink-demo-b"}
    assert second.write_launchers(launchers("b")) == (0, 1)
    assert set(everything(tmp_path)) == {
        "applications/guestlink-demo-b.desktop",
        "icons/hicolor/48x48/apps/guestlink-demo-b.png",
    }


def foreign_files(root: Path) -> dict[str, bytes]:
    """Files of other programs, most of them with names that guestlink-host could use."""
    contents = {
        "applications/firefox.desktop": b"[Desktop Entry]\nName=mine\n",
        "applications/guestlink-demo-a.desktop": b"[Desktop Entry]\nName=mine\n",
        "applications/guestlink-demo-kept.desktop": b"[Desktop Entry]\nX-Guestlink-Container=other\n",
        "applications/guestlink-demo-binary.desktop": b"\xff\xfe\0",
        "icons/hicolor/48x48/apps/guestlink-demo-a.png": png(),
        "icons/hicolor/48x48/apps/guestlink-demo-gone.png": icon(container="other")[0].content,
        "icons/hicolor/48x48/apps/mine.png": b"x",
    }
    for name, content in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return contents


def test_files_that_are_not_ours_are_never_touched(tmp_path: Path) -> None:
    foreign = foreign_files(tmp_path)
    files = LauncherFiles("demo", tmp_path)
    files.scan()
    files.write_launchers(launchers("a", "b"))
    files.write_icon("guestlink-demo-a", icon(48, 128))
    assert {name: content for name, content in everything(tmp_path).items() if name in foreign} == foreign
    files.write_launchers({})
    files.remove_all()
    assert everything(tmp_path) == foreign


def test_links_are_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(next(iter(launchers("a").values())))
    before = victim.read_bytes()
    (tmp_path / "applications").mkdir()
    (tmp_path / "applications/guestlink-demo-a.desktop").symlink_to(victim)
    (tmp_path / "applications/guestlink-demo-b.desktop").symlink_to("/nonexistent")
    os.mkfifo(tmp_path / "applications/guestlink-demo-c.desktop")
    (tmp_path / "applications/guestlink-demo-d.desktop").mkdir()
    (tmp_path / "applications/.guestlink-demo-e.desktop.new").symlink_to(victim)
    (tmp_path / "applications/.guestlink-demo-x.desktop.new").mkdir()
    files = LauncherFiles("demo", tmp_path)
    assert files.write_launchers(launchers("a", "b", "c", "d", "e")) == (1, 0)
    files.scan()
    files.remove_all()
    assert victim.read_bytes() == before
    assert len(list((tmp_path / "applications").iterdir())) == 5


def test_links_to_themselves_in_the_place_of_directories_are_disk_problems(tmp_path: Path) -> None:
    for name in ("applications", "icons"):
        (tmp_path / name).symlink_to(name)
    files = LauncherFiles("demo", tmp_path)
    files.scan()
    with pytest.raises(DiskProblem, match="cannot be written"):
        files.write_launchers(launchers("a"))
    with pytest.raises(DiskProblem, match="cannot be written"):
        files.write_icon("guestlink-demo-a", icon())


def test_containers_whose_names_begin_alike_keep_their_files(tmp_path: Path) -> None:
    one, two = LauncherFiles("a", tmp_path), LauncherFiles("a-b", tmp_path)
    one.write_launchers(launchers("b-c", "c", container="a"))
    two.write_launchers(launchers("c", container="a-b"))
    one.write_icon("guestlink-a-c", icon(container="a"))
    one.remove_all()
    assert [name for name in everything(tmp_path) if name.startswith("applications/guestlink-a-b-c_")]
    assert len(everything(tmp_path)) == 1


def test_what_a_killed_daemon_left_is_cleared_and_completed(tmp_path: Path) -> None:
    directory = tmp_path / "applications"
    directory.mkdir()
    (directory / ".guestlink-demo-a.desktop.new").write_text("[Desk")
    (directory / ".guestlink-other-a.desktop.new").write_text("[Desk")
    (directory / "guestlink-demo-b.desktop").write_text("")  # a power cut came before the content
    (directory / "guestlink-demo-old.desktop").write_text("")
    files = LauncherFiles("demo", tmp_path)
    files.scan()
    files.write_launchers(launchers("a", "b"))
    assert set(everything(tmp_path)) == {
        "applications/.guestlink-other-a.desktop.new",
        "applications/guestlink-demo-a.desktop",
        "applications/guestlink-demo-b.desktop",
    }
    assert (directory / "guestlink-demo-b.desktop").read_bytes() == launchers("b")["guestlink-demo-b.desktop"]


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "applications").write_text("a file where a directory should be")
    with pytest.raises(DiskProblem) as caught:
        LauncherFiles("demo", tmp_path).write_launchers(launchers("a"))
    assert "demo" in caught.value.message
    assert str(tmp_path / "applications") in caught.value.hint


def test_icons_have_a_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher_files, "ICON_QUOTA", 3 * 4096)  # Each file takes a block of the disk.
    files = LauncherFiles("demo", tmp_path)
    for n in range(10):
        files.write_icon(f"guestlink-demo-{n}", icon())
    assert len(everything(tmp_path)) == 3
    files.write_icon("guestlink-demo-0", [])
    files.write_icon("guestlink-demo-9", icon())
    assert len(everything(tmp_path)) == 3


def test_stopping_ends_the_work_between_two_files(tmp_path: Path) -> None:
    files = LauncherFiles("demo", tmp_path)
    files.stop()
    with pytest.raises(Stopped):
        files.write_launchers(launchers("a"))
    assert everything(tmp_path) == {}


def test_a_file_that_is_being_written_is_there_before_stopping_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a launcher could appear after ``remove`` has removed the others."""
    files = LauncherFiles("demo", tmp_path)
    replace, begun, allowed = os.replace, threading.Event(), threading.Event()

    def slow(source: Path, target: Path) -> None:
        begun.set()
        assert allowed.wait(60)
        replace(source, target)

    monkeypatch.setattr(os, "replace", slow)
    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(files.write_launchers, launchers("a", "b"))
        assert begun.wait(60)
        stopping = pool.submit(files.stop)
        assert not stopping.done()
        allowed.set()
        stopping.result(60)
        there = everything(tmp_path)
        # Which thread gets the lock first after the first file is a matter of chance.
        assert isinstance(writing.exception(60), Stopped | None)
    assert there
    assert everything(tmp_path) == there
    with pytest.raises(Stopped):
        files.write_launchers(launchers("c"))
    assert everything(tmp_path) == there


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    if os.getuid() != 0:
        pytest.skip("only root can mount a small file system")
    directory = tmp_path / "small"
    directory.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k,nr_inodes=500", "none", str(directory)],
        check=False,
        capture_output=True,
    )
    if done.returncode != 0:
        pytest.skip("this machine does not let us mount")
    yield directory
    subprocess.run(["umount", str(directory)], check=True)


def test_on_a_full_disk_nothing_is_lost_or_half_written_and_it_goes_on_later(small_disk: Path) -> None:
    files = LauncherFiles("demo", small_disk)
    old = launchers("a", "b")
    files.write_launchers(old)
    ballast = small_disk / "ballast"
    fill_disk(ballast)
    wanted = launchers("a", "b", *(f"new-{n}" for n in range(20)))
    with pytest.raises(DiskProblem) as caught:
        files.write_launchers(wanted)
    assert "no space left" in caught.value.message
    assert "make room" in caught.value.hint
    present = everything(small_disk / "applications")
    assert {name: present[name] for name in old} == old
    assert all(content == wanted[name] for name, content in present.items())
    with pytest.raises(DiskProblem):
        files.write_icon("guestlink-demo-a", icon(128))
    assert not list(small_disk.rglob(".*"))
    ballast.unlink()
    files.write_launchers(wanted)
    files.write_icon("guestlink-demo-a", icon(128))
    assert everything(small_disk / "applications") == wanted
