"""Text of Kineto traces, as the writer lays it out and with any damage a test asks for."""

from __future__ import annotations

import json
from typing import Any

ORIGIN = 4_458_676_388_068


class Bare(str):
    """Printed as it is, without quotes: numbers with chosen decimals, and what is not JSON."""

    __slots__ = ()


def value(item: object) -> str:
    if isinstance(item, Bare):
        return str(item)
    if isinstance(item, dict):
        return "{" + ", ".join(f"{json.dumps(k)}: {value(v)}" for k, v in item.items()) + "}"
    if isinstance(item, list):
        return "[" + ", ".join(map(value, item)) + "]"
    return json.dumps(item)


def microseconds(ns: int) -> Bare:
    return Bare(f"{ns // 1000}.{ns % 1000:03d}")


def event(ph: str = "X", **fields: Any) -> str:
    """One element of the list; a field that is None is left out."""
    members = {"ph": ph} | {k: v for k, v in fields.items() if v is not None}
    lines = [f'    "{key}": {value(item)}' for key, item in members.items()]
    return "  {\n" + ",\n".join(lines) + "\n  }"


def host(name: Any = "aten::add", at: int = 0, took: int = 1000, /, **fields: Any) -> str:
    """A CPU event, `at` nanoseconds after the origin; `fields` go in as they are."""
    ts = microseconds(ORIGIN * 1000 + at)
    usual = {"cat": "cpu_op", "name": name, "pid": 4242, "tid": 4242, "args": {"External id": 1}}
    return event(**usual | {"ts": ts, "dur": microseconds(took)} | fields)


def kernel(name: Any = "gemm", at: int = 0, took: int = 1000, /, **fields: Any) -> str:
    """A kernel on stream 7 of device 0; `args` are added to the usual ones."""
    args = {"device": 0, "context": 1, "stream": 7, "correlation": at or 1}
    args |= fields.pop("args", {})
    usual = {"cat": "kernel", "pid": 0, "tid": 7, "args": args}
    return host(name, at, took, **usual | fields)


def allocation(at: int, size: Any, allocated: Any, reserved: Any, /, **fields: Any) -> str:
    """What the allocator of GPU 0 says; `args` change the usual ones, None leaves one out."""
    args = {"Total Reserved": reserved, "Total Allocated": allocated, "Bytes": size,
            "Addr": 140_000_000 + at, "Device Id": 0, "Device Type": 1, "Ev Idx": at}  # fmt: skip
    args = {k: v for k, v in (args | fields.pop("args", {})).items() if v is not None}
    usual = {"cat": "cpu_instant_event", "s": "t", "name": "[memory]", "pid": 4242, "tid": 4242}
    ts = microseconds(ORIGIN * 1000 + at)
    return event("i", **usual | {"ts": ts, "args": args} | fields)


def flow(ph: str, cat: str, ident: Any, at: int = 0) -> str:
    ts = microseconds(ORIGIN * 1000 + at)
    return event(ph, id=ident, pid=4242, tid=4242, ts=ts, cat=cat, name=cat)


def label(name: str, pid: Any, args: dict[str, Any]) -> str:
    return event("M", name=name, ts=0, pid=pid, tid=0, args=args)


def members(items: dict[str, Any]) -> str:
    return "".join(f'  "{key}": {value(item)},\n' for key, item in items.items())


def document(
    *events: str,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    name: str = "rank0.json",
) -> str:
    """A whole file; `before` and `after` are members around the list of events."""
    listed = ",\n".join(events)
    return (
        f'{{\n  "schemaVersion": 1,\n{members(before or {})}  "displayTimeUnit": "ms",\n'
        f'  "traceEvents": [\n{listed}\n  ],\n'
        f'{members(after or {})}  "traceName": "{name}"\n}}\n'
    )


def many(count: int, start: int = 0) -> list[str]:
    """Operators and kernels that never overlap, with flows and labels between them."""
    rows = [label("process_name", 4242, {"name": "python"})]
    for i in range(start, start + count):
        at = i * 10_000
        rows.append(host(f"aten::op{i % 5}", at, 4000, args={"External id": i}))
        rows.append(flow("s", "fwdbwd", i, at))
        rows.append(kernel(f"kernel{i % 7}", at + 5000, 2000, args={"correlation": i, "bytes": i}))
    return rows
