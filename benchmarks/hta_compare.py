"""From a cold process and a trace file to a JSON report: perfkit against Holistic Trace Analysis.

    python benchmarks/hta_compare.py FILE --hta-python PYTHON [--runs 3]

PYTHON is an interpreter that has HTA (HolisticTraceAnalysis or traceinsight). perfkit writes its
whole diagnosis; HTA loads the file and writes its temporal breakdown, the least that can be asked
of it. Runs alternate, so that a busy machine slows both; the file is read once beforehand, and
both have their bytecode at hand, as an installed package has.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HTA = """
import sys
from hta.trace_analysis import TraceAnalysis
analysis = TraceAnalysis(trace_files={0: sys.argv[1]})
analysis.get_temporal_breakdown(visualize=False).to_json(sys.argv[2])
"""
_COMPILED = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
VERSIONS = "import hta, pandas; print('HTA', hta.__version__, 'pandas', pandas.__version__)"


@dataclass(frozen=True)
class Run:
    """One process; `megabytes` is the peak of the process or of its largest child."""

    seconds: float
    megabytes: float


def warmed(path: Path) -> int:
    """Bytes of a file, read once in pieces: a child's peak memory starts from its parent's."""
    with path.open("rb") as file:
        return sum(len(piece) for piece in iter(lambda: file.read(1 << 20), b""))


def run(command: list[str], out: Path) -> Run:
    """Run it to its report; exit with its last words when there is none."""
    out.unlink(missing_ok=True)
    with tempfile.TemporaryFile() as words:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=words, stderr=words, env=_COMPILED)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode or not out.exists():
            words.seek(0)
            said = words.read()[-600:].decode(errors="replace")
            raise SystemExit(f"{command[0]} failed with status {process.returncode}:\n{said}")
    return Run(seconds, usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10))


def alternating(commands: dict[str, list[str]], out: Path, runs: int) -> dict[str, list[Run]]:
    """All runs of each command; prints every pair."""
    found: dict[str, list[Run]] = {name: [] for name in commands}
    for i in range(runs):
        for name, command in commands.items():
            found[name].append(run(command, out))
        pair = [f"{name} {done[-1].seconds:.2f} s" for name, done in found.items()]
        print(f"run {i + 1}: " + ", ".join(pair), flush=True)
    return found


def report(found: dict[str, list[Run]]) -> None:
    """Medians of each, and HTA over perfkit."""
    for name, runs in found.items():
        seconds = statistics.median(r.seconds for r in runs)
        print(f"{name:8s} {seconds:8.2f} s  {max(r.megabytes for r in runs):7.0f} MB")
    pairs = list(zip(found["HTA"], found["perfkit"], strict=True))
    faster = statistics.median(theirs.seconds / ours.seconds for theirs, ours in pairs)
    smaller = statistics.median(theirs.megabytes / ours.megabytes for theirs, ours in pairs)
    print(f"HTA / perfkit: time {faster:.1f}, memory of the largest process {smaller:.1f}")


def main() -> None:
    """Compare on one file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("trace", type=Path)
    parser.add_argument("--hta-python", required=True, metavar="PATH")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    path = str(options.trace.resolve())
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "report.json"
        commands = {
            "perfkit": [sys.executable, "-m", "perfkit", "analyze", path, "--json", str(out)],
            "HTA": [options.hta_python, "-c", HTA, path, str(out)],
        }
        subprocess.run([options.hta_python, "-c", VERSIONS], check=True)
        print(f"{options.trace.name}: {warmed(options.trace) / 1e6:.1f} MB", flush=True)
        run(commands["perfkit"], out)  # leaves the bytecode
        report(alternating(commands, out, options.runs))


if __name__ == "__main__":
    main()
