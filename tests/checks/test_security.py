"""Every promise of SECURITY.md names tests that exist, and SECURITY.md names every file of tests/border."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from support.stage import CHECKOUT

PAGE = CHECKOUT / "SECURITY.md"
_CITED = re.compile(r"\]\((?P<file>tests/[\w/]+\.py)\)|`(?P<test>test_\w+)`")
"""A link to a file of tests, or the name of one of its tests, which follows the link."""
_EXCEPTION = "Not promised"


def promises(text: str) -> list[str]:
    """The list items below "Channels"; each is one line."""
    channels = text.partition("\n## Channels\n")[2].partition("\n## ")[0]
    return [line.removeprefix("- ") for line in channels.splitlines() if line.startswith("- ")]


def cited_tests(text: str) -> list[tuple[str, str]]:
    """Each file of tests that a text links to, with each test that the text names after it; a file without a name
    has ``""``."""
    found: list[tuple[str, str]] = []
    file = ""
    for line in text.splitlines():
        file = ""
        for match in _CITED.finditer(line):
            if match["file"]:
                file = match["file"]
                found.append((file, ""))
            else:
                found.append((file, match["test"]))
    return found


@cache
def names_in(file: str) -> frozenset[str]:
    """The names of the tests in a file."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    tree = ast.parse((CHECKOUT / file).read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, functions))


def test_every_cited_test_exists() -> None:
    cited = cited_tests(PAGE.read_text())
    nowhere = [test for file, test in cited if not file]
    assert not nowhere, f"no link to a file precedes these tests in their line: {nowhere}"
    missing = [file for file, _ in cited if not (CHECKOUT / file).is_file()]
    assert not missing, f"these files do not exist: {missing}"
    missing = [f"{file}: {test}" for file, test in cited if test and test not in names_in(file)]
    assert not missing, f"these tests do not exist: {missing}"
    assert len(cited) > 100


def test_every_promise_about_a_channel_names_a_test() -> None:
    found = promises(PAGE.read_text())
    untested = [
        line for line in found if not line.startswith(_EXCEPTION) and not any(test for _, test in cited_tests(line))
    ]
    assert not untested, "\n".join(untested)
    assert len(found) > 30


@pytest.mark.parametrize(
    "path", sorted(CHECKOUT.glob("tests/border/**/test_*.py")), ids=lambda path: str(path.stem)
)
def test_every_file_of_border_tests_is_cited(path: Path) -> None:
    assert str(path).removeprefix(f"{CHECKOUT}/") in {file for file, _ in cited_tests(PAGE.read_text())}


def test_a_test_belongs_to_the_link_before_it_in_its_line() -> None:
    text = "- A. Tests: [x](tests/a.py): `test_one`, `test_two`; [y](tests/b.py): `test_three`.\n- B: `test_four`."
    assert [pair for pair in cited_tests(text) if pair[1]] == [
        ("tests/a.py", "test_one"),
        ("tests/a.py", "test_two"),
        ("tests/b.py", "test_three"),
        ("", "test_four"),
    ]
