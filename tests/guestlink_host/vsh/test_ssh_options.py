"""ssh command lines, exactly as programs write them that start vsh instead of ssh."""

from __future__ import annotations

import pytest

from guestlink.errors import GuestlinkError
from guestlink_host.vsh.options import VshOptions, parse


def line(words: list[str]) -> VshOptions:
    """The parsed arguments; their command is the line for the user's shell."""
    arguments = parse(words)
    assert arguments.argv[:2] == ("/bin/sh", "-c")
    assert arguments.like_ssh
    return arguments._replace(argv=arguments.argv[3:])


@pytest.mark.parametrize(
    ("words", "command", "user"),
    [
        (["work", "ls", "-l", "a  b"], "ls -l a  b", ""),
        (["--", "work", "ls", "-l"], "ls -l", ""),
        (["-l", "ana", "work", "rsync", "--server", ".", "a\\ b"], "rsync --server . a\\ b", "ana"),
        (["-o", "SendEnv=GIT_PROTOCOL", "-4", "-p", "22", "ana@work", "git-upload-pack 'a b'"],
         "git-upload-pack 'a b'", "ana"),
        (["-x", "-oPermitLocalCommand=no", "-oClearAllForwardings=yes", "-oRemoteCommand=none", "-oRequestTTY=no",
          "-oForwardAgent=no", "-l", "ana", "--", "work", "scp -t a"], "scp -t a", "ana"),
        (["-q", "--", "work", "svnserve", "-t"], "svnserve -t", ""),
        (["-l", "ana", "work", "-e", "none", "unison", "-server"], "unison -server", "ana"),
        (["-q", "-l", "ana", "-e", "none", "-t", "-t", "work", "/bin/sh"], "/bin/sh", "ana"),
        (["-xCvvvlana", "work", "cmd"], "cmd", "ana"),
        (["ssh://ana@work:22/", "cmd"], "cmd", "ana"),
        (["-oProtocol=2", "-o", "CompressionLevel 9", "ssh://work", "cmd"], "cmd", ""),
        (["ana@work", "-l", "bob", "cmd"], "cmd", "ana"),
        (["-J", "none", "-o", "", "-o", "# comment", "-oIgnoreUnknown=Use*,x", "-oUseKeychain=yes", "work", "cmd"],
         "cmd", ""),
        (["work", "--", "exec", "perl", "-e", "x+y"], "exec perl -e x+y", ""),
        (["-o", 'User="ana"', "-o", "User bob", "eve@work", "cmd", "-o", "-l"], "cmd -o -l", "ana"),
    ],
)  # fmt: skip
def test_programs_give_a_line_for_the_shell(words: list[str], command: str, user: str) -> None:
    arguments = line(words)
    assert (arguments.name, arguments.argv, arguments.user) == ("work", (command,), user)


def test_words_behind_the_dashes_are_exact_and_so_are_the_originals() -> None:
    for words in (["ana@work", "--", "ls", "a b"], ["--", "ana@work", "--", "ls", "a b"]):
        assert parse(words) == VshOptions(name="work", user="ana", argv=("ls", "a b"))
    assert parse(["-target_container=work", "ls", "a b"]) == VshOptions(name="work", argv=("ls", "a b"))


def test_sftp_is_a_subsystem() -> None:
    by_sftp = ["-oForwardX11 no", "-oForwardAgent no", "-l", "ana", "-s", "--", "work", "sftp"]
    by_sshfs = ["-x", "-a", "-oClearAllForwardings=yes", "-2", "work", "-s", "sftp"]
    for words in (by_sftp, by_sshfs):
        arguments = parse(words)
        assert arguments.like_ssh
        assert "sftp-server" in arguments.argv[2]
    with pytest.raises(GuestlinkError, match="no subsystem 'netconf'"):
        parse(["-s", "work", "netconf"])


def test_options_change_the_session() -> None:
    assert [parse([*words, "work"]).terminal for words in ([], ["-tt"], ["-T"], ["-oRequestTTY=force"])] == [
        None, True, False, True,
    ]  # fmt: skip
    assert parse(["-oRequestTTY=auto", "work"]).terminal is None
    # Of ssh's keywords the first value counts; a switch always does.
    assert parse(["-oRequestTTY=no", "-oRequestTTY=force", "work"]).terminal is False
    assert parse(["-T", "-oRequestTTY=force", "work"]).terminal is False
    assert parse(["-oRequestTTY=no", "-t", "work"]).terminal is True
    assert not parse(["-oStdinNull=no", "-oStdinNull=yes", "work", "x"]).no_input
    assert parse(["-o", "EscapeChar none", "work"]).escape is None
    assert parse(["-n", "work", "x"]).no_input
    assert parse(["-f", "work", "x"]).background
    assert parse(["-f", "work", "x"]).no_input
    assert not parse(["-oStdinNull=no", "work", "x"]).no_input
    assert parse(["-G", "-o", "SendEnv=GIT_PROTOCOL", "work"]).prints_config
    assert parse(["-o", "SendEnv LANG LC_*", "-oSendEnv=-LC_X", "work"]).send_env == ("LANG", "LC_*", "-LC_X")
    assert parse(["-o", "SetEnv=A='x y' B=2", "work"]).env == (("A", "x y"), ("B", "2"))


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["-L", "1:b:2", "work"], 64, "vsh forwards no ports: -L"),
        (["-D1080", "work"], 64, "forwards no ports"),
        (["-N", "work"], 64, "without a shell"),
        (["-A", "work"], 64, "passes no agent on"),
        (["-o", "ForwardAgent=yes", "work"], 64, "passes no agent on"),
        (["-J", "b", "work"], 64, "goes through no other host"),
        (["-oProxyCommand=nc %h %p", "work"], 64, "goes through no other program"),
        (["-p", "2222", "work"], 64, "connects to no port"),
        (["-o", "Port=2222", "work"], 64, "connects to no port"),
        (["ssh://work:2222"], 64, "connects to no port"),
        (["-o", "SendEmv=X", "work"], 64, "there is no option -o SendEmv"),
        (["-oUseKeychain=yes", "-oIgnoreUnknown=UseKeychain", "work"], 64, "there is no option -o UseKeychain"),
        (["-o", "SetEnv A=x'y", "work"], 65, '-o SetEnv: a quote in "A=x\'y" is not closed'),
        (["-o", "RequestTTY=maybe", "work"], 65, "cannot be 'maybe'"),
        (["-o", "nothing", "work"], 65, "sets nothing"),
        (["-o"], 65, "-o needs a value"),
        (["-l"], 65, "-l needs a value"),
        (["-f", "work"], 64, "-f needs a command"),
        (["-xz", "work"], 64, "there is no option -z"),
    ],
)
def test_what_vsh_cannot_do_is_refused_and_not_ignored(words: list[str], status: int, said: str) -> None:
    with pytest.raises(GuestlinkError, match=said) as caught:
        parse(words)
    assert caught.value.exit_code == status
