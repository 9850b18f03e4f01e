#!/usr/bin/env python3
"""``settings_manual.py FILE``: print the manual page of guestlink.conf or guestlink-host.conf.

The settings, their defaults and meanings come from the schemas that the programs use.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]

SECTIONS = {
    "guestlink.conf": {"garcon": "garcon.settings", "sommelier": "sommelier_shim.options"},
    "guestlink-host.conf": {"guestlink-host": "guestlink_host.settings"},
}
"""The sections of each file, and where their settings are defined."""

_EXAMPLE = {
    "guestlink.conf": ("[garcon]", "icon_theme = Papirus", "[sommelier]", "scale = 0.5"),
    "guestlink-host.conf": ("[guestlink-host]", "url_policy = ask", "terminal = foot -e"),
}

_ABOUT = {
    "guestlink.conf": "settings of Guestlink in a container",
    "guestlink-host.conf": "settings of Guestlink on the host",
}


def page(file: str) -> str:
    """The manual page in roff."""
    lines = [
        f'.TH {file.upper()} 5 "" Guestlink "Guestlink manual"',
        ".SH NAME",
        rf"{file} \- {_ABOUT[file]}",
        ".SH SYNOPSIS",
        f".I /etc/guestlink/{file}",
        ".br",
        f".I ~/.config/guestlink/{file}",
        ".SH DESCRIPTION",
        "Both files hold lines",
        '.IB key " = " value',
        "in sections named after the programs. What stands before the first section counts for every program.",
        "Lines that begin with # are comments.",
        "A switch weighs more than an environment variable, a variable more than the user's file, and that one",
        "more than the administrator's. An invalid value is reported and the program exits with status 78; an",
        "unknown key is reported and passed over. A program reads its settings when it starts.",
    ]
    for section, module in SECTIONS[file].items():
        lines += [f".SH SECTION [{section.upper()}]"]
        for setting in import_module(module).SCHEMA:
            lines += [
                ".TP",
                f".B {_text(setting.key)}",
                _text(setting.meaning) + ".",
            ]
            if default := _default(setting.default):
                lines.append(f"Default: {_text(default)}.")
            if setting.variable:
                lines += ["Variable:", f".BR {_text(setting.variable)} ."]
    lines += [".SH EXAMPLE", ".nf", *map(_text, _EXAMPLE[file]), ".fi"]
    programs = sorted(
        {"garcon", "guestlink", "sommelier"} if file == "guestlink.conf" else {"guestlink-host", "vsh"}
    )
    lines += [".SH SEE ALSO", *(f".BR {name} (1){',' if name != programs[-1] else ''}" for name in programs)]
    return "\n".join(lines) + "\n"


def _default(value: Any) -> str:
    """The default as a user would write it in the file; "" if the setting has none."""
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value))
    if isinstance(value, (set, frozenset)):
        return " ".join(sorted(map(str, value)))
    return str(value)


def _text(text: str) -> str:
    escaped = text.replace("\\", r"\e").replace("-", r"\-")
    return "\\&" + escaped if escaped[:1] in ".'" else escaped


def main(argv: Sequence[str]) -> int:
    """Print one page."""
    if len(argv) != 1 or argv[0] not in SECTIONS:
        print(f"usage: settings_manual.py {'|'.join(SECTIONS)}", file=sys.stderr)
        return 2
    sys.path[:0] = [str(CHECKOUT / root) for root in ("lib", "guest", "host")]
    print(page(argv[0]), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
