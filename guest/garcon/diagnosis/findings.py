"""The findings of checks."""

from __future__ import annotations

import enum
from typing import Any, NamedTuple


class Severity(enum.IntEnum):
    """How bad a finding is; the value is the exit status of ``guestlink doctor``."""

    NOTE = 0
    WARNING = 1
    ERROR = 2


class Finding(NamedTuple):
    """One problem.

    :ivar sentence: what is wrong, without a full stop.
    :ivar advice: what to do about it.
    """

    check: str
    severity: Severity
    sentence: str
    advice: str = ""

    def to_json(self) -> dict[str, Any]:
        """The finding as ``--json`` prints it."""
        return self._asdict() | {"severity": self.severity.name.lower()}


class Diagnosis(NamedTuple):
    """The result of all checks.

    :ivar findings: in the order of the checks: causes first.
    :ivar passed: names of the checks that ran and found nothing. Consequences of an error do not run.
    """

    findings: list[Finding]
    passed: frozenset[str]


def status_of(findings: list[Finding]) -> int:
    """The exit status for findings: 0 when nothing is wrong, 1 for warnings, 2 for errors."""
    return max((finding.severity for finding in findings), default=Severity.NOTE)
