"""What a kernel's name tells: its class, its number format, whether it used tensor cores.

Names come from cuBLAS, cuDNN, CUTLASS, Triton, PyTorch, NCCL, FBGEMM, TensorRT-LLM, Tensile
(rocBLAS, hipBLASLt), MIOpen and Composable Kernel. They are looked at once per name; every pattern
is linear in its length.
"""

from __future__ import annotations

import re
from functools import lru_cache

from perfkit.model.kernel import KernelKind

_LOOKED_AT = 2000  # C++ names run to many thousands of characters; what tells stands in front
_NOISE = re.compile(
    r"\(anonymous namespace\)|<unnamed>"
    r"|\((?:bool|char|short|int|long|unsigned int|unsigned long|cudnnKernelDataType_t)\)"
)

# The first that matches decides, so the specific stand before the general.
_KINDS = tuple(
    (kind, re.compile(pattern, re.IGNORECASE))
    for kind, pattern in (
        # Inductor lists every operator it fused in the name; only a template computes a matrix.
        (KernelKind.ELEMENTWISE, r"^triton_(poi|for)_"),
        (KernelKind.NORMALIZATION, r"^triton_(red|per)_\w*(_norm|rsqrt)"),
        (KernelKind.REDUCTION, r"^triton_(red|per|split_scan)_"),
        (KernelKind.ATTENTION, r"^triton_(tem_)?\w*flex_"),
        (KernelKind.CONVOLUTION, r"^triton_(tem_\w*)?conv"),
        (KernelKind.GEMM, r"^triton_(tem_|(add|b|baddb)?mm)"),
        (KernelKind.COMMUNICATION,
         r"nccl|rccl|hccl|nvshmem|deep_ep|mori::|(?<![a-z])a2a_|msccl|userbuffers|symmetric_memory|symm_mem|lamport"
         r"|(one_?shot|two_?shot|multimem)\w{0,40}_(reduce|gather)|cross_device_reduce|quickreduce"
         r"|all_?reduce|all_?gather_|reduce_?scatter_|all_?to_?all"),
        (KernelKind.COPY, r"batched_transpose|reshape_and_cache|cast_transpose"),
        (KernelKind.ATTENTION,
         r"flash_?(fwd|bwd|attn|attention|decod|mla)|flash::|fmha|attention|attn|sdpa"
         r"|mha_(fwd|bwd)|(?<![a-z])mla_(dec|fwd|pfl|prefill|combine|merge|reduce|a\d)|dot_do_o"
         r"|Batch(Prefill|Decode)With|(Paged|Ragged)KV|MergeState|_flex_|delta_rule|hstu"
         r"|^_fwd_(grouped_)?kernel(_stage[12])?$|^_bwd_kernel_dk_?dv|^_bwd_kernel_dq"),
        (KernelKind.EMBEDDING, r"(split|dense)_embedding"),
        (KernelKind.OPTIMIZER,
         r"multi_tensor_|adamw?_?(kernel|math|functor)|fused_?adam|lamb_|_adagrad|sgd_?(kernel|math)"
         r"|kOptimizer|kPreconditionOptimizer|lion_"),
        (KernelKind.CONVOLUTION,
         r"conv(?!ert)|fprop|dgrad|wgrad|bwd_(weight|data)|winograd|(\d|[shi])cudnn|im2d?2?col|col2im"
         r"|vol2col|igemm_(fwd|bwd|wrw)|implicit_gemm|fft[12]d_|flip_filter|compute\w{0,20}Offsets"
         r"|pointwise_mult_and_sum_complex"),
        (KernelKind.NORMALIZATION,
         r"(layer|batch|group|rms|instance|weight)_?norm|bn_(fw|bw)_|ln_(fwd|bwd)_|GammaBeta|cuComputeGradInput"
         r"|RowwiseMoments|ComputeFusedParams"),
        (KernelKind.ELEMENTWISE, r"rotary|rope_"),
        (KernelKind.EMBEDDING, r"embedding|index_?select|index_put|indexing_backward"),
        (KernelKind.GEMM,
         r"(?<!fb)gemm|gemv|matmul|wvSplitK|(?<![a-z])fmoe_|nvjet|cijk_|cublas|splitKreduce|epilogue::impl|wgmma|fused_moe"
         r"|(^|_)(add|b|baddb)?mm_|cutlass_\d\d|[sh]1688|\d16816|[hisd]884|(?<!sub)tensorop"
         r"|dot_kernel|batched_dot|marlin|machete"),
        (KernelKind.EMBEDDING,
         r"index_(add|elementwise)|indexFunc|gather(?!TopK)|scatter|bounds_check_indices|linearize_index"
         r"|take_kernel|index_kernel|finalizeKernelVecLoad"),
        (KernelKind.COPY,
         r"CatArray|copy|transpose|nchwToNhwc|nhwcToNchw|memcpy|memset|permute|fillBuffer"
         r"|chunk_cat|compute_cuda_kernel"),
        (KernelKind.REDUCTION,
         r"reduce|softmax|argm(ax|in)|cub::Device|sort|top_?k|scan|cumsum|cumprod|nll_?(loss|crit)"
         r"|cross_entropy|pool|norm_kernel|multinomial|welford|_sum_|histogram|routing|unique"),
        (KernelKind.ELEMENTWISE,
         r"elementwise|pointwise|dropout|functor|relu|gelu|silu|swiglu|act_and_mul|sigmoid|fill"
         r"|arange|distribution_|PackedTensor|where|tri[ul]_|_foreach|OpTensor|TensorOp|elemwise"
         r"|quant|fp8|rescale|cast|^fused_|^triton_"),
    )
)  # fmt: skip

