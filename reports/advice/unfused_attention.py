"""Attention is written out as product, softmax, product.

What it detects
    A softmax between two batched matrix products on one thread, and the time of the kernels
    between them: scaling, mask, softmax, dropout, and the softmax of the backward pass. Silent
    where scaled_dot_product_attention runs a fused kernel.

Why it costs
    The matrix of scores, sequence by sequence for each head, goes through memory for every one of
    these kernels. Fused attention keeps a tile of it on the chip and never writes it. Told is what
    stands between the products; that they write and read the scores as well is not counted.

What to do
    torch.nn.functional.scaled_dot_product_attention, with is_causal instead of a mask where the
    mask is causal; flex_attention for other masks and biases. Where it runs the written-out form
    itself, sdpa_kernel with the fused backends alone says why it could not do better. Models of
    Transformers and engines that serve have a setting for it.

When not to
    The scores themselves are needed (to show them, or to add something data-dependent between).
    Flash attention needs fp16 or bf16, and an Ampere GPU or newer; the memory-efficient kernel
    takes float32 and older GPUs. Short sequences gain little.

References
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.scaled_dot_product_attention.html
    https://arxiv.org/abs/2205.14135 (FlashAttention: what the traffic of the scores costs)
    https://docs.vllm.ai/en/latest/design/attention_backends/
    https://docs.sglang.io/docs/advanced_features/attention_backend.md
"""

from __future__ import annotations

from perfkit.model.compute_facts import AttentionFacts
from perfkit.model.diagnosis import Diagnosis, Remedy
from perfkit.reports.advice._compute import FAULT, engine, of_compute
from perfkit.reports.advice._serving import serves
from perfkit.reports.format import count, time_us
from perfkit.reports.rule import Advice, fact, of_step

LIMITS = FAULT


def check(diagnosis: Diagnosis) -> Advice | None:
    """Time of what stands between the products of attention."""
    found = diagnosis.waste.attention if diagnosis.waste else None
    if found is None or not found.count_per_step:
        return None
    cost = of_compute(diagnosis, found.between_us)
    return Advice(
        title=f"Attention that is not fused moves its scores through memory for "
        f"{of_step(diagnosis, cost)}",
        cause="compute",
        cost_us=cost,
        limits=LIMITS,
        evidence=[
            fact(f"softmax between two batched products: {count(found.count_per_step)} per step",
                 found.count_per_step, "per step"),
            fact(f"the products take {time_us(found.product_us)} per step, what is between them "
                 f"{time_us(found.between_us)}", found.between_us, "us/step"),
        ],
        remedy=_remedy(diagnosis, found),
        places=[],
    )  # fmt: skip


def _remedy(diagnosis: Diagnosis, found: AttentionFacts) -> Remedy:
    by_engine = _ENGINES.get(engine(diagnosis)) if serves(diagnosis) else None
    if by_engine is not None:
        return by_engine
    return _FALLBACK if found.in_sdpa else _fused("" if serves(diagnosis) else _DROPOUT)


_DROPOUT = ",\n    dropout_p=p if self.training else 0.0"


def _fused(more: str) -> Remedy:
    return Remedy(
        text=(
            "Let scaled_dot_product_attention do all of it; a model of Transformers takes "
            'attn_implementation="sdpa" when it is loaded.'
        ),
        snippet=(
            "out = torch.nn.functional.scaled_dot_product_attention(\n"
            f"    q, k, v, attn_mask=mask{more})"
        ),
        applies_to="PyTorch 2.0 and newer",
    )


_FALLBACK = Remedy(
    text=(
        "scaled_dot_product_attention ran its plain form: allow only the fused ones, and its "
        "warnings say what stands against them (a mask that needs a gradient, the head size)."
    ),
    snippet=(
        "from torch.nn.attention import SDPBackend, sdpa_kernel\n"
        "with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]):\n"
        "    out = model(batch)"
    ),
    applies_to="PyTorch 2.3 and newer",
)
_ENGINES = {
    "vLLM": Remedy(
        text=(
            "vLLM's own layers run fused attention: look which part of the model writes it out "
            "(an encoder for images, code of the model's own) and choose the backend."
        ),
        snippet="vllm serve MODEL --attention-backend FLASH_ATTN",
        applies_to="vLLM",
    ),
    "SGLang": Remedy(
        text=(
            "SGLang's own layers run fused attention unless the backend is torch_native: leave the "
            "choice to it, or name a fused one."
        ),
        snippet="python -m sglang.launch_server --model-path MODEL --attention-backend flashinfer",
        applies_to="SGLang",
    ),
    "Transformers": Remedy(
        text="Load the model with fused attention, which gives up the attention weights.",
        snippet=('model = AutoModelForCausalLM.from_pretrained(name, attn_implementation="sdpa")'),
        applies_to="Transformers",
    ),
}
