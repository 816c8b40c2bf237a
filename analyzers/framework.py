"""What the names in a trace tell of the software above the kernels."""

from __future__ import annotations

import re

from perfkit.analyzers.facts import Facts
from perfkit.analyzers.kernels import low_precision_share
from perfkit.analyzers.names import LONGEST, used
from perfkit.model.diagnosis import Framework, Kernel
from perfkit.model.trace import Kind

_PARALLELISM = (
    ("DDP", re.compile(r"DistributedDataParallel\.forward|torch\.distributed\.ddp\.reducer")),
    ("FSDP1", re.compile(r"FullyShardedDataParallel\.")),
    ("FSDP2", re.compile(r"FSDP::")),
    ("DeepSpeed", re.compile(r"deepspeed|DeepSpeed")),
    ("Megatron-LM", re.compile(r"megatron/|megatron\.core|^MegatronModule|param_and_grad_buffer")),
    ("DataParallel", re.compile(r"(^|[^a-zA-Z])DataParallel\.forward")),
)
_LOADER = re.compile(r"enumerate\(Data(?:Loader|Pipe)\)#(.+?)(?:\.__next__)?$")
_OPTIMIZER = re.compile(r"Optimizer\.step#(.+)\.step$")
_BACKWARD = re.compile(
    r"autograd::engine::evaluate_function|Backward\d*$|Optimizer\.|^perfkit::(backward|optimizer)$"
)
# Of kernels, for steps that run as one CUDA graph; bwd_data is a transposed convolution as well.
_TRAINS = re.compile(r"backward|bwd(?!_data)|wgrad|multi_tensor_apply|[aA]dam", re.IGNORECASE)
_INDUCTOR = re.compile(r"triton_(poi|red|per|tem|mm|for)")
_COMPILED_SHARE = 0.1  # of kernel time in kernels that Inductor made
_GRAPH_LAUNCH = re.compile(r"(cuda|hip)GraphLaunch")


def framework(facts: Facts, kernels: list[Kernel]) -> Framework:
    """Parallelism, loader, optimizer, compilation: each by the names only it leaves."""
    trace = facts.trace
    names = [trace.names[i][:LONGEST] for i in used(trace, trace.kind != Kind.GPU_ANNOTATION)]
    return Framework(
        parallelism=[label for label, pattern in _PARALLELISM if _any(pattern, names)],
        data_loader=_group(_LOADER, names),
        optimizer=_group(_OPTIMIZER, names),
        compiled=_inductor_share(kernels) >= _COMPILED_SHARE,
        cuda_graphs=_any(_GRAPH_LAUNCH, names) or bool((trace.graph > 0).any()),
        inference=_is_inference(facts, names, kernels),
        low_precision_share=low_precision_share(kernels),
    )


def _inductor_share(kernels: list[Kernel]) -> float:
    return sum(kernel.share for kernel in kernels if _INDUCTOR.match(kernel.name))


def _any(pattern: re.Pattern[str], names: list[str]) -> bool:
    return any(pattern.search(name) for name in names)


def _group(pattern: re.Pattern[str], names: list[str]) -> str | None:
    return next((m[1] for name in names if (m := pattern.search(name))), None)


def _is_inference(facts: Facts, names: list[str], kernels: list[Kernel]) -> bool:
    """Whether operators were recorded to the end, and none is of backward or an optimizer."""
    trace = facts.trace
    if trace.info.damage.truncated or not (trace.kind == Kind.OPERATOR).any():
        return False
    if _any(_BACKWARD, names):
        return False
    return not _any(_TRAINS, [kernel.name[:LONGEST] for kernel in kernels])
