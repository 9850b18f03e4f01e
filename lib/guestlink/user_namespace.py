"""This process's user namespace (user_namespaces(7)), where a unit with ``PrivateUsers=`` has one of its own."""

from __future__ import annotations


def has_id(uid: int) -> bool:
    """Whether our user namespace maps an id. The kernel shows other users as the overflow id, 65534 by default."""
    with open("/proc/self/uid_map") as lines:
        ranges = [tuple(map(int, line.split())) for line in lines]
    return any(inside <= uid < inside + count for inside, _, count in ranges)
