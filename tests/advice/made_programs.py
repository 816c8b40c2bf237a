"""Programs for labelled cases: what the host does and launches, as Kineto records it.

Each is a function that writes the trace of a few steps into a folder and returns its path; the
table at the end gives them by name. What rules must say of them stands in labels/made.toml.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.analyzers.programs import Action, Machine

BF16_GEMM = "ampere_bf16_s16816gemm_bf16_128x128_ldg8_f2f_stages_32x5_tn"
ALL_REDUCE = "ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)"
BACKWARD = "autograd::engine::evaluate_function: MmBackward0"
DDP = "DistributedDataParallel.forward"
REDUCER = "torch.distributed.ddp.reducer::"
COMPUTE, NCCL, SECOND_GPU = 7, 20, 21
STEPS = 6
MIB = 1 << 20
_H100 = {"id": 0, "name": "NVIDIA H100 80GB HBM3", "totalGlobalMem": 85_045_477_376,
         "computeMajor": 9, "computeMinor": 0, "numSms": 132}  # fmt: skip
Step = Callable[["Program", int], None]


class Program(Machine):
    """A machine whose operations and ranges have names."""

    @contextmanager
    def within(self, name: str, cat: str = "user_annotation", **args: Any) -> Iterator[None]:
        """What runs inside is in a range or an operator of this name."""
        begin = self.now
        yield
        self._add(cat, name, begin, self.now - begin, **args)

    def works(self, us: float) -> None:
        """The host is busy and launches nothing."""
        self.now += us

    def launch(self, gpu: float, name: str = BF16_GEMM, *, host: float = 4.0, stream: int = COMPUTE,
               cat: str = "kernel", **args: Any) -> None:  # fmt: skip
        """A kernel of `gpu` microseconds whose operator takes `host` before it launches."""
        self._launch(Action("kernel", host, gpu, stream), cat, name, "cudaLaunchKernel", **args)

    def waits(self) -> None:
        """The next operation on the compute stream begins after all that was launched."""
        self.free[COMPUTE] = max(self.free.values())

    def reduces(self, us: float, megabytes: float, dtype: str = "Float") -> None:
        """An all-reduce among eight ranks, after what computes now."""
        size = 2 if dtype == "BFloat16" else 4
        elements = int(megabytes * MIB / size)
        self.free[NCCL] = max(self.free.get(NCCL, 0.0), self.free[COMPUTE])
        told: dict[str, Any] = {
            "Collective name": "allreduce",
            "In msg nelems": elements,
            "Out msg nelems": elements,
            "dtype": dtype,
            "Group size": 8,
        }
        with self.within("c10d::allreduce_", "cpu_op"):
            self.launch(us, ALL_REDUCE, stream=NCCL, **told)


def written(folder: Path, step: Step, mark: str | None = "ProfilerStep#{}") -> Path:
    """The trace of `STEPS` steps on an H100; `mark` None where the step writes its own."""
    program = Program()
    for number in range(STEPS):
        begin = program.now
        step(program, number)
        if mark is not None:
            program._add("user_annotation", mark.format(number), begin, program.now - begin)
    path = folder / "made.pt.trace.json"
    path.write_text(json.dumps({"deviceProperties": [_H100], "traceEvents": program.events}))
    return path


def backward(program: Program, kernels: int = 10, us: float = 300.0) -> None:
    """Matrix kernels of the backward pass."""
    for _ in range(kernels):
        with program.within(BACKWARD, "cpu_op"):
            program.launch(us)


def searches(us: float) -> Step:
    """DDP looks for unused parameters for `us` between forward and backward, the queue empty."""

    def step(program: Program, _: int) -> None:
        with program.within(DDP):
            for _ in range(4):
                program.launch(400.0)
            program.now = max(program.now, program.free[COMPUTE] - 20.0)
            with program.within(REDUCER + "search_unused_parameters", "cpu_op"):
                program.works(us)
        backward(program)
        program.reduces(100.0, 25.0)
        program.waits()

    return step


def reduces(dtype: str, us: float, *, hidden: bool) -> Step:
    """16-bit kernels, and gradients of 50 MiB reduced in this type, under backward or after it."""

    def step(program: Program, _: int) -> None:
        with program.within(DDP):
            program.launch(2000.0)
        backward(program)
        if hidden:
            program.reduces(us, 50.0, dtype)
            backward(program)
        else:
            program.reduces(us, 50.0, dtype)
            program.waits()
        with program.within("Optimizer.step#AdamW.step"):
            program.launch(1000.0)

    return step


def moves_model(us: float) -> Step:
    """DataParallel copies the model from the first GPU to the others before each forward."""

    def step(program: Program, _: int) -> None:
        with program.within("DataParallel.forward"):
            for _ in range(4):
                program.launch(us / 4, "Memcpy PtoP (Device -> Device)", cat="gpu_memcpy",
                               bytes=50 * MIB)  # fmt: skip
            program.launch(2000.0)
        backward(program)

    return step


def on_two_gpus(*, in_turn: bool) -> Step:
    """Half of the layers on each GPU, forward and backward; in turn, or on other micro-batches."""

    def step(program: Program, _: int) -> None:
        for stream in (COMPUTE, SECOND_GPU, SECOND_GPU, COMPUTE):
            if in_turn:
                program.free[stream] = max(program.free.values(), default=0.0)
            for _ in range(10):
                program.launch(300.0, stream=stream)
                if stream == SECOND_GPU:
                    kernel = program.events[-2]  # behind it stands its operator
                    kernel["pid"] = kernel["args"]["device"] = 1

    return step


def overlapped(program: Program, _: int) -> None:
    """DDP as it should be: large buckets, reduced at 175 GB/s under the backward pass."""
    with program.within(DDP):
        program.launch(2000.0)
    backward(program)
    for _ in range(3):
        program.reduces(250.0, 25.0)
        backward(program)
    with program.within("Optimizer.step#AdamW.step"):
        program.launch(500.0)


def serves(prompts: float) -> Step:
    """Decoding steps of 5 ms; every other one reads a prompt and takes `prompts` times as long."""

    def step(program: Program, number: int) -> None:
        with program.within(f"execute_new_{number % 2}_cached_8"):
            for _ in range(10):
                program.launch(500.0 * (prompts if number % 2 else 1.0))
            program._sync(Action("sync", 0.0))

    return step


def generates(rows: int) -> Step:
    """A forward pass of weights of 4096 x 16384 for so many rows, at the speed of memory."""

    def step(program: Program, _: int) -> None:
        said = {"Input Dims": [[rows, 4096], [4096, 16384]], "Input type": ["c10::BFloat16"] * 2}
        for _ in range(40):
            with program.within("aten::mm", "cpu_op", **said):
                reading, computing = 45.0, 2 * rows * 4096 * 16384 / 700e6
                program.launch(max(reading, computing))

    return step


PROGRAMS: dict[str, Callable[[Path], Path]] = {
    "ddp_searches_long": lambda to: written(to, searches(500.0)),
    "ddp_searches_briefly": lambda to: written(to, searches(15.0)),
    "fp32_gradients_shown": lambda to: written(to, reduces("Float", 2500.0, hidden=False)),
    "fp32_gradients_hidden": lambda to: written(to, reduces("Float", 600.0, hidden=True)),
    "bf16_gradients_shown": lambda to: written(to, reduces("BFloat16", 2500.0, hidden=False)),
    "data_parallel": lambda to: written(to, moves_model(1500.0)),
    "layers_on_gpus_in_turn": lambda to: written(to, on_two_gpus(in_turn=True)),
    "layers_on_gpus_at_once": lambda to: written(to, on_two_gpus(in_turn=False)),
    "ddp_overlapped": lambda to: written(to, overlapped),
    "prompts_among_generations": lambda to: written(to, serves(8.0), mark=None),
    "prompts_in_chunks": lambda to: written(to, serves(1.5), mark=None),
    "weights_for_one_row": lambda to: written(to, generates(1)),
    "weights_for_many_rows": lambda to: written(to, generates(1024)),
}
