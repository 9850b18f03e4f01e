"""The sizes that a window may have, by its hints (ICCCM §4.1.2.3). Pure."""

from __future__ import annotations

from sommelier_shim.xwayland.window_manager.properties import SizeHints


def constrained(hints: SizeHints, width: int, height: int) -> tuple[int, int]:
    """The largest size within a size that the host gives, with the window's limits, steps and ratio.

    :param width: in the server's pixels, at least 1; likewise ``height``.
    """
    size = [width, height]
    for axis in (0, 1):
        least, most, step = hints.minimum[axis], hints.maximum[axis], hints.increment[axis]
        size[axis] = max(min(size[axis], most) if most else size[axis], least, 1)
        if step > 1 and size[axis] > (base := hints.base[axis]):
            size[axis] -= (size[axis] - base) % step
            size[axis] = max(size[axis], least, 1)
    return _with_ratio(hints, size[0], size[1])


def _with_ratio(hints: SizeHints, width: int, height: int) -> tuple[int, int]:
    """The ratio is that of the size without the base size, and there is none for what would be empty."""
    (least, least_of), (most, most_of) = hints.aspect
    base_width, base_height = hints.base if hints.has_base else (0, 0)
    wide, high = width - base_width, height - base_height
    if wide <= 0 or high <= 0 or not (least and most) or least * most_of > most * least_of:
        return width, height
    if wide * most_of > high * most:
        wide = max(high * most // most_of, 1)
    elif wide * least_of < high * least:
        high = max(wide * least_of // least, 1)
    found = wide + base_width, high + base_height
    if found[0] < hints.minimum[0] or found[1] < hints.minimum[1]:
        return width, height  # A limit counts more than the ratio.
    return found
