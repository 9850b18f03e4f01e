#!/usr/bin/env python3
"""``completion.py SHELL PROGRAM``: print a program's completions for bash, zsh or fish.

They come from the program's own argparse parser, or else from its help text.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).resolve().parents[1]

PROGRAMS = {
    "guestlink": "garcon.client.cli:argument_parser",
    "guestlink-host": "guestlink_host.control.parser:argument_parser",
    "sommelier": "sommelier_shim.options:help_text",
    "vsh": "guestlink_host.vsh.options:HELP",
}
"""Where each program's command line is defined."""

FILE, DIRECTORY, USER, PROGRAM = "file", "directory", "user", "program"
CONTAINER, INSTANCE, APPLICATION, POLICY_VALUE = "container", "instance", "application", "policy value"
_KINDS = {
    "FILE": FILE,
    "URL|FILE": FILE,
    "FOLDER": DIRECTORY,
    "DIRECTORY": DIRECTORY,
    "USER": USER,
    "[--] COMMAND ...": PROGRAM,
    "PROGRAM": PROGRAM,
}
_ASKED = {
    CONTAINER: "containers",
    INSTANCE: "instances",
    APPLICATION: "applications",
    POLICY_VALUE: "policy-values",
}
"""Kinds whose words `guestlink-host candidates` prints. For applications and values, the container or the policy is
the operand before.

In guestlink-host's parser they are the attribute ``completes`` of an argument.
"""
_ASKED_FOR = {asked: kind for kind, asked in _ASKED.items()}

Values = str | tuple[str, ...]
"""A kind from above, a tuple of choices, or "" for a value that cannot be completed."""


class Option(NamedTuple):
    """A switch.

    :ivar names: with their hyphens; one that ends in ``=`` takes its value in the same word.
    :ivar values: the possible values, or ``None`` for a switch without a value.
    """

    names: tuple[str, ...]
    help: str
    values: Values | None


class Command(NamedTuple):
    """A program, or a command of one.

    :ivar operands: the kind of each operand; the last one repeats, and is "" where none may follow.
    """

    name: str
    help: str
    options: tuple[Option, ...]
    operands: tuple[Values, ...]
    commands: tuple[Command, ...] = ()


def command_line(program: str) -> Command:
    """A program's command line, from its own definition."""
    module, _, name = PROGRAMS[program].partition(":")
    defined = getattr(import_module(module), name)
    found = defined() if callable(defined) else defined
    names = CONTAINER if program in ("guestlink-host", "vsh") else USER
    if isinstance(found, str):
        first = re.search(rf"^usage: {program} (\w+)", found)
        operands = (names, PROGRAM) if first and first[1] == "NAME" else (PROGRAM,)
        return Command(program, "", _options_of_help(found), operands)
    return _from_parser(program, "", found, names)


def _from_parser(name: str, text: str, parser: argparse.ArgumentParser, names: str) -> Command:
    kinds = _KINDS | {"NAME": names}
    options: list[Option] = []
    operands: list[Values] = []
    commands: list[Command] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            commands = [_from_parser(key, helps.get(key, ""), one, names) for key, one in action.choices.items()]
            continue
        metavar = action.metavar if isinstance(action.metavar, str) else ""
        asked = _ASKED_FOR.get(getattr(action, "completes", ""))
        values: Values = asked or kinds.get(metavar, "")
        if action.choices and asked is None:
            values = tuple(str(choice) for choice in action.choices)
        if action.option_strings:
            taken = None if action.nargs == 0 else values
            options.append(Option(tuple(action.option_strings), action.help or "", taken))
        else:
            operands.append(values)
            if action.nargs in (None, "?") and action is parser._actions[-1]:
                operands.append("")
    return Command(name, text, tuple(options), tuple(operands), tuple(commands))


