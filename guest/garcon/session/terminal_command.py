"""Commands for terminals that inherit no variables or directory from us: a window of a terminal that runs already,
or a terminal of the host. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def with_environ(argv: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """A command that sets variables itself.

    :param argv: the program and its arguments.
    """
    words = list(argv)
    if not environ:
        return words
    if "=" in words[0]:  # env would take it for a variable.
        words = ["sh", "-c", 'exec "$0" "$@"', *words]
    return ["env", *(f"{name}={value}" for name, value in environ.items()), *words]


def in_directory(argv: Sequence[str], directory: str) -> list[str]:
    """A command that changes into a directory itself.

    :param argv: the program and its arguments; none for the user's shell.
    :param directory: an absolute path.
    """
    run = '"$@"' if argv else '"${SHELL:-sh}"'
    return ["sh", "-c", f'cd "$0" && exec {run}', directory, *argv]  # Not env -C, which Alpine's env lacks.
