"""Whether a Lustre layout suits the files, by what the manual, the wiki and FSx advise."""

from __future__ import annotations

from dataclasses import dataclass

from perfkit.model.run_facts import FileSystemFacts
from perfkit.model.striping import stripe_count_at, stripe_size_at
from perfkit.reports.advice._storage import GIB, MIB, Input, mean_file_bytes
from perfkit.reports.format import size

_LARGE, _SMALL = GIB, 100 * MIB  # Lustre wiki; FSx
_MOST_FOR_SMALL = 4  # Lustre wiki, up to 1 GiB
_ONE_CLIENT, _MANY_CLIENTS = 4, 8  # Lustre wiki
_MANY_RANKS = 8  # more do not fit into one node, as a rule
_SHORTEST = 512 * 1024  # Lustre manual


@dataclass(frozen=True)
class LayoutFault:
    """What is wrong, what would be right, and the part of the wait that this can return."""

    said: str
    count: int
    part: float
    select: str
    """As `lfs find` chooses the files to rewrite."""


def layout_fault(data: Input, ranks: int) -> LayoutFault | None:
    """What is wrong with the layout; None where it suits the files or is not known."""
    place, layout = data.place, data.place.layout or {}
    length = place.largest_bytes or mean_file_bytes(place)
    count = stripe_count_at(layout, int(length)) if length else None
    if length is None or count is None:
        return None
    if length < _SMALL:
        return _too_wide(count, place)
    if length >= _LARGE and count == 1 and not place.partial:
        return _too_narrow(data, ranks, length)
    return _too_short(count, stripe_size_at(layout, int(length)))


def _too_wide(count: int, place: FileSystemFacts) -> LayoutFault | None:
    osts = osts_of(place) if count < 0 else count
    if osts is not None and osts <= _MOST_FOR_SMALL:
        return None
    said = f"Files of at most {size(place.largest_bytes)} are spread over {osts or 'all'} OSTs"
    part = 1 - 1 / osts if osts else 1.0
    return LayoutFault(said, 1, part, f"--stripe-count +{_MOST_FOR_SMALL}")


def _too_narrow(data: Input, ranks: int, length: float) -> LayoutFault | None:
    readers = ranks * max(data.loader.num_workers or 1, 1)
    wanted = _MANY_CLIENTS if ranks > _MANY_RANKS else _ONE_CLIENT
    wanted = min(wanted, osts_of(data.place) or wanted)
    if (data.place.files or readers) >= readers or wanted < 2:
        return None
    said = f"A file of {size(length)} that {readers} workers read lies on one OST"
    return LayoutFault(said, wanted, 1 - 1 / wanted, "--size +1G --stripe-count 1")


def _too_short(count: int, stripe: int | None) -> LayoutFault | None:
    if stripe is None or stripe >= _SHORTEST or 0 <= count < 2:
        return None
    said = f"Stripes of {stripe // 1024} KiB on several OSTs cut every read"
    return LayoutFault(said, count, 1 - stripe / MIB, "--size +1M")


def osts_of(place: FileSystemFacts) -> int | None:
    """How many OSTs there are, where the client tells it."""
    known = (place.layout or {}).get("active_osts")
    return known if isinstance(known, int) and known > 0 else None
