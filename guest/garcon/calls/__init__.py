"""The Garcon service, which the host calls: a module for each family of RPCs (chromeos-garcon.md §1.3).

A family is a class whose public methods are RPCs, named in snake case as :class:`guestlink.rpc.RpcServer` expects;
its constructor takes garcon's parts. An RPC that no family implements is answered with UNIMPLEMENTED.
docs/extending.md describes a new RPC step by step.
"""

from __future__ import annotations

from collections.abc import Callable

from garcon.calls.applications import ApplicationCalls
from garcon.calls.diagnosis import DiagnosisCalls
from garcon.calls.file_watches import FileWatchCalls
from garcon.calls.icons import IconCalls
from garcon.calls.packages import PackageCalls
from garcon.calls.ports import PortCalls
from garcon.calls.session_info import SessionInfoCalls
from garcon.calls.shells import ShellCalls
from garcon.parts import GarconParts

FAMILIES: tuple[Callable[[GarconParts], object], ...] = (
    ApplicationCalls,
    ShellCalls,
    IconCalls,
    SessionInfoCalls,
    DiagnosisCalls,
    FileWatchCalls,
    PortCalls,
    PackageCalls,
)
"""Every family that garcon serves."""


def implementations(parts: GarconParts) -> list[object]:
    """The implementations for :class:`guestlink.rpc.RpcServer`."""
    return [family(parts) for family in FAMILIES]
