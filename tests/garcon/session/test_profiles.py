"""Profiles that change while garcon runs, with a shell that reads no other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from garcon.session import login_shell, profiles
from garcon.session.login_shell import LoginShell, with_login_variables
from garcon.session.profiles import Profiles

LIMIT = 60


class Rig:
    """A home directory, and an environment that follows its profile."""

    def __init__(self, home: Path) -> None:
        self.profile = home / ".profile"
        self.session = {"HOME": str(home), "PATH": "/usr/bin:/bin"}
        self.profile.write_text("PATH=$PATH:/opt/first\n")
        self.environ = with_login_variables(self.session, LoginShell(self.session).variables())
        self.changes = asyncio.Queue[str]()
        self.profiles = Profiles(self.session, self.environ, self._changed)

    def _changed(self) -> None:
        self.changes.put_nowait(f"{self.environ['PATH']} {self.environ.get('XDG_DATA_DIRS')}")

    async def next(self) -> str:
        """What the next change makes of PATH and XDG_DATA_DIRS."""
        async with asyncio.timeout(LIMIT):
            return await self.changes.get()


@pytest.fixture
async def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    monkeypatch.setattr(profiles, "_SETTLE", 0.05)
    monkeypatch.setattr(profiles, "_SYSTEM", ())
    # Not the machine's own /etc/profile, which sets PATH.
    shell = tmp_path / "shell"
    shell.write_text('#!/bin/sh\n[ -e ~/.profile ] && . ~/.profile\neval "$3"\n')
    shell.chmod(0o755)
    monkeypatch.setattr(login_shell, "_shell", lambda _environ: str(shell))
    made = Rig(tmp_path)
    await made.profiles.start()
    yield made
    await made.profiles.close()


async def test_a_changed_profile_is_read_again(rig: Rig) -> None:
    own = f"{rig.session['HOME']}/.local/bin"
    assert rig.environ["PATH"] == f"{own}:/usr/bin:/bin:/opt/first"
    rig.profile.write_text("PATH=/opt/second:$PATH; export XDG_DATA_DIRS=/usr/share:/opt/share\n")
    assert await rig.next() == f"{own}:/opt/second:/usr/bin:/bin /usr/local/share:/usr/share:/opt/share"
    (rig.profile.parent / "new").write_text("PATH=/opt/third:$PATH\n")
    (rig.profile.parent / "new").rename(rig.profile)
    assert await rig.next() == f"{own}:/opt/third:/usr/bin:/bin None"
    rig.profile.unlink()
    assert await rig.next() == f"{own}:/usr/bin:/bin None"


async def test_a_profile_that_appears_is_read(rig: Rig) -> None:
    rig.profile.unlink()
    assert await rig.next()
    rig.profile.write_text("PATH=$PATH:/opt/new\n")
    assert ":/opt/new" in await rig.next()


async def test_a_profile_that_writes_to_itself_does_not_keep_garcon_busy(rig: Rig, tmp_path: Path) -> None:
    rig.profile.write_text(f"PATH=$PATH:/opt/x; echo >> {tmp_path}/runs; echo '#' >> {rig.profile}\n")
    assert ":/opt/x" in await rig.next()
    async with asyncio.timeout(LIMIT):
        while len((tmp_path / "runs").read_text()) < 3 or rig.profiles._reading:
            await asyncio.sleep(0.01)
    rig.profile.write_text(f"PATH=$PATH:/opt/y; echo >> {tmp_path}/runs\n")
    while ":/opt/y" not in await rig.next():
        pass
    assert len((tmp_path / "runs").read_text()) == 4, "three times, and the next one once"


async def test_a_profile_that_changes_while_it_is_read_is_read_again(rig: Rig, tmp_path: Path) -> None:
    go, began = tmp_path / "go", tmp_path / "began"
    rig.profile.write_text(f"touch {began}; until [ -e {go} ]; do sleep 0.01; done; PATH=$PATH:/opt/x\n")
    async with asyncio.timeout(LIMIT):
        while not began.exists():
            await asyncio.sleep(0.01)
    (tmp_path / "new").write_text("PATH=$PATH:/opt/y\n")
    (tmp_path / "new").rename(rig.profile)
    go.touch()
    assert ":/opt/x" in await rig.next()
    assert ":/opt/y" in await rig.next()


async def test_a_broken_profile_changes_nothing(rig: Rig, tmp_path: Path) -> None:
    before = dict(rig.environ)
    rig.profile.write_text(f"echo >> {tmp_path}/runs; exit 3\n")
    async with asyncio.timeout(LIMIT):
        while not (tmp_path / "runs").exists():
            await asyncio.sleep(0.01)
    rig.profile.write_text("PATH=$PATH:/opt/z\n")
    assert ":/opt/z" in await rig.next()
    assert rig.changes.empty()
    assert rig.environ.keys() == before.keys()
