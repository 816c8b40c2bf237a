"""Random host programs and the Kineto events a machine that runs them would record."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from perfkit.model.trace import Trace, TraceInfo
from perfkit.trace.columns import columns_of
from perfkit.trace.events import read_block
from perfkit.trace.join import join

Event = dict[str, Any]
LATENCY_US, GAP_US, RETURN_US = 6.0, 1.0, 5.0


def trace_of(events: list[Event]) -> Trace:
    """A Trace of these events as the reader would make it."""
    text = json.dumps(events)[1:-1].encode()
    return join([columns_of(read_block(text))], TraceInfo(source="made by a test"))


def host(name: str, ts: float, dur: float, cat: str = "cpu_op", tid: int = 9, **args: Any) -> Event:
    """What one thread was in, from `ts` on, in microseconds."""
    return {"ph": "X", "cat": cat, "name": name, "ts": ts, "dur": dur, "pid": 9, "tid": tid,
            "args": args}  # fmt: skip


@dataclass(frozen=True)
class Action:
    """One thing the host does; times in microseconds."""

    what: str
    host: float
    gpu: float = 0.0
    stream: int = 7


_us = st.integers(1, 400).map(lambda ns: ns / 4)
_actions = st.builds(
    Action,
    what=st.sampled_from(
        ["kernel", "kernel", "kernel", "nccl", "copy", "sync", "python", "loader", "malloc", "gc"]
    ),
    host=_us,
    gpu=_us,
    stream=st.sampled_from([7, 7, 20]),
)
programs = st.lists(st.lists(_actions, min_size=1, max_size=12), min_size=1, max_size=4)
"""Steps of actions."""


class Machine:
    """Runs actions in order: one thread, streams that each run in order."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.free: dict[int, float] = {}
        self.events: list[Event] = []
        self.corr = 100

    def run(self, steps: list[list[Action]]) -> list[Event]:
        for number, step in enumerate(steps):
            begin = self.now
            for action in step:
                getattr(self, f"_{action.what}")(action)
            self._add("user_annotation", f"ProfilerStep#{number}", begin, self.now - begin)
        return self.events

    def _add(self, cat: str, name: str, ts: float, dur: float, **args: Any) -> None:
        stream = args.get("stream")
        place = {"pid": 0, "tid": stream} if stream is not None else {"pid": 9, "tid": 9}
        self.events.append(
            {"ph": "X", "cat": cat, "name": name, "ts": ts, "dur": dur, "args": args, **place}
        )

    def _launch(self, action: Action, cat: str, name: str, call: str, **args: Any) -> float:
        """An operator that launches; returns the end of the GPU operation."""
        self.corr += 1
        op, begin = self.now, self.now + action.host
        start = max(begin + LATENCY_US, self.free.get(action.stream, 0.0) + GAP_US)
        self.free[action.stream] = start + action.gpu
        self._add("cuda_runtime", call, begin, 4.0, correlation=self.corr)
        self._add(
            cat, name, start, action.gpu,
            correlation=self.corr, stream=action.stream, device=0, **args,
        )  # fmt: skip
        self.now = begin + 4.5
        self._add("cpu_op", "aten::op", op, self.now - op)
        return start + action.gpu

    def _kernel(self, action: Action) -> None:
        self._launch(action, "kernel", "void at::native::vectorized_elementwise_kernel<4>()",
                     "cudaLaunchKernel")  # fmt: skip

    def _nccl(self, action: Action) -> None:
        self._launch(action, "kernel", "ncclDevKernel_AllReduce_Sum_f32_RING_LL()",
                     "cudaLaunchKernel")  # fmt: skip

    def _copy(self, action: Action) -> None:
        self._launch(action, "gpu_memcpy", "Memcpy HtoD (Pinned -> Device)", "cudaMemcpyAsync",
                     bytes=1 << 20)  # fmt: skip

    def _sync(self, action: Action) -> None:
        end = max([self.now + 2.0, *(t + RETURN_US for t in self.free.values())])
        self._add("cuda_runtime", "cudaDeviceSynchronize", self.now, end - self.now)
        self.now = end

    def _python(self, action: Action) -> None:
        self.now += action.host

    def _host(self, action: Action, cat: str, name: str) -> None:
        self._add(cat, name, self.now, action.host)
        self.now += action.host

    def _loader(self, action: Action) -> None:
        self._host(action, "user_annotation",
                   "enumerate(DataLoader)#_MultiProcessingDataLoaderIter.__next__")  # fmt: skip

    def _malloc(self, action: Action) -> None:
        self._host(action, "cuda_runtime", "cudaMalloc")

    def _gc(self, action: Action) -> None:
        self._host(action, "python_function", "Python GC")


def recorded(steps: list[list[Action]]) -> list[Event]:
    """Events of a run, as a profiler would write them."""
    return Machine().run(steps)
