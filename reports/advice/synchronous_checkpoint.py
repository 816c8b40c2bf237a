"""Training stands still while a checkpoint is written.

What it detects
    Time in which the training thread was writing a checkpoint: over the whole run where that was
    recorded, else in the trace.

Why it costs
    torch.save and its relatives copy the state from the device, serialize it and write it, and
    the next step begins after the last byte. In a distributed job all ranks wait.

What to do
    torch.distributed.checkpoint.async_save copies the state to memory, returns, and writes in the
    background. Write to a fast local disk and move the file later; let every rank write its own
    part; write less often.

When not to
    The background copy needs the state's size in host memory. How often to write is a question of
    how much work a failure may lose: do not save rarely just to look fast.

References
    https://docs.pytorch.org/tutorials/recipes/distributed_async_checkpoint_recipe.html
    https://www.usenix.org/conference/fast21/presentation/mohan (CheckFreq keeps the cost of
    checkpoints within 3.5 % of the run); 20 % as for input: XProf.
"""

from __future__ import annotations

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Diagnosis, Evidence, Remedy
from perfkit.model.run_facts import CheckpointFacts
from perfkit.reports.format import plural, size, time_us
from perfkit.reports.rule import (
    Advice,
    Limits,
    fact,
    idle_us,
    of_step,
    place_facts,
    places_of,
)

LIMITS = Limits(warning_share=0.035, critical_share=0.20)  # CheckFreq; XProf
_ALREADY_ASYNC = 0.5  # of the writing blocks: then it is in the background already


def check(diagnosis: Diagnosis) -> Advice | None:
    """What checkpoints cost a step; a short recording may hold more or less than its share."""
    written = diagnosis.run.checkpoints if diagnosis.run else None
    cost = idle_us(diagnosis, Cause.CHECKPOINT)
    over_the_run = written.blocking_us_per_step if written else None
    if over_the_run is not None:
        cost = min(over_the_run, diagnosis.steps.mean_us)
    if cost <= 0:
        return None
    places = places_of(diagnosis, Cause.CHECKPOINT)
    return Advice(
        title=f"Writing checkpoints holds the training up for {of_step(diagnosis, cost)}",
        cause=Cause.CHECKPOINT,
        cost_us=cost,
        limits=LIMITS,
        evidence=[*(_facts(written) if written else []), *place_facts(places)],
        remedy=_remedy(written),
        places=places,
        fix="checkpoint" if over_the_run is None else None,  # replay knows only the window's share
    )


def _facts(written: CheckpointFacts) -> list[Evidence]:
    sized = f", {size(written.bytes_mean)} each" if written.bytes_mean is not None else ""
    rate = f" at {size(written.bytes_per_s)}/s" if written.bytes_per_s is not None else ""
    how = f" by {', '.join(written.calls)}" if written.calls else ""
    inside = written.count if written.count_in_steps is None else written.count_in_steps
    when = f", {inside} of them while steps ran" if inside < written.count else ""
    said = (
        f"over the run: {plural(written.count, 'checkpoint')}{when}{how}{sized}{rate}; each takes "
        f"{time_us(written.mean_us)} and holds the step {time_us(written.blocking_mean_us)}"
    )
    return [fact(said, written.blocking_mean_us, "us")]


def _remedy(written: CheckpointFacts | None) -> Remedy:
    if written is not None and written.blocking_mean_us < _ALREADY_ASYNC * written.mean_us:
        return Remedy(
            text=(
                "Checkpoints are written in the background already, and what is left is copying "
                "the state: keep staging buffers pinned and reused, or save less often."
            )
        )
    return Remedy(
        text="Write checkpoints in the background, so that a step waits for the copy alone.",
        snippet=(
            "import torch.distributed.checkpoint as dcp\n"
            "saving = dcp.async_save(state_dict, checkpoint_id=path)\n"
            "...\nsaving.result()  # before the next one"
        ),
        applies_to="torch >= 2.4",
    )
