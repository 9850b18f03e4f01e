"""What ``make install`` installs besides programs: manual pages, completions, rules, and desktop files."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from support.needs import need
from support.packages import VERSION, run
from support.stage import CHECKOUT

LIMIT = 60.0


@pytest.fixture(scope="module")
def usr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("installed")
    run("make", "-s", "install", f"DESTDIR={root}", "COMPILE=no", cwd=CHECKOUT)
    return root / "usr"


def test_there_is_one_version() -> None:
    for name, pattern in {
        "pyproject.toml": r'^version = "(.*)"',
        "packaging/debian/changelog": r"^guestlink \((.*?)\)",
        "packaging/rpm/guestlink.spec": r"^Version: *(.*)",
        "packaging/aur/PKGBUILD": r"^pkgver=(.*)",
        "CHANGELOG.md": r"^## (\S+)",
    }.items():
        found = re.search(pattern, (CHECKOUT / name).read_text(), re.MULTILINE)
        assert found is not None, name
        assert found[1] == VERSION, name


def test_every_command_and_configuration_file_has_its_page(usr: Path) -> None:
    need("mandoc", packages="mandoc")
    for program in (usr / "bin").iterdir():
        assert (usr / "share/man/man1" / f"{program.name}.1").exists(), program
    for name in ("guestlink.conf", "guestlink-host.conf"):
        page = usr / "share/man/man5" / f"{name}.5"
        text = run("mandoc", "-T", "utf8", "-W", "error", page)
        assert re.sub(".\b", "", text).count("Default:") >= 3
    for page in (usr / "share/man").rglob("*.[15]"):
        run("mandoc", "-T", "lint", "-W", "error", page)


def test_desktop_files_and_metadata_are_valid(usr: Path) -> None:
    need("desktop-file-validate", "appstreamcli", packages="desktop-file-utils appstream")
    for entry in (usr / "share/applications").glob("*.desktop"):
        assert run("desktop-file-validate", entry) == ""
    for component in (usr / "share/metainfo").iterdir():
        run("appstreamcli", "validate", "--no-net", component)
        text = component.read_text()
        assert f"<id>{component.name.removesuffix('.metainfo.xml')}</id>" in text
        assert "<id>invalid." not in text
        assert re.findall(r'<release version="(.*?)"', text)[0] == VERSION


def test_a_homepage_brings_a_screenshot(tmp_path: Path) -> None:
    need("appstreamcli", packages="appstream")
    words = (f"DESTDIR={tmp_path}", "COMPILE=no", "HOMEPAGE=https://guestlink.invalid/")
    run("make", "-s", "install-host", *words, cwd=CHECKOUT)
    (component,) = (tmp_path / "usr/share/metainfo").iterdir()
    run("appstreamcli", "validate", "--no-net", component)
    (image,) = re.findall(r"<image>(.*?)</image>", re.sub(r"(?s)<!--.*?-->", "", component.read_text()))
    assert image == "https://guestlink.invalid/docs/demo.png"
    assert (CHECKOUT / "docs/demo.png").exists()


@pytest.fixture
def daemon_that_answers(tmp_path: Path) -> dict[str, str]:
    """An environment in which ``guestlink-host candidates`` lists three containers, one of them not attached."""
    program = tmp_path / "bin/guestlink-host"
    program.parent.mkdir()
    program.write_text(
        """#!/bin/sh
case $* in
    "candidates containers") printf '%s\\n' work wine ;;
    "candidates instances") echo fresh ;;
    "candidates applications work") printf '%s\\n' org.gnome.gedit 'two words' ;;
    "candidates policy-values url") printf '%s\\n' allow ask deny ;;
esac
"""
    )
    program.chmod(0o755)
    names = ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
    return {name: str(tmp_path) for name in names} | {"PATH": f"{program.parent}:{os.environ['PATH']}"}


def _bash(usr: Path, *words: str, environ: Mapping[str, str] | None = None) -> set[str]:
    """bash's completions of the last of these words."""
    script = usr / "share/bash-completion/completions" / words[0]
    quoted = " ".join(f"'{word}'" for word in words)
    name = "_" + words[0].replace("-", "_")
    asked = f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}"
    program = f'. {script}; {asked}; {name}; printf "%s\\n" "${{COMPREPLY[@]}}"'
    return set(run("bash", "-c", program, environ=environ).split("\n")) - {""}


