"""What is made from guestlink-host's table of commands agrees with the table, and the table is complete."""

from __future__ import annotations

import importlib.util
import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

from guestlink_host.control.candidates import KINDS
from guestlink_host.control.command import SECTIONS
from guestlink_host.control.table import COMMANDS

CHECKOUT = Path(__file__).resolve().parents[2]


def _program(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, CHECKOUT / f"packaging/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("file", ["docs/man/guestlink-host.1", "docs/internals.md"])
def test_the_lists_in_the_documentation_are_up_to_date(file: str) -> None:
    text = (CHECKOUT / file).read_text()
    assert text == _program("command_lists").with_part(file), "run packaging/command_lists.py --write"


def test_names_are_unique_and_every_entry_can_be_used() -> None:
    assert len({command.name for command in COMMANDS}) == len(COMMANDS)
    for command in COMMANDS:
        assert command.call is not None or command.run is not None or command.run_words is not None, command.name
        assert (command.section in SECTIONS) == (command.run is not None or command.run_words is not None)
        assert not command.help.endswith("."), command.name
        if command.section and not command.is_plumbing:
            assert command.example.split()[0] == command.name


def test_the_daemons_side_of_a_call_takes_the_fields_of_the_table() -> None:
    for command in COMMANDS:
        if command.call is None:
            continue
        taken = inspect.signature(command.call.serve).parameters
        fields = {field.name for field in command.call.fields}
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values()):
            assert set(taken) == {"parts", *fields}, command.name


def test_what_a_command_completes_is_a_kind_of_candidates() -> None:
    kinds = {argument.completes for command in COMMANDS for argument in command.arguments}
    assert kinds - {""} == KINDS.keys()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_ask_for_containers_instances_and_applications(shell: str) -> None:
    completion = _program("completion")
    text = getattr(completion, shell)(completion.command_line("guestlink-host"))
    for kind in KINDS:
        assert re.search(rf"candidates {kind}\b", text), kind
