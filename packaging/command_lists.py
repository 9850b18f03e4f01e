#!/usr/bin/env python3
"""``command_lists.py [--write]``: the parts of the documentation that list guestlink-host's commands and calls.

They are made from the table of commands (guestlink_host.control.table) and stand between marks in
docs/man/guestlink-host.1 and docs/internals.md. Without ``--write`` the program names the files that differ.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(CHECKOUT / root) for root in ("lib", "host") if str(CHECKOUT / root) not in sys.path]

from guestlink_host.control.command import SECTIONS, Argument, Command  # noqa: E402
from guestlink_host.control.table import COMMANDS  # noqa: E402

_JSON = """\
.SH JSON
.B \\-\\-json
prints one value in UTF-8. Later versions may add names, but keep these."""


def manual() -> str:
    """The manual page's sections about the commands, in roff."""
    lines: list[str] = []
    for section in SECTIONS:
        lines.append(f".SH {section}")
        for command in COMMANDS:
            if command.section == section:
                lines += _entry(command)
    lines.append(_JSON)
    for command in COMMANDS:
        if command.json_text:
            lines += [".TP", f".B {command.name}", *_sentences(command.json_text)]
    return "\n".join(lines) + "\n"


def _entry(command: Command) -> Iterator[str]:
    yield ".TP"
    yield f"{_bold(command.name)}{_usage(command)}"
    yield from _sentences(command.help, command.details)
    explained = [argument for argument in command.arguments if "help" in argument.options]
    if explained:
        yield ".RS"
        for argument in explained:
            yield ".TP"
            yield _switch(argument) if argument.is_switch else _operand(argument)
            yield from _sentences(argument.options["help"])
        yield ".RE"


def _usage(command: Command) -> str:
    words = []
    if any(argument.is_switch for argument in command.arguments):
        words.append(f"[{_italic('SWITCH')}...]")
    for argument in command.arguments:
        if not argument.is_switch:
            words.append(_operand(argument))
    if command.json_text:
        words.append(f"[{_bold('--json')}]")
    return "".join(f" {word}" for word in words)


def _operand(argument: Argument) -> str:
    choices = argument.options.get("choices", ())
    word = "|".join(map(_bold, choices)) or _italic(argument.options["metavar"])
    nargs = argument.options.get("nargs")
    return {None: word, "?": f"[{word}]", "*": f"[{word}...]"}.get(nargs, f"[{word}]")


def _switch(argument: Argument) -> str:
    options = argument.options
    value = ""
    if "action" not in options:
        choices = options.get("choices", ())
        plain = options.get("metavar") or argument.names[-1].lstrip("-").upper()
        value = " " + ("|".join(map(_bold, choices)) or _italic(plain))
    return ", ".join(_bold(name) + value for name in argument.names)


def _sentences(*texts: str) -> Iterator[str]:
    """Each text as a sentence on a line of its own."""
    for text in filter(None, texts):
        whole = text[0].upper() + text[1:]
        yield _roff(whole if whole.endswith(".") else f"{whole}.")


def _roff(text: str) -> str:
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    escaped = re.sub(r"`([^`]*)`", r"\\fB\1\\fR", escaped)
    escaped = re.sub(r"\b([a-z_]+)\(([1-8])\)", r"\\fB\1\\fR(\2)", escaped)
    return f"\\&{escaped}" if escaped[:1] in (".", "'") else escaped


def _bold(word: str) -> str:
    return f"\\fB{word}\\fR".replace("-", "\\-")


def _italic(word: str) -> str:
    return f"\\fI{word}\\fR".replace("-", "\\-")


def calls() -> str:
    """The table of guestlink-host's control calls, in Markdown."""
    lines = ["| Call | Fields | What |", "|---|---|---|"]
    for command in COMMANDS:
        if command.call is not None:
            fields = ", ".join(f"`{field.name}`" for field in command.call.fields) or "–"
            lines.append(f"| `{command.name}` | {fields} | {command.call.text or command.help} |")
    return "\n".join(lines) + "\n"


PARTS = {
    "docs/man/guestlink-host.1": ('.\\" commands: packaging/command_lists.py\n', '.\\" end of commands\n', manual),
    "docs/internals.md": ("<!-- calls: packaging/command_lists.py -->\n", "<!-- end of calls -->\n", calls),
}
"""By file: the marks around the part, and the function that makes it."""


def with_part(file: str) -> str:
    """A file's text with its part made anew.

    :raises ValueError: the file has no marks.
    """
    begin, end, make = PARTS[file]
    text = (CHECKOUT / file).read_text()
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{file} has no marks for the generated part")
    return f"{before}{begin}{make()}{end}{after}"


def main(argv: Sequence[str]) -> int:
    """Write the parts, or name the files whose part is out of date."""
    outdated = [file for file in PARTS if (CHECKOUT / file).read_text() != with_part(file)]
    for file in outdated:
        if list(argv) == ["--write"]:
            (CHECKOUT / file).write_text(with_part(file))
        else:
            print(f"{file} is out of date; run packaging/command_lists.py --write", file=sys.stderr)
    return 1 if outdated and list(argv) != ["--write"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