def _options_of_help(text: str) -> tuple[Option, ...]:
    options = []
    for line in text.splitlines():
        if (found := re.match(r"  (-\S.*?)(?:  +(.*))?$", line)) is None:
            continue
        for word in re.split(r", (?=-)", found[1]):
            name, equals, value = word.partition("=")
            if equals and " " not in name:
                options.append(Option((name + "=",), found[2] or "", _KINDS.get(value, "")))
            else:
                name, _, value = word.partition(" ")
                options.append(Option((name,), found[2] or "", "" if value else None))
    return tuple(options)


# bash


def bash(program: Command) -> str:
    """Completions for bash: one function that finds the command, then completes the current word."""
    name = _identifier(program.name)
    lines = [
        f"# bash completion for {program.name}",
        f"{name}()",
        "{",
        "    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}",
        "    local command= first= place=0 i",
        "    COMPREPLY=()",
        # bash treats = and @ as separate words.
        "    [[ $current != = ]] || { current= previous=$previous=; }",
        "    [[ $current != @ ]] || current=",
        "    [[ $previous != = || $COMP_CWORD -lt 2 ]] || previous=${COMP_WORDS[COMP_CWORD-2]}=",
        "    for ((i = 1; i < COMP_CWORD; i++)); do",
        "        [[ ${COMP_WORDS[i]} != [-=@]* && ${COMP_WORDS[i-1]} != = ]] || continue",
        "        [[ ${COMP_WORDS[i+1]-} != @ ]] || continue",
    ]
    everything = (program, *program.commands)
    valued = sorted(
        {
            name
            for one in everything
            for option in one.options
            if option.values is not None
            for name in option.names
            if not name.endswith("=")
        }
    )
    if valued:
        lines.append(f"        [[ ' {' '.join(valued)} ' != *\" ${{COMP_WORDS[i-1]}} \"* ]] || continue")
    if program.commands:
        lines.append("        if [[ -z $command ]]; then command=${COMP_WORDS[i]}; continue; fi")
    lines += ["        [[ $place != 0 ]] || first=${COMP_WORDS[i]}", "        place=$((place + 1))"]
    lines += ["    done", "    case $command in"]
    for command in program.commands or (program,):
        pattern = command.name if program.commands else "*"
        lines += [
            f"        {pattern})",
            *(f"            {line}" for line in _bash_command(command)),
            "            ;;",
        ]
    if program.commands:
        words = [one.name for one in program.commands] + [n for option in program.options for n in option.names]
        lines += ["        '')", f"            {_bash_reply(tuple(words))}", "            ;;"]
    lines += ["    esac", "}", f"complete -F {name} {program.name}"]
    return "\n".join(lines) + "\n"


def _bash_command(command: Command) -> list[str]:
    valued = [
        f"    {' | '.join(_with_equals(option.names))}) {_bash_reply(option.values)}; return ;;"
        for option in command.options
        if option.values is not None
    ]
    lines = ["case $previous in", *valued, "esac"] if valued else []
    lines.append("if [[ $current == -* ]]; then")
    names = tuple(name for option in command.options for name in option.names)
    lines.append(f"    {_bash_reply(names)}")
    if any(name.endswith("=") for name in names):
        lines.append("    [[ ${COMPREPLY[0]-} != *= ]] || compopt -o nospace")
    lines += ["    return", "fi"]
    if not command.operands:
        return lines
    lines.append("case $place in")
    for index, values in enumerate(command.operands):
        last = index == len(command.operands) - 1
        lines.append(f"    {'*' if last else index}) {_bash_reply(values)} ;;")
    lines.append("esac")
    return lines


def _with_equals(names: tuple[str, ...]) -> list[str]:
    """The names of a switch with a value, also with the value in the same word."""
    return [*names, *(f"{name}=" for name in names if name.startswith("--") and not name.endswith("="))]


