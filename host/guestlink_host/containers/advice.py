"""Advice for messages about a container that cannot be called."""

from __future__ import annotations


def how_to_register(name: str, status: str) -> str:
    """Advice for a container that is not registered.

    :param status: its status at its manager; ``""`` without a manager.
    """
    return {
        "running": "it runs: `guestlink doctor` inside it prints the reason",
        "stopped": f"it is stopped: `guestlink-host shell {name}` starts it",
        "frozen": f"it is frozen: `guestlink-host shell {name}` thaws it",
        "gone": f"its manager has no such container: create it again, or `guestlink-host detach {name}`",
    }.get(status, "start it, if it does not run; `guestlink doctor` inside it prints what is wrong")
