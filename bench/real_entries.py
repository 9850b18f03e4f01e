"""The desktop entries of real packages, as garcon reads them and as GLib reads them.

``./dev bench real_entries [PACKAGE...]``: downloads packages with apt, without installing them, and compares name,
visibility, MIME types and arguments of every application. It prints each difference, and exits with 1 if a
difference has no known reason. The list ``real_entries.txt`` is Debian 12's; what the machine's distribution does
not have is passed over and named.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / part) for part in ("lib", "guest")]

from garcon.desktop.app_list import FoundEntry, build_app_list  # noqa: E402
from garcon.desktop.desktop_entry import BrokenEntry, DesktopEntry, parse_desktop_entry  # noqa: E402
from garcon.desktop.exec_line import launch_commands  # noqa: E402

PEER = HERE.parent / "tests/support/glib_launch.py"
FILES = ["/tmp/a b.txt", "/tmp/$c'd.txt"]


def main() -> int:
    """Compare, print, and return the exit status."""
    packages = _available(sys.argv[1:] or (HERE / "real_entries.txt").read_text().split())
    with tempfile.TemporaryDirectory() as scratch:
        paths = sorted(_extract(packages, Path(scratch)))
        theirs = _glib(paths)
        counts: Counter[str] = Counter()
        for path, glib in zip(paths, theirs, strict=True):
            ours = _ours(path)
            counts["entries"] += 1
            for key, verdict in _differences(ours, glib):
                counts[f"{key}: {verdict}"] += 1
                name = path.relative_to(scratch)
                print(f"{name}: {key}: garcon {ours and ours[key]!r}, GLib {glib and glib[key]!r} ({verdict})")
    print(f"{len(packages)} packages, {counts.pop('entries')} entries with a program; differences:")
    for what, count in sorted(counts.items()):
        print(f"{count:6} {what}")
    return any(what.endswith("unexpected") for what in counts)


def _available(packages: list[str]) -> list[str]:
    """The packages that apt knows."""
    argv = ["apt-cache", "--no-all-versions", "show", *packages]
    shown = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout
    known = {line.removeprefix("Package: ") for line in shown.splitlines() if line.startswith("Package: ")}
    if missing := [package for package in packages if package not in known]:
        print(f"apt does not have {', '.join(missing)}")
    if len(missing) == len(packages):
        sys.exit("there is nothing to compare; `apt-get update` fetches apt's lists")
    return [package for package in packages if package in known]


def _extract(packages: list[str], scratch: Path) -> Iterator[Path]:
    """The applications of each package, in a directory of its name."""
    subprocess.run(["apt-get", "-qq", "download", *packages], cwd=scratch, check=True, timeout=3600)
    for archive in sorted(scratch.glob("*.deb")):
        target = scratch / archive.name.partition("_")[0]
        target.mkdir()
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", archive], stdout=subprocess.PIPE) as tar:
            words = ["tar", "-x", "-C", str(target), "--wildcards", "./usr/share/applications/*.desktop"]
            subprocess.run(words, stdin=tar.stdout, stderr=subprocess.DEVNULL, check=False, timeout=600)
        archive.unlink()
        yield from (path for path in target.rglob("*.desktop") if path.is_file() and _is_application(path))


def _is_application(path: Path) -> bool:
    try:
        entry = parse_desktop_entry(path.read_bytes())
    except BrokenEntry:
        return False
    return entry.type == "Application" and bool(entry.exec)


def _glib(paths: list[Path]) -> list[dict[str, Any] | None]:
    lines = "".join(json.dumps([str(path), FILES]) + "\n" for path in paths)
    environ = os.environ | {"XDG_CURRENT_DESKTOP": "GNOME", "LC_ALL": "C.UTF-8", "LANGUAGE": ""}
    done = subprocess.run(
        ["/usr/bin/python3", str(PEER)], input=lines, stdout=subprocess.PIPE, text=True, check=True, env=environ
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def _ours(path: Path) -> dict[str, Any]:
    """What garcon reads."""
    entry = parse_desktop_entry(path.read_bytes())._replace(try_exec="")
    published = build_app_list([FoundEntry(path.stem, str(path), entry)], lambda _program: True).applications
    commands = launch_commands(entry, str(path), FILES, {})
    return {
        "name": entry.name,
        "mime types": entry.mime_types,
        "shown": bool(published) and not entry.no_display,
        "arguments": [argv[1:] for argv in commands],
        "reasons": _reasons(entry, path.read_bytes()),
    }


def _reasons(entry: DesktopEntry, content: bytes) -> dict[str, str]:
    """Known reasons why garcon reads an entry differently from GLib, by the key that differs."""
    reasons = {}
    if "Settings" in entry.categories:
        reasons["shown"] = "a settings panel, which ChromeOS does not show"
    if b"\nX-GIO-NoFuse=true" in content:
        reasons["arguments"] = "X-GIO-NoFuse: GLib makes URLs of paths"
    return reasons


def _differences(ours: dict[str, Any], glib: dict[str, Any] | None) -> Iterator[tuple[str, str]]:
    if glib is None:
        yield "name", "GLib does not read it"
        return
    for key in ("name", "mime types", "shown", "arguments"):
        if ours[key] != glib[key]:
            yield key, ours["reasons"].get(key, "unexpected")


if __name__ == "__main__":
    sys.exit(main())
