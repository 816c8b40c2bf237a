"""The process runs on cores of another NUMA node than its GPU's.

What it detects
    A process whose cores all belong to other NUMA nodes than the one its GPU is attached to. One
    that may run on several nodes, the GPU's among them, is told with --all.

Why it costs
    Every launch and every copy between host and device crosses the link between the sockets, and
    so do pinned buffers that were allocated there. Charged are copies that nothing hides and idle
    time for launches, no more than a tenth of the step: what binding gains at most as a rule.

What to do
    Bind each rank to the node of its GPU, before it allocates memory: torchrun --numa-binding=node
    (torch 2.9 and newer), Slurm's --gpu-bind=closest with --cpu-bind, or numactl.

When not to
    Where the GPU's node has too few cores for the loader's workers, spare cores elsewhere may be
    worth more. A virtual machine may not show the true nodes.

References
    https://docs.pytorch.org/docs/main/elastic/numa.html (binding typically gains 1 to 10 %)
    https://docs.pytorch.org/tutorials/recipes/recipes/tuning_guide (NUMA controls)
    https://github.com/stas00/ml-engineering (NUMA affinity)
"""

from __future__ import annotations

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Diagnosis, Evidence, Remedy
from perfkit.model.setup_facts import SetupFacts
from perfkit.reports.format import count, plural, time_us
from perfkit.reports.rule import Advice, Limits, fact, idle_us

LIMITS = Limits(warning_share=0.05, critical_share=0.20)  # XProf, as for other time of the host
_MOST_SHARE = 0.10  # of the step: the upper end of what PyTorch's page on NUMA binding says
_CROSSING = ("HtoD", "DtoH")


def check(diagnosis: Diagnosis) -> Advice | None:
    """Cores and GPU on different nodes, from what the run recorded of its machine."""
    setup = diagnosis.setup
    if setup is None or setup.gpu_node is None or not setup.core_nodes or (setup.nodes or 1) < 2:
        return None
    if setup.core_nodes == [setup.gpu_node]:
        return None
    is_remote = setup.gpu_node not in setup.core_nodes
    return Advice(
        title=_title(setup, is_remote),
        cause="numa",
        cost_us=_crossing_us(diagnosis) if is_remote else 0.0,
        limits=LIMITS,
        evidence=_facts(diagnosis, setup),
        remedy=_remedy(setup.gpu_node),
        places=[],
    )


def _crossing_us(diagnosis: Diagnosis) -> float:
    """Time per step that crossing the nodes can have made longer, as far as binding helps."""
    copied = sum(c.exposed_us for c in diagnosis.copies if c.direction in _CROSSING)
    crossing = copied + idle_us(diagnosis, Cause.LAUNCH, Cause.COPY)
    return min(crossing, _MOST_SHARE * diagnosis.steps.mean_us)


def _title(setup: SetupFacts, is_remote: bool) -> str:
    nodes = ", ".join(map(str, setup.core_nodes))
    if is_remote:
        return f"The process runs on NUMA node {nodes}, but its GPU is attached to {setup.gpu_node}"
    return f"The process may run on NUMA nodes {nodes}; its GPU is attached to {setup.gpu_node}"


def _facts(diagnosis: Diagnosis, setup: SetupFacts) -> list[Evidence]:
    cores = plural(setup.cores, "core") if setup.cores else "cores"
    nodes = ", ".join(map(str, setup.core_nodes))
    copied = sum(c.exposed_us for c in diagnosis.copies if c.direction in _CROSSING)
    waited = idle_us(diagnosis, Cause.LAUNCH)
    return [
        fact(f"{cores} on node {nodes} of {count(setup.nodes)}; the GPU on node {setup.gpu_node}"),
        fact(f"{time_us(copied)} of copies that nothing hides per step", copied, "us/step"),
        fact(f"{time_us(waited)} per step in which the GPU waits for launches", waited, "us/step"),
    ]


def _remedy(node: int) -> Remedy:
    return Remedy(
        text=(
            f"Bind each rank to its GPU's node, here {node}, before it allocates memory: torchrun "
            "does it from torch 2.9 on, numactl does it for one process."
        ),
        snippet=(
            "torchrun --numa-binding=node --nproc-per-node 8 train.py\n"
            f"numactl --cpunodebind={node} --membind={node} python train.py   # one process"
        ),
        applies_to="Linux machines of several NUMA nodes",
    )
