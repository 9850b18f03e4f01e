"""``guestlink bugreport``: writes an archive with everything that a helper needs, and no secret."""

from __future__ import annotations

import gzip
import io
import json
import os
import sys
import tarfile
import time
from collections.abc import Iterator

from garcon.client.garcon_client import garcon
from garcon.diagnosis.checks import run_checks
from garcon.diagnosis.commands import Commands
from garcon.diagnosis.doctor import become_desktop_user
from garcon.diagnosis.facts import UNITS, Facts
from garcon.diagnosis.gather import gather, session_environ
from garcon.diagnosis.report import join, redaction_for, sections
from guestlink.config import standard_files
from guestlink.errors import GuestlinkError, reason
from guestlink.progress import waiting
from guestlink.regular_file import read_regular

_FILE_LIMIT = 64 * 1024


def bugreport(output: str) -> int:
    """Write the archive.

    :param output: its path; "" chooses one in the current directory, ``-`` writes to standard output.
    """
    moment = time.localtime()
    path = output or time.strftime("guestlink-report-%Y%m%d-%H%M%S.tar.gz", moment)
    # Open the file first: root becomes the container's user now, who may not be allowed to write here.
    stream = sys.stdout.buffer if path == "-" else os.fdopen(_create(path), "wb")
    become_desktop_user()
    with waiting("writing the report"):
        content = _archive(int(time.mktime(moment)))
    stream.write(content)
    if path != "-":
        stream.close()
        print(f"wrote {path}; read it before you share it")
    return 0


def _archive(moment: int) -> bytes:
    stream = io.BytesIO()
    # tarfile would import gzip only now, and this user may have no right to read it.
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=moment) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for name, text in _files():
            data = text.encode(errors="replace")
            entry = tarfile.TarInfo(f"guestlink-report/{name}")
            entry.size, entry.mtime = len(data), moment
            archive.addfile(entry, io.BytesIO(data))
    return stream.getvalue()


def _create(path: str) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise GuestlinkError(
            f"{path} cannot be written: {reason(error)}", hint="name another file with --output"
        ) from error


def _files() -> Iterator[tuple[str, str]]:
    """The names and contents of the archive's files."""
    facts = gather()
    findings = run_checks(facts).findings
    commands = Commands(60, session_environ())
    redaction = redaction_for(facts, os.environ)
    yield "report.txt", join(sections(facts, findings, commands, os.environ, _garcons_log()), redaction)
    yield "doctor.json", redaction.apply(json.dumps([finding.to_json() for finding in findings], indent=2) + "\n")
    yield "garcon.json", redaction.apply(json.dumps(facts.garcon, indent=2, default=str) + "\n")
    for name, text in _unit_files(facts, commands):
        yield name, redaction.apply(text)
    for path in standard_files("guestlink.conf"):
        try:
            content = read_regular(path, _FILE_LIMIT).decode(errors="replace")
        except OSError:
            continue
        yield ("system" if path.startswith("/etc/") else "user") + ".guestlink.conf", redaction.apply(content)


def _unit_files(facts: Facts, commands: Commands) -> Iterator[tuple[str, str]]:
    for unit in UNITS:
        if facts.units.get(unit) is not None and facts.units[unit].load != "not-found":
            shown = commands.run(["systemctl", "--user", "cat", unit]).text
            shown += "\n" + commands.run(["systemctl", "--user", "status", "-n0", "--no-pager", unit]).text
            yield f"units/{unit}.txt", shown


def _garcons_log() -> list[str]:
    try:
        return [str(line) for line in garcon(patient=False).call("log", timeout=5)["lines"]]
    except GuestlinkError:
        return []  # An older garcon, or none: the report contains only the journal.
