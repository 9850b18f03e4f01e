"""``garcon --client …`` with the switches and exit statuses of ChromeOS's garcon (chromeos-garcon.md §2.5)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from garcon.client.garcon_client import garcon, to_url
from garcon.client.terminal_words import terminal_words
from guestlink.errors import GuestlinkError, report

FAILURE = 255
"""The exit status that a return value of ``-1`` gives."""
RETRY = 1
"""``--metrics`` only: the call to the host failed; the caller may try again."""

_OWN_SWITCHES = frozenset({"client", "server", "url", "terminal", "selectfile", "metrics", "borealis-shader-cache"})
"""garcon's own switches, which may also follow ``--terminal`` directly."""

USAGE = """\
usage: garcon --client --url ARG...
       garcon --client --terminal [-T TITLE] [-e] [WORD...]
       garcon --client --selectfile [--type=T] [--title=S] [--path=P] [--extensions=E]
       garcon --client --metrics NAME=VALUE[,NAME=VALUE...]
       garcon --client --borealis-shader-cache --app-id=N (--install [--mount] | --unmount | --uninstall) [--wait]
"""


class CompatArguments:
    """A command line as ChromeOS's garcon parses it: switches may be anywhere before a bare ``--``.

    One hyphen means the same as two. The words after ``--terminal`` are the terminal's, except for garcon's own
    switches that follow ``--terminal`` directly.

    :ivar switches: the value after ``=``, by the switch's name.
    :ivar words: all other arguments.
    :ivar terminal: the terminal's arguments; ``None`` without ``--terminal``.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        self.switches: dict[str, str] = {}
        self.words: list[str] = []
        self.terminal: list[str] | None = None
        for index, word in enumerate(argv):
            name, _, value = word.lstrip("-").partition("=")
            if word == "--":
                self.words += argv[index + 1 :]
                break
            if not word.startswith("-") or word == "-":
                self.words.append(word)
                continue
            self.switches[name] = value
            if name == "terminal":
                rest = list(itertools.dropwhile(self._take_own, argv[index + 1 :]))
                self.terminal = [*self.words, *rest]
                break

    def _take_own(self, word: str) -> bool:
        name, _, value = word.lstrip("-").partition("=")
        own = word.startswith("-") and name in _OWN_SWITCHES
        if own:
            self.switches[name] = value
        return own


def run(argv: Sequence[str]) -> int:
    """Run client mode.

    :param argv: all arguments, ``--client`` included.
    :returns: 0, :data:`FAILURE`, or :data:`RETRY` for metrics.
    """
    arguments = CompatArguments(argv)
    try:
        if "url" in arguments.switches:
            return _open_urls(arguments.words if arguments.terminal is None else arguments.terminal)
        if arguments.terminal is not None:
            garcon().call("open_terminal", params=terminal_words(arguments.terminal))
            return 0
        if "selectfile" in arguments.switches:
            return _select_file(arguments)
        if "metrics" in arguments.switches:
            return _report_metrics(arguments.words)
        if "borealis-shader-cache" in arguments.switches:
            return _shader_cache(arguments)
    except GuestlinkError as error:
        report("garcon", error)
        return FAILURE
    report("garcon", GuestlinkError("--client needs an action", hint=USAGE))
    return FAILURE


def _open_urls(words: Sequence[str]) -> int:
    if not words:
        raise GuestlinkError("--url needs something to open", hint="garcon --client --url https://example.org")
    for word in words:
        garcon().call("open_url", url=to_url(word))
    return 0


def _select_file(arguments: CompatArguments) -> int:
    switches = arguments.switches
    answer = garcon().call(
        "select_file",
        timeout=None,
        type=switches.get("type", ""),
        title=switches.get("title", ""),
        default_path=switches.get("path", ""),
        allowed_extensions=switches.get("extensions", ""),
    )
    for url in answer["files"]:
        print(url)
    return 0


def _report_metrics(words: Sequence[str]) -> int:
    metrics = parse_metrics(words[0] if words else "")
    try:
        answer = garcon().call("report_metrics", metrics=metrics)
    except GuestlinkError as error:
        report("garcon", error)
        return RETRY
    if answer["error"] != 0:
        raise GuestlinkError(
            f"the host rejected the metrics (error {answer['error']})",
            hint="check the names and values of the metrics",
        )
    return 0


def parse_metrics(text: str) -> list[tuple[str, int]]:
    """Parse ``NAME=VALUE[,NAME=VALUE…]``; values are unsigned 64-bit decimal numbers.

    :raises GuestlinkError: a part is not of this form.
    """
    metrics = []
    for part in text.split(","):
        name, equals, value = part.partition("=")
        number = _unsigned(value)
        if not name or not equals or number is None:
            raise GuestlinkError(
                f"{part!r:.200} is not of the form NAME=NUMBER", hint="garcon --client --metrics swap-kb-read=12"
            )
        metrics.append((name, number))
    return metrics


def _unsigned(text: str) -> int | None:
    """An unsigned 64-bit decimal number, or ``None`` for what is none."""
    good = text.isascii() and text.isdecimal() and len(text) <= 20 and int(text) < 1 << 64
    return int(text) if good else None


def _shader_cache(arguments: CompatArguments) -> int:
    switches = arguments.switches
    verbs = [verb for verb in ("install", "unmount", "uninstall") if verb in switches]
    app_id = _unsigned(switches.get("app-id", ""))
    if len(verbs) != 1:
        raise GuestlinkError(
            "name exactly one of --install, --unmount and --uninstall",
            hint="garcon --client --borealis-shader-cache --app-id=620 --install",
        )
    if app_id is None:
        raise GuestlinkError("--app-id needs the application's number", hint="--app-id=620")
    garcon().call(
        "shader_cache",
        verb=verbs[0],
        app_id=app_id,
        mount="mount" in switches,
        wait="wait" in switches,
        timeout=None if "wait" in switches else 70.0,
    )
    return 0
