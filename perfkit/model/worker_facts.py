"""What the worker processes of one DataLoader have in common, and what sets one of them apart.

Numbers carry their unit in the name; shares are 0..1; an absent value was not measured.
"""

from __future__ import annotations

from perfkit.model.noun import Noun


class WorkerFacts(Noun, frozen=True, kw_only=True):
    """The workers of one loader; their first batches, which include their start, do not enter."""

    made: int
    """Workers that made any batch."""
    cores_used: float | None = None
    """Cores that one worker keeps busy while it makes a batch, all its threads together."""
    delay_share: float | None = None
    """Of making a batch: how long the making thread was ready to run without a core."""
    threads: float | None = None
    torch_threads: int | None = None
    """Threads that one operator of one worker may use."""
    slowest: int | None = None
    """The worker that is slower than the others, by more than chance."""
    slowest_make_us: float | None = None
    others_make_us: float | None = None
    memory_bytes: int | None = None
    """What all processes of the job may use together."""
    anonymous_bytes: float | None = None
    """Memory that is no file's, of one worker, mean, as it was seen last; `private_bytes` of it are
    its own."""
    private_bytes: float | None = None
    anonymous_growth_bytes: float | None = None
    """Between the first look at a worker and the last one, mean."""
    private_growth_bytes: float | None = None