def _bash_reply(values: Values) -> str:
    if isinstance(values, tuple):
        return f'COMPREPLY=($(compgen -W {_quote(" ".join(values))} -- "$current"))'
    return {
        # bash itself knows how to quote the names of files.
        FILE: "compopt -o default",
        DIRECTORY: "compopt -o dirnames",
        USER: 'COMPREPLY=($(compgen -u -- "$current"))',
        PROGRAM: 'COMPREPLY=($(compgen -c -- "$current"))',
        CONTAINER: _bash_asked(CONTAINER),
        INSTANCE: _bash_asked(INSTANCE),
        APPLICATION: _bash_asked(APPLICATION, '"$first"'),
        POLICY_VALUE: _bash_asked(POLICY_VALUE, '"$previous"'),
    }.get(values, ":")


def _bash_asked(kind: str, argument: str = "") -> str:
    asked = f"guestlink-host candidates {_ASKED[kind]} {argument}".strip()
    return f'local IFS=$\'\\n\'; COMPREPLY=($(compgen -W "$({asked} 2> /dev/null)" -- "$current"))'


# zsh


def zsh(program: Command) -> str:
    """Completions for zsh, with ``_arguments``."""
    lines = [f"#compdef {program.name}", "", f"{_identifier(program.name)}_candidates() {{"]
    # $line[1] is the container when an application is completed, and $line[2] the policy when its value is.
    lines += ["    local -a found", "    [[ $1 != applications ]] || set -- $1 ${line[1]}"]
    lines += ["    [[ $1 != policy-values ]] || set -- $1 ${line[2]}"]
    lines += ['    found=(${(f)"$(guestlink-host candidates $@ 2> /dev/null)"})', "    compadd -a found", "}", ""]
    if not program.commands:
        return "\n".join([*lines, *_zsh_arguments(program, program.name)]) + "\n"
    lines += ["local -a ours", "ours=("]  # zsh itself has the parameter "commands".
    lines += [f"    {_quote(f'{one.name}:{one.help}')}" for one in program.commands]
    lines += [")", "if ((CURRENT == 2)); then", "    _describe command ours"]
    lines += [f"    compadd -- {' '.join(name for option in program.options for name in option.names)}"]
    lines += ["    return", "fi", "shift words", "((CURRENT--))", "case $words[1] in"]
    for command in program.commands:
        lines += [
            f"    {command.name})",
            *(f"        {line}" for line in _zsh_arguments(command, program.name)),
            "        ;;",
        ]
    return "\n".join([*lines, "esac"]) + "\n"


def _zsh_arguments(command: Command, program: str) -> list[str]:
    specs = []
    for option in command.options:
        text = option.help.replace("[", "(").replace("]", ")").replace(":", r"\:")
        for name in option.names:
            switch = name[:-1] + "=-" if name.endswith("=") else name
            if option.values is not None and name.startswith("--") and not name.endswith("="):
                switch += "="
            value = "" if option.values is None else f":value:{_zsh_action(option.values, program)}"
            others = f"({' '.join(option.names)})" if len(option.names) > 1 else ""
            specs.append(f"{others}{switch}[{text}]{value}")
    for index, values in enumerate(command.operands):
        place = "*" if index == len(command.operands) - 1 else str(index + 1)
        specs.append(f"{place}:word:{_zsh_action(values, program)}")
    return ["_arguments \\", *(f"    {_quote(spec)} \\" for spec in specs[:-1]), f"    {_quote(specs[-1])}"]


def _zsh_action(values: Values, program: str) -> str:
    if isinstance(values, tuple):
        return f"({' '.join(values)})"
    return {
        FILE: "_files",
        DIRECTORY: "_files -/",
        USER: "_users",
        PROGRAM: "_command_names -e",
        # The leading space keeps _arguments from inserting compadd's switches.
        **{kind: f" {_identifier(program)}_candidates {asked}" for kind, asked in _ASKED.items()},
    }.get(values, " ")


# fish


