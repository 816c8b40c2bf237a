"""DDP walks through the autograd graph in every step to find parameters without a gradient.

What it detects
    The reducer's search_unused_parameters, which runs where find_unused_parameters is on and the
    graph is not said to be static. Charged is idle time for which the host was in it.

Why it costs
    The walk visits every node of the graph on the launching thread, between the forward and the
    backward pass, and each step also reduces a map of used parameters.

What to do
    If every parameter gets a gradient, take find_unused_parameters out: DDP warns once when it
    finds none. If the same ones are unused in every step, say static_graph=True: the search then
    happens once.

When not to
    Models whose used parameters change from step to step need the search: without it DDP stops
    with an error or hangs.

References
    https://docs.pytorch.org/docs/stable/generated/torch.nn.parallel.DistributedDataParallel.html
    https://docs.pytorch.org/docs/stable/notes/ddp.html (find_unused_parameters)
"""

from __future__ import annotations

from perfkit.model.diagnosis import Diagnosis, Remedy
from perfkit.reports.format import count, time_us
from perfkit.reports.rule import Advice, Limits, fact, of_step

LIMITS = Limits(warning_share=0.05, critical_share=0.20)  # as for other idle time; XProf's 5 and 20
_REMEDY = Remedy(
    text=(
        "Take find_unused_parameters=True out if all parameters are used, or say static_graph=True "
        "if the same ones are unused in every step."
    ),
    snippet=(
        "model = DistributedDataParallel(model, static_graph=True)\n"
        '# after some steps: model._get_ddp_logging_data().get("can_set_static_graph")'
    ),
    applies_to="DDP",
)


def check(diagnosis: Diagnosis) -> Advice | None:
    """Idle time while DDP searches for unused parameters."""
    search = diagnosis.collective_facts.unused_search if diagnosis.collective_facts else None
    if search is None:
        return None
    return Advice(
        title=(
            f"The GPU idles {of_step(diagnosis, search.idle_us)} while DDP searches for unused "
            "parameters"
        ),
        cause="dispatch",
        cost_us=search.idle_us,
        limits=LIMITS,
        evidence=[
            fact(f"{count(search.count_per_step)} searches per step hold the host "
                 f"{time_us(search.host_us)}", search.host_us, "us/step"),
        ],
        remedy=_REMEDY,
        places=[],
    )  # fmt: skip
