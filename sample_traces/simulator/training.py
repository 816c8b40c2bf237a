"""The one training program that all scenarios run."""

from __future__ import annotations

from contextlib import nullcontext

from .framework import COMPUTE_STREAM, NCCL_STREAM, Framework
from .machine import AUTOGRAD, MAIN, Machine
from .network import ADAM, LOSS, MUL, Kernel, Op, layer
from .records import Recording, Span
from .scenarios import Scenario

FIRST_STEP = 3
LOADER = "enumerate(DataLoader)#_MultiProcessingDataLoaderIter.__next__"


class Training:
    """A scenario on a machine."""

    def __init__(self, scenario: Scenario, machine: Machine) -> None:
        self._s = scenario
        self._machine = machine
        self._layer = layer(scenario.device, scenario.precision)
        self._torch = Framework(machine, scenario.kernel_us, scenario.dispatch_us)

    def run(self, steps: int) -> Recording:
        """Train for `steps` steps."""
        for index in range(steps):
            self._machine.step = index
            name = f"ProfilerStep#{FIRST_STEP + index}"
            with self._machine.span(name, "user_annotation") as mark:
                self._machine.record.marks.append(mark)
                self._step(index)
            self._machine.spend(3.0)
        return self._machine.record

    def _step(self, index: int) -> None:
        s = self._s
        self._prepare(index)
        pairs = self._forward(index)
        recorded = self._machine.event_record(COMPUTE_STREAM)[1] if s.run_ahead_limit else None
        self._backward(pairs)
        if s.communication == "after":
            self._reduce_all()
        self._optimizer()
        if s.item_per_step:
            self._torch.item()
            self._machine.spend(s.log_us)
        if recorded is not None:
            # At most half a step ahead, so that the last step's window stays short.
            self._machine.synchronize("cudaEventSynchronize", "Event Sync", recorded.end, -1)
        if s.checkpoint_every and index % s.checkpoint_every == s.checkpoint_every - 2:
            self._torch.save(4)

    def _prepare(self, index: int) -> None:
        s, machine = self._s, self._machine
        self._load(index)
        machine.spend(4.0)
        self._torch.to_device(s.copy, s.copy_us, s.staging_us)
        with machine.span("Optimizer.zero_grad#AdamW.zero_grad", "user_annotation", "dispatch"):
            machine.spend(12.0)
        tiny = Kernel(MUL.name, 2.4 / s.kernel_us)
        for _ in range(s.tiny_ops):
            machine.spend(2.0)
            self._torch.operator("aten::mul", [tiny])

    def _load(self, index: int) -> None:
        s, machine = self._s, self._machine
        stalled = s.stall_every and index % s.stall_every == s.stall_every - 3
        slow = s.stall_us if stalled else s.loader_us
        with machine.span(LOADER, "user_annotation", "dataloader"):
            # The first batch was fetched ahead, before the profiler started.
            machine.spend(slow if index else 60.0)
            if s.loader_period_us:
                machine.wait(round(index * s.loader_period_us * 1000) + machine.jitter(200))

    def _forward(self, index: int) -> list[list[tuple[Op, Span]]]:
        machine = self._machine
        name = "DistributedDataParallel.forward"
        wrapped = self._s.communication == "overlapped"
        with machine.span(name, "cpu_op", "dispatch") if wrapped else nullcontext():
            layers = [self._layer_forward(index, number) for number in range(self._s.layers)]
        machine.spend(self._s.python_us)
        self._torch.operator("aten::cross_entropy_loss/aten::_log_softmax", [LOSS])
        return layers

    def _layer_forward(self, index: int, number: int) -> list[tuple[Op, Span]]:
        s, machine = self._s, self._machine
        self._interrupt(index, number)
        pairs = []
        for op in self._layer:
            machine.spend(s.python_us)
            pairs.append((op, self._torch.operator(op.path, [op.kernel])))
        if s.item_per_layer:
            self._torch.item()
            machine.spend(s.log_us)
        return pairs

    def _interrupt(self, index: int, number: int) -> None:
        s, machine = self._s, self._machine
        if s.frees and number == s.free_layer:
            self._torch.release_blocks(s.frees, s.free_us)
        if s.gc_every and number == s.layers // 2 and index % s.gc_every == s.gc_every - 2:
            with machine.span("Python GC", "python_function", "gc"):
                machine.spend(s.gc_us)

    def _backward(self, layers: list[list[tuple[Op, Span]]]) -> None:
        machine = self._machine
        machine.spend(12.0)
        machine.tid = AUTOGRAD
        for number, pairs in reversed(list(enumerate(layers))):
            for op, forward in reversed(pairs):
                machine.spend(1.2)
                self._torch.gradient(op.node, op.grad_path, op.grad_kernels, forward)
            if self._s.communication == "overlapped":
                # The last bucket has nothing left to hide behind, so it is small.
                self._torch.all_reduce(self._s.all_reduce_us * (1.0 if number else 0.2))
        if self._s.communication == "overlapped":
            machine.event_wait(COMPUTE_STREAM, NCCL_STREAM)
        machine.spend(15.0)
        machine.tid = MAIN

    def _reduce_all(self) -> None:
        for _ in range(2):
            self._machine.spend(self._s.python_us)
            self._torch.all_reduce(self._s.all_reduce_us)
        self._machine.event_wait(COMPUTE_STREAM, NCCL_STREAM)

    def _optimizer(self) -> None:
        machine = self._machine
        with machine.span("Optimizer.step#AdamW.step", "user_annotation", "dispatch"):
            machine.spend(10.0)
            for _ in range(self._s.layers // 2):
                machine.spend(self._s.dispatch_us)
                self._torch.operator("aten::_fused_adamw_", [ADAM])
