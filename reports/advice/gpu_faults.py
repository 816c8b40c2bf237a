"""The driver reported a fault of the GPU, or memory errors that cannot be corrected.

What it detects
    Xid errors of the driver while the run went on, and uncorrected ECC errors that were counted
    during it.

Why it costs
    Most end the process, and with it the job on every rank. A GPU that has done so once is likely
    to do so again; contents of memory may be wrong.

What to do
    What the Xid stands for: a fault of hardware means to drain the node, reset the GPU and run
    diagnostics; an exception of the application means to look for an illegal access first.

When not to
    Xids 13, 31, 43 and 45 follow from bugs of programs far more often than from broken GPUs.

References
    https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html
    https://docs.nvidia.com/health-validation/reference/checks/xid.md (46, 48, 63, 64, 79: drain)
    https://github.com/stas00/ml-engineering (compute/accelerator/nvidia/debug.md)
"""

from __future__ import annotations

import math

from perfkit.model.diagnosis import Diagnosis, Evidence, Remedy, Severity
from perfkit.model.run_facts import GpuFacts
from perfkit.reports.format import plural
from perfkit.reports.rule import Advice, Limits, fact

LIMITS = Limits(warning_share=math.inf, critical_share=math.inf)  # no time measures it
AUDIENCE = "infrastructure"

_HARDWARE = {
    46: "the GPU stopped processing",
    48: "a double-bit ECC error",
    64: "a row or page could not be retired",
    74: "an NVLink error",
    79: "the GPU has fallen off the bus",
    95: "a memory error that was not contained",
    119: "the GPU's system processor does not answer",
    120: "an error of the GPU's system processor",
    140: "ECC errors that were not recovered",
}
_MEMORY = {
    63: "a row or page of memory was retired",
    92: "many single-bit ECC errors",
    94: "a memory error that was contained",
}
_PROGRAM = {
    13: "an exception on the GPU, mostly of the program",
    31: "an illegal memory access, mostly of the program",
    43: "the program's channel was stopped",
    45: "work was cleaned up after another error",
}
_LOOK = "nvidia-smi -q -d ECC,ROW_REMAPPER\nsudo nvidia-smi -r -i DEVICE"
_TEXTS = {**_HARDWARE, **_MEMORY, **_PROGRAM}


def check(diagnosis: Diagnosis) -> Advice | None:
    """Xids and uncorrected ECC errors of the run's GPUs."""
    gpus = [g for g in (diagnosis.run.gpus if diagnosis.run else []) if g.xids or g.ecc_uncorrected]
    if not gpus:
        return None
    severity = _severity(gpus)
    return Advice(
        title=f"GPU faults during the run: {', '.join(map(_title, gpus))}",
        cause="faults",
        cost_us=0.0,
        limits=LIMITS,
        evidence=[entry for gpu in gpus for entry in _facts(gpu)],
        remedy=_remedy(gpus, severity),
        places=[],
        severity=severity,
    )


def _severity(gpus: list[GpuFacts]) -> Severity:
    """What a program can cause is a warning, and so is what the catalogue here does not name."""
    broken = any(x in _HARDWARE for gpu in gpus for x in gpu.xids)
    return "critical" if broken or any(gpu.ecc_uncorrected for gpu in gpus) else "warning"


def _title(gpu: GpuFacts) -> str:
    said = [f"Xid {xid}" for xid in gpu.xids]
    errors = gpu.ecc_uncorrected
    said += [plural(errors, "uncorrected ECC error")] if errors else []
    return f"device {gpu.device} {', '.join(said)}"


def _facts(gpu: GpuFacts) -> list[Evidence]:
    """One line an Xid, and one for ECC."""
    found = [fact(f"Xid {x}: {_TEXTS.get(x, 'see the catalogue')}", x, "xid") for x in gpu.xids]
    errors = gpu.ecc_uncorrected
    if errors:
        found.append(fact(f"{plural(errors, 'ECC error')} not corrected", errors, "1/run"))
    return found


def _remedy(gpus: list[GpuFacts], severity: Severity) -> Remedy:
    if severity == "critical":
        return Remedy(
            text="Drain the node, reset the GPU, run diagnostics, and replace it if this repeats.",
            snippet=f"{_LOOK}\ndcgmi diag -r 3",
            applies_to="NVIDIA GPUs",
        )
    if not any(x in _PROGRAM for gpu in gpus for x in gpu.xids):
        return Remedy(
            text=(
                "Go on from the last checkpoint, and reset the GPU when the node is free: retired "
                "rows are replaced by the reset."
            ),
            snippet=_LOOK,
            applies_to="NVIDIA GPUs",
        )
    return Remedy(
        text=(
            "Run the program once under compute-sanitizer: an illegal access of its own is the "
            "likely cause; if another program meets it on this GPU too, reset the GPU when idle."
        ),
        snippet="compute-sanitizer --tool memcheck python train.py\nsudo dmesg | grep -i xid",
        applies_to="NVIDIA GPUs",
    )
