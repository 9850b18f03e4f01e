"""Command lines of the original's client mode (chromeos-garcon.md §2.5)."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from garcon.client.compat_cli import CompatArguments, parse_metrics, run
from garcon.client.garcon_client import checked_url, to_url
from garcon.client.terminal_words import terminal_words
from guestlink.errors import GuestlinkError


def test_switches_stand_anywhere_until_a_bare_dash_dash() -> None:
    arguments = CompatArguments(["--client", "--url", "a", "--type=x", "-", "--", "--b"])
    assert arguments.switches == {"client": "", "url": "", "type": "x"}
    assert arguments.words == ["a", "-", "--b"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], []),
        (["vim", "file"], ["vim", "file"]),
        (["-e", "sh", "-c", "ls"], ["sh", "-c", "ls"]),
        (["-x", "top"], ["top"]),
        (["--", "-odd"], ["-odd"]),
        (["-T", "Title", "-e", "vim"], ["vim"]),
        (["-title", "A title", "-geometry", "80x24+0+0", "-e", "htop", "-d", "5"], ["htop", "-d", "5"]),
        (["--title=T", "--geometry=80x24", "+sb", "-hold", "-e", "top"], ["top"]),
        (["-T", "Title"], []),
        (["-T", "-e", "-e", "top"], ["top"]),
        (["--title", "T", "htop"], ["htop"]),
        (["-e", "htop -d 5"], ["sh", "-c", "htop -d 5"]),
        (["-e", "sh -c 'echo $HOME'"], ["sh", "-c", "sh -c 'echo $HOME'"]),
        (["-e", "vim", "-e", "--", "--client", "--url"], ["vim", "-e", "--", "--client", "--url"]),
        (["--command=top -b", "-T", "x"], ["sh", "-c", "top -b"]),
        (["--strange", "value", "-e", "top"], ["top"]),
        (["--strange=value", "top"], ["top"]),
        (["--working-directory=/a b", "-e", "top"], ["sh", "-c", 'cd "$0" && exec "$@"', "/a b", "top"]),
        (["--working-directory", "/a"], ["sh", "-c", 'cd "$0" && exec "${SHELL:-sh}"', "/a"]),
    ],
)
def test_a_terminals_options_are_understood_and_every_word_of_its_command_is_kept(
    argv: list[str], words: list[str]
) -> None:
    assert terminal_words(argv) == words


def test_a_program_whose_path_has_a_space_is_no_command_line(tmp_path: Path) -> None:
    program = tmp_path / "a program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert terminal_words(["-e", str(program)]) == [str(program)]


@pytest.mark.parametrize("argv", [["-e"], ["-T"], ["--strange", "vim"], ["--working-directory"]])
def test_a_terminals_option_that_cannot_be_understood_is_an_error(argv: list[str]) -> None:
    with pytest.raises(GuestlinkError, match=re.escape(argv[0])) as caught:
        terminal_words(argv)
    assert "-T TITLE -e" in caught.value.hint


@pytest.mark.parametrize(
    ("argv", "terminal"),
    [
        (["--client", "-terminal", "vi"], ["vi"]),
        (["-client", "--terminal=x", "vi"], ["vi"]),
        (["--client", "vi", "--terminal", "-r"], ["vi", "-r"]),
        (["--terminal", "--client", "-e", "p", "--server", "--url"], ["-e", "p", "--server", "--url"]),
        (["--client", "--noterminal", "--terminal"], []),
    ],
)
def test_the_terminals_own_words_are_no_switches(argv: list[str], terminal: list[str]) -> None:
    arguments = CompatArguments(argv)
    assert arguments.terminal == terminal
    assert "client" in arguments.switches
    assert not {"server", "url"} & arguments.switches.keys()


_WORDS = st.one_of(
    st.sampled_from(
        "-terminal --terminal=x --terminal -e -x -T -- - --client --url -url=a --metrics a=1 --selectfile"
        " --noterminal --title=ä --borealis-shader-cache --app-id=1 --install vi".split()
    ),
    st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=8),
    st.binary(max_size=4).map(lambda word: os.fsdecode(word.replace(b"\0", b""))),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(_WORDS, max_size=6))
def test_no_command_line_gives_a_traceback(runtime: Path, argv: list[str]) -> None:
    assert run(["--client", *argv]) in (1, 255)


def test_metrics_are_unsigned_numbers() -> None:
    assert parse_metrics("a=1,b=18446744073709551615") == [("a", 1), ("b", 2**64 - 1)]


@pytest.mark.parametrize(
    "text", ["", "a", "a=", "=1", "a=-1", "a=1,", "a=18446744073709551616", "a=²", "a=" + "9" * 5000]
)
def test_a_wrong_metric_is_named(text: str) -> None:
    with pytest.raises(GuestlinkError, match="NAME=NUMBER"):
        parse_metrics(text)


def test_an_existing_path_becomes_an_escaped_url_of_the_real_file(tmp_path: Path) -> None:
    real = tmp_path / "a b#ä.pdf"
    real.touch()
    (tmp_path / "link").symlink_to(real)
    assert to_url(str(tmp_path / "link")) == f"file://{os.path.realpath(tmp_path)}/a%20b%23%C3%A4.pdf"


@pytest.mark.parametrize("text", ["https://example.org/ x", "mailto:x@example.org", "missing.txt", ""])
def test_anything_else_passes_unchanged(text: str) -> None:
    assert to_url(text) == text


def test_bytes_that_are_not_utf8_are_escaped_in_paths_and_urls(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/b\xe9ret.txt"
    with open(path, "w"):
        assert to_url(os.fsdecode(path)) == f"file://{os.path.realpath(tmp_path)}/b%E9ret.txt"
    assert to_url("file:///b\udce9ret") == "file:///b%E9ret"


def test_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(GuestlinkError, match="UTF-8"):
        to_url("b\udce9ret")


@pytest.mark.parametrize(
    "argv",
    [
        ["--client"],
        ["--client", "--url"],
        ["--client", "--url", "https://example.org"],
        ["--client", "--metrics"],
        ["--client", "--borealis-shader-cache", "--app-id=1"],
        ["--client", "--borealis-shader-cache", "--app-id=x", "--install"],
        ["--client", "--borealis-shader-cache", "--app-id=" + "9" * 5000, "--install"],
        ["--client", "--borealis-shader-cache", "--app-id=1", "--install", "--unmount"],
    ],
)
def test_failure_is_255_with_a_sentence(argv: list[str], runtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(argv) == 255
    assert capsys.readouterr().err.startswith("garcon: ")


def test_metrics_that_could_not_be_sent_may_be_tried_again(runtime: Path) -> None:
    assert run(["--client", "--metrics", "a=1"]) == 1


def test_the_first_switch_in_the_originals_order_wins(runtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--client", "--metrics", "--url"]) == 255
    assert "--url needs something to open" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["https://x.org/a b", "www.x.org", "mailto:a@b", "HTTP://X.org"])
def test_a_person_may_open_every_url(text: str) -> None:
    assert checked_url(text) == text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("/nonexistent", "there is no file /nonexistent here, and it is not a URL"),
        ("no file", "there is no file no file here"),
        ("1x:y", "there is no file 1x:y here"),
        ("", "there is nothing to open"),
        (" \n", "there is nothing to open"),
    ],
)
def test_what_a_person_cannot_open_is_named(text: str, sentence: str) -> None:
    with pytest.raises(GuestlinkError, match=re.escape(sentence)) as caught:
        checked_url(text)
    assert "https://example.org" in caught.value.hint
