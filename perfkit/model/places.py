"""Where on the host the time went: its calls, and what it was in while the device waited."""

from __future__ import annotations

from perfkit.model.noun import Noun


class HostCall(Noun, frozen=True, kw_only=True):
    """Calls on the host that matter to the GPU: `role` is sync, allocator, launch or copy.

    `total_us` is the time inside the calls per step; `idle_us` the GPU idle time charged to them.
    """

    name: str
    role: str
    count_per_step: float
    total_us: float
    idle_us: float


class Place(Noun, frozen=True, kw_only=True):
    """Idle time of one cause at one place: what the launching thread was in.

    `line` is the innermost function of the user's own code, such as "train.py:12 in train_step",
    where 12 is the line at which it begins. `module` is the path of `nn.Module` classes that holds
    most of it, `range` that of the program's own ranges, outermost first and parted by " > ".
    `gap_us` is how long the GPU idles at a stretch there: half of the time is in longer gaps.
    """

    cause: str
    name: str
    count_per_step: float
    idle_us: float
    gap_us: float | None = None
    line: str | None = None
    module: str | None = None
    range: str | None = None


class PythonGaps(Noun, frozen=True, kw_only=True):
    """Python between operators where the device is the CPU, per step.

    `long_us` is what lies in gaps of at least `long_gap_us`, which are `long_per_step`; `places`
    are the user's own ranges they lie in.
    """

    total_us: float
    long_gap_us: float
    long_us: float
    long_per_step: float
    places: list[Place]
