"""The structure that the documentation promises: which package may import which, and which commands start fast."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
ROOTS = {
    "guestlink": "lib",
    "garcon": "guest",
    "vshd": "guest",
    "sommelier_shim": "guest",
    "guestlink_host": "host",
}
SLOW = {"grpc", "google", "watchdog", "dbus_fast", "asyncio", "psutil"}
"""Modules that a short-lived command must not import: each costs tens of milliseconds."""

SAME_MEANING = {"Buffer": "bytes in any form; the core of the Wayland proxy imports nothing of guestlink.backlog"}
"""Names of classes and types that two packages define, and why."""


def _modules(package: str) -> Iterator[Path]:
    return (CHECKOUT / ROOTS[package] / package).rglob("*.py")


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("package", ROOTS)
def test_packages_import_only_the_shared_library(package: str) -> None:
    forbidden = ROOTS.keys() - {package, "guestlink"}
    for path in _modules(package):
        for name in _imports(path):
            assert name.partition(".")[0] not in forbidden, f"{path} imports {name}"


def _imports_at_start(body: list[ast.stmt]) -> Iterator[str]:
    """The names that a module imports outside functions, under ``if TYPE_CHECKING`` as well."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If | ast.Try):
            yield from _imports_at_start([*node.body, *node.orelse])


def _dependencies(package: str) -> dict[str, set[str]]:
    """Modules of a package, and those of its modules that each imports."""
    root = CHECKOUT / ROOTS[package]
    names = {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for path in _modules(package)
    }
    found = {}
    for name, path in names.items():
        imported = set(_imports_at_start(ast.parse(path.read_text()).body)) & names.keys() - {name}
        # ``from package import module`` depends on the module; a package's own __init__ imports its modules.
        found[name] = {one for one in imported if not any(other.startswith(f"{one}.") for other in imported)}
    return found


@pytest.mark.parametrize("package", ROOTS)
def test_modules_do_not_import_each_other_in_a_circle(package: str) -> None:
    """Imports for types count as well: two modules that know each other's types are one module."""
    try:
        TopologicalSorter(_dependencies(package)).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


@pytest.mark.parametrize(
    ("room", "others"), [("core", ()), ("features", ("core",)), ("channel", ("core",))], ids=str
)
def test_rooms_of_the_wayland_proxy_know_only_the_rooms_below(room: str, others: tuple[str, ...]) -> None:
    """The core does no I/O, and neither features nor channels know the process that runs them."""
    allowed = {"sommelier_shim", *(f"sommelier_shim.{one}" for one in (room, *others))}
    for module, imported in _dependencies("sommelier_shim").items():
        if module.split(".")[1:2] == [room]:
            known = {".".join(one.split(".")[:2]) for one in imported}
            assert known <= allowed, f"{module} imports {sorted(known - allowed)}"


def _public_names(path: Path) -> Iterator[str]:
    """The classes and type aliases of a module, without private ones and type variables."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.AnnAssign):
            names = [node.target.id] if isinstance(node.target, ast.Name) else []
        elif isinstance(node, ast.Assign) and "TypeVar" not in ast.dump(node.value):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        else:
            names = []
        yield from (name for name in names if name[0].isupper() and not name.isupper())


def test_a_public_name_has_one_meaning_in_all_packages() -> None:
    """A reader who meets ``Session`` need not ask whose."""
    found: dict[str, set[str]] = {}
    for package in ROOTS:
        for path in _modules(package):
            for name in _public_names(path):
                found.setdefault(name, set()).add(package)
    assert len(found) > 300
    repeated = {name: packages for name, packages in found.items() if len(packages) > 1}
    assert repeated.keys() == SAME_MEANING.keys(), repeated


def test_grpc_is_imported_in_one_place() -> None:
    for package in ROOTS:
        for path in _modules(package):
            if path.name != "rpc.py":
                assert not any(name.partition(".")[0] == "grpc" for name in _imports(path)), path


def test_the_socket_directory_is_described_in_one_place() -> None:
    """Both sides take the names of the sockets between them from guestlink.socket_directory."""
    for package in ROOTS:
        for path in _modules(package):
            if path.name in ("socket_directory.py", "token.py"):
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    for name in ("/dev/.guestlink/", "listener.sock", "calls.sock", "sftp.sock", "pulse-cookie"):
                        assert name not in node.value or "\n" in node.value, f"{path}:{node.lineno} names {name}"


def test_errors_are_worded_in_one_place() -> None:
    for package in ROOTS:
        for path in _modules(package):
            if path.name != "errors.py":
                assert "error.strerror" not in path.read_text(), f"{path}: use guestlink.errors.reason"


def test_tasks_are_started_by_their_owners_alone() -> None:
    for package in ROOTS:
        for path in _modules(package):
            if path.name == "tasks.py":
                continue
            text = path.read_text()
            assert "create_task(" not in text, f"{path}: use guestlink.tasks.TaskOwner"
            assert "ensure_future(" not in text, f"{path}: use guestlink.tasks.TaskOwner"


@pytest.mark.parametrize(
    "module",
    [
        "sommelier_shim.__main__",
        "vshd.__main__",
        "garcon.__main__",
        "garcon.client.compat_cli",
        "garcon.client.cli",
        "garcon.diagnosis.doctor",
        "garcon.diagnosis.bugreport",
        "guestlink_host.__main__",
        "guestlink_host.files.sftp_stream",
        "guestlink_host.vsh.__main__",
        "guestlink.control",
    ],
)
def test_commands_import_nothing_slow(module: str) -> None:
    program = f"import sys, {module}; print(*(name.partition('.')[0] for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=600)
    assert not SLOW & set(done.stdout.split())


def test_no_machine_is_named() -> None:
    """No file of the repository contains the path of a developer's checkout."""
    tracked = subprocess.run(["git", "ls-files"], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    for name in tracked.stdout.splitlines():
        path = CHECKOUT / name
        if path.suffix in (".png", ".binpb") or not path.is_file():
            continue
        text = path.read_text(errors="replace")
        assert str(CHECKOUT) + "/" not in text or len(CHECKOUT.parts) < 3, f"{name} names a path of this machine"
