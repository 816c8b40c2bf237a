"""What to do when a device has no memory for a request, by what the numbers show."""

from __future__ import annotations

from perfkit.model.diagnosis import Diagnosis, Remedy

_CHECKPOINTING = (
    "from torch.utils.checkpoint import checkpoint\n"
    "x = checkpoint(block, x, use_reentrant=False)  # one more forward of the block, less memory"
)


def too_large() -> Remedy:
    """Where one request was larger than the device."""
    return Remedy(
        text=(
            "One tensor was to be larger than the GPU: look for shapes that broadcast by mistake, "
            "and compute masks of all pairs, distances or logits of a large vocabulary in parts."
        ),
        snippet="losses = [loss_of(part) for part in hidden.split(1024)]  # not all logits at once",
        applies_to="PyTorch",
    )


def held_by_others() -> Remedy:
    """Where this process had reserved little."""
    return Remedy(
        text=(
            "This process had reserved little: another one holds the GPU's memory, or a limit "
            "(set_per_process_memory_fraction, MIG) ends it. Look who uses the GPU, and end that."
        ),
        snippet="nvidia-smi --query-compute-apps=pid,used_memory --format=csv",
        applies_to="NVIDIA GPUs",
    )


def need_less(diagnosis: Diagnosis) -> Remedy:
    """Where all memory was in use, by the phase that needed most."""
    phases = diagnosis.memory.peak_by_phase_bytes if diagnosis.memory else {}
    if phases and max(phases, key=lambda phase: phases[phase]) == "optimizer":
        return Remedy(
            text=(
                "Most is needed in the optimizer's step: shard its state over the ranks (FSDP, "
                "ZeRO), or use fused=True, which needs no temporary copies as foreach does."
            ),
            snippet="optimizer = torch.optim.AdamW(model.parameters(), fused=True)",
            applies_to="PyTorch",
        )
    return Remedy(
        text=(
            "Halve the micro-batch and accumulate gradients over two, checkpoint activations of "
            "the large blocks, or shard the model (FSDP); bfloat16 halves activations."
        ),
        snippet=_CHECKPOINTING,
        applies_to="PyTorch",
    )
