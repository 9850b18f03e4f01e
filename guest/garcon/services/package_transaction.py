"""One transaction of PackageKit, read from its signals (chromeos-garcon.md §6.7). Pure.

Numbers are those of PackageKit's enumerations: ``PkExitEnum``, ``PkStatusEnum``, ``PkInfoEnum``, ``PkErrorEnum``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

TRANSACTION = "org.freedesktop.PackageKit.Transaction"
_PROPERTIES = "org.freedesktop.DBus.Properties"

_EXIT_SUCCESS = 1
_PERCENT_UNKNOWN = 101
PACKAGES_LIMIT = 10_000
"""Packages that one transaction may name; Debian 12 has 64,000, and no operation of ours asks for all of them."""
TEXT_LIMIT = 4000
"""Characters of an error's text, of a description and of the other texts."""


class PackagePhase(Enum):
    """What a transaction does; the values are PackageKit's status numbers."""

    REMOVING = 6
    DOWNLOADING = 8
    INSTALLING = 9


class Package(NamedTuple):
    """A package that a transaction names.

    :ivar info: PackageKit's ``PkInfoEnum``.
    :ivar id: ``name;version;architecture;data``.
    """

    info: int
    id: str
    summary: str

    @property
    def name(self) -> str:
        """The package's name."""
        return self.id.partition(";")[0]

    @property
    def is_installed(self) -> bool:
        """Whether the id is that of an installed package."""
        return self.id.rpartition(";")[2].partition(":")[0] == "installed"


class Transaction:
    """The state of one transaction, fed with its signals.

    :ivar packages: in the order of their signals.
    :ivar details: the last ``Details``, as PackageKit sends them, without D-Bus's variants.
    :ivar error: the first error's text; ``""`` if there is none.
    :ivar code: the first error's number.
    :ivar exit: PackageKit's exit; ``None`` until the transaction has ended.
    :ivar phase: what it does now, if that is a phase that the host hears of.
    :ivar percent: how much is done, 0 to 100.
    """

    def __init__(self) -> None:
        self.packages: list[Package] = []
        self.details: dict[str, Any] = {}
        self.error = ""
        self.code = 0
        self.exit: int | None = None
        self.phase: PackagePhase | None = None
        self.percent = 0

    @property
    def succeeded(self) -> bool:
        """Whether it has ended, without an error."""
        return self.exit == _EXIT_SUCCESS and not self.error

    def fail(self, text: str) -> None:
        """End it with an error, for example because PackageKit has left the bus. An earlier error stays."""
        self.error = self.error or text
        self.exit = self.exit or 0

    def signal(self, interface: str, member: str, body: Sequence[Any]) -> bool:
        """Read a signal. Signals of another form than PackageKit's have no effect.

        :returns: whether the percentage or the phase was sent.
        """
        match interface, member, list(body):
            case str(), "ErrorCode", [int(code), str(text)] if interface == TRANSACTION:
                if not self.error:
                    self.code, self.error = code, text[:TEXT_LIMIT] or f"error {code}"
            case str(), "Finished", [int(exit_number), int()] if interface == TRANSACTION:
                self.exit = exit_number
            case str(), "Package", [int(info), str(name), str(summary)] if interface == TRANSACTION:
                if len(self.packages) < PACKAGES_LIMIT:
                    self.packages.append(Package(info, name[:TEXT_LIMIT], summary[:TEXT_LIMIT]))
            case str(), "Details", [dict(details)] if interface == TRANSACTION:
                self.details = plain(details)
            case str(), "PropertiesChanged", [str(), dict(values), list()] if interface == _PROPERTIES:
                return self._properties(plain(values))
        return False

    def _properties(self, values: Mapping[str, Any]) -> bool:
        """Read changed properties; returns whether the host should hear of them."""
        if "Status" in values:
            self.phase = next((phase for phase in PackagePhase if phase.value == values["Status"]), None)
        percent = values.get("Percentage")
        if isinstance(percent, int):
            self.percent = 0 if percent == _PERCENT_UNKNOWN else max(0, min(percent, 100))
        return isinstance(percent, int) or "Status" in values


def plain(values: Mapping[Any, Any]) -> dict[str, Any]:
    """The values of an ``a{sv}`` without their variants; entries of other kinds are left out."""
    found: dict[str, Any] = {}
    for name, variant in values.items():
        value = getattr(variant, "value", variant)
        if isinstance(value, str):
            value = value[:TEXT_LIMIT]
        if isinstance(name, str) and isinstance(value, str | int | bool):
            found[name] = value
    return found
