"""What the confinement asks the kernel for; tests/border/test_pictures.py attacks the result."""

from __future__ import annotations

import pytest

from guestlink_host.border.pictures.confinement import _counts_tasks_by_namespace


@pytest.mark.parametrize(
    ("release", "counts"),
    [
        ("5.10.0-30-amd64", False),
        ("5.4.0", False),
        ("4.18.0-553.el8", False),
        ("5.14.0-570.el9", True),
        ("6.1.0-18-amd64", True),
        ("6.18-rc1", True),
        ("10.0", True),
        ("unknown", False),
    ],
)
def test_tasks_are_limited_where_the_limit_counts_the_renderers_own(release: str, counts: bool) -> None:
    assert _counts_tasks_by_namespace(release) == counts
