"""How a Lustre file of some size is striped, read off a layout as the collector describes it.

A layout has `stripe_count` and `stripe_size`, or, where it is composite (PFL), `components` that
have them and hold from `start` to `end` (bytes; None is the end of the file).
"""

from __future__ import annotations

from typing import Any

Layout = dict[str, Any]


def part_at(layout: Layout, size: int) -> Layout | None:
    """What holds the last byte of a file of `size` bytes; None where no part does."""
    parts = layout.get("components")
    if parts is None:
        return layout
    last = max(size - 1, 0)
    for part in parts:
        end = part.get("end")
        if part.get("start", 0) <= last and (end is None or last < end):
            return dict(part)
    return None


def stripe_count_at(layout: Layout, size: int) -> int | None:
    """Over how many OSTs a file of `size` bytes ends; -1 is all of them, None is not known."""
    count = (part_at(layout, size) or {}).get("stripe_count")
    return count if isinstance(count, int) else None


def stripe_size_at(layout: Layout, size: int) -> int | None:
    """The bytes in a row on one OST at the end of a file of `size` bytes."""
    stripe = (part_at(layout, size) or {}).get("stripe_size")
    return stripe if isinstance(stripe, int) else None
