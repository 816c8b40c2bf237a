"""What a kernel's name tells: its class, its number format, whether it used tensor cores.

Names come from cuBLAS, cuDNN, CUTLASS, Triton, PyTorch, NCCL, Tensile (rocBLAS, hipBLASLt), MIOpen
and Composable Kernel. They are looked at once per name; every pattern is linear in its length.
"""

from __future__ import annotations

import re
from functools import lru_cache

from perfkit.model.kernel import KernelKind

_LOOKED_AT = 600  # C++ names run to thousands of characters; what tells stands in front

# The first that matches decides, so the specific stand before the general.
_KINDS = tuple(
    (kind, re.compile(pattern, re.IGNORECASE))
    for kind, pattern in (
        (KernelKind.COMMUNICATION,
         r"nccl|rccl|nvshmem|(one_shot|two_shot|multimem)_(all_)?(reduce|gather)|all_reduce_kernel"
         r"|cross_device_reduce|quickreduce|deep_ep|mscclKernel|lamport|allreduce_fusion"),
        (KernelKind.COPY, r"^void transpose_|batched_transpose|reshape_and_cache|permute_pooled"),
        (KernelKind.ATTENTION,
         r"flash|fmha|attention|attn_(fwd|bwd)|_attn|sdpa|mha_(fwd|bwd)|triton_flex|mla_|dot_do_o"),
        (KernelKind.OPTIMIZER,
         r"multi_tensor_apply|fused_?adam|adamw?_kernel|lamb_|rowwise_adagrad|sgd_kernel|\bapex"),
        (KernelKind.CONVOLUTION,
         r"conv|fprop|dgrad|wgrad|winograd|scudnn|hcudnn|igemm_(fwd|bwd|wrw)|implicit_gemm"
         r"|miopen|fft[12]d_|im2col|col2im|flip_filter|computeOffsetsKernel"),
        (KernelKind.NORMALIZATION,
         r"layer_?norm|batch_?norm|group_?norm|rms_?norm|rmsnorm|bn_(fw|bw)_|GammaBeta|RowwiseMoments"
         r"|instance_?norm|weight_norm"),
        (KernelKind.EMBEDDING, r"embedding|indexSelect|index_(select|put)|indexing_backward"),
        (KernelKind.GEMM,
         r"gemm|gemv|matmul|nvjet|cijk_|_mm_|_bmm|\bmm_|wgmma|cublas|splitKreduce|batched_dot"
         r"|triton_tem_fused.*mm|cutlass_\d\d|s16816|tensorop|dot_kernel|^bmm_|bmm_Mx"),
        (KernelKind.EMBEDDING,
         r"index_(add|elementwise)|indexFunc|gather|scatter"
         r"|bounds_check_indices|linearize_index|take_kernel|index_kernel"),
        (KernelKind.COPY,
         r"CatArrayBatched|copy_kernel|copyKernel|transpose|nchwToNhwc|nhwcToNchw|memcpy|memset"
         r"|direct_copy|copy_bucket|permute_|reshape_and_cache"),
        (KernelKind.REDUCTION,
         r"reduce|softmax|argm(ax|in)|cub::Device(Scan|Radix|Segmented)|sort|topk|scan|cumsum"
         r"|triton_(red|per)|nll_loss|cross_entropy|pool|norm_kernel|multinomial|welford"),
        (KernelKind.ELEMENTWISE,
         r"elementwise|triton_poi|pointwise|fused_dropout|_functor|Functor|relu|gelu|silu|sigmoid"
         r"|fill|arange|distribution_|scalePackedTensor|rotary|where|tri[ul]_|_foreach|OpTensor"),
        (KernelKind.ELEMENTWISE, r"^fused_|^triton_"),
    )
)  # fmt: skip

_TENSOR_CORES = re.compile(
    r"[hisd]884|h1688|s1688|i8816|16816|16832|16864|161616|168128|hmma|imma|qmma|tensorop|wmma|wgmma"
    r"|gmma|utcmma|tcgen05|nvjet|sm(90|100|103|120)_xmma|xmma_(gemm|fprop|dgrad|wgrad).*(f16|tf32|bf16|i8)"
    r"|flash_(fwd|bwd)|FlashAttn|fmhaSm|fmha_v2|_MI\d+x\d+|_MFMA|xdl|gtcx|wmma",
    re.IGNORECASE,
)
_PLAIN_CORES = re.compile(
    r"sgemm|dgemm|cgemm|zgemm|gemv|gemmSN|gemmk1|scudnn|simt|_S_B_|fft[12]d|convolve_sgemm"
    r"|(dgrad|wgrad)\w*_(engine|alg\w*)<float|winograd\w*<\w*float|dot_kernel<float",
    re.IGNORECASE,
)
_MATRIX = (KernelKind.GEMM, KernelKind.CONVOLUTION, KernelKind.ATTENTION)

_FORMATS = tuple(
    (form, re.compile(pattern, re.IGNORECASE))
    for form, pattern in (
        ("fp4", r"fp4|e2m1|mxf4"),
        ("fp8", r"e4m3|e5m2|fp8|float8|_F8|qmma"),
        ("tf32", r"tf32|(?<!16)_s1688gemm|tensorop_s1688"),
        ("bf16", r"bf16|bfloat16|_BBS|_BB_|nvjet_t|bfloat"),
        ("fp16", r"fp16|f16|__half|c10::Half|h884|h1688|hgemm|hcudnn|_HHS|_HH_|_HSS|nvjet_h|half"),
        ("int8", r"i8816|imma|int8|_I8"),
        ("fp64", r"dgemm|double|f64|_DB_"),
        ("fp32", r"sgemm|scudnn|float|f32|_S_B|_SB_|fp32|nvjet_s"),
    )
)  # fmt: skip


@lru_cache(maxsize=1 << 16)
def kind_of(name: str) -> KernelKind:
    """The class of a kernel, OTHER where its name does not tell."""
    text = name[:_LOOKED_AT]
    return next((kind for kind, pattern in _KINDS if pattern.search(text)), KernelKind.OTHER)


@lru_cache(maxsize=1 << 16)
def tensor_core_use(name: str) -> bool | None:
    """Whether a matrix kernel ran on tensor (matrix) cores; None where its name does not tell."""
    text = name[:_LOOKED_AT]
    if kind_of(name) not in _MATRIX:
        return None
    if _TENSOR_CORES.search(text):
        return True
    return False if _PLAIN_CORES.search(text) else None


@lru_cache(maxsize=1 << 16)
def precision(name: str) -> str | None:
    """Number format of a kernel's operands, such as "bf16"; None where its name does not tell."""
    text = name[:_LOOKED_AT]
    return next((form for form, pattern in _FORMATS if pattern.search(text)), None)
