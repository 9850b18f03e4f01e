"""vsh as a replacement for ssh: rsync, git, scp, sftp and Ansible start it, with file names that break shells."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.host_side import HostSide, reachable_container
from support.needs import need
from support.stage import CHECKOUT, Stage

NAME = "work"
ODD = (
    b"plain",
    b"two words",
    b" edges ",
    b'it\'s "quoted"',
    b"$HOME `id` $(id) ${x}",
    b"star * [a-z] ?",
    b"new\nline",
    b"back\\slash\\",
    b"-rf",
    b"--delete",
    b"~",
    b"#hash;semi&colon|<>()!",
    "größe".encode(),
    b"latin1-\xe9\xff",
    b"a=b",
)
"""File names; all are legal."""
FOLDERS = (b"two  words 'q\"$HOME`id`$(id)", b"*[a-z]?\\;&|<>(){}~!#", "größe".encode() + b"\xe9\xff")
"""Folder names in a command line."""


class Rig(HostSide):
    """``vsh`` is on the PATH; a second folder is the container's."""

    def __init__(self, running: Stage) -> None:
        super().__init__(running)
        self.there = running.root / "there"
        self.there.mkdir()
        programs = running.root / "bin"
        programs.mkdir()
        (programs / "vsh").write_text(f'#!/bin/sh\nexec {sys.executable} -m guestlink_host.vsh "$@"\n')
        (programs / "vsh").chmod(0o755)
        self.environ |= {
            "PATH": f"{programs}:{running.host_environ['PATH']}",
            "GIT_CONFIG_NOSYSTEM": "1",
            **{f"GIT_{role}_{what}": "x" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        }


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with reachable_container(NAME) as made:
        yield Rig(made)


def fill(folder: bytes) -> dict[bytes, bytes]:
    """Create a folder with a file for each odd name; returns the files' contents."""
    os.mkdir(folder)
    for number, name in enumerate(ODD):
        Path(os.fsdecode(folder + b"/" + name)).write_bytes(b"%d" % number)
    return contents(folder)


def contents(folder: bytes) -> dict[bytes, bytes]:
    return {name: Path(os.fsdecode(folder + b"/" + name)).read_bytes() for name in os.listdir(folder)}


def test_rsync_writes_where_it_is_told_and_reads_from_there(rig: Rig) -> None:
    need("rsync", packages="rsync")
    for number, name in enumerate((*FOLDERS, b"new\nline")):
        source = os.fsencode(rig.here / f"rsync-{number}")
        there = os.fsencode(rig.there) + b"/rsync " + name
        back = source + b"-back"
        wanted = fill(source)
        # rsync's own quoting for the remote shell loses newlines, over ssh too; -s sends names in rsync's protocol.
        rsync = ["rsync", "-as" if b"\n" in name else "-a", "-e", "vsh"]
        rig.run(*rsync, source + b"/", b"work:" + there + b"/")
        assert contents(there) == wanted
        rig.run(*rsync, b"work:" + there + b"/", back + b"/")
        assert contents(back) == wanted


def test_rsync_names_single_files(rig: Rig) -> None:
    need("rsync", packages="rsync")
    there = os.fsencode(rig.there) + b"/single"
    wanted = {name: content for name, content in fill(there).items() if b"\n" not in name}
    (rig.here / "single").mkdir()
    names = [b":" + there + b"/" + name for name in wanted]
    rig.run("rsync", "-a", "-e", "vsh", b"work" + names[0], *names[1:], "single/")
    assert contents(os.fsencode(rig.here / "single")) == wanted


@pytest.mark.parametrize("variant", ["auto", "simple", "ssh"])
def test_git_clones_and_pushes(rig: Rig, variant: str) -> None:
    name = 'it\'s my $HOME "*"'
    need("git", packages="git")
    repository = rig.there / f"{variant} {name}.git"
    rig.run("git", "init", "-q", "--bare", "-b", "main", str(repository))
    git = ["git", "-c", "core.sshCommand=vsh", "-c", f"ssh.variant={variant}", "-c", "protocol.version=2"]
    clone = rig.here / f"{variant} {name}"
    rig.run(*git, "clone", "-q", f"work:{repository}", str(clone))
    (clone / "file").write_text(name)
    rig.run("git", "-C", str(clone), "add", "file")
    rig.run("git", "-C", str(clone), "commit", "-q", "-m", "one")
    rig.run(*git, "-C", str(clone), "push", "-q", "origin", "HEAD:main")
    said = rig.run(*git, "ls-remote", f"work:{repository}", GIT_TRACE_PACKET="1", status=0).stderr
    assert (b"version 2" in said) is (variant != "simple")
    assert rig.run("git", "--git-dir", str(repository), "show", "main:file").stdout == name.encode()


def test_scp_copies_each_way(rig: Rig) -> None:
    need("scp", "sftp", packages="openssh-client openssh-sftp-server")
    source, there = os.fsencode(rig.here / "scp"), os.fsencode(rig.there) + b"/" + FOLDERS[0]
    wanted = fill(source)
    rig.run("scp", "-qr", "-S", "vsh", source, b"work:" + there)
    assert contents(there) == wanted
    rig.run("scp", "-qr", "-S", "vsh", b"work:" + there, source + b"-back")
    assert contents(source + b"-back") == wanted


def test_scp_copies_each_way_in_its_old_protocol(rig: Rig) -> None:
    """The old protocol makes the name a part of a shell command, which scp's user has to quote (scp(1), -O)."""
    need("scp", packages="openssh-client")
    (rig.here / "scp-old").write_text("content")
    name = f"{rig.there}/{FOLDERS[0].decode()} old"
    rig.run("scp", "-qOT", "-S", "vsh", "scp-old", f"work:{shlex.quote(name)}")
    assert Path(name).read_text() == "content"
    rig.run("scp", "-qOT", "-S", "vsh", f"work:{shlex.quote(name)}", "scp-old-back")
    assert (rig.here / "scp-old-back").read_text() == "content"


def test_sftp_copies_each_way(rig: Rig) -> None:
    need("sftp", packages="openssh-client openssh-sftp-server")
    (rig.here / "by-sftp").write_bytes(os.urandom(100_000))
    batch = f'put by-sftp "{rig.there}/by sftp"\nget "{rig.there}/by sftp" sftp-back\n'
    rig.run("sftp", "-q", "-S", "vsh", "-b", "-", "work", stdin=batch.encode())
    assert (rig.here / "sftp-back").read_bytes() == (rig.here / "by-sftp").read_bytes()


def test_ansible_runs_a_playbook_and_tells_unreachable_from_failed(rig: Rig) -> None:
    need("ansible-playbook", packages="ansible-core")
    (rig.here / "for ansible").write_text("content")
    playbook = rig.here / "playbook.yaml"
    playbook.write_text(
        f"""\
- hosts: all
  gather_facts: false
  tasks:
    - copy: {{src: "{rig.here}/for ansible", dest: "{rig.there}/by ansible"}}
    - shell: echo "$0 *"; exit 255
      register: said
      failed_when: said.rc != 255
"""
    )
    variables = {
        "ANSIBLE_SSH_EXECUTABLE": "vsh", "ANSIBLE_SFTP_EXECUTABLE": "sftp", "ANSIBLE_SFTP_EXTRA_ARGS": "-S vsh",
        "ANSIBLE_REMOTE_TEMP": str(rig.there / "ansible"), "ANSIBLE_LOCAL_TEMP": str(rig.here / "ansible"),
        "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3", "LC_ALL": "C.UTF-8",
    }  # fmt: skip
    rig.run("ansible-playbook", "-i", "work,", str(playbook), **variables)
    assert (rig.there / "by ansible").read_text() == "content"
    out = rig.run("ansible-playbook", "-i", "nobody,", str(playbook), status=4, **variables).stdout
    assert b"UNREACHABLE" in out


def test_parallel_runs_its_jobs_there(rig: Rig) -> None:
    need("parallel", packages="parallel")
    words = ["two  words", "it's $HOME", "größe"]
    argv = [
        "parallel",
        "--will-cite",
        "--keep-order",
        "--ssh",
        "vsh",
        "-S",
        "2/work",
        "printf '%s|' {}",
        ":::",
    ]
    done = rig.run(*argv, *words, HOME=str(rig.here))
    assert done.stdout.decode() == "".join(f"{word}|" for word in words)


def test_the_commands_of_the_documentation_work_as_they_stand(rig: Rig) -> None:
    need("rsync", "git", "scp", "sftp", packages="rsync git openssh-client openssh-sftp-server")
    text = (CHECKOUT / "docs/host.md").read_text()
    block = text.partition("### vsh in ssh's place")[2].partition("```\n")[2].partition("```")[0]
    commands = [line.partition(" #")[0].strip() for line in block.splitlines()]
    assert len(commands) >= 6
    (rig.here / "src").mkdir()
    (rig.here / "src/notes.txt").write_text("notes")
    (rig.there / "my files").mkdir()
    rig.run("git", "init", "-q", "--bare", str(rig.there / "my project.git"))
    for command in commands:
        rig.run("sh", "-ec", command.replace("/srv", str(rig.there)), stdin=b"bye\n")
    assert (rig.there / "my files/notes.txt").read_text() == "notes"
    assert (rig.here / "my project/.git").is_dir()


def test_long_commands_run_with_their_own_input(rig: Rig) -> None:
    need("rsync", packages="rsync")
    every = bytes(range(1, 256)) * 40
    words = [every, b"", b"it's\n"]
    echo = ["sh", "-c", 'printf "%s|" "$@"; cat', "sh", *words]
    assert rig.run("vsh", "work", "--", *echo, stdin=b"own input").stdout == b"|".join([*words, b"own input"])
    long = f"cat; exit $(( {'1+' * 5000}0 - 4993 ))"
    assert rig.run("vsh", "-n", "work", long, status=7, stdin=b"x").stdout == b""
    there = os.fsencode(rig.there) + b"/many"
    os.mkdir(there)
    names = [f"file number {number} with a name".encode() for number in range(300)]
    for name in names:
        Path(os.fsdecode(there + b"/" + name)).touch()
    first, *others = (there + b"/" + name for name in names)
    (rig.here / "many").mkdir()
    rig.run("rsync", "-a", "-e", "vsh", b"work:" + first, *(b":" + path for path in others), "many/")
    assert contents(os.fsencode(rig.here / "many")).keys() == set(names)


def test_a_line_is_read_by_the_users_shell_as_with_ssh(rig: Rig) -> None:
    assert rig.run("vsh", "work", "cd /usr && echo l*ca[l] $((1+1)) | cat").stdout == b"local 2\n"
    assert rig.run("vsh", "work", "printf '%s|'", "a  b", "'c  d'", "-n").stdout == b"a|b|c  d|-n|"
    assert rig.run("vsh", "-q", "--", "work", "echo", "-n", "x").stdout == b"x"
    silent = rig.run("vsh", "work", "-T", "-e", "none", "exit 7", status=7)
    assert (silent.stdout, silent.stderr) == (b"", b"")
    assert rig.run("vsh", "-n", "work", "cat", stdin=b"not read").stdout == b""
    assert rig.run("vsh", "work", "cat", stdin=b"read").stdout == b"read"


def test_words_behind_the_dashes_stay_as_they_are(rig: Rig) -> None:
    words = ["a  b", "*", "$HOME", "", "'", "\n", "-n"]
    assert rig.run("vsh", "work", "--", "printf", "%s|", *words).stdout == "|".join([*words, ""]).encode()


def test_variables_are_sent_as_ssh_sends_them(rig: Rig) -> None:
    line = 'echo "$GIT_A-$LC_X-$OTHER-$SET-$HOME"'
    home = rig.run("vsh", "work", "--", "sh", "-c", 'printf %s "$HOME"').stdout.decode()
    words = ["-o", "SendEnv=GIT_* LC_X HOME", "-oSetEnv=SET='x y'", "work", line]
    out = rig.run("vsh", *words, GIT_A="1", LC_X="2", OTHER="3").stdout
    assert out.decode() == f"1-2--x y-{home}\n"


def test_failures_of_vsh_itself_have_sshs_status(rig: Rig) -> None:
    for words in (["nobody", "true"], ["nouser@work", "true"], ["-l", "nouser", "work", "true"]):
        assert rig.run("vsh", *words, status=255).stderr.startswith(b"vsh: ")
    assert b"nouser" in rig.run("vsh", "nouser@work", "--", "true", status=1).stderr


def test_a_session_in_the_background_runs_on(rig: Rig) -> None:
    mark, go = rig.there / "mark", rig.there / "go"
    os.mkfifo(go)
    # As with ssh, later output of the command still goes to vsh's standard output.
    line = f"read x < {go}; echo $x > {mark}.new; mv {mark}.new {mark}"
    rig.run("sh", "-c", 'vsh -f work "$0" >/dev/null 2>&1', line)
    assert not mark.exists()
    go.write_text("done\n")
    rig.stage.wait("the command in the background ends", mark.exists)
    assert mark.read_text() == "done\n"
