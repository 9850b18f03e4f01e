"""guestlink-host installs and removes packages in a container by the real PackageKit, apt and polkit."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.needs import need
from support.pair import Pair, booted_pair

pytestmark = pytest.mark.container
ENTRY = "[Desktop Entry]\nType=Application\nName=Hello\nExec=true\n"
CONTROL = """\
Package: {name}
Version: 1.0
Architecture: all
Maintainer: Nobody <nobody@example.org>
Depends: {depends}
Description: greeter
 It greets.
"""


def _build(directory: Path, name: str, depends: str = "") -> Path:
    root = directory / name
    (root / "DEBIAN").mkdir(parents=True)
    control = CONTROL.format(name=name, depends=depends)
    (root / "DEBIAN/control").write_text(control if depends else control.replace("Depends: \n", ""))
    applications = root / "usr/share/applications"
    applications.mkdir(parents=True)
    (applications / f"{name}.desktop").write_text(ENTRY)
    package = directory / f"{name}_1.0_all.deb"
    subprocess.run(
        ["dpkg-deb", "-b", "--root-owner-group", root, package], check=True, capture_output=True, timeout=60
    )
    return package


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("dpkg-deb", "apt-ftparchive", packages="dpkg apt-utils")
    directory = tmp_path_factory.mktemp("repository")
    _build(directory, "guestlink-hello")
    _build(directory, "guestlink-hello-more", "guestlink-hello")
    _build(directory, "guestlink-hello-other")
    index = subprocess.run(
        ["apt-ftparchive", "packages", "."], cwd=directory, check=True, capture_output=True, timeout=60
    )
    (directory / "Packages").write_bytes(index.stdout)
    return directory


@pytest.fixture(scope="module")
def pair(packages: Path, built: Path) -> Iterator[Pair]:
    with booted_pair("bookworm", packages, "packagekit,polkitd") as made:
        machine = made.machine

        def root(*argv: str) -> None:
            done = machine.root(*argv)
            assert done.returncode == 0, done.stdout + done.stderr

        root("mkdir", "/repository")
        for path in (*built.glob("*.deb"), built / "Packages"):
            machine.put(path, f"/repository/{path.name}")
        root(
            "sh",
            "-c",
            "rm -f /etc/apt/sources.list.d/*; echo 'deb [trusted=yes] file:/repository ./' > /etc/apt/sources.list",
        )
        root("apt-get", "update", "-qq")
        root("groupadd", "-f", "sudo")
        root("usermod", "-aG", "sudo", "user")
        root("sh", "-c", "dpkg -i /packages/guestlink*.deb")
        made.stage.wait_registered()
        yield made


def _ids(pair: Pair) -> dict[str, str]:
    """The packages of the applications that the host knows, by the application's id."""
    return {app["id"]: app["package_id"] for app in pair.stage.host_json("apps", "guest")}


def _is_installed(pair: Pair, package: str) -> bool:
    done = pair.machine.root("dpkg-query", "-W", "-f", "${db:Status-Status}", package)
    return done.stdout == "installed"


def test_a_package_is_installed_by_its_name_and_uninstalled_by_its_application(pair: Pair) -> None:
    done = pair.host("install", "guest", "guestlink-hello")
    assert "guestlink-hello 1.0" in done.stdout
    assert done.stdout.endswith("guestlink-hello is installed in guest\n")
    pair.stage.wait(
        "its owner is published",
        lambda: _ids(pair).get("guestlink-hello", "").startswith("guestlink-hello;1.0;all;"),
    )
    done = pair.host("uninstall", "guest", "guestlink-hello")
    assert done.stdout == "guestlink-hello is uninstalled in guest\n"
    pair.stage.wait("its application is gone", lambda: "guestlink-hello" not in _ids(pair))
    assert not _is_installed(pair, "guestlink-hello")


def test_a_package_file_of_the_host_is_installed_and_leaves_no_copy(pair: Pair, built: Path) -> None:
    file = Path(pair.stage.host_environ["HOME"], "some name.deb")
    shutil.copy(built / "guestlink-hello_1.0_all.deb", file)
    pair.host("install", "guest", str(file))
    assert _is_installed(pair, "guestlink-hello")
    assert pair.machine.root("sh", "-c", "ls /tmp/guestlink-*").stdout == ""


def test_a_package_that_another_one_needs_stays(pair: Pair) -> None:
    pair.host("install", "guest", "guestlink-hello-more")
    pair.stage.wait("both are published", lambda: {"guestlink-hello", "guestlink-hello-more"} <= _ids(pair).keys())
    refused = pair.host("uninstall", "guest", "guestlink-hello", check=False)
    assert refused.returncode == 1
    assert "guestlink-hello is needed by guestlink-hello-more" in refused.stderr
    assert _is_installed(pair, "guestlink-hello")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("install", "guest", "guestlink-nonexistent"), "there is no package guestlink-nonexistent"),
        (("install", "guest", "/nonexistent.deb"), "/nonexistent.deb cannot be read: no such file or directory"),
        (("install", "guest", "/tmp/"), "/tmp is no file"),
        (("uninstall", "guest", "nonexistent"), "guest has no application nonexistent"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(pair: Pair, words: tuple[str, ...], said: str) -> None:
    refused = pair.host(*words, check=False)
    assert refused.returncode == 1
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_file_that_is_no_package_is_refused(pair: Pair) -> None:
    for name, content in (("text.deb", b"hello"), ("empty.deb", b""), ("cut.deb", b"!<arch>\ndebian-binary")):
        file = Path(pair.stage.host_environ["HOME"], name)
        file.write_bytes(content)
        refused = pair.host("install", "guest", str(file), check=False)
        assert refused.returncode == 1, refused.stdout
        assert "cannot be installed" in refused.stderr


def test_who_is_no_administrator_removes_nothing(pair: Pair) -> None:
    """The rule for polkit is for members of sudo and wheel."""
    pair.host("install", "guest", "guestlink-hello-other")
    pair.machine.root("gpasswd", "-d", "user", "sudo")
    try:
        refused = pair.host("uninstall", "guest", "guestlink-hello-other", check=False)
    finally:
        pair.machine.root("usermod", "-aG", "sudo", "user")
    assert refused.returncode == 1, refused.stdout
    assert "authentication" in refused.stderr
    assert _is_installed(pair, "guestlink-hello-other")
