"""What an event is and which of its arguments matter, by phase and category."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.model.trace import Kind

if TYPE_CHECKING:
    from perfkit.trace.events import Event

# Each category any writer since 2021 has used; whether an event ran on a GPU follows from it alone.
KIND_OF_CATEGORY = {
    "cpu_op": Kind.OPERATOR,
    "Operator": Kind.OPERATOR,
    "user_annotation": Kind.ANNOTATION,
    "cuda_runtime": Kind.RUNTIME,
    "cuda_driver": Kind.RUNTIME,
    "hip_runtime": Kind.RUNTIME,
    "Runtime": Kind.RUNTIME,
    "xpu_runtime": Kind.RUNTIME,
    "xpu_driver": Kind.RUNTIME,
    "mtia_runtime": Kind.RUNTIME,
    "glow_runtime": Kind.RUNTIME,
    "privateuse1_runtime": Kind.RUNTIME,
    "privateuse1_driver": Kind.RUNTIME,
    "python_function": Kind.PYTHON,
    "overhead": Kind.OVERHEAD,
    "cuda_sync": Kind.SYNC,
    "xpu_sync": Kind.SYNC,
    "gpu_user_annotation": Kind.GPU_ANNOTATION,
    "kernel": Kind.KERNEL,
    "Kernel": Kind.KERNEL,
    "concurrent_kernel": Kind.KERNEL,
    "mtia_ccp_events": Kind.KERNEL,
    "gpu_memcpy": Kind.MEMCPY,
    "Memcpy": Kind.MEMCPY,
    "gpu_memset": Kind.MEMSET,
    "Memset": Kind.MEMSET,
}
# Arrows from a launch to its GPU operation only repeat the correlation id.
LAUNCH_FLOWS = frozenset(("ac2g", "async_cpu_to_gpu", "async_gpu", "async"))
ARROWS = frozenset("sft")
OUT_OF_MEMORY = "[OutOfMemory]"
MEMORY_EVENTS = frozenset(("[memory]", OUT_OF_MEMORY))
"""Instants in which the allocator of a device gave memory, took it back, or had none."""
MATRIX_OPERATORS = frozenset((
    "aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::_scaled_mm",
    "aten::_addmm_activation",
    "aten::cudnn_convolution", "aten::miopen_convolution", "aten::convolution_backward",
    "aten::cudnn_convolution_backward", "aten::cudnn_convolution_backward_input",
    "aten::cudnn_convolution_backward_weight", "aten::_flash_attention_forward",
    "aten::_flash_attention_backward", "aten::_efficient_attention_forward",
    "aten::_efficient_attention_backward", "aten::_scaled_dot_product_cudnn_attention",
    "aten::_scaled_dot_product_cudnn_attention_backward",
))  # fmt: skip
"""Operators that launch matrix kernels themselves: the shapes of their arguments are kept."""
SPAN = -1
"""Kind of the profiler's own life time, which is left out."""
ARGUMENTS = {
    Kind.SYNC: {"corr": "correlation", "wait_stream": "wait_stream", "wait_corr": "wait_corr"},
    Kind.KERNEL: {"bytes": "bytes", "graph": "graph"},
}


def is_dropped(event: Event) -> bool:
    """Whether the event is none that perfkit reads."""
    if event.ph == "X" or is_memory(event):
        return False
    return event.ph not in ARROWS or event.cat in LAUNCH_FLOWS


def is_memory(event: Event) -> bool:
    """Whether the event tells of an allocation."""
    return event.ph == "i" and event.name in MEMORY_EVENTS


def has_operands(event: Event) -> bool:
    """Whether the event is a matrix operator that tells the shapes of its arguments."""
    args = event.args
    return event.name in MATRIX_OPERATORS and bool(args and (args.dims or args.dims_2021))


def kind_of(category: object) -> int:
    """The Kind of a category, or -1 for the profiler's own life time."""
    return SPAN if category == "Trace" else KIND_OF_CATEGORY.get(str(category), Kind.OTHER)


def has_argument(kind: int, attribute: str) -> bool:
    """Whether this attribute of Args is read from events of this kind."""
    return any(
        kind == Kind.RUNTIME or kind >= first
        for first, attributes in ARGUMENTS.items()
        if attribute in attributes.values()
    )
