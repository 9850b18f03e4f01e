"""Name the test files that a change can break.

usage: python tests/changed.py [BASE]

Compares the working tree, new files included, with BASE: a commit, or where this branch left origin/main. A
test file is named when it imports a changed module, directly or not, or starts a program that does;
tests/checks always. Booted containers, packages' root file systems and the matrix take too long: their files
are named only when they have changed themselves, or packaging/ has.
"""

from __future__ import annotations

import ast
import itertools
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
ROOTS = ("lib", "guest", "host", "tests")
"""Where modules are looked for, as pytest does."""
SLOW = ("tests/container/", "tests/matrix/", "tests/packaging/")
EVERYWHERE = ("pyproject.toml", "requirements-dev.txt", "tests/conftest.py", "tests/support/parallel.py")
"""What every test depends on."""
_NAMED = re.compile(r"\b(?:import|from|-m) +([a-z]\w*(?:\.\w+)*)")
"""A module in the text of a command or of a program."""


@cache
def modules() -> dict[str, str]:
    """Every module of the checkout: its name, its path from the top."""
    found = {}
    for root in ROOTS:
        for path in (CHECKOUT / root).rglob("*.py"):
            words = path.relative_to(CHECKOUT / root).with_suffix("").parts
            found[".".join(words[:-1] if words[-1] == "__init__" else words)] = str(path.relative_to(CHECKOUT))
    return found


def mentioned(path: str) -> Iterator[str]:
    """The names that a file imports, and those in its texts: programs are started by name."""
    for node in ast.walk(ast.parse((CHECKOUT / path).read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 2000:
            yield from _NAMED.findall(node.value)
        elif isinstance(node, ast.List | ast.Tuple):
            for switch, name in itertools.pairwise(map(_text, node.elts)):
                if switch == "-m":
                    yield from (name, f"{name}.__main__")
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "suite_program":
            for name in map(_text, node.args):
                yield from (name, f"{name}.__main__")


def _text(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


@cache
def neighbours(path: str) -> frozenset[str]:
    """The files of the checkout on which a file depends directly."""
    known = modules()
    found = {known[name] for name in mentioned(path) if name in known}
    # A package's __init__ runs before its modules, a directory's conftest.py before its tests.
    for directory in Path(path).parents:
        names = ("__init__.py", "conftest.py")
        found |= {str(directory / name) for name in names if (CHECKOUT / directory / name).exists()}
    return frozenset(found - {path})


def closure(path: str) -> set[str]:
    """The files on which a file depends, itself included."""
    found, rest = {path}, [path]
    while rest:
        new = neighbours(rest.pop()) - found
        found |= new
        rest += new
    return found


def tests_of(changed: Iterable[str]) -> list[str]:
    """The test files that these changed files can break, by path from the top."""
    # A .proto and what is generated from it stand for the package that loads them, data for the code beside it.
    files = set(changed)
    whole = {str(Path(path).parent) for path in files if not path.endswith((".py", ".md"))} - {"."}
    everything = any(path in EVERYWHERE for path in files)
    packaging = any(path.startswith("packaging/") or path == "Makefile" for path in files)
    chosen = []
    for path in sorted(set(modules().values())):
        if not re.search(r"^tests/.*/test_\w+\.py$", path):
            continue
        if path.startswith("tests/checks/"):
            chosen.append(path)
        elif path.startswith(SLOW):
            if path in files or (packaging and path.startswith("tests/packaging/")):
                chosen.append(path)
        elif everything or any(
            needed in files or str(Path(needed).parent) in whole for needed in closure(path) - set(EVERYWHERE)
        ):
            chosen.append(path)
    return chosen


def changed_files(base: str) -> list[str]:
    """What differs from a commit, by path from the top."""
    found = _git("diff", "--name-only", base).split() + _git("ls-files", "-o", "--exclude-standard").split()
    return sorted(set(found))


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"dev: git {' '.join(words)}: {done.stderr.strip()}\n  name a commit: ./dev test --changed BASE")
    return done.stdout


def main() -> int:
    """The command."""
    base = sys.argv[1] if len(sys.argv) > 1 else _git("merge-base", "HEAD", "origin/main").strip()
    files = changed_files(base)
    chosen = tests_of(files)
    print(f"dev: {len(files)} files changed since {base[:12]}; {len(chosen)} test files", file=sys.stderr)
    print("\n".join(chosen))
    return 0


if __name__ == "__main__":
    sys.exit(main())
