"""Copies between the GPU and pageable memory hold up the host.

What it detects
    Copies whose host side is pageable memory: the time nothing else ran while they moved, and
    the idle time while the host prepared them or recovered from having waited for them.

Why it costs
    The driver stages pageable data through a pinned buffer of its own, piece by piece, while
    the calling thread waits. It is slower than a pinned copy, cannot overlap with computation,
    and empties the queue.

What to do
    Let the loader pin batches (pin_memory=True) and copy with non_blocking=True; read results
    back into pinned memory.

When not to
    Pinning in the training thread right before the copy costs as much as it gains. Pinned
    memory is taken from what the machine can page. ROCm traces do not tell pinned from
    pageable: this rule is silent.

References
    https://docs.pytorch.org/tutorials/intermediate/pinmem_nonblock.html
"""

from __future__ import annotations

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Copy, Diagnosis, Evidence, Remedy
from perfkit.reports.advice._serving import serves
from perfkit.reports.format import count, size, time_us
from perfkit.reports.rule import Advice, Limits, fact, of_step, places_of

LIMITS = Limits(warning_share=0.05, critical_share=0.20)  # as for input: XProf's 5 and 20 %
_DIRECTION = {"HtoD": "to the GPU", "DtoH": "to the host"}


def check(diagnosis: Diagnosis) -> Advice | None:
    """Exposed time of pageable copies, and idle time charged to them."""
    copies = [c for c in diagnosis.copies if c.memory == "pageable" and c.within is None]
    if not copies:
        return None
    cost = sum(copy.exposed_us + copy.idle_us for copy in copies)
    return Advice(
        title=f"Copies from or to pageable memory cost {of_step(diagnosis, cost)}",
        cause=Cause.COPY,
        cost_us=cost,
        limits=LIMITS,
        evidence=[_evidence(copy) for copy in copies],
        remedy=_remedy(
            max(copies, key=lambda copy: copy.exposed_us + copy.idle_us),
            loads=not serves(diagnosis) or diagnosis.framework.data_loader is not None,
        ),
        places=places_of(diagnosis, Cause.COPY),
        fix="copies",
    )


def _evidence(copy: Copy) -> Evidence:
    where = _DIRECTION.get(copy.direction, copy.direction)
    text = (
        f"{count(copy.count_per_step)} pageable copies {where} per step, {_rate_text(copy)}; "
        f"{time_us(copy.exposed_us)} of it is exposed, and the GPU idles "
        f"{time_us(copy.idle_us)} around them"
    ) + (f"; most are made in {copy.line}" if copy.line else "")
    return fact(text, copy.exposed_us + copy.idle_us, "us/step")


def _rate_text(copy: Copy) -> str:
    if copy.bytes_per_step is None or not copy.total_us:
        return time_us(copy.total_us)
    rate = copy.bytes_per_step / copy.total_us / 1000
    return f"{size(copy.bytes_per_step)} in {time_us(copy.total_us)} ({rate:.1f} GB/s)"


def _remedy(copy: Copy, *, loads: bool) -> Remedy:
    """`loads`: batches come from a DataLoader, and not from requests."""
    if copy.direction == "DtoH":
        return Remedy(
            text="Read results into pinned memory without waiting, and look at them a step later.",
            snippet=(
                "host = torch.empty_like(result, device='cpu', pin_memory=True)   # once\n"
                "host.copy_(result, non_blocking=True)"
            ),
            applies_to="PyTorch",
        )
    if not loads:
        return Remedy(
            text="Collect requests in pinned buffers that are kept, and copy without blocking.",
            snippet=(
                "host = torch.empty(shape, dtype=dtype, pin_memory=True)   # once\n"
                "batch = host.copy_(request).to(device, non_blocking=True)"
            ),
            applies_to="PyTorch inference",
        )
    return Remedy(
        text="Pin batches in the loader's own thread and copy them without blocking.",
        snippet=(
            "loader = DataLoader(dataset, ..., pin_memory=True)\n"
            "batch = batch.to(device, non_blocking=True)"
        ),
        applies_to="PyTorch",
    )
