"""Facts about ChromeOS are in docs/reference, and every section that the code cites exists there."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from support.stage import CHECKOUT

REFERENCE = CHECKOUT / "docs/reference"
_SECTION = r"\d+(?:\.\d+)*"
_CITATION = re.compile(rf"([a-z][a-z-]*)\.md,? (§{_SECTION}(?:(?:, |,? and | to |[–-])§{_SECTION})*)")
"""One page and the sections of it, as in "chromeos-garcon.md §3.8, §3.10"."""


@cache
def sections(page: Path) -> frozenset[str]:
    """The numbers of a page's headings, and of the numbered rows and items below them."""
    found = set()
    heading = ""
    for line in page.read_text().splitlines():
        if match := re.match(rf"#+ ({_SECTION})\.? ", line):
            heading = match[1]
            found.add(heading)
        elif match := re.match(r"(?:\| )?(\d+)(?:\.| \|) ", line):
            found.add(f"{heading}.{match[1]}")
    return frozenset(found)


def citations(text: str) -> list[tuple[str, str]]:
    """Each page and section that a text cites; a citation may contain line breaks."""
    joined = re.sub(r"\n[\s#*/|-]*", " ", text)
    return [(match[1], number) for match in _CITATION.finditer(joined) for number in re.findall(_SECTION, match[2])]


def _texts() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=CHECKOUT, check=True, capture_output=True, text=True
    )
    names = [name for name in listed.stdout.splitlines() if not name.endswith((".png", ".svg", ".binpb", ".xml"))]
    return [CHECKOUT / name for name in names if (CHECKOUT / name).is_file()]


def test_every_cited_section_exists() -> None:
    missing = []
    cited = 0
    for path in _texts():
        for name, number in citations(path.read_text(errors="replace")):
            page = REFERENCE / f"{name}.md"
            cited += 1
            if not page.exists() or number not in sections(page):
                missing.append(f"{path.relative_to(CHECKOUT)}: {name}.md §{number}")
    assert not missing, "\n".join(missing)
    assert cited > 200


@pytest.mark.parametrize("page", sorted(REFERENCE.glob("*.md")), ids=lambda page: str(page.stem))
def test_a_page_names_only_sections_that_it_has(page: Path) -> None:
    own = re.sub(r"\S+\.md[)`]*,? §\S+", "", page.read_text())
    missing = set(re.findall(rf"§({_SECTION})", own)) - sections(page)
    assert not missing, sorted(missing)


def test_a_citation_may_name_several_sections_and_break_over_lines() -> None:
    text = "see chromeos-vsh.md §3.1, §3.2\n    and §4; also packaging.md §5.4 to\n# §6"
    vsh = [("chromeos-vsh", number) for number in ("3.1", "3.2", "4")]
    assert citations(text) == [*vsh, ("packaging", "5.4"), ("packaging", "6")]
