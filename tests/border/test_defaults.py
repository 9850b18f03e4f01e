"""A container's application becomes the host's default for nothing without the user's word.

GLib (``gio mime``) and xdg-utils (``xdg-mime``) answer which application is the default.
"""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from guestlink_host.launchers.applications import read_applications
from guestlink_host.launchers.host_defaults import HostDefaults
from guestlink_host.launchers.launcher_plan import plan
from support.fake_garcon import application
from support.host import Host, host_in_test
from support.needs import need

PDF, PYTHON, TEXT = "application/pdf", "text/x-python", "text/plain"
TYPES = (PDF, PYTHON, TEXT, "inode/directory", "x-content/unix-software", "x-scheme-handler/https")
"""What the container's application claims. Python's type is a child of plain text."""
OURS = "guestlink-demo-thief.desktop"
HOSTS = "org.example.Host.desktop"
ENTRY = "[Desktop Entry]\nType=Application\nName=Host\nExec=true %U\n"


class Desktop:
    """The host's directories, as a session of GNOME sees them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
        need("gio", "xdg-mime", "update-desktop-database", packages="libglib2.0-bin xdg-utils desktop-file-utils")
        self._monkeypatch = monkeypatch
        self.home = root / "home"
        self.places = {
            "CONFIG_HOME": self.home / "config",
            "CONFIG_DIRS": root / "xdg",
            "DATA_HOME": self.home / "data/applications",
            "DATA_DIRS": root / "share/applications",
        }
        for place in self.places.values():
            place.mkdir(parents=True)
        (root / "share/mime").symlink_to("/usr/share/mime")
        for variable, directory in (("CONFIG_DIRS", root / "xdg"), ("DATA_DIRS", root / "share")):
            monkeypatch.setenv(f"XDG_{variable}", str(directory))
        monkeypatch.setenv("XDG_CURRENT_DESKTOP", "Example:GNOME")
        monkeypatch.setenv("LC_ALL", "C.UTF-8")
        for variable in ("XDG_MENU_PREFIX", "KDE_FULL_SESSION", "GNOME_DESKTOP_SESSION_ID", "DESKTOP_SESSION"):
            monkeypatch.delenv(variable, raising=False)
        self.program()

    def alone(self) -> None:
        """Use these directories without a daemon, which would bring directories of its own."""
        for variable, directory in (("HOME", ""), ("XDG_CONFIG_HOME", "config"), ("XDG_DATA_HOME", "data")):
            self._monkeypatch.setenv(variable, str(self.home / directory))

    def beside(self, host: Host) -> None:
        """Use the directories of a daemon."""
        self.places |= {"CONFIG_HOME": host.root / "config", "DATA_HOME": host.data / "applications"}
        self.places["DATA_HOME"].mkdir(exist_ok=True)

    def program(
        self, name: str = HOSTS, text: str = "", types: Iterable[str] = (), place: str = "DATA_DIRS"
    ) -> None:
        """Install a program of the host."""
        path = self.places[place] / name
        path.write_text((text or ENTRY) + f"MimeType={';'.join(types)};\n" * bool(types))

    def choose(self, lines: str, place: str = "CONFIG_HOME", name: str = "mimeapps.list") -> None:
        """Write a list of default applications."""
        (self.places[place] / name).write_text(lines)

    def refresh(self) -> None:
        """Write the caches, as package managers do."""
        for place in ("DATA_HOME", "DATA_DIRS"):
            subprocess.run(["update-desktop-database", "-q", self.places[place]], check=True)

    def glib(self, mime_type: str) -> tuple[str, str]:
        """The default application of a type for GLib, and the whole answer."""
        done = subprocess.run(["gio", "mime", mime_type], check=False, capture_output=True, text=True)
        first = done.stdout.partition("\n")[0]
        return (first.rpartition(": ")[2] if first.startswith("Default application") else "", done.stdout)

    def xdg(self, mime_type: str) -> str:
        """The default application of a type for xdg-utils."""
        words = ["xdg-mime", "query", "default", mime_type]
        return subprocess.run(words, check=False, capture_output=True, text=True).stdout.strip()

    def defaults(self, mime_type: str) -> set[str]:
        """The answers of both."""
        self.refresh()
        return {self.glib(mime_type)[0], self.xdg(mime_type)}


@pytest.fixture
def desktop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Desktop:
    return Desktop(monkeypatch, tmp_path)


def carried(host: Host) -> set[str] | None:
    """The types of the container's launcher; ``None`` while it does not exist."""
    for line in (text := host.launchers().get(OURS, "")).splitlines():
        if line.startswith("MimeType="):
            return {word for word in line.removeprefix("MimeType=").split(";") if word}
    return set() if text else None


