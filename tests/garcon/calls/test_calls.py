"""The families of RPCs that garcon serves."""

from __future__ import annotations

import re

from garcon import calls
from guestlink.pb import service_methods
from guestlink.rpc import GARCON


def test_every_public_method_of_a_family_is_an_rpc_of_garcon() -> None:
    """A misspelt method would be answered with UNIMPLEMENTED."""
    rpcs = {re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower() for name in service_methods(GARCON)}
    methods = [name for family in calls.FAMILIES for name in vars(family) if not name.startswith("_")]
    assert set(methods) <= rpcs
    assert len(methods) == len(set(methods))
