"""What happens to traces on their way: lost records, clocks that disagree, files cut short."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

_BORDER = re.compile(r",(?=\n  \{\n)")  # between two events of `trace_text`
_TIME = re.compile(r'("ts": )(\d+)\.(\d{3})')
_ON_GPU = re.compile(r'"cat": "(kernel|gpu_memcpy|gpu_user_annotation|cuda_sync)"')
_ARRIVAL = '"ph": "f", "id": '
_HEAD = '"traceEvents": ['
_TAIL = "\n  ],\n"


def damage(text: str, kind: str, share: float, seed: int) -> str:
    """A trace's text with `share` of something lost; the same arguments give the same text.

    "drop_kernels", "drop_launches" and "drop_sync_events" lose that share of these records, each
    with its arrow. "shift_clock_10us" and "shift_clock_10ms" set the GPU's clock back from the
    last `share` of the events on. "truncate" ends the text that much earlier. Takes what
    `trace_text` writes; raises ValueError for another kind or a share outside of 0 to 1.
    """
    if kind not in DAMAGES:
        raise ValueError(f"no such damage: {kind}; there are {', '.join(DAMAGES)}")
    if not 0 <= share <= 1:
        raise ValueError(f"a share is between 0 and 1, not {share}")
    return DAMAGES[kind](text, share, Random(f"{seed}/{kind}"))


def _dropped(pattern: str) -> Callable[[str, float, Random], str]:
    wanted = re.compile(pattern)

    def drop(text: str, share: float, random: Random) -> str:
        head, events, tail = _parts(text)
        rows = [i for i, event in enumerate(events) if wanted.search(event)]
        lost = set(random.sample(rows, round(share * len(rows))))
        lost |= {i + 1 for i in lost if i + 1 < len(events) and '"cat": "ac2g"' in events[i + 1]}
        return head + ",".join(e for i, e in enumerate(events) if i not in lost) + tail

    return drop


def _shifted(ns: int) -> Callable[[str, float, Random], str]:
    def shift(text: str, share: float, _: Random) -> str:
        head, events, tail = _parts(text)
        since = _time_of_last(events, share)
        moved = (_earlier(e, ns) if _is_on_gpu(e) and _time(e) >= since else e for e in events)
        return head + ",".join(moved) + tail

    return shift


def _truncated(text: str, share: float, _: Random) -> str:
    return text[: round(len(text) * (1 - share))]


def _parts(text: str) -> tuple[str, list[str], str]:
    """The document before its events, the events, and the document after them."""
    start = text.index(_HEAD) + len(_HEAD)
    end = text.rindex(_TAIL)
    return text[:start], _BORDER.split(text[start:end]), text[end:]


def _is_on_gpu(event: str) -> bool:
    return bool(_ON_GPU.search(event)) or (_ARRIVAL in event and '"cat": "ac2g"' in event)


def _time(event: str) -> int:
    found = _TIME.search(event)
    return int(found[2] + found[3]) if found else 0


def _time_of_last(events: list[str], share: float) -> int:
    times = sorted(_time(e) for e in events if _ON_GPU.search(e))
    first = len(times) - round(share * len(times))
    return times[first] if first < len(times) else times[-1] + 1


def _earlier(event: str, ns: int) -> str:
    time = _time(event) - ns
    return _TIME.sub(rf"\g<1>{time // 1000}.{time % 1000:03d}", event, count=1)


DAMAGES: dict[str, Callable[[str, float, Random], str]] = {
    "drop_kernels": _dropped(r'"cat": "kernel"'),
    "drop_sync_events": _dropped(r'"cat": "cuda_sync"'),
    "drop_launches": _dropped(r'"cat": "cuda_runtime", "name": "cuda\w*Launch'),
    "shift_clock_10us": _shifted(10_000),
    "shift_clock_10ms": _shifted(10_000_000),
    "truncate": _truncated,
}
