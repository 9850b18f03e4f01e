"""A launcher's name includes the container if another container or the host has an application of the same name."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestlink_host.launchers.host_menu import HostMenu
from guestlink_host.launchers.launcher_names import HOST, RENAMINGS, LauncherNames
from guestlink_host.launchers.menu_names import look
from support.fake_garcon import application
from support.host import Host, host_in_test

CONTAINERS = ["one", "two", "three"]


@given(st.lists(st.tuples(st.sampled_from([HOST, *CONTAINERS]), st.sets(st.sampled_from("abAB"))), max_size=12))
def test_whoever_gets_or_loses_a_namesake_hears_of_it_and_nobody_else(steps: list[tuple[str, set[str]]]) -> None:
    names = LauncherNames()
    heard: list[str] = []
    for container in CONTAINERS:
        names.join(container, lambda container=container: heard.append(container))  # type: ignore[misc]
    shown: dict[str, set[str]] = {container: set() for container in CONTAINERS}
    for who, what in steps:
        before = {each: {name for name in own if names.shows_container(name)} for each, own in shown.items()}
        heard.clear()
        names.update(who, map(look, what))
        shown[who] = what
        folded = {each: {name.casefold() for name in own} for each, own in shown.items()}
        for name in "ab":
            assert names.shows_container(name) == (sum(name in own for own in folded.values()) > 1)
        after = {each: {name for name in shown[each] if names.shows_container(name)} for each in CONTAINERS}
        assert sorted(heard) == sorted(each for each in CONTAINERS if each != who and before[each] != after[each])


def test_a_container_whose_names_come_and_go_renames_the_launchers_of_others_a_bounded_number_of_times() -> None:
    names = LauncherNames()
    heard: list[str] = []
    names.join("honest", lambda: heard.append("honest"))
    names.update("honest", [look("editor")])
    for _ in range(10 * RENAMINGS):
        names.update("bad", [look("editor")])
        assert names.shows_container("editor")
        names.update("bad", [])
    assert len(heard) == 2 * RENAMINGS + 1
    assert names.shows_container("editor")
    heard.clear()
    names.forget("bad")  # The user removes it.
    assert heard == ["honest"]
    assert not names.shows_container("editor")
    names.update("honest", [])
    names.update("honest", [look("editor")])
    assert not names.shows_container("editor")


def names_shown(host: Host) -> dict[str, str]:
    """The names in the host's menu by launcher file."""
    return {
        file.removeprefix("guestlink-").removesuffix(".desktop"): line.partition("=")[2]
        for file, text in host.launchers().items()
        for line in text.splitlines()
        if line.startswith("Name=")
    }


def without_icons(host: Host) -> bool:
    """Whether the host knows that no application has an icon; it then rewrites the launchers."""
    return all("Icon=application-x-executable" in text for text in host.launchers().values())


def inodes(host: Host) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in (host.data / "applications").glob("guestlink-*")}


async def test_two_containers_with_one_program(monkeypatch: pytest.MonkeyPatch) -> None:
    async with host_in_test(monkeypatch) as host:
        one, two = await host.registered("one"), await host.registered("two")
        editor = application("editor", names={"": "Editor", "de": "Schreiber"})
        await one.publish(editor, application("own"))
        await host.until(lambda: names_shown(host) == {"one-editor": "Editor", "one-own": "own"})
        await host.until(lambda: without_icons(host))
        before = inodes(host)
        await two.publish(editor)
        both = {"one-editor": "Editor (one)", "one-own": "own", "two-editor": "Editor (two)"}
        await host.until(lambda: names_shown(host) == both)
        assert "Name[de]=Schreiber (one)" in host.launchers()["guestlink-one-editor.desktop"]
        assert inodes(host)["guestlink-one-own.desktop"] == before["guestlink-one-own.desktop"]
        lists = (host.root / f"state/guestlink-host/applications/{name}.json" for name in ("one", "two"))
        for path in lists:
            await host.until(path.exists)
        await host.until(lambda: without_icons(host))
        before = inodes(host)
        await host.stop()
        await host.start()
        for guest in (one, two):
            await guest.register()
        await one.publish(editor, application("own"), application("late"))
        await host.until(lambda: names_shown(host) == both | {"one-late": "late"})
        assert before.items() <= inodes(host).items()
        await two.publish()
        await host.until(
            lambda: names_shown(host) == {"one-editor": "Editor", "one-own": "own", "one-late": "late"}
        )
        await two.publish(editor)
        await host.until(lambda: names_shown(host) == both | {"one-late": "late"})
        await host.ask("remove", name="two")
        await host.until(
            lambda: names_shown(host) == {"one-editor": "Editor", "one-own": "own", "one-late": "late"}
        )


@pytest.mark.parametrize(("setting", "name"), [("always", "Editor (one)"), ("never", "Editor")])
async def test_the_setting_decides(monkeypatch: pytest.MonkeyPatch, setting: str, name: str) -> None:
    async with host_in_test(monkeypatch, launcher_names=setting) as host:
        for container in ("one", "two"):
            guest = await host.registered(container)
            await guest.publish(application("editor", names={"": "Editor"}))
        await host.until(lambda: len(host.launchers()) == 2)
        assert names_shown(host)["one-editor"] == name


