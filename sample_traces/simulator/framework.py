"""PyTorch as the profiler sees it: operators, copies, reductions and allocations on a Machine."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack

from .machine import DEFAULT_STREAM, Machine
from .network import ALL_REDUCE, OUTSIDE, Kernel
from .records import GpuOp, Span, Work

COMPUTE_STREAM = DEFAULT_STREAM
NCCL_STREAM = 20
H2D_STREAM = 13
OUTSIDE_STREAM = 33
"""One that no part of PyTorch made."""
BYTES_PER_US = {"pinned": 24_000, "pageable": 6_000, "host": 12_000}
WORLD_SIZE = 8


class Framework:
    """Calls of a training script; durations are in microseconds."""

    def __init__(self, machine: Machine, kernel_us: float, dispatch_us: float) -> None:
        self.machine = machine
        self._kernel_us = kernel_us
        self._dispatch_us = dispatch_us
        self._sequence = 0

    def operator(self, path: str, kernels: Iterable[Kernel] = ()) -> Span:
        """Run nested operators, "outer/inner", and launch their kernels; returns the outer one."""
        machine = self.machine
        name, _, inner = path.partition("/")
        with machine.span(name, "cpu_op", "dispatch") as span:
            if inner:
                self.operator(inner, kernels)
                return span
            machine.spend(self._dispatch_us * 0.7)
            for kernel in kernels:
                self.kernel(kernel)
            machine.spend(self._dispatch_us * 0.3)
        return span

    def kernel(self, kernel: Kernel) -> GpuOp:
        """Launch one kernel on the compute stream."""
        return self.machine.launch(
            kernel.name, "compute", COMPUTE_STREAM, self._us(kernel), call="cudaLaunchKernel"
        )

    def outside(self, us: float) -> GpuOp:
        """Launch a kernel of another library, to a stream of its own."""
        call = "cudaLaunchKernel"
        return self.machine.launch(OUTSIDE, "compute", OUTSIDE_STREAM, us, call=call)

    def graph(self, number: int, kernels: Iterable[Kernel]) -> GpuOp:
        """Replay a CUDA graph: all kernels with one launch, whose correlation id they share."""
        works = [
            Work(kernel.name, "compute", COMPUTE_STREAM, self._us(kernel), _node(number, node))
            for node, kernel in enumerate(kernels)
        ]
        return self.machine.launch_graph(works)

    def _us(self, kernel: Kernel) -> float:
        return max(kernel.weight * self._kernel_us, 1.6)

    def gradient(self, node: str, path: str, kernels: Iterable[Kernel], forward: Span) -> None:
        """Run one autograd node on the running thread."""
        machine = self.machine
        self._sequence += 1
        forward.args["Sequence number"] = self._sequence
        links = {"Sequence number": self._sequence, "Fwd thread id": 1}
        outer = f"autograd::engine::evaluate_function: {node}"
        with (
            machine.span(outer, "cpu_op", "dispatch", **links),
            machine.span(node, "cpu_op", "dispatch", **links) as span,
        ):
            machine.record.gradients.append((forward, span))
            machine.spend(0.8)
            if path:
                self.operator(path, kernels)

    def item(self) -> None:
        """Read a scalar: a copy to the host, and the wait for everything before it."""
        machine = self.machine
        with (
            machine.span("aten::item", "cpu_op", "dispatch"),
            machine.span("aten::_local_scalar_dense", "cpu_op", "dispatch"),
        ):
            machine.spend(2.0)
            name = "Memcpy DtoH (Device -> Pageable)"
            op = machine.launch(name, "copy", COMPUTE_STREAM, 1.5, call="cudaMemcpyAsync", bytes=4)
            machine.synchronize("cudaStreamSynchronize", "Stream Sync", op.end, COMPUTE_STREAM)

    def to_device(self, memory: str, us: float, staging_us: float) -> None:
        """Copy a batch to the GPU from "pinned" or "pageable" memory."""
        machine = self.machine
        name = f"Memcpy HtoD ({memory.title()} -> Device)"
        size = round(us * BYTES_PER_US[memory])
        with ExitStack() as stack:
            for path in ("aten::to", "aten::_to_copy", "aten::copy_"):
                stack.enter_context(machine.span(path, "cpu_op", "dispatch"))
            machine.spend(2.0)
            if memory == "pageable":
                machine.blocking_copy(name, COMPUTE_STREAM, us, staging_us, bytes=size)
                return
            machine.launch(name, "copy", H2D_STREAM, us, call="cudaMemcpyAsync", bytes=size)
            machine.event_wait(COMPUTE_STREAM, H2D_STREAM)

    def device_synchronize(self) -> None:
        """Wait for everything on the device, as `torch.cuda.synchronize()` does."""
        machine = self.machine
        machine.synchronize("cudaDeviceSynchronize", "Context Sync", machine.ends(), -1)

    def save(self, tensors: int, prepare_us: float, copy_us: float, write_us: float) -> None:
        """Write a checkpoint: each tensor to the host, then to the file."""
        machine = self.machine
        name = "Memcpy DtoH (Device -> Pageable)"
        with machine.span("checkpoint", "user_annotation", "checkpoint"):
            machine.spend(prepare_us)
            for _ in range(tensors):
                with machine.span("aten::copy_", "cpu_op", "dispatch"):
                    size = round(copy_us * BYTES_PER_US["host"])
                    machine.blocking_copy(name, COMPUTE_STREAM, copy_us, 10, bytes=size)
            machine.spend(write_us)

    def release_blocks(self, count: int, us: float) -> None:
        """Return cached blocks to the driver (the first call drains the GPU) and get new ones."""
        machine = self.machine
        for _ in range(count):
            with machine.call("cudaFree", "allocator"):
                machine.drain()
                machine.spend(us)
        for _ in range(count):
            with machine.span("aten::empty", "cpu_op", "dispatch"):
                machine.spend(0.8)
                with machine.call("cudaMalloc", "allocator"):
                    machine.spend(us)

    def all_reduce(self, us: float, meets: int = 0) -> GpuOp:
        """Reduce one bucket on the NCCL stream, after what the compute stream has now.

        The peers take part from the time `meets` on.
        """
        machine = self.machine
        args = _collective(round(us * 20_000), len(machine.record.ops))
        with (
            machine.span("record_param_comms", "cpu_op", "dispatch", **args),
            machine.span("nccl:all_reduce", "user_annotation", "dispatch"),
        ):
            machine.spend(6.0)
            machine.event_wait(NCCL_STREAM, COMPUTE_STREAM)
            call = "cudaLaunchKernelExC"
            return machine.launch(
                ALL_REDUCE, "communication", NCCL_STREAM, us, call=call, meets=meets, **args
            )


def _node(graph: int, node: int) -> dict[str, object]:
    return {"graph node id": (graph << 32) + node, "graph id": graph}


def _collective(elements: int, sequence: int) -> dict[str, object]:
    return {
        "Collective name": "allreduce",
        "In msg nelems": elements,
        "Out msg nelems": elements,
        "Group size": WORLD_SIZE,
        "dtype": "BFloat16",
        "In split size": "[]",
        "Out split size": "[]",
        "Process Group Name": "0",
        "Process Group Description": "default_pg",
        "Process Group Ranks": str(list(range(WORLD_SIZE))),
        "Seq": sequence,
    }
