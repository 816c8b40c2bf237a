"""Why a GPU was idle: the vocabulary every analyzer, rule and report shares."""

from enum import StrEnum


class Cause(StrEnum):
    """What the next compute operation of an idle gap really waited for.

    A gap ends with a GPU operation that some host thread launched. Members are ordered from the
    most specific to the least: when host spans nest, the first of these wins.
    """

    GC = "gc"
    PROFILER = "profiler"
    CHECKPOINT = "checkpoint"
    DATALOADER = "dataloader"
    ALLOCATOR = "allocator"
    COPY = "copy"
    SYNC = "sync"
    COMPILE = "compile"
    LAUNCH = "launch"
    DISPATCH = "dispatch"
    PYTHON = "python"
    KERNEL_GAP = "kernel_gap"
    OTHER_GPU = "other_gpu"
    UNOBSERVED = "unobserved_gpu_work"
    UNKNOWN = "unknown"

    @property
    def text(self) -> str:
        """The cause as a reader meets it in a report."""
        return _TEXT[self]

    @property
    def meaning(self) -> str:
        """One sentence on what time under this cause is."""
        return _MEANING[self]


CAUSES = tuple(Cause)
CODE = {cause: code for code, cause in enumerate(CAUSES)}
"""Columns hold a Cause as its position in CAUSES."""

_TEXT = {
    Cause.GC: "Python garbage collection",
    Cause.PROFILER: "the profiler itself",
    Cause.CHECKPOINT: "checkpoint",
    Cause.DATALOADER: "waiting for data",
    Cause.ALLOCATOR: "memory allocator",
    Cause.COPY: "blocking copy",
    Cause.SYNC: "synchronization",
    Cause.COMPILE: "compilation and start-up",
    Cause.LAUNCH: "kernel launch",
    Cause.DISPATCH: "operator dispatch",
    Cause.PYTHON: "Python between operators",
    Cause.KERNEL_GAP: "gap between queued kernels",
    Cause.OTHER_GPU: "waiting for another GPU",
    Cause.UNOBSERVED: "GPU work without a record",
    Cause.UNKNOWN: "unknown",
}

_MEANING = {
    Cause.GC: "Python's garbage collector held the launching thread.",
    Cause.PROFILER: "The profiler was setting itself up or flushing its buffers.",
    Cause.CHECKPOINT: "The launching thread was writing a checkpoint.",
    Cause.DATALOADER: "The launching thread waited for the next batch.",
    Cause.ALLOCATOR: "The launching thread was inside a device memory allocation or release.",
    Cause.COPY: "The host was held by a blocking host-device copy while the GPU ran nothing.",
    Cause.SYNC: "The host had waited for the GPU, so the work it did next could not run ahead.",
    Cause.COMPILE: "The launching thread was compiling or loading GPU code, or starting up.",
    Cause.LAUNCH: "A launch call was running, or its kernel was on the way to an idle GPU.",
    Cause.DISPATCH: "The launching thread was inside a framework operator, preparing a launch.",
    Cause.PYTHON: "The launching thread was inside no operator: Python ran between operations.",
    Cause.KERNEL_GAP: "The next kernel was queued already and started within 10 us.",
    Cause.OTHER_GPU: "The next kernel was queued, and another GPU of the process worked.",
    Cause.UNOBSERVED: "Records are missing: the GPU probably worked, but nothing shows on what.",
    Cause.UNKNOWN: "Nothing in the trace shows what the GPU waited for.",
}
