"""The user of a session, and the environment of its program (chromeos-vsh.md §3.5, §3.6). No I/O."""

from __future__ import annotations

import os
import pwd

import pytest

from guestlink.vsh import Setup
from vshd.account import Account, Refused, choose_account
from vshd.environment import session_environ, target_environ
from vshd.login import login_environ, parse_block

ANA = Account("ana", 1000, 1000, "/home/ana", "/bin/zsh", False)
OTHER = ANA._replace(switches=True)
OWN = pwd.getpwuid(os.getuid()).pw_name


def test_what_belongs_to_the_service_is_not_the_users() -> None:
    inherited = {b"NOTIFY_SOCKET": b"1", b"LISTEN_FDS": b"1", b"PYTHONPATH": b"x", b"LANG": b"de_DE.UTF-8"}
    assert session_environ(inherited, {}, ANA) == {b"LANG": b"de_DE.UTF-8"}


def test_another_users_session_inherits_no_session() -> None:
    inherited = {b"XDG_RUNTIME_DIR": b"/run/user/0", b"DISPLAY": b":0", b"LANG": b"C"}
    assert session_environ(inherited, {}, OTHER) == {b"LANG": b"C"}


def test_the_managers_word_on_displays_is_the_newest() -> None:
    inherited = {b"DISPLAY": b":0", b"EDITOR": b"vi"}
    manager = {b"DISPLAY": b":1", b"DISPLAY_LOW_DENSITY": b":2", b"EDITOR": b"nano", b"PAGER": b"less"}
    assert session_environ(inherited, manager, ANA) == {
        b"DISPLAY": b":1",
        b"DISPLAY_LOW_DENSITY": b":2",
        b"EDITOR": b"vi",
        b"PAGER": b"less",
    }


def test_the_client_wins_over_the_session_and_the_account_over_all() -> None:
    environ = target_environ({b"A": b"1", b"B": b"1"}, {b"B": b"2", b"HOME": b"/x"}, ANA)
    assert environ == {
        b"A": b"1",
        b"B": b"2",
        b"TERM": b"linux",
        b"PATH": b"/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games",
        b"SHELL": b"/bin/zsh",
        b"HOME": b"/home/ana",
        b"USER": b"ana",
        b"LOGNAME": b"ana",
    }
    assert target_environ({}, {b"TERM": b""}, ANA)[b"TERM"] == b""
    assert b"/usr/sbin" in target_environ({}, {}, ANA._replace(uid=0))[b"PATH"]


def test_the_managers_block_is_read_as_a_shell_would() -> None:
    text = "A=plain\nB=$'two\\nlines \\'q\\' \\x41\\101'\nC=\nD=\"a \\\"b\\\" \\$c\"\nnothing\n=x\n"
    assert dict(parse_block(text)) == {b"A": b"plain", b"B": b"two\nlines 'q' AA", b"C": b"", b"D": b'a "b" $c'}
    odd = "one\N{LINE SEPARATOR}two\x85three\x0cfour"
    assert dict(parse_block(f"A={odd}\nB=x\n")) == {b"A": odd.encode(), b"B": b"x"}


def test_a_runtime_directory_is_found_and_a_locale_kept(tmp_path: os.PathLike[str]) -> None:
    open(os.path.join(tmp_path, "bus"), "w").close()
    inherited = {b"XDG_RUNTIME_DIR": os.fsencode(tmp_path), b"LANG": b"C"}
    environ = login_environ(ANA, inherited)
    assert environ[b"XDG_RUNTIME_DIR"] == os.fsencode(tmp_path)
    assert environ[b"DBUS_SESSION_BUS_ADDRESS"] == b"unix:path=" + os.fsencode(tmp_path) + b"/bus"
    assert b"LANG" not in environ


def test_users() -> None:
    assert choose_account(Setup(), "chronos", True).name == OWN
    assert choose_account(Setup("any", OWN.encode()), "chronos", True).switches is False
    for setup in (Setup("any", b"nosuchuser"), Setup("/vm_shell"), Setup("any", b"a\xff")):
        with pytest.raises(Refused, match="no user"):
            choose_account(setup, "chronos-of-nowhere", True)


def test_without_switching_everything_is_the_daemons() -> None:
    own = choose_account(Setup("any", b"nosuchuser"), "chronos", False)
    assert (own.uid, own.home, own.shell, own.switches) == (os.getuid(), "/", "/bin/sh", False)
    assert choose_account(Setup("/vm_shell", b"chronos"), "chronos", False).uid == os.getuid()
    with pytest.raises(Refused, match="does not switch"):
        choose_account(Setup("/vm_shell", b"ana"), "chronos", False)


def test_only_root_becomes_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4242)
    with pytest.raises(Refused, match="use sudo"):
        choose_account(Setup("any", b"root"), "chronos", True)
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert choose_account(Setup("any", b"nobody"), "chronos", True).switches
