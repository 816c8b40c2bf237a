"""How a process was set up on its machine: versions, settings, cores, and its GPU's limits.

Numbers carry their unit in the name; an absent value was not seen.
"""

from __future__ import annotations

from perfkit.model.noun import Noun


class SetupFacts(Noun, frozen=True, kw_only=True):
    """One rank's settings as its run had them.

    `threads` are those of torch's operators; `local_ranks` how many ranks the launcher started on
    this machine; `variables` are environment variables by name. Nodes
    are NUMA nodes by number: `gpu_node` the GPU is attached to, `core_nodes` those of the cores
    that the process may run on, `nodes` how many the machine has.
    """

    torch: str | None = None
    threads: int | None = None
    local_ranks: int | None = None
    cores: int | None = None
    machine_cores: int | None = None
    cores_by_quota: float | None = None
    variables: dict[str, str] = {}
    gpu_memory_bytes: int | None = None
    gpu_node: int | None = None
    core_nodes: list[int] = []
    nodes: int | None = None
    power_limit_w: float | None = None
    power_limit_default_w: float | None = None
    sm_clock_limit_mhz: float | None = None
    """The highest that the GPU can run at."""
