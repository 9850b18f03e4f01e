"""A list of 1,000 desktop entries, built by garcon and read by GLib's own parser, in turn.

``./dev bench desktop_entries``: medians of interleaved rounds, each in a fresh process.
"""

from __future__ import annotations

import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROUNDS = 7
ENTRIES = 1000
LOCALES = """
    ar ast bg ca cs da de el en_GB eo es et eu fa fi fr gl he hr hu id is it ja ka kk ko lt lv ms nb nl oc pl pt
    pt_BR ro ru sk sl sr sr@latin sv th tr uk vi zh_CN zh_TW
""".split()
HERE = Path(__file__).parent

SCAN = """
import sys, time
from garcon.desktop.app_scanner import AppScanner
scanner = AppScanner({"XDG_DATA_DIRS": sys.argv[1], "XDG_DATA_HOME": "/nonexistent", "PATH": "/usr/bin:/bin"})
for _ in range(2):
    began = time.perf_counter_ns()
    count = len(scanner.scan().applications)
    print(time.perf_counter_ns() - began, count)
"""


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        _write_entries(root / "share" / "applications")
        program = _build(root / "gio")
        cold, warm, peer = [], [], []
        for _ in range(ROUNDS):
            peer.append(_numbers([str(program), str(root / "share" / "applications")])[0])
            first, second = _numbers([_python(), "-c", SCAN, str(root / "share")])
            cold.append(first)
            warm.append(second)
    reference = statistics.median(peer)
    print(f"{ENTRIES} entries with {len(LOCALES)} translations of name, comment and keywords, medians of {ROUNDS}")
    for name, values in (("GLib", peer), ("garcon, cold", cold), ("garcon, warm", warm)):
        median = statistics.median(values)
        print(f"{name:14} {median / 1e6:8.1f} ms  {median / reference:5.2f} × GLib")


def _python() -> str:
    """The distribution's interpreter: one built without optimisation is twice as slow."""
    return "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable


def _numbers(argv: list[str]) -> list[int]:
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(str(HERE.parent / part) for part in ("lib", "guest"))}
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=True, timeout=120)
    rows = [line.split() for line in done.stdout.splitlines()]
    assert all(int(count) == ENTRIES for _, count in rows), done.stdout
    return [int(time) for time, _ in rows]


def _write_entries(directory: Path) -> None:
    directory.mkdir(parents=True)
    for number in range(ENTRIES):
        lines = ["[Desktop Entry]", "Type=Application", f"Name=Application {number}"]
        for locale in LOCALES:
            lines += [
                f"Name[{locale}]=Anwendung {number}",
                f"Comment[{locale}]=Eine Anwendung, die etwas tut, mit der Nummer {number}",
                f"Keywords[{locale}]=etwas;anderes;{number};",
            ]
        lines += [
            "Comment=An application that does something",
            "Keywords=some;other;",
            f"Exec=true --number {number} %U",
            f"Icon=org.example.App{number}",
            "MimeType=text/plain;text/html;image/png;image/jpeg;",
            "Categories=GTK;Utility;TextEditor;",
            "StartupNotify=true",
            "",
            "[Desktop Action new]",
            "Name=New",
            "Exec=true --new",
        ]
        (directory / f"org.example.App{number}.desktop").write_text("\n".join(lines) + "\n")


def _build(program: Path) -> Path:
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "gio-unix-2.0"], capture_output=True, text=True, check=True
    ).stdout
    source = HERE / "desktop_entries_peer" / "gio.c"
    subprocess.run(["cc", "-O2", "-o", str(program), str(source), *shlex.split(flags)], check=True)
    return program


if __name__ == "__main__":
    main()
