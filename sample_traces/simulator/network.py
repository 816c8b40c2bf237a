"""The network that every scenario trains: operators, gradients and the kernels behind them."""

from __future__ import annotations

from dataclasses import dataclass

_BF16 = "c10::BFloat16"


def _pointwise(functor: str, pointers: int) -> str:
    arrays = f"at::native::{functor}, std::array<char*, {pointers}ul>"
    return f"void at::native::vectorized_elementwise_kernel<4, {arrays} >(int, {arrays})"


@dataclass(frozen=True)
class Kernel:
    """A kernel name and its length, in units of the scenario's `kernel_us`."""

    name: str
    weight: float


@dataclass(frozen=True)
class Op:
    """An operator: nested names joined by "/", its kernel, and its node in the backward pass."""

    path: str
    kernel: Kernel
    node: str
    grad_path: str = ""
    grad_kernels: tuple[Kernel, ...] = ()


GEMM = {
    ("H100", "bf16"): (
        "sm90_xmma_gemm_bf16bf16_bf16f32_f32_{}_n_tilesize128x128x64_"
        "warpgroupsize1x1x1_execute_segment_k_off_kernel__5x_cublas"
    ),
    ("A100", "bf16"): "ampere_bf16_s16816gemm_bf16_128x128_ldg8_f2f_stages_32x5_{}",
    ("A100", "fp32"): "ampere_sgemm_128x128_{}",
}
_NATIVE = "void at::native::(anonymous namespace)::"
_MUL = "at::native::binary_internal::MulFunctor<float>"
_GELU = "{}(at::TensorIteratorBase&, at::native::GeluType)::{{lambda({})#1}}"
_NORM = _NATIVE + (
    "vectorized_layer_norm_kernel<c10::BFloat16, float>(int, float, c10::BFloat16 const*, "
    "c10::BFloat16 const*, c10::BFloat16 const*, float*, float*, c10::BFloat16*)"
)
_NORM_GRAD = _NATIVE + (
    "layer_norm_grad_input_kernel_vectorized<c10::BFloat16, float>(c10::BFloat16 const*, "
    "c10::BFloat16 const*, float const*, float const*, c10::BFloat16 const*, c10::BFloat16*, int)"
)
_FLASH = (
    "void pytorch_flash::flash_{0}_kernel<pytorch_flash::Flash_{1}_kernel_traits<64, 128, 128, 4> >"
    "(pytorch_flash::Flash_{1}_params)"
)
_FMHA = (
    "fmha_cutlass{0}_f32_aligned_64x64_rf_sm80(PyTorchMemEffAttention::Attention{1}Kernel<float, "
    "cutlass::arch::Sm80, true, 64, 64, 64, true, true>::Params)"
)
_TENSORS = "at::native::(anonymous namespace)::FusedOptimizerTensorListMetadata<4>"
_ADAM = "at::native::(anonymous namespace)::FusedAdamMathFunctor<float, 4, false, false>"
ADAM = Kernel(f"{_NATIVE}multi_tensor_apply_kernel<{_TENSORS}, {_ADAM} >({_TENSORS})", 1.5)
MUL = Kernel(_pointwise(f"BinaryFunctor<float, float, float, {_MUL} >", 3), 0.2)
LOSS = Kernel(
    _NATIVE + "cunn_SoftMaxForward<8, float, float, float, at::native::(anonymous namespace)::"
    "LogSoftMaxForwardEpilogue>(float*, float const*, int)",
    0.5,
)
OUTSIDE = "cupy_multiply__float32_float_float32"
ALL_REDUCE = "ncclDevKernel_AllReduce_Sum_bf16_RING_LL(ncclDevKernelArgsStorage<4096ul>)"


def layer(device: str, precision: str) -> tuple[Op, ...]:
    """One transformer layer on `device` ("A100", "H100") in `precision` ("bf16", "fp32")."""
    number = "float" if precision == "fp32" else _BF16
    linear, norm, gelu = _linear(GEMM[device, precision]), _norm(number), _gelu(number)
    attention = _memory_efficient_attention() if precision == "fp32" else _flash_attention()
    kernel = Kernel(_pointwise(f"CUDAFunctor_add<{number}>", 3), 0.2)
    add = Op("aten::add", kernel, "AddBackward0")
    return (norm, linear, attention, linear, add, norm, linear, gelu, linear, add)


def _linear(gemm: str) -> Op:
    gradients = Kernel(gemm.format("nn"), 1.0), Kernel(gemm.format("nt"), 1.0)
    forward = Kernel(gemm.format("tn"), 1.0)
    return Op("aten::linear/aten::addmm", forward, "AddmmBackward0", "aten::mm", gradients)


def _norm(number: str) -> Op:
    return Op(
        "aten::layer_norm/aten::native_layer_norm",
        Kernel(_NORM.replace(_BF16, number), 0.2),
        "NativeLayerNormBackward0",
        "aten::native_layer_norm_backward",
        (Kernel(_NORM_GRAD.replace(_BF16, number), 0.3),),
    )


def _gelu(number: str) -> Op:
    forward = _GELU.format("GeluCUDAKernelImpl", number)
    backward = _GELU.format("GeluBackwardCUDAKernelImpl", f"{number}, {number}")
    return Op(
        "aten::gelu",
        Kernel(_pointwise(forward, 2), 0.25),
        "GeluBackward0",
        "aten::gelu_backward",
        (Kernel(_pointwise(backward, 3), 0.3),),
    )


def _flash_attention() -> Op:
    return Op(
        "aten::scaled_dot_product_attention/aten::_scaled_dot_product_flash_attention/"
        "aten::_flash_attention_forward",
        Kernel(_FLASH.format("fwd", "fwd"), 0.8),
        "ScaledDotProductFlashAttentionBackward0",
        "aten::_scaled_dot_product_flash_attention_backward/aten::_flash_attention_backward",
        (Kernel(_FLASH.format("bwd_dq_dk_dv_loop_seqk_parallel", "bwd"), 1.8),),
    )


def _memory_efficient_attention() -> Op:
    return Op(
        "aten::scaled_dot_product_attention/aten::_scaled_dot_product_efficient_attention/"
        "aten::_efficient_attention_forward",
        Kernel(_FMHA.format("F", ""), 0.8),
        "ScaledDotProductEfficientAttentionBackward0",
        "aten::_scaled_dot_product_efficient_attention_backward/"
        "aten::_efficient_attention_backward",
        (Kernel(_FMHA.format("B", "Backward"), 1.8),),
    )
