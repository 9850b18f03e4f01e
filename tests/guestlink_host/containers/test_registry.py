"""The registry of containers: what survives a restart, and the consequences of a broken file."""

from __future__ import annotations

import errno
import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from guestlink.errors import GuestlinkError
from guestlink_host.border.url_policy import Share
from guestlink_host.containers.registry import CONTAINER_LIMIT, Containers


def registry(root: Path) -> Containers:
    return Containers(root / "state", root / "run")


def test_containers_survive_with_everything_that_was_set(tmp_path: Path) -> None:
    first = registry(tmp_path)
    container = first.add("demo", ip="10.0.0.2")
    first.prepare(container)
    first.change("demo", policies={"url": "ask"}, shares=(Share("/a", "/b"),))
    again = registry(tmp_path)["demo"]
    assert again == container._replace(policies={"url": "ask"}, shares=(Share("/a", "/b"),))
    assert uuid.UUID(again.token).version == 4
    assert (tmp_path / "run/containers/demo/token").read_text() == again.token
    assert (tmp_path / "run/tokens/demo").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "run/containers/demo").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "state/containers.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("number", "advice"), [(errno.ENOSPC, "make room there"), (errno.EROFS, "make its folder writable")]
)
def test_a_list_that_cannot_be_written_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    containers = registry(tmp_path)
    monkeypatch.setattr("guestlink_host.containers.registry.atomic_write", fails)
    with pytest.raises(GuestlinkError, match="cannot be written") as caught:
        containers.add("demo")
    assert caught.value.hint == f"{advice}; nothing was changed"
    assert not list(containers)


def test_a_token_file_is_written_in_place_because_it_may_be_bind_mounted(tmp_path: Path) -> None:
    containers = registry(tmp_path)
    containers.prepare(containers.add("demo"))
    inode = (tmp_path / "run/containers/demo/token").stat().st_ino
    token = containers.renew_token("demo").token
    assert (tmp_path / "run/containers/demo/token").read_text() == token
    assert (tmp_path / "run/containers/demo/token").stat().st_ino == inode


@pytest.mark.parametrize("name", ["tokens/demo", "containers/demo/token"])
def test_a_fifo_in_the_place_of_a_token_file_is_named_and_holds_nobody_up(tmp_path: Path, name: str) -> None:
    containers = registry(tmp_path)
    container = containers.add("demo")
    containers.prepare(container)
    (tmp_path / "run" / name).unlink()
    os.mkfifo(tmp_path / "run" / name)
    with pytest.raises(GuestlinkError, match="not a regular file"):
        containers.prepare(container)


@pytest.mark.parametrize(
    "make", [os.mkfifo, lambda path: path.write_bytes(b"\xff"), lambda path: path.symlink_to(path)]
)
def test_whatever_is_in_the_place_of_our_own_mark_the_directory_is_made_anew(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    containers = registry(tmp_path)
    container = containers.add("demo")
    assert containers.prepare(container)
    mark = tmp_path / "run/made/demo"
    mark.unlink()
    make(mark)
    assert containers.prepare(container)
    assert not containers.prepare(container)


def test_a_longer_token_file_is_cut(tmp_path: Path) -> None:
    containers = registry(tmp_path)
    container = containers.add("demo")
    containers.prepare(container)
    (tmp_path / "run/containers/demo/token").write_text(container.token + "x" * 1000)
    containers.prepare(container)
    assert (tmp_path / "run/containers/demo/token").read_text() == container.token


def test_a_hard_link_is_not_written_through(tmp_path: Path) -> None:
    containers = registry(tmp_path)
    container = containers.add("demo")
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "run/containers/demo").mkdir(parents=True)
    (tmp_path / "run/containers/demo/token").hardlink_to(victim)
    containers.prepare(container)
    assert victim.read_text() == "precious"
    assert (tmp_path / "run/containers/demo/token").read_text() == container.token


@pytest.mark.parametrize("name", ["", "a/b", "..", None])
def test_bad_names_are_not_added(tmp_path: Path, name: str) -> None:
    with pytest.raises(GuestlinkError):
        registry(tmp_path).add(name)
    assert not (tmp_path / "state").exists()


def test_a_name_that_is_taken_and_one_that_is_unknown(tmp_path: Path) -> None:
    containers = registry(tmp_path)
    containers.add("demo")
    with pytest.raises(GuestlinkError, match="already"):
        containers.add("demo")
    with pytest.raises(GuestlinkError) as caught:
        containers["other"]
    assert "guestlink-host attach other" in caught.value.hint
    assert "demo" in caught.value.hint


def test_there_is_a_limit(tmp_path: Path) -> None:
    containers = registry(tmp_path)
    path = tmp_path / "state/containers.json"
    containers.add("c")
    entry = json.loads(path.read_text())["containers"]["c"]
    many = {f"c{n}": entry for n in range(CONTAINER_LIMIT)}
    path.write_text(json.dumps({"version": 1, "containers": many}))
    with pytest.raises(GuestlinkError, match=str(CONTAINER_LIMIT)):
        registry(tmp_path).add("one-more")


def test_removing_takes_the_directory_along_but_follows_no_link(tmp_path: Path) -> None:
    containers = registry(tmp_path)
    containers.prepare(containers.add("demo"))
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").write_text("x")
    (tmp_path / "run/containers/demo/link").symlink_to(tmp_path / "precious")
    containers.remove("demo")
    assert not (tmp_path / "run/containers/demo").exists()
    assert (tmp_path / "precious/file").exists()
    assert list(registry(tmp_path)) == []


BROKEN = [
    "",
    "{",
    "[]",
    '{"containers": []}',
    '{"containers": {"a/b": {}}}',
    '{"containers": {"a": {}}}',
    '{"containers": {"a": {"token": "t", "url_policy": "sometimes"}}}',
    '{"containers": {"a": {"token": "t", "shares": 3}}}',
    "[" * 100_000,
    "\0",
]


@pytest.mark.parametrize("content", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_registry_is_named_and_kept(tmp_path: Path, content: str) -> None:
    path = tmp_path / "state/containers.json"
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(GuestlinkError) as caught:
        registry(tmp_path)
    assert str(path) in caught.value.message
    assert "move it away" in caught.value.hint
    assert path.read_text() == content
