"""Launching with real processes and without a user manager: program look-up, and arguments in terminals."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from garcon.desktop.desktop_entry import DesktopEntry, parse_desktop_entry
from garcon.session.launcher import Launcher
from garcon.session.programs import Programs
from guestlink.bus import SessionBus
from guestlink.user_manager import UserManager, unit_name

TELLER = """#!/usr/bin/python3
import json, os, sys
with open("{told}.new", "w") as stream:
    json.dump([os.getcwd(), dict(os.environ), sys.argv[1:]], stream)
os.rename("{told}.new", "{told}")
"""
TERMINAL = """#!/usr/bin/python3
# Like a running terminal: the program inherits nothing. Like Konsole, it replaces variables in the words.
import os, sys
words = [os.path.expandvars(word) for word in sys.argv[1:]]
os.chdir("/")
os.execvpe(words[0], words, {"PATH": "/usr/bin:/bin"})
"""


class Rig:
    """A home directory with an application."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.told = home / "told"
        for name, text in (("opt/game/teller", TELLER.format(told=self.told)), ("terminal", TERMINAL)):
            path = home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o755)

    def find(self, desktop_file_id: str) -> tuple[str, DesktopEntry]:
        text = f"[Desktop Entry]\nType=Application\nName=N\n{self.keys}\n"
        return "/x.desktop", parse_desktop_entry(text.encode())

    async def launch(self, keys: str, *files: str, **options: bool) -> str:
        """Launch an application with these keys; returns the failure reason, or ``""``."""
        self.keys = keys
        bus = SessionBus("unix:path=/nonexistent")
        environ = {"PATH": "/usr/bin:/bin", "HOME": str(self.home), "DISPLAY": ":0", "DISPLAY_LOW_DENSITY": ":1"}
        programs = Programs(UserManager(bus), environ)
        launcher = Launcher(self, programs, bus, terminal=[str(self.home / "terminal")])
        try:
            reason = await launcher.launch("org.example.App", files, **options)
            async with asyncio.timeout(60):
                while programs.detached:
                    await asyncio.sleep(0.01)
            return reason
        finally:
            await launcher.close()
            await programs.close()
            await bus.close()

    @property
    def answer(self) -> tuple[str, dict[str, str], list[str]]:
        """The program's directory, environment and arguments."""
        directory, environ, argv = json.loads(self.told.read_text())
        return directory, environ, argv


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path / "a home")


@pytest.mark.parametrize("terminal", ["", "Terminal=true"])
@pytest.mark.parametrize(("directory", "program"), [("{}/opt/game/", "teller"), ("opt", "game/teller")])
async def test_a_program_is_found_in_its_own_directory(
    rig: Rig, directory: str, program: str, terminal: str
) -> None:
    path = directory.format(rig.home)
    assert await rig.launch(f"Path={path}\nExec={program} 'a  $HOME' %U\n{terminal}", "/é") == ""
    found, _environ, argv = rig.answer
    assert found == os.path.join(rig.home, path.rstrip("/"))
    assert argv == ["a  $HOME", "/é"]


async def test_variables_of_a_launch_reach_a_program_in_a_terminal(rig: Rig) -> None:
    keys = f'Exec="{rig.home}/opt/game/teller"\nStartupNotify=true\nTerminal=true'
    assert await rig.launch(keys, scaled=True) == ""
    _directory, environ, _argv = rig.answer
    assert environ["DISPLAY"] == ":1"
    assert environ["DESKTOP_STARTUP_ID"] == "org.example.App"


@pytest.mark.parametrize("terminal", ["", "Terminal=true", "Terminal=1"])
async def test_a_program_without_a_format_is_a_shell_script(rig: Rig, terminal: str) -> None:
    program = rig.home / "opt/plain"
    program.write_text(f'exec "{rig.home}/opt/game/teller" "$@"\n')
    program.chmod(0o755)
    assert await rig.launch(f'Exec="{program}" a "b c"\n{terminal}') == ""
    assert rig.answer[2] == ["a", "b c"]


@pytest.mark.parametrize("terminal", ["", "Terminal=true"])
@pytest.mark.parametrize("interpreter", ["/no/such/python2", "/bin/sh\r"])
async def test_a_script_without_its_interpreter_names_it(rig: Rig, interpreter: str, terminal: str) -> None:
    program = rig.home / "opt/script"
    program.write_bytes(f"#! {interpreter} -e\n".encode())
    program.chmod(0o755)
    sentence = f"{program} cannot be executed: there is no interpreter {interpreter!r}"
    assert (await rig.launch(f'Exec="{program}"\n{terminal}')).endswith(sentence)


@pytest.mark.parametrize("name", ["a=b", "-n"])
async def test_a_program_with_a_strange_name_runs_in_a_terminal(rig: Rig, name: str) -> None:
    (rig.home / "opt/game/teller").rename(rig.home / name)
    keys = f'Exec="{rig.home}/{name}" x\nStartupNotify=true\nPath={rig.home}\nTerminal=true'
    assert await rig.launch(keys) == ""
    assert rig.answer[2] == ["x"]


@pytest.mark.parametrize("terminal", ["", "\nTerminal=true"])
@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ("Exec=no-such-program", "there is no program no-such-program"),
        ("Exec=./no-such-program", "there is no program {}/./no-such-program"),
        ('Exec="{}/opt"', "there is no right to execute {}/opt"),
        ("Exec=true\nPath=/no/such", "its directory /no/such does not exist"),
        ("Exec=true\nPath=/etc/passwd", "its directory /etc/passwd is no directory"),
        ('Exec=""', "the desktop file has no Exec"),
    ],
)
async def test_what_cannot_be_started_is_named(rig: Rig, keys: str, reason: str, terminal: str) -> None:
    assert (await rig.launch(keys.format(rig.home) + terminal)).endswith(reason.format(rig.home))


@pytest.mark.parametrize("application", ["a" * 300, "日本語" * 40, "-" * 90, "a@b c\n%$\\"])
def test_every_id_makes_a_units_name(application: str) -> None:
    name = unit_name(application, "1f00001")
    assert len(name) < 256
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\@")
    assert name.count("@") == 1
