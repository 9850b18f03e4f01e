"""vsh's command line: the original's rules (chromeos-vsh.md §3.14) and our additions."""

from __future__ import annotations

import pytest

from guestlink.errors import GuestlinkError
from guestlink_host.vsh.options import VshOptions, parse


def test_a_container_alone_means_a_login_shell() -> None:
    arguments = parse(["work"])
    assert (arguments.name, arguments.argv, arguments.env, arguments.user) == ("work", (), (), "")
    assert not arguments.direct
    assert arguments.target == "work"


@pytest.mark.parametrize(
    "words",
    [
        ["work", "--", "ls", "-l"],
        ["--target_container=work", "--", "ls", "-l"],
        ["-target_container=work", "ls", "-l"],
        ["--vm_name=termina", "--owner_id=0123", "--target_container=work", "--", "ls", "-l"],
        ["--listen_port=0", "work", "--", "ls", "-l"],
    ],
)
def test_a_command_stands_behind_the_container(words: list[str]) -> None:
    assert parse(words) == VshOptions(name="work", argv=("ls", "-l"))


def test_options_stand_before_or_behind_the_name() -> None:
    for words in (["--user=ana", "-T", "work", "--", "x"], ["work", "--user", "ana", "-T", "--", "x"]):
        arguments = parse(words)
        assert (arguments.user, arguments.terminal, arguments.argv) == ("ana", False, ("x",))


def test_leading_assignments_are_variables() -> None:
    """Case K10 (chromeos-vsh.md §11.3)."""
    arguments = parse(["work", "--", "K=v", "PATH=", "cmd", "a=b"])
    assert arguments.env == (("K", "v"),)
    assert arguments.argv == ("PATH=", "cmd", "a=b")


@pytest.mark.parametrize("word", ["A=b=c", "A=", "=b", " =b", "A= ", "A"])
def test_what_is_no_assignment_begins_the_command(word: str) -> None:
    assert parse(["work", "--", word, "B=c"]).argv == (word, "B=c")


def test_a_cwd_of_digits_is_a_process() -> None:
    """Case K11 (chromeos-vsh.md §11.3)."""
    assert parse(["work", "--cwd=42"]).cwd_pid == 42
    assert parse(["work", "--cwd=42"]).cwd == ""
    assert parse(["work", "--cwd=/srv/x"]).cwd == "/srv/x"
    assert parse(["work", "--cwd=terminal_id:4"]).cwd == "terminal_id:4"


def test_direct_mode_asks_for_the_machine() -> None:
    arguments = parse(["--cid=35", "--", "id"])
    assert (arguments.cid, arguments.user, arguments.target) == (35, "chronos", "/vm_shell")
    assert arguments.argv == ("id",)
    assert arguments.direct
    assert parse(["--cid=35", "--user=root"]).user == "root"
    assert parse(["--connect=unix:/run/x.sock", "id", "-u"]).argv == ("id", "-u")


def test_env_may_be_given_often_and_may_be_empty() -> None:
    arguments = parse(["--env=A=1", "work", "--env", "B=", "--", "C=3", "cmd"])
    assert arguments.env == (("A", "1"), ("B", ""), ("C", "3"))


@pytest.mark.parametrize(
    ("words", "escape"),
    [([], 126), (["-e", "none"], None), (["-e%"], ord("%")), (["-e", "^B"], 2), (["-enone"], None)],
)
def test_the_escape_character_is_chosen_as_with_ssh(words: list[str], escape: int | None) -> None:
    assert parse([*words, "work"]).escape == escape


def test_container_features_are_numbers() -> None:
    assert parse(["work", "--container_features=1,3"]).features == (1, 3)


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ([], 1, "the container's name is missing"),
        ([""], 1, "name is empty"),
        (["ana@"], 1, "name is empty"),
        (["work", "--cwd="], 65, "the directory's name is empty"),
        (["work", "--user="], 65, "the user's name is empty"),
        (["work", "--", "HOME=/x", "cmd"], 65, "HOME cannot be set"),
        (["work", "--env=USER=x"], 65, "USER cannot be set"),
        (["work", "--token-file=x"], 64, "--token-file has no effect"),
        (["--connect=unix:/x", "--token-file=x"], 64, "--token-file has no effect"),
        (["--cid=3", "--container_features=1"], 64, "--container_features has no effect with --cid"),
        (["--target_container=work", "--cid=3"], 64, "--cid has no effect"),
        (["--cid=3", "--listen_port=4", "work"], 64, "--cid has no effect"),
        (["--colour=red", "work"], 64, "there is no option --colour"),
        (["-z", "work"], 64, "there is no option -z"),
        (["--cid=x"], 65, "--cid=x is not a number"),
        (["--cid=4294967296"], 65, "is not a number"),
        (["--cid=²"], 65, "is not a number"),
        (["work", "--listen_port=-1"], 65, "is not a number"),
        (["work", "--container_features=a"], 65, "is not a number"),
        (["work", "--user"], 65, "--user needs a value"),
        (["work", "--env=novalue"], 65, "sets no variable"),
        (["work", "-e", "ab"], 65, "is not an escape character"),
        (["--cid=3", "--connect=unix:/x"], 1, "exclude each other"),
        (["--vm_name=termina", "--owner_id=1"], 1, "machines have no names"),
    ],
)
def test_mistakes_are_named_with_the_originals_status(words: list[str], status: int, said: str) -> None:
    with pytest.raises(GuestlinkError, match=said) as caught:
        parse(words)
    assert caught.value.exit_code == status


def test_help_and_version_need_nothing_else() -> None:
    assert parse(["--help"]).help
    assert parse(["-h"]).help
    assert parse(["work", "--version"]).version
    assert parse(["work", "--", "--help"]).argv == ("--help",)


def test_a_home_directory_is_where_a_session_begins() -> None:
    assert [parse(["work", f"--cwd={cwd}"]).cwd for cwd in ("~", "~/a", "a", "~ana")] == [".", "./a", "a", "~ana"]
