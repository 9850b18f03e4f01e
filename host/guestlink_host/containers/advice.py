"""Advice for messages about a container that cannot be called."""

from __future__ import annotations

OUTDATED = "its Guestlink is older than this machine's"
"""What is wrong with a container whose garcon parks no connection."""


def how_to_upgrade(name: str, manager: str) -> str:
    """Advice for a container whose Guestlink is too old.

    :param manager: its manager; ``""`` without one.
    """
    by_manager = f", or with `guestlink-host attach {name} --install`" if manager else ""
    return f"upgrade Guestlink in the container with its package manager{by_manager}; then restart the container"


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
