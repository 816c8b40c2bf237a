"""Time and memory of `perfkit analyze FILE --json OUT` against file size; start-up times.

    python benchmarks/scaling.py SOURCE.json.gz [--megabytes 50 100 500 2000] [--runs 3]

SOURCE is a real trace; larger ones are made by repeating it. Each run is a fresh process.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MAKER = Path(__file__).with_name("make_big_trace.py")


def measured(command: list[str]) -> tuple[float, float]:
    """(wall seconds, peak resident MB of the process and its largest child)."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command} failed with status {status}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def made(source: Path, folder: Path, megabytes: int, suffix: str) -> Path:
    """A trace of about this size."""
    target = folder / f"{megabytes}MB{suffix}"
    command = [sys.executable, str(MAKER), str(source), str(target), "--megabytes", str(megabytes)]
    subprocess.run(command, check=True)
    return target


def report(name: str, runs: list[tuple[float, float]], size: float | None = None) -> float:
    """Print medians; returns the seconds."""
    seconds = statistics.median(run[0] for run in runs)
    memory = max(run[1] for run in runs)
    rate = f"  {seconds / size * 1000:6.2f} s/GB" if size else ""
    print(f"{name:24s} {seconds:7.3f} s  {memory:7.0f} MB{rate}", flush=True)
    return seconds


def scaling(source: Path, sizes: list[int], runs: int) -> None:
    """One row a size, plain and gzip alternating."""
    with tempfile.TemporaryDirectory() as name:
        folder, out = Path(name), Path(name) / "out.json"
        for size in sizes:
            files = [made(source, folder, size, suffix) for suffix in (".json", ".json.gz")]
            compare(files, out, runs)
            for path in files:
                path.unlink()


def compare(files: list[Path], out: Path, runs: int) -> None:
    """Plain and gzip in turn."""
    rows: list[list[tuple[float, float]]] = [[], []]
    for _ in range(runs):
        for path, row in zip(files, rows, strict=True):
            command = [sys.executable, "-m", "perfkit", "analyze", str(path)]
            row.append(measured([*command, "--json", str(out)]))
    size = files[0].stat().st_size / 1e6
    plain, packed = (
        report(f"{size:.0f} MB {kind}", row, size)
        for kind, row in zip(("json", "json.gz"), rows, strict=True)
    )
    print(f"{'':24s} gzip/plain {packed / plain:.2f}", flush=True)


def start_up(runs: int) -> None:
    """Help and import, beside the interpreter's own start."""
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "import perfkit": [sys.executable, "-c", "import perfkit"],
        "perfkit --help": [sys.executable, "-m", "perfkit", "--help"],
    }
    rows: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(runs * 5):
        for name, command in commands.items():
            rows[name].append(measured(command))
    for name, row in rows.items():
        report(name, row)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("--megabytes", type=int, nargs="*", default=[50, 100, 500, 2000])
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    start_up(args.runs)
    scaling(args.source, args.megabytes, args.runs)


if __name__ == "__main__":
    main()
