"""The output for a wrong command line: one sentence and one line of advice, never the whole usage."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from garcon.client.cli import argument_parser as guestlink
from guestlink.command_line import CommandLine, in_words, number
from guestlink.errors import GuestlinkError
from guestlink_host.border.policies import POLICIES
from guestlink_host.control.parser import argument_parser as guestlink_host

_Parser = Callable[[], CommandLine]
_VALUES = list(dict.fromkeys(value for policy in POLICIES.values() for value in policy.values))
PARSERS = (guestlink, guestlink_host)


def _error(parser: _Parser, words: str) -> GuestlinkError:
    with pytest.raises(GuestlinkError) as caught:
        parser().parse_args(words.split())
    assert caught.value.exit_code == 2
    return caught.value


@pytest.mark.parametrize(
    ("parser", "words", "sentence", "advice"),
    [
        (guestlink_host, "lst", "there is no command 'lst'", "did you mean list?"),
        (guestlink_host, "qqq", "there is no command 'qqq'", "`guestlink-host --help` lists the commands"),
        (guestlink_host, "", "which command?", "`guestlink-host --help` lists the commands"),
        (guestlink_host, "--colour", "unexpected argument '--colour'", "`guestlink-host --help`"),
        (guestlink_host, "--versoin", "unexpected argument '--versoin'", "did you mean --version?"),
        (guestlink_host, "--json list", "--json comes after the command", "lists the commands"),
        (guestlink_host, "--size=4 icon", "--size comes after the command", "lists the commands"),
        (guestlink_host, "launch", "NAME, ID is missing", "guestlink-host launch"),
        (guestlink_host, "list work", "unexpected argument 'work'", "`guestlink-host list --help`"),
        (guestlink_host, "attach work --no-gpus", "unexpected argument '--no-gpus'", "did you mean --no-gpu?"),
        (guestlink_host, "attach work --manager lxx", "--manager is lxd, incus or lxc, not 'lxx'", "lxd"),
        (guestlink_host, "attach work --uid", "--uid needs a value", "`guestlink-host attach --help`"),
        (guestlink_host, "attach w --uid me", "--uid: 'me' is not a whole number from 0 to 4294967294", "attach"),
        (guestlink_host, "attach w --uid -1", "--uid: '-1' is not a whole number from 0 to 4294967294", "attach"),
        (guestlink_host, "icon work x --scale 9", "--scale: '9' is not a whole number from 1 to 4", "icon"),
        (guestlink_host, "policy work url maybe", f"policy is {in_words(_VALUES)}, not 'maybe'", "policy"),
        (guestlink_host, "policy work ulr", f"what is {in_words(list(POLICIES))}, not 'ulr'", "did you mean url?"),
        (guestlink_host, "files work --prompt --unmount", "--unmount and --prompt exclude each other", "files"),
        (guestlink, "open", "URL|FILE is missing", "guestlink open"),
        (guestlink, "open --browser", "unexpected argument '--browser'", "`guestlink open --help`"),
        (guestlink_host, "remove -x", "unexpected argument '-x'", "`guestlink-host remove --help`"),
        (guestlink_host, "icon -o - --size=4 work", "ID is missing", "guestlink-host icon"),
        (guestlink, "docter", "there is no command 'docter'", "did you mean doctor?"),
    ],
)  # fmt: skip
def test_an_error_names_what_is_wrong_and_the_next_step(
    parser: _Parser, words: str, sentence: str, advice: str
) -> None:
    error = _error(parser, words)
    assert error.message == sentence
    assert advice in error.hint
    assert len(error.hint.splitlines()) == 1
    assert len(error.hint) < 120


@pytest.mark.parametrize("parser", PARSERS, ids=["guestlink", "guestlink-host"])
def test_every_command_has_an_example_that_can_be_read(parser: _Parser) -> None:
    (commands,) = (action.choices for action in parser()._actions if isinstance(action.choices, dict))
    for name, command in commands.items():
        example = command.epilog.partition("\n")[2].strip()
        program, *words = example.partition(" >")[0].partition(" |")[0].split()
        assert program == parser().prog, name
        assert parser().parse_args(words).command == name


def test_choices_read_as_english() -> None:
    assert [in_words(words.split()) for words in ("", "a", "a b", "a b c")] == ["", "a", "a or b", "a, b or c"]


@pytest.mark.parametrize("text", ["", "x", "1.5", "٣", "0x1", "-0-1", "--1", "9" * 5000])
def test_a_number_is_a_plain_one_within_its_limits(text: str) -> None:
    with pytest.raises(Exception, match="is not a whole number from 1 to 3"):
        number(1, 3)(text)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("guestlink_host", "--help"), ("guestlink_host", "launch --help"), ("guestlink_host", "--version"),
        ("guestlink_host.vsh", "--help"), ("garcon", "--help"), ("garcon", "--version"), ("vshd", "--help"),
        ("sommelier_shim", "--help"),
    ],
)  # fmt: skip
def test_help_goes_into_a_pipe_that_nobody_reads_without_a_word(module: str, words: str) -> None:
    script = '"$0" -m $1 $2 > /dev/full; echo $?; "$0" -m $1 $2 2> err | true; cat err'
    done = subprocess.run(
        ["sh", "-c", f"cd $(mktemp -d) && {script}; rm -r $PWD", sys.executable, module, words],
        env={"PYTHONPATH": ":".join(path for path in sys.path if path), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == "1\n"
    programs = {"guestlink_host": "guestlink-host", "guestlink_host.vsh": "vsh", "sommelier_shim": "sommelier"}
    assert done.stderr == f"{programs.get(module, module)}: cannot write: no space left on device\n"


@pytest.mark.parametrize("parser", PARSERS, ids=["guestlink", "guestlink-host"])
def test_help_as_a_command_is_answered_with_the_switch(parser: _Parser) -> None:
    with pytest.raises(GuestlinkError) as caught:
        parser().parse_args(["help", "launch"])
    assert caught.value.hint.startswith("did you mean --help?")
