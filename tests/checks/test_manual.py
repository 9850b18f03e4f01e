"""Manual pages list every command and switch of the programs."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from garcon.settings import SCHEMA
from guestlink_host.control.table import COMMANDS
from vshd.arguments import USAGE

CHECKOUT = Path(__file__).resolve().parents[2]


def _completion() -> ModuleType:
    spec = importlib.util.spec_from_file_location("completion", CHECKOUT / "packaging/completion.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _page(program: str) -> str:
    """The page's text, without roff escapes."""
    text = (CHECKOUT / f"docs/man/{program}.1").read_text()
    return re.sub(r"\\f[BIRP]", "", text).replace("\\-", "-")


def _missing(page: str, words: set[str]) -> list[str]:
    return sorted(word for word in words if not re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", page))


@pytest.mark.parametrize("program", ["guestlink", "guestlink-host", "sommelier", "vsh"])
def test_a_page_names_every_command_and_switch(program: str) -> None:
    line = _completion().command_line(program)
    words = {command.name for command in line.commands}
    if program == "guestlink-host":
        words |= {command.name for command in COMMANDS if command.is_plumbing}
    for one in (line, *line.commands):
        words |= {name.split()[0].rstrip("=") for option in one.options for name in option.names}
    assert len(words) > 8
    assert _missing(_page(program), words) == []


def test_vshds_page_names_every_switch() -> None:
    switches = set(re.findall(r"--[a-z_-]+", USAGE)) - {"--standby", "--until"}  # only garcon uses these
    assert len(switches) > 6
    assert _missing(_page("vshd"), switches) == []


def test_garcons_page_names_every_switch_and_variable() -> None:
    from garcon.__main__ import USAGE as usage

    words = set(re.findall(r"--[a-z_-]+", usage)) | {setting.variable for setting in SCHEMA if setting.variable}
    assert len(words) > 10
    assert _missing(_page("garcon"), words) == []


def test_sommeliers_page_names_every_variable() -> None:
    from sommelier_shim.options import SCHEMA as schema

    assert _missing(_page("sommelier"), {setting.variable for setting in schema if setting.variable}) == []


@pytest.mark.parametrize("program", ["garcon", "guestlink", "guestlink-host", "sommelier", "vsh", "vshd"])
def test_a_page_has_the_sections_that_people_look_for(program: str) -> None:
    sections = set(re.findall(r"^\.SH (.*)", _page(program), re.MULTILINE))
    assert {"NAME", "SYNOPSIS", "DESCRIPTION", "EXIT STATUS", "ENVIRONMENT", "FILES", "SEE ALSO"} <= sections