async def test_an_application_of_the_host_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path))
    monkeypatch.setattr("guestlink_host.launchers.host_watch.INTERVAL", 0.05)
    async with host_in_test(monkeypatch) as host:
        guest = await host.registered("one")
        await guest.publish(application("editor", names={"": "Editor"}))
        await host.until(lambda: names_shown(host) == {"one-editor": "Editor"})
        applications = tmp_path / "applications"
        applications.mkdir()
        path = applications / "org.example.Editor.desktop"
        path.write_text("[Desktop Entry]\nType=Application\nName=editor\nExec=e\n")
        await host.until(lambda: names_shown(host) == {"one-editor": "Editor (one)"})
        path.unlink()
        await host.until(lambda: names_shown(host) == {"one-editor": "Editor"})


async def test_no_launcher_claims_the_windows_of_the_hosts_applications(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """GNOME's dock would show the host's window as the container's application, and start that for a new window."""
    monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path))
    monkeypatch.setattr("guestlink_host.launchers.host_watch.INTERVAL", 0.05)
    (tmp_path / "applications").mkdir()
    entry = "[Desktop Entry]\nType=Application\nName=Host's\nExec=e\n"
    (tmp_path / "applications/org.example.Files.desktop").write_text(entry)
    (tmp_path / "applications/browser.desktop").write_text(entry + "StartupWMClass=Navigator\nNoDisplay=true\n")
    async with host_in_test(monkeypatch) as host:
        guest = await host.registered("one")
        await guest.publish(
            application("a", startup_wm_class="org.example.files"),
            application("b", startup_wm_class="navigator"),
            application("org.example.Files"),
            application("own", startup_wm_class="Own"),
            application("late"),
        )

        def claimed() -> set[str]:
            lines = (line for text in host.launchers().values() for line in text.splitlines())
            return {line for line in lines if line.startswith("StartupWMClass=")}

        await host.until(lambda: len(host.launchers()) == 5)
        assert claimed() == {"StartupWMClass=Own", "StartupWMClass=late"}
        (tmp_path / "applications/late.desktop").write_text(entry)
        await host.until(lambda: claimed() == {"StartupWMClass=Own"})


def test_what_the_hosts_menu_does_not_show_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path / "system"))
    entry = "[Desktop Entry]\nType=Application\nName={}\nExec=e\n{}[Desktop Action x]\nName=Action\n"
    files = {
        "home/applications/a.desktop": entry.format("Own", ""),
        "home/applications/guestlink-one-b.desktop": entry.format("Ours", ""),
        "home/applications/c.desktop": entry.format("Hides", "Hidden=true\n"),
        "system/applications/c.desktop": entry.format("Hidden", ""),
        "system/applications/d.desktop": entry.format("Internal", "NoDisplay=true\n"),
        "system/applications/e.desktop": "[Desktop Entry]\nType=Link\nName=Link\n",
        "system/applications/f.desktop": "",
        "system/applications/g.desktop": entry.format("System", ""),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "system/applications/h.desktop").symlink_to("nowhere")
    (tmp_path / "system/applications/i.desktop").mkdir()
    menu = HostMenu(tmp_path / "home")
    assert menu.poll() == {look("Own"), look("System")}
    assert menu.poll() is None


async def test_a_name_that_looks_like_one_of_the_hosts_shows_its_container(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In the session's language, with characters that nobody sees, or with another script's letters."""
    monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path))
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.setenv("LANGUAGE", "")
    (tmp_path / "applications").mkdir()
    entry = "[Desktop Entry]\nType=Application\nName=Passwords\nName[de]=Passwörter\nName[fr]=Clefs\nExec=e\n"
    (tmp_path / "applications/passwords.desktop").write_text(entry)
    async with host_in_test(monkeypatch) as host:
        guest = await host.registered("one")
        await guest.publish(
            application("a", names={"": "Something", "de": "Passwörter"}),
            application("b", names={"": "Pass\u200bwords"}),
            application("c", names={"": "Раsswоrds"}),
            application("d", names={"": "x", "de_DE": "Passwo\u0308rter"}),
            application("e", names={"": "Clefs"}),
            application("f", names={"": "Something else", "fr": "Passwords"}),
        )
        await host.until(lambda: len(host.launchers()) == 6)
        shown = {name for name, text in host.launchers().items() if " (one)\n" in text}
        assert shown == {f"guestlink-one-{letter}.desktop" for letter in "abcd"}
        assert "Name[de]=Passwörter (one)\n" in host.launchers()["guestlink-one-a.desktop"]


async def test_a_name_that_ends_like_another_containers_launcher_shows_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with host_in_test(monkeypatch) as host:
        one = await host.registered("one")
        await one.publish(application("a", names={"": "Files (bank)"}), application("b", names={"": "Files (new)"}))
        plain = {"one-a": "Files (bank)", "one-b": "Files (new)"}
        await host.until(lambda: names_shown(host) == plain)
        await host.registered("bank")
        await host.until(lambda: names_shown(host) == plain | {"one-a": "Files (bank) (one)"})


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("Firefox", "Fire\ufe0ffox"),
        ("Files", "FiIes"),
        ("Files", "F\u0456les"),
        ("GIMP", "ＧＩＭＰ"),
        ("a b", "a\u00a0b"),
    ],
)
def test_names_that_look_alike_have_one_look(name: str, other: str) -> None:
    assert look(name) == look(other)
    assert look(name) != look(name + "s")