def test_bash_completes_commands_switches_and_values(usr: Path, daemon_that_answers: dict[str, str]) -> None:
    assert {"doctor", "status", "--version"} <= _bash(usr, "guestlink", "")
    assert _bash(usr, "guestlink", "do") == {"doctor"}
    assert "--dry-run" in _bash(usr, "guestlink", "adopt", "--")
    assert "root" in _bash(usr, "guestlink", "adopt", "--user", "")
    # A switch's value must not count as a positional word.
    assert _bash(usr, "guestlink-host", "events", "--json", "policy") == set()
    assert "--user=" in _bash(usr, "vsh", "--u")
    assert _bash(usr, "guestlink-host", "attach", "--manager", "=", "l") == {"lxd", "lxc"}
    environ = daemon_that_answers
    policy = ("guestlink-host", "policy", "work", "url")
    assert _bash(usr, *policy, "", environ=environ) == {"allow", "ask", "deny"}
    assert _bash(usr, *policy, "allow", "", environ=environ) == set()
    assert _bash(usr, "vsh", "ana", "@", "wo", environ=environ) == {"work"}
    assert _bash(usr, "guestlink-host", "icon", "--size", "=", "4", "work", "o", environ=environ) == {
        "org.gnome.gedit"
    }
    assert _bash(usr, "guestlink-host", "apps", "work", "", environ=environ) == set()
    assert _bash(usr, "guestlink-host", "shell", "", environ=environ) == {"work", "wine"}
    assert _bash(usr, "guestlink-host", "attach", "", environ=environ) == {"fresh"}
    assert _bash(usr, "guestlink-host", "launch", "work", "", environ=environ) == {"org.gnome.gedit", "two words"}
    assert _bash(usr, "guestlink-host", "icon", "--size", "48", "work", "o", environ=environ) == {"org.gnome.gedit"}


def test_bash_quotes_the_names_of_files(usr: Path, tmp_path: Path) -> None:
    """Only on a terminal does bash itself complete a file's name."""
    (tmp_path / "two words.txt").write_text("")
    script = usr / "share/bash-completion/completions/guestlink"
    with _on_terminal(["bash", "--norc", "-i"], {"PATH": "/usr/bin:/bin"}, tmp_path) as terminal:
        os.write(terminal, f". {script}; PS1='rea''dy> '\n".encode())
        _read_until(terminal, {"ready> "})
        os.write(terminal, b"guestlink open two\\ \t")
        _read_until(terminal, {"two\\ words.txt "})


_COMPLETED = (
    ("guestlink ", {"doctor", "open"}),
    ("guestlink adopt --dr", {"--dry-run"}),
    ("guestlink-host policy work url a", {"allow", "ask"}),
    ("guestlink-host detach w", {"work", "wine"}),
    ("guestlink-host launch work ", {"org.gnome.gedit", "two words"}),
    ("guestlink-host icon --size 48 work ", {"org.gnome.gedit", "two words"}),
    ("guestlink-host attach --manager=l", {"lxc", "lxd"}),
    ("guestlink terminal -- lsb", {"lsblk"}),
    ("vsh --us", {"--user"}),
)
"""Words, and the completions that a shell must offer after them."""


def test_fish_offers_what_there_is(usr: Path, tmp_path: Path, daemon_that_answers: dict[str, str]) -> None:
    need("fish", packages="fish")
    directory = usr / "share/fish/vendor_completions.d"
    (tmp_path / "notes.txt").write_text("")
    files = [
        ("guestlink-host profile --key ", {"notes.txt"}),  # a switch's value may be a file
        ("guestlink-host attach ", {"fresh"}),
        ("guestlink-host launch work org.gnome.gedit ", {"notes.txt"}),
    ]
    for words, expected in (*_COMPLETED, *files):
        script = directory / f"{words.split()[0]}.fish"
        asked = f"source {script}; complete -C '{words}'"
        offered = run("fish", "--no-config", "-c", asked, environ=daemon_that_answers, cwd=tmp_path)
        shown = {line.split("\t")[0].rpartition("=")[2] for line in offered.splitlines()}
        assert expected <= shown, words
        assert not [line for line in shown if "complete:" in line], offered
        assert words == "guestlink-host attach " or not {"fresh"} & shown


def test_zsh_offers_what_there_is(usr: Path, tmp_path: Path, daemon_that_answers: dict[str, str]) -> None:
    """zsh completes only on a terminal, so the test presses Tab there."""
    need("zsh", packages="zsh")
    for script in (usr / "share/zsh/site-functions").iterdir():
        run("zsh", "-n", script)
        assert script.read_text().startswith(f"#compdef {script.name[1:]}\n")
    set_up = (
        f"fpath=({usr}/share/zsh/site-functions $fpath); autoload -Uz compinit; compinit -u -D; "
        "setopt no_list_ambiguous; LISTMAX=1000; PROMPT='rea''dy> '\n"
    )
    for words, expected in _COMPLETED:
        with _on_terminal(["zsh", "-f", "-i", "+m"], daemon_that_answers, tmp_path) as terminal:
            os.write(terminal, set_up.encode())
            _read_until(terminal, {"ready> "})
            os.write(terminal, f"{words}\t".encode())
            # zsh puts a backslash in front of a space in a word.
            _read_until(terminal, {word.replace(" ", "\\ ") for word in expected})


