"""Command lines for people: argparse with errors of one sentence and one line of advice."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from guestlink.errors import GuestlinkError

EX_USAGE = 2
"""Exit status for an invalid command line, as in argparse and most programs."""
EX_UNAVAILABLE = 69
"""Exit status if another program that is needed is missing, as in sysexits.h."""
_REQUIRED = "the following arguments are required: "


class CommandLine(argparse.ArgumentParser):
    """A parser that raises an error instead of printing its usage and exiting.

    :param prog: the program's name; in the parser of a command also the command's name.
    :param example: an example command line without the program's name, or several lines that begin with a title.
    """

    def __init__(self, *, prog: str, example: str = "", **options: Any) -> None:
        if example and "\n" not in example:
            example = f"example:\n  {prog.split(maxsplit=1)[0]} {example}"
        super().__init__(
            prog=prog, epilog=example or None, formatter_class=argparse.RawDescriptionHelpFormatter, **options
        )

    def parse_known_args(  # type: ignore[override]  # argparse allows other classes for the result
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As argparse's, but an unknown argument is an error: this command's parser knows the likely spellings."""
        first = args[0] if args else ""
        known = any(first.startswith(option) or option.startswith(first) for option in self._options())
        if self._subparsers and first.startswith("-") and not known:
            raise self._unexpected(first)  # Otherwise argparse asks for the command.
        self._words = list(args or ())
        found, left = super().parse_known_args(args, namespace)
        if left:
            raise self._unexpected(left[0])
        return found, left

    def _options(self) -> list[str]:
        return [name for action in self._actions for name in action.option_strings]

    def _unknown_option(self) -> str | None:
        """The first word that looks like an option and is none of ours."""
        for word in self._words:
            if word == "--":
                break
            name = word.partition("=")[0]
            if re.match("--?[A-Za-z]", word) and not any(
                option.startswith(name) or (not word.startswith("--") and option == word[:2])
                for option in self._options()
            ):
                return word
        return None

    def _is_option_of_a_command(self, option: str) -> bool:
        parsers = self._subparsers._group_actions[0].choices if self._subparsers else None
        return any(
            isinstance(one, CommandLine) and option in one._options() for one in dict(parsers or {}).values()
        )

    def _unexpected(self, word: str) -> GuestlinkError:
        option = word.partition("=")[0]
        if self._is_option_of_a_command(option):
            return self._error(f"{option} comes after the command", "")
        return self._error(f"unexpected argument '{word}'", did_you_mean(option, self._options()))

    def error(self, message: str) -> NoReturn:
        """Raise argparse's message, reworded.

        :raises GuestlinkError: always, with the status 2.
        """
        if message.startswith(_REQUIRED):
            missing = message.removeprefix(_REQUIRED)
            if missing == "COMMAND":
                raise self._error("which command?", "")
            if (word := self._unknown_option()) is not None:
                raise self._unexpected(word)
            usage = " ".join(self.format_usage().split()).removeprefix("usage: ")
            raise GuestlinkError(f"{missing} is missing", hint=f"write `{usage}`", exit_code=EX_USAGE)
        argument, colon, reason = message.removeprefix("argument ").partition(": ")
        if not colon:
            raise self._error(message, "")
        if match := re.match(r"invalid choice: (.*) \(choose from", reason):
            raise self._unknown_choice(argument, match[1].strip("'"))
        if match := re.match(r"invalid (?:int|float) value: (.*)", reason):
            raise self._error(f"{argument} takes a number, not {match[1]}", "")
        if reason == "expected one argument":
            raise self._error(f"{argument} needs a value", "")
        if match := re.match("not allowed with argument (.*)", reason):
            raise self._error(f"{argument} and {match[1]} exclude each other", "")
        raise self._error(f"{argument}: {reason}", "")

    def _unknown_choice(self, argument: str, value: str) -> GuestlinkError:
        choices: list[str] = []
        for action in self._actions:
            names = (*action.option_strings, action.metavar, action.dest)
            if action.choices and argument.split("/", maxsplit=1)[0] in names:
                choices = [str(choice) for choice in action.choices]
        if argument == "COMMAND":
            return self._error(f"there is no command '{value}'", did_you_mean(value, [*choices, "--help"]))
        return self._error(f"{argument} is {in_words(choices)}, not '{value}'", did_you_mean(value, choices))

    def _error(self, sentence: str, guess: str) -> GuestlinkError:
        advice = f"`{self.prog} --help` lists the {'commands' if self._subparsers else 'arguments'}"
        return GuestlinkError(sentence, hint=f"{guess} {advice}".strip(), exit_code=EX_USAGE)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``did you mean WORD?`` with the known word closest to a mistyped one, or "" if none is close."""
    from difflib import get_close_matches

    close = get_close_matches(word, list(known), n=1)
    return f"did you mean {close[0].rstrip('=')}?" if close else ""


def in_words(choices: Sequence[str]) -> str:
    """Join choices as in English: a, b or c."""
    return f"{', '.join(choices[:-1])} or {choices[-1]}" if len(choices) > 1 else "".join(choices)


def number(low: int, high: int) -> Callable[[str], int]:
    """An argparse type: a whole number from ``low`` to ``high``."""

    def convert(text: str) -> int:
        plain = text.isascii() and text.removeprefix("-").isdecimal() and len(text) < 20
        if not plain or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"'{text:.40}' is not a whole number from {low} to {high}")
        return int(text)

    return convert
