"""Settings: which source overrides which, and error messages that give a mistake's place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestlink.config import ConfigError, Setting, boolean, choice, load

COLOUR = Setting("colour", "TEST_COLOUR", "red", choice("red", "green", "blue"), "a colour")
COUNT = Setting("max_count", "", 3, int, "a number")
LOUD = Setting("loud", "", False, boolean, "a switch")
SCHEMA = (COLOUR, COUNT, LOUD)


def test_switches_outweigh_the_environment_and_that_files(tmp_path: Path) -> None:
    system, user = tmp_path / "system", tmp_path / "user"
    system.write_text("colour = green\nmax-count = 5\n")
    user.write_text("[paint]\nmax_count = 7\nloud = yes\n[other]\nmax_count = 9\n")
    files = [system, user, tmp_path / "missing"]
    config = load(SCHEMA, section="paint", files=files, environ={})
    assert (config[COLOUR], config[COUNT], config[LOUD]) == ("green", 7, True)
    assert not config.warnings
    config = load(SCHEMA, section="paint", files=files, environ={"TEST_COLOUR": "blue"})
    assert config[COLOUR] == "blue"
    config = load(SCHEMA, files=files, environ={"TEST_COLOUR": "blue"}, switches={"colour": "red", "loud": None})
    assert (config[COLOUR], config[LOUD]) == ("red", False)


def test_defaults_hold_where_nobody_says_anything() -> None:
    config = load(SCHEMA, environ={})
    assert (config[COLOUR], config[COUNT], config[LOUD]) == ("red", 3, False)


def test_unknown_keys_are_named_with_what_was_probably_meant(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("early = 1\n[paint]\n\n# comment\ncolor = red\nXnonsense\n; another = comment\n")
    config = load(SCHEMA, section="paint", files=[path], environ={})
    assert config.warnings[0].startswith(f"{path}:6: 'Xnonsense' is not of the form")
    assert config.warnings[1] == f"{path}:1: there is no setting 'early'"
    assert config.warnings[2] == f"{path}:5: there is no setting 'color', did you mean 'colour'?"


@pytest.mark.parametrize(
    ("environ", "switches", "place"),
    [({"TEST_COLOUR": "pink"}, {}, "TEST_COLOUR"), ({}, {"max_count": "many"}, "--max-count")],
)
def test_a_wrong_value_is_an_error_that_names_its_place(
    environ: dict[str, str], switches: dict[str, str | None], place: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{place}: ") as caught:
        load(SCHEMA, environ=environ, switches=switches)
    assert caught.value.exit_code == 78
    assert caught.value.hint


def test_odd_files_are_warned_about_and_passed_over(tmp_path: Path) -> None:
    huge = tmp_path / "huge"
    huge.write_bytes(b"#" * 70000)
    config = load(SCHEMA, files=[tmp_path, huge], environ={})
    assert len(config.warnings) == 2


def test_a_fifo_in_the_place_of_a_file_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert load(SCHEMA, files=[tmp_path / "fifo"], environ={})[COLOUR] == "red"


@given(st.binary())
def test_any_file_gives_settings_or_one_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.conf"
    path.write_bytes(content)
    try:
        load(SCHEMA, section="paint", files=[path], environ={})
    except ConfigError:
        pass
