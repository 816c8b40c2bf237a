"""Write a large Kineto trace by repeating a real one, with times, ids and step numbers moved on.

python benchmarks/make_big_trace.py SOURCE.json[.gz] OUT.json[.gz] --megabytes 500
"""

import argparse
import gzip
import re
from pathlib import Path
from typing import IO, cast

# Each number that must differ between copies, by the key that introduces it.
_NUMBER = re.compile(
    rb'("ts": |"correlation": |"External id": |"Ev Idx": |"id": |ProfilerStep#)(\d+)(\.\d+)?'
)
_ID_STRIDE = 1_000_000


def _read(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def _split(text: bytes) -> tuple[bytes, bytes, bytes]:
    """(before, events, after): the text of the traceEvents list without its brackets."""
    start = text.index(b'"traceEvents": [') + len(b'"traceEvents": [')
    end = text.rindex(b"}\n  ]") + 1 if b"}\n  ]" in text else text.rindex(b"]")
    return text[:start], text[start:end], text[end:]


def _pieces(events: bytes) -> tuple[list[bytes], list[tuple[bytes, int, bytes]]]:
    fixed, numbers, at = [], [], 0
    for match in _NUMBER.finditer(events):
        fixed.append(events[at : match.start()])
        numbers.append((match[1], int(match[2]), match[3] or b""))
        at = match.end()
    return [*fixed, events[at:]], numbers


def _copy(
    fixed: list[bytes], numbers: list[tuple[bytes, int, bytes]], ts_shift: int, k: int, steps: int
) -> bytes:
    shift = {b'"ts": ': ts_shift * k, b"ProfilerStep#": steps * k}
    out = []
    for text, (key, value, fraction) in zip(fixed, numbers, strict=False):
        moved = value + shift.get(key, _ID_STRIDE * k)
        out.append(b"%b%b%d%b" % (text, key, moved, fraction))
    return b"".join([*out, fixed[-1]])


def _opened(path: Path) -> IO[bytes]:
    # Level 1: the size of the file matters here, not how small it packs.
    if path.suffix == ".gz":
        return cast("IO[bytes]", gzip.open(path, "wb", compresslevel=1))
    return path.open("wb")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--megabytes", type=int, default=500)
    args = parser.parse_args()
    before, events, after = _split(_read(args.source))
    fixed, numbers = _pieces(events)
    times = sorted(value for key, value, _ in numbers if key == b'"ts": ' and value)
    span = times[-1] - times[len(times) // 1000] + 1_000
    steps = len({value for key, value, _ in numbers if key == b"ProfilerStep#"})
    copies = max(1, args.megabytes * 1_000_000 // len(events))
    with _opened(args.out) as out:
        out.write(before)
        for k in range(copies):
            out.write(b"," if k else b"")
            out.write(_copy(fixed, numbers, span, k, steps))
        out.write(after)


if __name__ == "__main__":
    main()
