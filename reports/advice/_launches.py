"""What mends a host that launches too slowly: its engine's setting, graphs, or less work there."""

from __future__ import annotations

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Diagnosis, Framework, Place, Remedy
from perfkit.reports.advice._optimizer import FUSED_SINCE, holds_the_gpu_up
from perfkit.reports.advice._serving import launch_remedy, replays_graphs, serves
from perfkit.reports.format import time_us
from perfkit.reports.rule import idle_us, places_of

HOST = (Cause.LAUNCH, Cause.DISPATCH, Cause.PYTHON)
_LONG_GAP_US = 1000.0  # nsys-ai's floor for a gap of its own; a slow launch takes tens
_MOST_SHARE = 0.5
_TWO_GAPS = 1.5  # times as much as a gap takes: from here on there are several
_COMPILED = 'model = torch.compile(model, mode="reduce-overhead")'


def launching_us(diagnosis: Diagnosis) -> float:
    """Idle time of the host's pace, without what rules on a single cause of it tell.

    Those are DDP's search for unused parameters, and zero_grad, which need not launch at all.
    """
    return max(idle_us(diagnosis, *HOST) - _searching_us(diagnosis) - zeroing_us(diagnosis), 0.0)


def launching_places(diagnosis: Diagnosis) -> list[Place]:
    """The costliest places of that time; zero_grad is none where zeroed-gradients tells of it."""
    is_told = zeroing_us(diagnosis) > 0
    found = places_of(diagnosis, *HOST)
    return [p for p in found if not (is_told and p.name.startswith("Optimizer.zero_grad#"))]


def _searching_us(diagnosis: Diagnosis) -> float:
    found = diagnosis.collective_facts
    return found.unused_search.idle_us if found and found.unused_search else 0.0


def zeroing_us(diagnosis: Diagnosis) -> float:
    """Idle time in which the host launches the filling of gradients with zeros."""
    known = diagnosis.waste.zeroing_idle_us if diagnosis.waste else None
    return min(known or 0.0, idle_us(diagnosis, *HOST))


def host_work(diagnosis: Diagnosis) -> Remedy | None:
    """What to do where the host is busy with something that cheaper launches leave as it is."""
    long, cost = next(iter(launching_places(diagnosis)), None), launching_us(diagnosis)
    if long is not None and _is_one_long_gap(long, cost):
        return Remedy(
            text=(
                f"Most of it is {_waits_text(long)} in {long.name}: see what the host does there; "
                "cheaper launches would not help."
            )
        )
    if replays_graphs(diagnosis):
        return launch_remedy(diagnosis)
    python = diagnosis.idle_us.get(Cause.PYTHON.value, 0.0)
    if python > 0.6 * cost and not holds_the_gpu_up(diagnosis, cost):
        waits = f", {_waits_text(long)}" if long is not None and _is_long(long, cost) else ""
        return Remedy(
            text=(
                f"Most of it is Python between operators{waits}: profile it (py-spy, "
                "with_stack=True) and move it out of the step, to a worker, or to every N steps."
            )
        )
    return None


def _is_one_long_gap(place: Place, cost_us: float) -> bool:
    named = place.cause != Cause.PYTHON.value  # Python between operators has a remedy of its own
    return named and _is_long(place, cost_us)


def _is_long(place: Place, cost_us: float) -> bool:
    long = (place.gap_us or 0.0) > _LONG_GAP_US  # an operator may hold thousands of short gaps
    return long and place.idle_us > _MOST_SHARE * cost_us


def _waits_text(place: Place) -> str:
    each = place.gap_us or 0.0
    if place.idle_us < _TWO_GAPS * each:
        return f"one wait of {time_us(each)}"
    return f"a few long waits of about {time_us(each)}"


def by_framework(diagnosis: Diagnosis) -> Remedy:
    """Cheaper launches, as the program in the trace gets them."""
    framework = diagnosis.framework
    if serves(diagnosis) and not framework.compiled:
        return launch_remedy(diagnosis)
    found = diagnosis.waste.optimizer if diagnosis.waste else None
    return _by_training(framework, found is not None and found.form == "fused")


def _by_training(framework: Framework, is_fused: bool) -> Remedy:
    if framework.compiled:
        return Remedy(
            text=(
                "The model is compiled already: record it as CUDA graphs, and look for graph "
                "breaks (TORCH_LOGS=graph_breaks)."
            ),
            snippet=_COMPILED,
            applies_to="torch.compile",
        )
    compiled, name = _COMPILED, framework.optimizer or "AdamW"
    if name in FUSED_SINCE and not is_fused:
        compiled += f"\noptimizer = torch.optim.{name}(model.parameters(), ..., fused=True)"
    return Remedy(
        text=(
            f"Compile the model with CUDA graphs{'' if is_fused else ' and use a fused optimizer'};"
            " a larger batch makes each kernel longer at the same host cost."
        ),
        snippet=compiled,
        applies_to="PyTorch training",
    )
