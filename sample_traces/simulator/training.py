"""The one training program that all scenarios run."""

from __future__ import annotations

from contextlib import nullcontext

from .framework import COMPUTE_STREAM, NCCL_STREAM, Framework
from .loader import Loader
from .machine import AUTOGRAD, MAIN, Machine
from .network import ADAM, LOSS, MUL, Kernel, Op, layer
from .program import Scenario
from .records import GpuOp, Recording, Span

FIRST_STEP = 3
TINY_US = 2.4
GRAPH_KERNEL_US = 12.0
_TENSORS = 4


class Training:
    """A scenario on a machine."""

    def __init__(self, scenario: Scenario, machine: Machine, seed: int) -> None:
        self._s = scenario
        self._machine = machine
        self._layer = layer(scenario.device, scenario.precision)
        self._torch = Framework(machine, scenario.kernel_us, scenario.dispatch_us)
        self._loader = Loader(scenario, machine, seed)
        self._recorded: GpuOp | None = None
        self._peer = 0
        """When the peer is ready to reduce gradients."""

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
        forward_done = self._mark_event() if s.run_ahead == "half_step" else None
        self._check()
        self._backward(pairs)
        if s.communication == "after":
            self._reduce_all()
        self._machine.spend(s.bookkeeping_us)
        self._optimizer()
        if s.item_per_step:
            self._item("item")
        self._log("item log", s.log_us)
        self._limit_run_ahead(forward_done)
        if self._comes(index, s.checkpoint_every):
            self._save()

    def _prepare(self, index: int) -> None:
        s, machine = self._s, self._machine
        self._loader.next(index)
        machine.spend(4.0)
        with machine.aside("copy"):
            self._torch.to_device(s.copy, s.copy_us, s.staging_us)
        with machine.span("Optimizer.zero_grad#AdamW.zero_grad", "user_annotation", "dispatch"):
            machine.spend(12.0)
        with machine.aside("small kernels"):
            self._small_kernels()

    def _small_kernels(self) -> None:
        s, machine = self._s, self._machine
        tiny = Kernel(MUL.name, TINY_US / s.kernel_us)
        if s.tiny_graph:
            self._torch.graph(1, [tiny] * s.tiny_ops)
        for _ in range(0 if s.tiny_graph else s.tiny_ops):
            machine.spend(s.tiny_python_us)
            self._torch.operator("aten::mul", [tiny])
        if s.graph_kernels:
            kernel = Kernel(MUL.name, GRAPH_KERNEL_US / s.kernel_us)
            self._torch.graph(2, [kernel] * s.graph_kernels)

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
        if s.outside_us:
            with self._machine.aside(f"outside {number}"):
                self._torch.outside(s.outside_us)
        if s.item_per_layer:
            self._item(f"item {number}")
        self._log(f"item log {number}", s.layer_log_us)
        return pairs

    def _item(self, part: str) -> None:
        with self._machine.aside(part):
            self._torch.item()

    def _log(self, part: str, us: float) -> None:
        if us:
            with self._machine.aside(part):
                self._machine.spend(us)

    def _check(self) -> None:
        """Wait for the device as a timer does, then work with what it says."""
        s, machine = self._s, self._machine
        with machine.aside("check"):
            if s.device_sync:
                self._torch.device_synchronize()
            if s.check_us:
                machine.spend(s.check_us)

    def _interrupt(self, index: int, number: int) -> None:
        s, machine = self._s, self._machine
        if s.frees and number == s.free_layer:
            with machine.aside("frees"):
                self._torch.release_blocks(s.frees, s.free_us)
        if number == s.layers // 2 and self._comes(index, s.gc_every):
            with machine.aside("gc"), machine.span("Python GC", "python_function", "gc"):
                machine.spend(s.gc_us)

    def _comes(self, index: int, every: int) -> bool:
        """Whether what comes once in `every` steps comes in this one; 0 is never."""
        return every > 0 and (index + self._s.phase) % every == every - 2

    def _backward(self, layers: list[list[tuple[Op, Span]]]) -> None:
        machine, overlapped = self._machine, self._s.communication == "overlapped"
        machine.spend(12.0)
        machine.tid = AUTOGRAD
        for number, pairs in reversed(list(enumerate(layers))):
            if number == len(layers) // 2 - 1:
                self._log("hook", self._s.hook_us)
            for op, forward in reversed(pairs):
                machine.spend(1.2)
                self._torch.gradient(op.node, op.grad_path, op.grad_kernels, forward)
            if overlapped:
                # The last bucket has nothing left to hide behind, so it is small.
                self._reduce(number, self._s.all_reduce_us * (1.0 if number else 0.2))
                self._reduce_further(number)
        if overlapped:
            self._wait_for_communication()
        machine.spend(15.0)
        machine.tid = MAIN

    def _reduce(self, number: int, us: float) -> None:
        meets = self._s.peer_step_us > 0 and number == 0
        with self._machine.aside(f"reduce {number}"):
            op = self._torch.all_reduce(us, self._peer if meets else 0)
        if meets:
            together = max(op.start, self._peer)
            self._peer = together + round(self._s.peer_step_us * 1000)

    def _reduce_further(self, number: int) -> None:
        with self._machine.aside(f"reduce more of {number}"):
            for _ in range(round((self._s.buckets - 1) * (1.0 if number else 0.2))):
                self._torch.all_reduce(self._s.all_reduce_us)

    def _wait_for_communication(self) -> None:
        with self._machine.aside("reduced"):
            self._machine.event_wait(COMPUTE_STREAM, NCCL_STREAM)

    def _reduce_all(self) -> None:
        for number in range(2):
            self._log(f"before reduce {number}", self._s.python_us)
            self._reduce(number, self._s.all_reduce_us)
        self._wait_for_communication()

    def _optimizer(self) -> None:
        machine = self._machine
        with machine.span("Optimizer.step#AdamW.step", "user_annotation", "dispatch"):
            machine.spend(10.0)
            for _ in range(self._s.layers // 2):
                machine.spend(self._s.dispatch_us)
                self._torch.operator("aten::_fused_adamw_", [ADAM])

    def _mark_event(self) -> GpuOp | None:
        with self._machine.aside("event"):
            return self._machine.event_record(COMPUTE_STREAM)[1]

    def _limit_run_ahead(self, forward_done: GpuOp | None) -> None:
        """Wait until the GPU is near enough, so that the last step's window stays short."""
        s, awaited = self._s, forward_done
        if s.run_ahead == "step":
            awaited, self._recorded = self._recorded, self._mark_event()
        if awaited is not None:
            with self._machine.aside("run ahead"):
                self._machine.synchronize("cudaEventSynchronize", "Event Sync", awaited.end, -1)

    def _save(self) -> None:
        s = self._s
        with self._machine.aside("checkpoint"):
            self._torch.save(
                _TENSORS, s.checkpoint_prepare_us, s.checkpoint_copy_us, s.checkpoint_write_us
            )