async def claims_all(host: Host) -> None:
    """A container whose application claims every type."""
    guest = await host.registered()
    await guest.publish(application("thief", mime_types=TYPES, exec="thief %U"))
    await host.until(lambda: OURS in host.launchers())


async def test_it_becomes_no_default_where_none_is_set(monkeypatch: pytest.MonkeyPatch, desktop: Desktop) -> None:
    desktop.program(types=[PDF])
    async with host_in_test(monkeypatch) as host:
        desktop.beside(host)
        await claims_all(host)
        assert carried(host) == set()
        assert desktop.defaults(PDF) == {HOSTS}
        for mime_type in set(TYPES) - {PDF}:
            assert desktop.defaults(mime_type) == {""}


async def test_open_with_offers_it_where_another_default_is_set(
    monkeypatch: pytest.MonkeyPatch, desktop: Desktop
) -> None:
    async with host_in_test(monkeypatch) as host:
        desktop.beside(host)
        desktop.choose(f"[Default Applications]\n{PDF}={HOSTS};\n{TEXT}={HOSTS}\n")
        await claims_all(host)
        assert carried(host) == {PDF, TEXT}
        assert desktop.defaults(PDF) == desktop.defaults(TEXT) == {HOSTS}
        assert OURS in desktop.glib(PDF)[1]
        assert desktop.glib(PYTHON)[0] == HOSTS


async def test_links_folders_and_inserted_media_stay_the_hosts_even_where_a_default_is_set(
    monkeypatch: pytest.MonkeyPatch, desktop: Desktop
) -> None:
    async with host_in_test(monkeypatch) as host:
        desktop.beside(host)
        desktop.choose("[Default Applications]\n" + "".join(f"{word}={HOSTS}\n" for word in TYPES))
        await claims_all(host)
        assert carried(host) == {PDF, PYTHON, TEXT}
        for mime_type in TYPES:
            assert desktop.defaults(mime_type) == {HOSTS}


async def test_the_users_word_changes_it_at_once_and_takes_it_back(
    monkeypatch: pytest.MonkeyPatch, desktop: Desktop
) -> None:
    async with host_in_test(monkeypatch) as host:
        desktop.beside(host)
        await claims_all(host)
        assert (await host.entry())["policies"]["mime"] == "deny"
        assert (await host.ask("policy", name="demo", mime="allow"))["mime"] == "allow"
        await host.until(lambda: carried(host) == set(TYPES))
        assert desktop.defaults("x-scheme-handler/https") == {OURS}
        await host.stop()
        await host.start()
        assert (await host.entry())["policies"]["mime"] == "allow"
        assert carried(host) == set(TYPES)
        await host.ask("policy", name="demo", mime="deny")
        await host.until(lambda: carried(host) == set())
        assert desktop.defaults("x-scheme-handler/https") == {""}


async def test_it_does_not_inherit_from_a_default_that_is_uninstalled_or_changed(
    monkeypatch: pytest.MonkeyPatch, desktop: Desktop
) -> None:
    monkeypatch.setattr("guestlink_host.launchers.host_watch.INTERVAL", 0.05)
    async with host_in_test(monkeypatch) as host:
        desktop.beside(host)
        desktop.choose(f"[Default Applications]\n{PDF}={HOSTS}\n")
        await claims_all(host)
        await host.until(lambda: carried(host) == {PDF})
        (desktop.places["DATA_DIRS"] / HOSTS).unlink()
        await host.until(lambda: carried(host) == set())
        assert desktop.defaults(PDF) == {""}
        desktop.program()
        await host.until(lambda: carried(host) == {PDF})
        desktop.choose(f"[Default Applications]\n{TEXT}={HOSTS}\n")
        await host.until(lambda: carried(host) == {TEXT})
        await host.stop()
        desktop.choose("")
        await host.start()
        await host.until(lambda: carried(host) == set())


@pytest.mark.parametrize("name", ["mimeapps.list", "gnome-mimeapps.list", "example-mimeapps.list"])
@pytest.mark.parametrize("place", ["CONFIG_HOME", "CONFIG_DIRS", "DATA_HOME", "DATA_DIRS"])
def test_a_default_counts_in_every_list_of_the_session(desktop: Desktop, place: str, name: str) -> None:
    desktop.alone()
    desktop.choose(f"[Default Applications]\n{PDF}={HOSTS}\n", place, name)
    assert types_with_launcher(desktop) == {PDF}
    assert desktop.defaults(PDF) == {HOSTS}


