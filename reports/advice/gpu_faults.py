"""The driver reported a fault of the GPU, or memory errors that cannot be corrected.

What it detects
    Xid errors of the driver while the run went on, and uncorrected ECC errors that were counted
    during it. Xids that NVIDIA's catalogue calls tests or corrected in full are not told.

Why it costs
    Most end the process, and with it the job on every rank. A GPU that has done so once is likely
    to do so again; contents of memory may be wrong.

What to do
    What the catalogue names as the first action for this Xid: reset the GPU, restart the node, or
    look for an illegal access in the program first.

When not to
    Xids 13, 31 and 43 follow from bugs of programs far more often than from broken GPUs, and 45
    from ending a program (Ctrl-C too) or from another Xid. A contained error (94) ends one program;
    the GPU can be reset later.

References
    https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html (texts and first actions)
    https://docs.nvidia.com/health-validation/reference/checks/xid.md (46, 48: drain and reset)
    https://docs.nvidia.com/deploy/a100-gpu-mem-error-mgmt/error-recovery-and-response-flags.html
    (uncorrectable errors need a reset; a pending remap waits for one)
"""

from __future__ import annotations

import math

from perfkit.model.diagnosis import Diagnosis, Evidence, Remedy, Severity
from perfkit.model.run_facts import GpuFacts
from perfkit.reports.advice._xids import (
    FOLLOWS,
    LATER,
    NOTHING,
    PROGRAM,
    RESET,
    RESTART,
    TEXTS,
)
from perfkit.reports.format import plural
from perfkit.reports.rule import Advice, Limits, fact

LIMITS = Limits(warning_share=math.inf, critical_share=math.inf)  # no time measures it
AUDIENCE = "infrastructure"
_LOOK = "nvidia-smi -q -d ECC,ROW_REMAPPER"


def check(diagnosis: Diagnosis) -> Advice | None:
    """Xids and uncorrected ECC errors of the run's GPUs."""
    gpus = [g for g in (diagnosis.run.gpus if diagnosis.run else []) if _xids(g) or _errors(g)]
    if not gpus:
        return None
    return Advice(
        title=f"GPU faults during the run: {', '.join(map(_title, gpus))}",
        cause="faults",
        cost_us=0.0,
        limits=LIMITS,
        evidence=[entry for gpu in gpus for entry in _facts(gpu)],
        remedy=_remedy(gpus),
        places=[],
        severity=_severity(gpus),
    )


def _xids(gpu: GpuFacts) -> list[int]:
    return [xid for xid in gpu.xids if xid not in NOTHING]


def _errors(gpu: GpuFacts) -> int:
    return gpu.ecc_uncorrected or 0


def _is_broken(gpu: GpuFacts) -> bool:
    """Whether the GPU is of no use before a reset; contained errors can wait for one."""
    needs_reset = any(xid in RESET or xid in RESTART for xid in gpu.xids)
    return needs_reset or (_errors(gpu) > 0 and not any(xid in LATER for xid in gpu.xids))


def _severity(gpus: list[GpuFacts]) -> Severity:
    """What a program can cause is a warning, and so is what the catalogue here does not name."""
    if any(map(_is_broken, gpus)):
        return "critical"
    follows = all(xid in FOLLOWS for gpu in gpus for xid in _xids(gpu))
    return "info" if follows and not any(map(_errors, gpus)) else "warning"


def _title(gpu: GpuFacts) -> str:
    said = [f"Xid {xid}" for xid in _xids(gpu)]
    errors = _errors(gpu)
    said += [plural(errors, "uncorrected ECC error")] if errors else []
    return f"device {gpu.device} {', '.join(said)}"


def _facts(gpu: GpuFacts) -> list[Evidence]:
    """One line an Xid, and one for ECC."""
    found = [fact(f"Xid {x}: {TEXTS.get(x, 'see the catalogue')}", x, "xid") for x in _xids(gpu)]
    errors = _errors(gpu)
    if errors:
        found.append(fact(f"{plural(errors, 'ECC error')} not corrected", errors, "1/run"))
    return found


def _remedy(gpus: list[GpuFacts]) -> Remedy:
    xids = {xid for gpu in gpus for xid in gpu.xids}
    broken = ",".join(str(gpu.device) for gpu in gpus if _is_broken(gpu))
    if xids & RESTART.keys():
        text = "Drain and restart the node, since the GPU no longer answers, then run diagnostics."
        return _nvidia(text, "sudo dmesg | grep -iE 'xid|pcie|aer'\ndcgmi diag -r 3")
    if broken:
        text = "Drain the node, reset the GPU, run diagnostics, and replace it if this repeats."
        return _nvidia(text, f"{_LOOK}\nsudo nvidia-smi -r -i {broken}\ndcgmi diag -r 3")
    if xids & LATER.keys():
        text = (
            "Go on from the last checkpoint, and reset the GPU when the node is free: rows to be "
            "remapped are replaced by the reset."
        )
        return _nvidia(text, _LOOK)
    if xids & PROGRAM.keys():
        text = (
            "Run the program once under compute-sanitizer: an illegal access of its own is the "
            "likely cause; if another program meets it on this GPU too, reset the GPU when idle."
        )
        return _nvidia(text, "compute-sanitizer --tool memcheck python train.py")
    text = "Read what the kernel's log says beside this Xid, and look the number up."
    return _nvidia(text, "sudo dmesg | grep -i xid")


def _nvidia(text: str, snippet: str) -> Remedy:
    return Remedy(text=text, snippet=snippet, applies_to="NVIDIA GPUs")