def fish(program: Command) -> str:
    """Completions for fish: a function finds the operands that are typed already, and so the next one."""
    words = f"_{_identifier(program.name)}_words"
    everything = (program, *program.commands)
    valued = sorted({name for one in everything for option in one.options if option.values is not None
                     for name in option.names if not name.endswith("=")})  # fmt: skip
    lines = [
        f"complete -c {program.name} -f",
        f"function {words}",
        "    set -l skip 0",
        "    for word in (commandline -opc)[2..]",
        "        if test $skip = 1",
        "            set skip 0",
        "        else if string match -q -- '-*' $word",
        f"            contains -- $word {' '.join(valued)}; and set skip 1",
        "        else",
        "            echo -- $word",
        "        end",
        "    end",
        "end",
        # Its arguments: a command or "", and the number of operands after it, as -eq or -ge of test.
        f"function {words}_are",
        f"    set -l words ({words})",
        '    test -n "$argv[1]"; and begin; test "$words[1]" = "$argv[1]"; or return 1; set -e words[1]; end',
        "    test (count $words) $argv[2] $argv[3]",
        "end",
    ]
    if not program.commands:
        return "\n".join([*lines, *_fish_command(program, program.name, "")]) + "\n"
    none = f"{words}_are '' -eq 0"
    lines += _fish_options(program, program.name, none)
    for command in program.commands:
        lines.append(
            f"complete -c {program.name} -n {_fish_quote(none)} -a {command.name} -d {_fish_quote(command.help)}"
        )
    for command in program.commands:
        lines += _fish_command(command, program.name, command.name)
    return "\n".join(lines) + "\n"


def _fish_command(command: Command, program: str, name: str) -> list[str]:
    words = f"_{_identifier(program)}_words"
    lines = _fish_options(command, program, f"{words}_are {name} -ge 0" if name else "")
    for index, values in enumerate(command.operands):
        if values:
            number = f"-{'ge' if index == len(command.operands) - 1 else 'eq'} {index}"
            condition = f"{words}_are {name or _fish_quote('')} {number}"
            before = f"({words})[{index + bool(name)}]"
            lines.append(f"complete -c {program} -n {_fish_quote(condition)}{_fish_values(values, before)}")
    return lines


def _fish_options(command: Command, program: str, condition: str) -> list[str]:
    lines = []
    when = f" -n {_fish_quote(condition)}" if condition else ""
    for option in command.options:
        names = "".join(
            f" -l {name[2:].rstrip('=')}" if name.startswith("--") else f" -s {name[1:]}" for name in option.names
        )
        # -r: a value follows; without -f files are offered.
        taken = "" if option.values is None else " -r" + _fish_values(option.values) if option.values else " -x"
        lines.append(f"complete -c {program}{when}{names}{taken} -d {_fish_quote(option.help)}")
    return lines


def _fish_values(values: Values, before: str = "") -> str:
    if isinstance(values, tuple):
        return f" -f -a {_fish_quote(' '.join(values))}"
    if values in _ASKED:
        argument = before if values in (APPLICATION, POLICY_VALUE) else ""
        asked = f"guestlink-host candidates {_ASKED[values]} {argument}".strip()
        return f" -f -a {_fish_quote(f'({asked} 2> /dev/null)')}"
    return {
        FILE: " -F",
        DIRECTORY: " -f -a '(__fish_complete_directories)'",
        USER: " -f -a '(__fish_complete_users)'",
        PROGRAM: " -f -a '(__fish_complete_command)'",
    }.get(values, "")


def _identifier(name: str) -> str:
    return "_" + name.replace("-", "_")


def _quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _fish_quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def main(argv: Sequence[str]) -> int:
    """Print one program's completions."""
    shells = {"bash": bash, "zsh": zsh, "fish": fish}
    if len(argv) != 2 or argv[0] not in shells or argv[1] not in PROGRAMS:
        print(f"usage: completion.py {'|'.join(shells)} {'|'.join(PROGRAMS)}", file=sys.stderr)
        return 2
    sys.path[:0] = [str(CHECKOUT / root) for root in ("lib", "guest", "host")]
    print(shells[argv[0]](command_line(argv[1])), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
