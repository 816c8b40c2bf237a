"""DataParallel copies the model to every GPU in every step, from one process.

What it detects
    A model inside of torch.nn.DataParallel, and no DistributedDataParallel. Charged is the
    communication and the copies between GPUs that nothing hides.

Why it costs
    Each forward pass sends all parameters and the batch from the first GPU to the others and
    collects the outputs; each backward pass sends all gradients back to it. One process launches
    everything, its threads sharing one interpreter lock, and the first GPU works more than the
    others.

What to do
    One process per GPU with DistributedDataParallel: parameters stay where they are, gradients
    are reduced in buckets while the backward pass runs. PyTorch's own advice, even on one node.

When not to
    A script that only tries things out on two GPUs may not be worth it. The learning rate and
    the batch size per GPU need a second look, since each process has its own loader.

References
    https://docs.pytorch.org/docs/stable/generated/torch.nn.DataParallel.html (the warning)
    https://docs.pytorch.org/tutorials/intermediate/ddp_tutorial.html (comparison)
"""

from __future__ import annotations

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Diagnosis, Remedy
from perfkit.reports.format import count, time_us
from perfkit.reports.rule import Advice, Limits, fact, idle_us, of_step

LIMITS = Limits(warning_share=0.10, critical_share=0.30)  # as for exposed communication
_BETWEEN_GPUS = ("PtoP", "DtoD")
_HOST = (Cause.LAUNCH, Cause.DISPATCH, Cause.PYTHON)

_REMEDY = Remedy(
    text="Replace DataParallel by DistributedDataParallel, one process per GPU.",
    snippet=(
        "# torchrun --nproc-per-node=gpu train.py\n"
        'dist.init_process_group("nccl")\n'
        'local = int(os.environ["LOCAL_RANK"]); torch.cuda.set_device(local)\n'
        "model = DistributedDataParallel(model.to(local), device_ids=[local])\n"
        "loader = DataLoader(dataset, sampler=DistributedSampler(dataset), ...)"
    ),
    applies_to="DataParallel",
)


def check(diagnosis: Diagnosis) -> Advice | None:
    """What DataParallel moves between GPUs."""
    if "DataParallel" not in diagnosis.framework.parallelism:
        return None
    if "DDP" in diagnosis.framework.parallelism:
        return None
    moved = sum(c.exposed_us for c in diagnosis.copies if c.direction in _BETWEEN_GPUS)
    cost = diagnosis.breakdown_us.communication + min(moved, diagnosis.breakdown_us.copy)
    host, gpus = idle_us(diagnosis, *_HOST), diagnosis.device.count
    return Advice(
        title=f"DataParallel moves the model between GPUs for {of_step(diagnosis, cost)}",
        cause="communication",
        cost_us=cost,
        limits=LIMITS,
        evidence=[
            fact(f"one process drives {count(gpus)} GPUs" if gpus else "one process drives all "
                 "GPUs"),
            fact(f"the GPU idles {time_us(host)} per step for that process's launches",
                 host, "us/step"),
        ],
        remedy=_REMEDY,
        places=[],
    )  # fmt: skip
