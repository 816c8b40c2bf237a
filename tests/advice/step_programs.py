"""Kineto traces of small programs, written from lines that say what each step calls.

A case is a table of labels/compute.toml. A line of its `step` is a call on the host: its name, the
shapes and the type of an operator's arguments in parentheses, and behind "=>" the kernels that it
launches, joined by " + ", each with its microseconds in front. What stands further in runs inside
of the line above; "12 x " repeats a line with all that stands inside of it. Each line costs the
host `host_us`, before it launches. `device` is one of those below.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DEVICES: dict[str, dict[str, Any]] = {
    "A100": {"name": "NVIDIA A100-SXM4-80GB", "computeMajor": 8, "computeMinor": 0,
             "numSms": 108, "totalGlobalMem": 85_000_000_000},
    "H100": {"name": "NVIDIA H100 80GB HBM3", "computeMajor": 9, "computeMinor": 0,
             "numSms": 132, "totalGlobalMem": 85_000_000_000},
    "MI300X": {"name": "AMD Instinct MI300X", "computeMajor": 9, "computeMinor": 4,
               "numSms": 304, "totalGlobalMem": 206_000_000_000},
}  # fmt: skip
_TYPES = {"bf16": "c10::BFloat16", "fp16": "c10::Half", "fp32": "float"}
_LINE = re.compile(r"^( *)(?:(\d+) x )?(.*?)(?: \(([^()]*)\))?(?: => (.*))?$")
_OPERATOR = re.compile(r"^(aten|autograd|torch|nccl|c10d)::|Backward\d*$")
_STEPS = 4
_LAUNCH_US, _LATENCY_US, _GAP_US = 3.0, 4.0, 1.0


@dataclass
class Call:
    """A line: what it is named, what it is given and launches, and what runs inside of it."""

    name: str
    shapes: str
    kernels: list[tuple[float, str]]
    times: int
    inside: list[Call] = field(default_factory=list)


def program(text: str) -> list[Call]:
    """The calls of a step."""
    calls: list[Call] = []
    around: list[tuple[int, list[Call]]] = [(-1, calls)]
    for line in filter(str.strip, text.splitlines()):
        found = _LINE.match(line.rstrip())
        assert found, line
        indent, times, name, shapes, kernels = found.groups()
        while around[-1][0] >= len(indent):
            around.pop()
        call = Call(name, shapes or "", list(_kernels(kernels or "")), int(times or 1))
        around[-1][1].append(call)
        around.append((len(indent), call.inside))
    return calls


def _kernels(text: str) -> Iterator[tuple[float, str]]:
    for part in filter(None, text.split(" + ")):
        took, _, name = part.partition(" ")
        yield float(took), name


class _Machine:
    """One thread that launches in order onto one stream."""

    def __init__(self, host_us: float) -> None:
        self.host_us = host_us
        self.now = self.free = 1000.0
        self.events: list[dict[str, Any]] = []
        self.launches = 0

    def run(self, calls: Sequence[Call]) -> None:
        for call in calls:
            for _ in range(call.times):
                self._call(call)

    def step(self, number: int, calls: Sequence[Call]) -> None:
        begin = self.now
        self.run(calls)
        self._add("user_annotation", f"ProfilerStep#{number}", begin, self.now - begin)
        # a host that runs ahead without end would not show where steps end on the GPU
        self.now = max(self.now, self.free - 500.0)

    def _call(self, call: Call) -> None:
        begin = self.now
        self.now += self.host_us
        for took, name in call.kernels:
            self._launch(took, name)
        self.run(call.inside)
        self.now += 1.0
        category = "cpu_op" if _OPERATOR.search(call.name) else "user_annotation"
        self._add(category, call.name, begin, self.now - begin, **_operands(call.shapes))

    def _launch(self, took: float, name: str) -> None:
        self.launches += 1
        fills = name.startswith("Memset")
        self._add("cuda_runtime", "cudaMemsetAsync" if fills else "cudaLaunchKernel", self.now,
                  _LAUNCH_US, correlation=self.launches)  # fmt: skip
        self.now += _LAUNCH_US
        start = max(self.now + _LATENCY_US, self.free + _GAP_US)
        self.free = start + took
        self._add("gpu_memset" if fills else "kernel", name, start, took, device=0, stream=7,
                  correlation=self.launches)  # fmt: skip

    def _add(self, cat: str, name: str, ts: float, dur: float, **args: Any) -> None:
        place = {"pid": 0, "tid": 7} if "stream" in args else {"pid": 9, "tid": 9}
        made = {"ph": "X", "cat": cat, "name": name, "ts": ts, "dur": dur, "args": args, **place}
        self.events.append(made)


def _operands(shapes: str) -> dict[str, Any]:
    """The arguments of an operator as `record_shapes` writes them."""
    *dims, form = shapes.split() or [""]
    if not dims:
        return {}
    return {
        "Input Dims": [[int(size) for size in one.split("x")] for one in dims],
        "Input type": [_TYPES[form]] * len(dims),
        "Concrete Inputs": [""] * len(dims),
    }


def write(case: dict[str, Any], folder: Path) -> Path:
    """The trace of this case in a file of this folder."""
    machine, calls = _Machine(case.get("host_us", 2.0)), program(case["step"])
    for number in range(_STEPS):
        machine.step(number, calls)
    device = {"id": 0, **DEVICES[case.get("device", "A100")]}
    document = {"schemaVersion": 1, "deviceProperties": [device], "traceEvents": machine.events}
    path = folder / "trace.json"
    path.write_text(json.dumps(document), "utf-8")
    return path
