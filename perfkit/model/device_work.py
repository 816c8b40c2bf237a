"""What ran on the device: kernels, copies, collectives, and what hid behind what.

Numbers carry their unit in the name; shares are 0..1; an absent value was not measured.
"""

from __future__ import annotations

from perfkit.model.noun import Noun


class Kernel(Noun, frozen=True, kw_only=True):
    """One kernel name: `total_us` per step, `share` of all kernel time."""

    name: str
    kind: str
    launches_per_step: float
    total_us: float
    mean_us: float
    share: float


class KernelClass(Noun, frozen=True, kw_only=True):
    """Kernels of one class, e.g. GEMM or element-wise; times per step."""

    kind: str
    launches_per_step: float
    total_us: float
    share: float
    tensor_core_share: float | None = None


class KernelSummary(Noun, frozen=True, kw_only=True):
    """Counts over all kernels of the counted steps."""

    launches_per_step: float
    median_us: float
    under_10us_share: float
    classes: list[KernelClass]


class Copy(Noun, frozen=True, kw_only=True):
    """Copies of one direction and memory kind; times per step, bytes where all tell theirs.

    `within` names the cause that made them, where it is not the step itself: a checkpoint; `line`
    is the place in the source (as of a Place) from which most of their time was launched.
    """

    direction: str
    memory: str
    count_per_step: float
    bytes_per_step: float | None = None
    total_us: float
    exposed_us: float
    idle_us: float
    within: str | None = None
    line: str | None = None


class Collective(Noun, frozen=True, kw_only=True):
    """Communication kernels of one name; times per step."""

    name: str
    count_per_step: float
    total_us: float
    exposed_us: float
    bytes_per_step: float | None = None
    dtype: str | None = None
    group_size: int | None = None


class Overlap(Noun, frozen=True, kw_only=True):
    """Communication and copies against computation, mean per step."""

    communication_us: float
    communication_hidden_share: float | None = None
    copy_us: float
    copy_hidden_share: float | None = None
