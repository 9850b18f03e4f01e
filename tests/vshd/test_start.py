"""What a program finds when it starts, the same on a terminal (spawned) and on pipes (forked)."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from guestlink.vsh import Setup
from support.stage import LIMIT
from support.vsh_peer import Vshd

SHOW = """
stat=$(cat /proc/$$/stat); set -- ${stat##*)}
echo $$ $3 $4 $6
umask
ulimit -n
pwd
exec ls /proc/self/fd
"""


@pytest.fixture(scope="module")
def vshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vshd]:
    """A vshd with a file mode mask and a descriptor of its own, which no program may inherit."""
    mask = os.umask(0o077)
    with open(os.devnull) as file:
        server = Vshd(tmp_path_factory.mktemp("vshd"), inherited=[file.fileno()])
    os.umask(mask)
    yield server
    server.close()


def _run(vshd: Vshd, script: str, *, nopty: bool) -> list[str]:
    with vshd.peer() as peer:
        peer.begin(Setup("test", argv=(b"sh", b"-c", script.encode()), nopty=nopty, rows=24, cols=80))
        assert peer.finish().code == 0
        return peer.out.decode().split()


@pytest.mark.parametrize("nopty", [True, False])
def test_a_program_leads_its_session_and_inherits_nothing_of_vshds(vshd: Vshd, nopty: bool) -> None:
    pid, group, session, foreground, mask, limit, directory, *descriptors = _run(vshd, SHOW, nopty=nopty)
    assert group == session == pid
    assert foreground == ("-1" if nopty else pid)
    assert int(mask, 8) == 0o022
    assert limit == str(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    assert os.path.samefile(directory, os.path.expanduser("~"))
    assert descriptors == ["0", "1", "2", "3"]  # the last is ls's own


@pytest.mark.parametrize("nopty", [True, False])
def test_a_script_without_a_first_line_and_a_missing_program(vshd: Vshd, nopty: bool, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("echo it runs\n")
    script.chmod(0o755)
    with vshd.peer() as peer:
        peer.begin(Setup("test", argv=(os.fsencode(script),), nopty=nopty))
        assert peer.finish().out.split() == [b"it", b"runs"]
    with vshd.peer() as peer:
        peer.begin(Setup("test", argv=(b"/does/not/exist",), nopty=nopty))
        assert peer.finish().code == 127
        assert peer.answer is not None
        assert peer.answer.description == "/does/not/exist: no such file"


def test_a_program_is_found_in_its_own_path(vshd: Vshd, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "one/tool").mkdir()
    (tmp_path / "two/tool").symlink_to("/bin/echo")
    path = os.fsencode(f"{tmp_path}/none:{tmp_path}/one:{tmp_path}/two")
    with vshd.peer() as peer:
        peer.begin(Setup("test", argv=(b"tool", b"found"), env={b"PATH": path}))
        assert peer.finish().out.strip() == b"found"


def test_a_session_has_one_child_and_keeps_no_directory_busy(vshd: Vshd) -> None:
    with vshd.peer() as peer:
        peer.begin(Setup("test", argv=(b"cat",)))
        assert peer.answer is not None
        session = psutil.Process(psutil.Process(peer.answer.pid).ppid())
        deadline = time.monotonic() + LIMIT
        while [child.pid for child in session.children()] != [peer.answer.pid]:
            assert time.monotonic() < deadline, session.children()
            time.sleep(0.02)
        assert session.cwd() == "/"
