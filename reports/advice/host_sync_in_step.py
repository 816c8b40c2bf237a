"""The host waits for the GPU inside the step, and the GPU pays for it afterwards.

What it detects
    Idle GPU time after calls that block until the GPU has caught up: `.item()`, `.tolist()`,
    `nonzero`, boolean indexing, `torch.cuda.synchronize()`. Charged is only host work that
    would have run behind queued kernels without the call, never more than the call had waited.

Why it costs
    Kernels are launched ahead of time. A synchronizing call empties the queue, so everything
    the host does next, up to the next launches, is seen by the GPU as a gap.

What to do
    Keep values on the GPU; log every N steps; accumulate losses in a tensor and read it once;
    write boolean masks as `torch.where`. `torch.cuda.set_sync_debug_mode("warn")` names each
    call's line.

When not to
    A synchronization whose wait costs the GPU nothing (deep queue, run-ahead limit) is not
    reported; a wait for a collective is blocking-collective-wait. If the host is slower than the
    GPU anyway, removing it gains little. The profiler itself synchronizes once when a recording
    ends: in a recording of one step that call shows.

References
    https://docs.pytorch.org/docs/stable/generated/torch.cuda.set_sync_debug_mode.html
    https://docs.pytorch.org/tutorials/recipes/recipes/tuning_guide (avoid unnecessary
    synchronization)
"""

from __future__ import annotations

import re

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Diagnosis, Place, Remedy
from perfkit.reports.advice._communication import collective_wait_us
from perfkit.reports.advice._serving import serves
from perfkit.reports.format import count, time_us
from perfkit.reports.rule import (
    Advice,
    Limits,
    fact,
    idle_us,
    of_step,
    place_facts,
    places_of,
)

LIMITS = Limits(warning_share=0.05, critical_share=0.20)  # as for input: XProf's 5 and 20 %
_MOST_OF_ALL = 0.9  # of what the fix would take away

_REMEDIES = {
    "aten::item": "Read the value rarely: keep it as a tensor and call .item() every N steps.",
    "aten::_local_scalar_dense": "Keep the value as a tensor and read it every N steps.",
    "aten::is_nonzero": "An `if` on a tensor waits for the GPU: use torch.where.",
    "aten::nonzero": "nonzero must know its size on the host: use masks with torch.where.",
    "aten::index": "Indexing with a boolean mask needs its size on the host: use torch.where.",
    "aten::masked_select": "masked_select needs its size on the host: multiply by the mask.",
    "aten::unique": "unique must know its size on the host: keep it out of the step.",
    "aten::repeat_interleave": "Pass output_size to repeat_interleave: it need not wait then.",
    "aten::to": "Copy to the host without waiting, into pinned memory (non_blocking).",
    "aten::_to_copy": "Copy to the host without waiting, into pinned memory (non_blocking).",
    "aten::copy_": "Copy to the host without waiting, into pinned memory (non_blocking).",
}
_DEVICE = "Take torch.cuda.synchronize() out of the loop; time with torch.cuda.Event instead."
_CALL = re.compile(r"(cuda|hip|cu)(Device|Ctx|Stream|Event)Synchronize$")
_NOT_OF_CUDA = re.compile(r"ur[A-Z]|ze[A-Z]|syn[A-Z]")
_BY_STACKS = "Find the call that waits in the step: record with with_stack=True to see its line."
_SNIPPET = (
    "running += loss.detach()            # stays on the GPU\n"
    "if step % 50 == 0:\n"
    "    print((running / 50).item())    # one wait in 50 steps\n"
    "    running.zero_()"
)

_SERVING_SNIPPET = (
    "tokens[:, i] = following               # stays on the GPU\n"
    "if i % 16 == 15 and bool(finished.all()):   # one wait in 16 tokens\n"
    "    break"
)


def check(diagnosis: Diagnosis) -> Advice | None:
    """Idle time charged to synchronizing calls."""
    if diagnosis.device.kind != "gpu":
        return None
    synced = idle_us(diagnosis, Cause.SYNC)
    cost = synced - collective_wait_us(diagnosis)
    places = places_of(diagnosis, Cause.SYNC)
    calls = [c for c in diagnosis.host_calls if c.role == Cause.SYNC.value and c.idle_us > 0]
    return Advice(
        title=f"The GPU idles {of_step(diagnosis, cost)} because the host had waited for it",
        cause=Cause.SYNC,
        cost_us=cost,
        limits=LIMITS,
        evidence=[
            *place_facts(places),
            *(fact(f"{c.name} runs {count(c.count_per_step)} times and holds the host "
                   f"{time_us(c.total_us)} per step", c.total_us, "us/step") for c in calls[:3]),
        ],
        remedy=_remedy(next(iter(places), None), serves(diagnosis)),
        places=places,
        fix="sync" if cost > _MOST_OF_ALL * synced else None,
    )  # fmt: skip


def _remedy(place: Place | None, is_serving: bool) -> Remedy:
    name = place.name if place else ""
    text = _REMEDIES.get(name) or _of_unknown(name, place.line if place else None)
    usual = _SERVING_SNIPPET if is_serving else _SNIPPET
    snippet = usual if name in ("aten::item", "aten::_local_scalar_dense") else None
    return Remedy(text=text, snippet=snippet, applies_to="PyTorch")


def _of_unknown(place: str, line: str | None) -> str:
    call = _CALL.match(place)
    if call is not None and call[2] in ("Device", "Ctx"):
        return _DEVICE
    if _NOT_OF_CUDA.match(place) and not line:
        return _BY_STACKS
    named = line or (place if call is None else "")
    where = f"in {named}" if named else "in the step"
    return f'Find the call that waits {where}: torch.cuda.set_sync_debug_mode("warn") names lines.'


def of_operator(name: str) -> str | None:
    """What to write in place of an operator that waits, where it is one that is known."""
    return _REMEDIES.get(name)
