"""Settings: one schema, read from switches, the environment and files. The former override the latter.

A file holds ``key = value`` lines in sections named after the programs::

    [garcon]
    token_file = /dev/.container_token
    icon_theme = Papirus

    [sommelier]
    scale = 1.5

Lines before the first section apply to every program, so they may set only keys that all programs have.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from guestlink import xdg
from guestlink.errors import GuestlinkError, reason

_T = TypeVar("_T")

FILE_LIMIT = 64 * 1024
"""Bytes of a configuration file; a longer one is a mistake and is not read."""
_EX_CONFIG = 78
"""Exit status for a configuration error (sysexits.h)."""


class ConfigError(GuestlinkError):
    """A setting has an invalid value."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint, exit_code=_EX_CONFIG)


class Setting(Generic[_T]):
    """One setting.

    :param key: its name in files; the switch has the same name with hyphens.
    :param variable: the environment variable with the same meaning, or "".
    :param default: its value when nothing sets it.
    :param parse: turns a text into a value; raises ValueError or GuestlinkError with a reason.
    :param meaning: one line for help texts and the manual page.
    """

    def __init__(self, key: str, variable: str, default: _T, parse: Callable[[str], _T], meaning: str) -> None:
        self.key = key
        self.variable = variable
        self.default = default
        self.parse = parse
        self.meaning = meaning


def boolean(text: str) -> bool:
    """Parse ``yes``, ``no`` and their usual synonyms.

    :raises ValueError: for anything else.
    """
    word = text.strip().lower()
    if word in ("1", "yes", "true", "on"):
        return True
    if word in ("0", "no", "false", "off"):
        return False
    raise ValueError("use yes or no")


def choice(*words: str) -> Callable[[str], str]:
    """A parser that accepts only these words."""

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"use one of {', '.join(words)}")
        return text

    return parse


class Config:
    """The values in force. ``config[SETTING]`` has the setting's type.

    :ivar warnings: sentences about unknown keys and unreadable lines or files; the program shows them.
    """

    def __init__(self, values: Mapping[str, Any], warnings: Sequence[str] = ()) -> None:
        self._values = dict(values)
        self.warnings = tuple(warnings)

    def __getitem__(self, setting: Setting[_T]) -> _T:
        value: _T = self._values.get(setting.key, setting.default)
        return value


class _Line(NamedTuple):
    section: str
    key: str
    value: str
    place: str


def load(
    schema: Iterable[Setting[Any]],
    *,
    section: str = "",
    files: Iterable[str | os.PathLike[str]] = (),
    environ: Mapping[str, str] = os.environ,
    switches: Mapping[str, str | None] | None = None,
) -> Config:
    """Read settings.

    :param schema: every setting that this program has.
    :param section: the program's section; lines in other sections are ignored.
    :param files: later files override earlier ones; missing files are skipped.
    :param switches: by key; ``None`` means not given.
    :raises ConfigError: a value is invalid; the message names its line, variable or switch.
    """
    settings = {setting.key: setting for setting in schema}
    values: dict[str, Any] = {}
    warnings: list[str] = []
    for path in files:
        for line in _read(os.fspath(path), warnings):
            if line.section not in ("", section):
                continue
            if line.key in settings:
                values[line.key] = _value(settings[line.key], line.value, line.place)
            else:
                near = _closest(line.key, settings)
                warnings.append(f"{line.place}: there is no setting {line.key!r}{near}")
    for setting in settings.values():
        text = environ.get(setting.variable, "") if setting.variable else ""
        if text:
            values[setting.key] = _value(setting, text, setting.variable)
        switch = (switches or {}).get(setting.key)
        if switch is not None:
            values[setting.key] = _value(setting, switch, "--" + setting.key.replace("_", "-"))
    return Config(values, warnings)


def standard_files(name: str, environ: Mapping[str, str] = os.environ) -> list[str]:
    """``/etc/guestlink/NAME`` and the user's own file of that name."""
    return [f"/etc/guestlink/{name}", f"{xdg.config_home(environ)}/guestlink/{name}"]


def _read(path: str, warnings: list[str]) -> list[_Line]:
    try:
        with open(path, "rb", opener=_without_waiting) as stream:
            content = stream.read(FILE_LIMIT + 1) or b""
    except FileNotFoundError:
        return []
    except OSError as error:
        warnings.append(f"{path} cannot be read: {reason(error)}")
        return []
    if len(content) > FILE_LIMIT:
        warnings.append(f"{path} is longer than {FILE_LIMIT} bytes and was not read")
        return []
    lines: list[_Line] = []
    section = ""
    for number, raw in enumerate(content.decode(errors="replace").splitlines(), 1):
        text = raw.strip()
        if not text or text[0] in "#;":
            continue
        if text.startswith("[") and text.endswith("]"):
            section = text[1:-1].strip()
            continue
        key, equals, value = text.partition("=")
        if not equals:
            warnings.append(f"{path}:{number}: {text[:40]!r} is not of the form key = value")
            continue
        lines.append(_Line(section, key.strip().replace("-", "_"), value.strip(), f"{path}:{number}"))
    return lines


def _without_waiting(path: str, flags: int) -> int:
    """Open a file, which may be a FIFO that nobody writes to: it reads as an empty one."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def _value(setting: Setting[Any], text: str, place: str) -> Any:
    try:
        return setting.parse(text)
    except GuestlinkError as error:
        raise ConfigError(f"{place}: {error.message}", hint=error.hint) from error
    except ValueError as error:
        raise ConfigError(f"{place}: {setting.key} cannot be {text!r}", hint=str(error)) from error


def _closest(key: str, settings: Mapping[str, Setting[Any]]) -> str:
    import difflib

    near = difflib.get_close_matches(key, settings, 1)
    return f", did you mean {near[0]!r}?" if near else ""
