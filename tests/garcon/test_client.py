"""Command lines of the original's client mode (garcon.md §2.5)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from garcon.client.daemon import to_url
from garcon.client.original import Arguments, parse_metrics, run, terminal_words
from guestlink.errors import GuestlinkError


def test_switches_stand_anywhere_until_a_bare_dash_dash() -> None:
    arguments = Arguments(["--client", "--url", "a", "--type=x", "-", "--", "--b"])
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
        (["-T", "-e", "vim"], ["vim"]),
    ],
)
def test_every_word_behind_a_terminal_convention_is_kept(argv: list[str], words: list[str]) -> None:
    assert terminal_words(argv) == words


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


def test_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(GuestlinkError, match="UTF-8"):
        to_url("http://\udcff")


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