_FFMA = re.compile(r"ffma|simt", re.IGNORECASE)
_TENSOR_CORES = re.compile(
    r"[hisd]884|[hs]1688|i8816|16816|16832|16864|161616|[hiq]mma|wmma|wgmma|gmma|umma|tcgen05"
    r"|(?<!sub)tensorop|nvjet|sm(90|1\d\d)a?_xmma|xmma_\w{0,60}(f16|tf32|i8|e4m3|e5m2)|^bmm_\w*_sm1\d\d"
    r"|flash_(fwd|bwd)|FlashAttn|deep_gemm|ck_tile::Fmha|fmhaSm|fmha_v2|fmha_\w{0,20}(f16|_sm80)|sdpa_sm|_MI\d+x\d+|mfma|xdl|gtcx",
    re.IGNORECASE,
)
_PLAIN_CORES = re.compile(
    r"[sch]gemm|gemm(SN|k1)_|scudnn|fft[12]d_|convolve_|cijk_|winograd\w{0,40}<(__half|float)"
    r"|[dw]grad\w{0,20}_(engine|alg\w{0,8})<(__half|float)",
    re.IGNORECASE,
)
# Where tensor cores are no alternative: one vector is limited by memory, fp64 has its own units.
_NO_CHOICE = re.compile(r"gemv(?!Tensor)|[dz]gemm|dot_kernel|double|splitKreduce", re.IGNORECASE)
_MATRIX = (KernelKind.GEMM, KernelKind.CONVOLUTION, KernelKind.ATTENTION)

# cuBLAS names its nvjet kernels by operand: q is fp8, o fp4, t bf16, h fp16, s fp32.
_FORMATS = tuple(
    (form, re.compile(pattern, re.IGNORECASE))
    for form, pattern in (
        ("fp4", r"fp4|e2m1|mxf4|nvjet_(sm\d+_)?o"),
        ("fp8", r"e4m3|e5m2|fp8|float8|_F8|qmma|nvjet_(sm\d+_)?q"),
        ("bf16", r"bf16|bfloat|_BBS|_BB_|DF16b|nvjet_(sm\d+_)?t"),
        ("fp16",
         r"f16|fp16|half|h884|s884|h1688|h16816|hgemm|hcudnn|_HHS|_HH_|_HSS|DF16_"
         r"|nvjet_(sm\d+_)?h"),
        ("tf32", r"tf32|s1688"),
        ("int8", r"i8816|i16832|imma|int8|_I8"),
        ("fp64", r"[dz]gemm|double|f64|_DB_|d884"),
        ("fp32", r"[sc]gemm|scudnn|float|f32|fp32|_S_B|_SB_|nvjet_(sm\d+_)?s[^m]"),
    )
)  # fmt: skip


@lru_cache(maxsize=1 << 16)
def kind_of(name: str) -> KernelKind:
    """The class of a kernel, OTHER where its name does not tell."""
    head = _head(name)
    return next((kind for kind, pattern in _KINDS if pattern.search(head)), KernelKind.OTHER)


@lru_cache(maxsize=1 << 16)
def tensor_core_use(name: str) -> bool | None:
    """Whether a matrix kernel ran on tensor (matrix) cores.

    None where its name does not tell, and where tensor cores would be no alternative.
    """
    head = _head(name)
    if kind_of(name) not in _MATRIX or _NO_CHOICE.search(head):
        return None
    if _FFMA.search(head):
        return False
    if _TENSOR_CORES.search(head):
        return True
    return False if _PLAIN_CORES.search(head) else None


@lru_cache(maxsize=1 << 16)
def precision(name: str) -> str | None:
    """Number format of a kernel's operands, such as "bf16"; None where its name does not tell."""
    head = _head(name)
    return next((form for form, pattern in _FORMATS if pattern.search(head)), None)


def _head(name: str) -> str:
    """The name without its parameters, whose types say nothing of the kernel."""
    text = _NOISE.sub("", name[:_LOOKED_AT])
    return text if text.startswith("std::enable_if") else text.partition("(")[0]