@contextlib.contextmanager
def _on_terminal(argv: list[str], environ: Mapping[str, str], directory: Path) -> Iterator[int]:
    """A shell on a terminal; gives our end."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        argv,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**environ, "TERM": "dumb", "LANG": "C.UTF-8"},
        cwd=directory,
        start_new_session=True,
    ) as shell:
        os.close(theirs)
        try:
            yield ours
        finally:
            shell.kill()
            os.close(ours)


def _read_until(terminal: int, expected: set[str]) -> None:
    """Read a terminal's output until it contains every expected text."""
    seen = ""
    deadline = time.monotonic() + LIMIT
    while not all(text in seen for text in expected):
        ready, _, _ = select.select([terminal], [], [], max(deadline - time.monotonic(), 0))
        assert ready, f"{expected} did not come: {seen!r}"
        seen += os.read(terminal, 65536).decode(errors="replace")


_POLKIT = """
var rule;
var polkit = {
    Result: { NOT_HANDLED: null, YES: "yes" },
    addRule: function (added) { rule = added; },
    spawn: function (argv) { if (!container) throw new Error("status 1"); return ""; },
};
"""


def test_the_polkit_rule_lets_administrators_of_containers_install_packages(tmp_path: Path) -> None:
    need("duk", packages="duktape")
    rules = (CHECKOUT / "guest/garcon/data/guestlink.rules").read_text()

    def asked(action: str, group: str, container: bool) -> str:
        call = f'print(rule({{id: "{action}"}}, {{isInGroup: function (name) {{ return name === "{group}"; }}}}));'
        script = tmp_path / "test.js"
        script.write_text(f"var container = {str(container).lower()};{_POLKIT}{rules}{call}")
        return run("duk", script).strip()

    install = "org.freedesktop.packagekit.package-install"
    assert asked(install, "sudo", True) == "yes"
    assert asked(install, "wheel", True) == "yes"
    assert asked(install, "users", True) == "null"
    assert asked(install, "sudo", False) == "null"
    assert asked("org.freedesktop.packagekit.system-update", "sudo", True) == "null"
    assert asked("org.freedesktop.policykit.exec", "sudo", True) == "null"


def _login(tmp_path: Path, **environ: str) -> tuple[str, dict[str, str]]:
    """The login snippet's output and variables, for a user in a container whose user manager has two displays."""
    runtime = tmp_path / "run"
    runtime.mkdir(exist_ok=True)
    marker = tmp_path / "container"
    marker.touch()
    fake = tmp_path / "bin/systemctl"
    fake.parent.mkdir(exist_ok=True)
    fake.write_text(
        "#!/bin/sh\nprintf '%s\\n' WAYLAND_DISPLAY=wayland-0 DISPLAY=:0 DISPLAY_LOW_DENSITY=:1 LANG=C "
        "'XCURSOR_SIZE=$(id)'\n"
    )
    fake.chmod(0o755)
    snippet = (CHECKOUT / "guest/garcon/data/profile.sh").read_text()
    snippet = snippet.replace("/run/user/$(id -u)", str(runtime)).replace("/run/systemd/container", str(marker))
    snippet = snippet.replace('"$(id -u)" != 0', "1 != 0")
    done = subprocess.run(
        ["sh", "-eu"],
        input=snippet + "\nenv\n",
        env={"PATH": f"{fake.parent}:/usr/bin:/bin"} | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stderr, dict(line.split("=", 1) for line in done.stdout.splitlines())


def test_login_shells_learn_the_displays(tmp_path: Path) -> None:
    said, found = _login(tmp_path, DISPLAY=":7")
    assert said == ""
    assert found["XDG_RUNTIME_DIR"] == str(tmp_path / "run")
    assert found["WAYLAND_DISPLAY"] == "wayland-0"
    assert found["DISPLAY"] == ":7"
    assert found["DISPLAY_LOW_DENSITY"] == ":1"
    assert "XCURSOR_SIZE" not in found
    assert "LANG" not in found


def test_outside_of_containers_a_login_is_what_it_was() -> None:
    if any(
        Path(marker).exists() for marker in ("/run/systemd/container", "/dev/.container_token", "/dev/.guestlink")
    ):
        pytest.skip("this is a container")
    snippet = CHECKOUT / "guest/garcon/data/profile.sh"
    environ = {"PATH": os.environ["PATH"]}
    before = run("sh", "-c", "env | grep -v ^_=; set | wc -l", environ=environ)
    assert run("sh", "-c", f". {snippet}; env | grep -v ^_=; set | wc -l", environ=environ) == before
