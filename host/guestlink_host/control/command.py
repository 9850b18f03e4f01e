"""The entries of the table of commands: a command line, a control call to the daemon, or both. Pure."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

CONTAINERS, APPLICATIONS, RIGHTS, SHELLS, DAEMON = (
    "CONTAINERS",
    "APPLICATIONS",
    "RIGHTS",
    "SHELLS AND FILES",
    "DAEMON",
)
SECTIONS = (CONTAINERS, APPLICATIONS, RIGHTS, SHELLS, DAEMON)
"""Sections of the manual page, in its order."""


class Argument(NamedTuple):
    """An operand or a switch of a command line.

    :ivar names: the name of an operand, or all spellings of a switch.
    :ivar options: argparse's keywords: ``metavar``, ``help``, ``type`` and so on.
    :ivar completes: what shells offer for it: a key of :data:`guestlink_host.control.candidates.KINDS`, or ``""``.
    :ivar group: switches with the same group exclude each other; ``""`` for none.
    """

    names: tuple[str, ...]
    options: Mapping[str, Any]
    completes: str = ""
    group: str = ""

    @property
    def is_switch(self) -> bool:
        """Whether it is a switch; otherwise it is an operand."""
        return self.names[0].startswith("-")


def argument(*names: str, completes: str = "", group: str = "", **options: Any) -> Argument:
    """An :class:`Argument`, written as for argparse."""
    return Argument(names, options, completes, group)


NAME = argument("name", metavar="NAME", completes="containers")
"""The operand that names a container of the daemon."""


class Field(NamedTuple):
    """A field of a control call.

    :ivar check: gets the field's name and its value, ``None`` if the request has no such field; returns the
        checked value, or raises GuestlinkError. See :mod:`guestlink_host.control.request_validation`.
    """

    name: str
    check: Callable[[str, object], Any]


class Call(NamedTuple):
    """A control call that the daemon serves.

    :ivar serve: the daemon's side: gets its :class:`~guestlink_host.parts.HostParts` and the checked fields as
        keywords; returns the answer's fields.
    :ivar text: what the call does, if that differs from the command's ``help``.
    """

    serve: Callable[..., Awaitable[dict[str, Any]]]
    fields: tuple[Field, ...] = ()
    text: str = ""


class Command(NamedTuple):
    """One entry of the table.

    :ivar help: what the command does: a line in lower case, without a full stop.
    :ivar section: its section in the manual page; ``""`` for a call without a command line.
    :ivar details: more sentences, for ``--help`` and the manual page; words in backticks are printed bold there.
    :ivar example: a command line without the program's name; required with :attr:`run`.
    :ivar json_text: what ``--json`` prints, for the manual page; ``""`` if the command does not have ``--json``.
    :ivar run: the command: gets the parsed arguments, returns the exit status.
    :ivar run_words: for a command that parses its own words; it returns the exit status.
    :ivar is_plumbing: whether only other programs use the command; ``--help`` does not list it then.
    :ivar call: the control call of the same name; ``None`` if the command needs none of its own.
    """

    name: str
    help: str
    section: str = ""
    details: str = ""
    example: str = ""
    arguments: tuple[Argument, ...] = ()
    json_text: str = ""
    run: Callable[[argparse.Namespace], int] | None = None
    run_words: Callable[[list[str]], int] | None = None
    is_plumbing: bool = False
    call: Call | None = None