LISTED = f"[Default Applications]\n{PDF}={HOSTS}\n"


@pytest.mark.parametrize(
    ("listed", "entry"),
    [
        pytest.param(LISTED.replace(HOSTS, "gone.desktop"), ENTRY, id="not installed"),
        pytest.param(LISTED.replace(HOSTS, f"gone.desktop;{HOSTS}"), ENTRY, id="only the second choice"),
        pytest.param(LISTED.replace(HOSTS, OURS), ENTRY, id="a container's launcher"),
        pytest.param(LISTED.replace("Default Applications", "Added Associations"), ENTRY, id="only associated"),
        pytest.param(f"no list\n{LISTED}", ENTRY, id="behind a line that GLib cannot read"),
        pytest.param(f"{LISTED}[Removed Associations]\n{PDF}={HOSTS};\n", ENTRY, id="removed for KDE"),
        pytest.param(LISTED, ENTRY + "Hidden=true\n", id="hidden"),
        pytest.param(LISTED, ENTRY + "TryExec=/no/such/program\n", id="TryExec is missing"),
        pytest.param(LISTED, ENTRY.replace("true %U", "/no/such/program %U"), id="its program is missing"),
        pytest.param(LISTED, ENTRY.replace("true %U", "true %f"), id="takes no URLs, as of files without a path"),
        pytest.param(LISTED, ENTRY.replace("true %U", "'"), id="a command that cannot be read"),
        pytest.param(LISTED, ENTRY + "OnlyShowIn=KDE;\n", id="for another desktop"),
        pytest.param(LISTED, ENTRY.replace("Application", "Link"), id="no application"),
        pytest.param(LISTED, "", id="an empty file"),
    ],
)
def test_a_default_that_some_desktop_would_skip_does_not_count(desktop: Desktop, listed: str, entry: str) -> None:
    desktop.alone()
    (desktop.places["DATA_DIRS"] / HOSTS).write_text(entry)
    desktop.choose(listed)
    assert types_with_launcher(desktop) == set()


def test_a_users_file_that_hides_the_default_counts(desktop: Desktop) -> None:
    desktop.alone()
    desktop.choose(LISTED)
    desktop.program(text=ENTRY + "Hidden=true\n", place="DATA_HOME")
    assert types_with_launcher(desktop) == set()
    assert OURS not in desktop.defaults(PDF)


@pytest.mark.parametrize("seed", range(12))
def test_neither_glib_nor_xdg_mime_ever_chooses_it_on_a_random_desktop(desktop: Desktop, seed: int) -> None:
    desktop.alone()
    dice = random.Random(seed)
    programs = [f"org.example.P{number}.desktop" for number in range(4)]
    endings = ("", "", "", "Hidden=true\n", "NoDisplay=true\n", "TryExec=missing\n", "OnlyShowIn=GNOME;\n")
    for name in programs:
        for place in dice.sample(["DATA_HOME", "DATA_DIRS"], dice.choice([0, 1, 1, 2])):
            text = ENTRY.replace("%U", dice.choice(["%U", "%u", "%f", ""])) + dice.choice(endings)
            desktop.program(name, text, dice.sample(TYPES, dice.randrange(4)), place)
    groups = ("Default Applications", "Default Applications", "Added Associations", "Removed Associations")
    for place in desktop.places:
        for name in dice.sample(["mimeapps.list", "gnome-mimeapps.list", "kde-mimeapps.list"], dice.randrange(3)):
            lines = []
            for group in dice.sample(groups, dice.randrange(1, 4)):
                lines.append(f"[{group}]")
                for mime_type in dice.sample(TYPES, dice.randrange(5)):
                    chosen = dice.sample([*programs, "gone.desktop"], dice.choice([1, 1, 2]))
                    lines.append(f"{mime_type}={';'.join(chosen)}{dice.choice(['', ';'])}")
                if dice.random() < 0.05:
                    lines.append("broken")
            desktop.choose("\n".join(lines) + "\n", place, name)
    types_with_launcher(desktop)
    for mime_type in TYPES:
        assert OURS not in desktop.defaults(mime_type), mime_type


def types_with_launcher(desktop: Desktop) -> set[str]:
    """The types that a container's launcher carries on this desktop, after that launcher has been written."""
    data = desktop.places["DATA_HOME"]
    types = HostDefaults(data.parent).types()
    applications, faults = read_applications([application("thief", mime_types=TYPES, exec="thief %U")])
    assert not faults
    program = shutil.which("true")
    assert program is not None
    for name, content in plan("demo", applications.values(), [program], mime_types=types).items():
        assert name == OURS
        (data / name).write_bytes(content)
    return set(types)
