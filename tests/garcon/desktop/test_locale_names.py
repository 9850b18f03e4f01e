"""Which of a desktop file's translations a session shows."""

from __future__ import annotations

import pytest

from garcon.desktop.desktop_entry import parse_desktop_entry
from garcon.desktop.exec_line import launch_commands
from garcon.desktop.locale_names import localised

VALUES = {
    "": "default",
    "de": "German",
    "de_AT": "Austrian",
    "sr": "Serbian",
    "sr@latin": "Serbian in Latin letters",
    "sr_YU": "Yugoslav",
    "pt_BR": "Brazilian",
}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "default"),
        ({"LANG": "C.UTF-8"}, "default"),
        ({"LANG": "POSIX"}, "default"),
        ({"LANG": "de_DE.UTF-8"}, "German"),
        ({"LANG": "de_AT.UTF-8@euro"}, "Austrian"),
        ({"LANG": "sr_RS.UTF-8@latin"}, "Serbian in Latin letters"),
        ({"LANG": "sr_YU@latin"}, "Yugoslav"),
        ({"LANG": "pt_PT.UTF-8"}, "default"),
        ({"LANG": "en_GB.UTF-8", "LC_MESSAGES": "de_DE.UTF-8"}, "German"),
        ({"LANG": "de_DE.UTF-8", "LC_ALL": "C"}, "default"),
        ({"LANG": "en_GB.UTF-8", "LANGUAGE": "fr:de"}, "German"),
        ({"LANG": "C", "LANGUAGE": "de"}, "default"),
        ({"LANG": "_@."}, "default"),
    ],
    ids=str,
)
def test_the_sessions_language_decides(environ: dict[str, str], expected: str) -> None:
    assert localised(VALUES, environ) == expected


def test_a_program_gets_its_name_in_the_sessions_language() -> None:
    text = "[Desktop Entry]\nType=Application\nName=N\nName[de]=D\nExec=rec %c\n"
    entry = parse_desktop_entry(text.encode())
    assert launch_commands(entry, "", [], {"LANG": "de_DE.UTF-8"}) == [["rec", "D"]]
    assert launch_commands(entry, "", [], {}) == [["rec", "N"]]
