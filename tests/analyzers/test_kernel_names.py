"""Real kernel names of each library and generation."""

from __future__ import annotations

import time

import pytest

from perfkit.analyzers.kernel_names import kind_of, precision, tensor_core_use

# (name, kind, tensor cores, precision)
NAMES = [
    ("volta_sgemm_128x64_nn", "gemm", False, "fp32"),
    ("volta_h884gemm_64x64_ldg8_nn", "gemm", True, "fp16"),
    ("turing_fp16_s1688gemm_fp16_128x128_ldg8_f2f_tn", "gemm", True, "fp16"),
    ("ampere_fp16_s16816gemm_fp16_128x64_ldg8_f2f_stages_64x3_nn", "gemm", True, "fp16"),
    ("ampere_bf16_s16816gemm_bf16_128x128_ldg8_relu_f2f_stages_32x5_tn", "gemm", True, "bf16"),
    ("ampere_sgemm_128x64_tn", "gemm", False, "fp32"),
    ("void cutlass::Kernel<cutlass_80_tensorop_s1688gemm_128x64_32x6_nt_align1>(cutl", "gemm",
     True, "tf32"),
    ("sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64_warpgroupsize1x1x1", "gemm",
     True, "bf16"),
    ("nvjet_hsh_128x256_64x4_1x2_h_bz_coopA_NTN", "gemm", True, "fp16"),
    ("nvjet_tst_64x64_64x16_2x1_2cta_v_bz_bias_TNT", "gemm", True, "bf16"),
    ("cutlass3x_sm90_tensorop_s64x128x16gemm_bf16_bf16_f32_void_bf16_128x128x64", "gemm", True,
     "bf16"),
    ("Cijk_Alik_Bljk_BBS_BH_Bias_HA_S_SAV_UserArgs_MT256x192x64_MI16x16x1_SN", "gemm", True,
     "bf16"),
    ("Cijk_Ailk_Bljk_HHS_BH_MT128x128x32_MI32x32x8_SE_1LDSB0", "gemm", True, "fp16"),
    ("void gemmSN_NN_kernel<float, 128, 2, 4, 8, 4, 4, false, cublasGemvTensorStridedBatched>",
     "gemm", False, "fp32"),
    ("triton_tem_fused_mm_3", "gemm", None, None),
    ("triton_mm_kernel", "gemm", None, None),
    ("volta_scudnn_128x64_relu_interior_nn_v1", "convolution", False, "fp32"),
    ("sm80_xmma_fprop_implicit_gemm_tf32f32_tf32f32_f32_nhwckrsc_nhwc_tilesize64x128x32",
     "convolution", True, "tf32"),
    ("void cudnn::cnn::wgrad_alg0_engine<float, 128, 6, 7, 3, 3, 5, false, 512>(int, int",
     "convolution", False, "fp32"),
    ("igemm_fwd_gtcx3_nhwc_bf16_bx0_ex1_bt128x128x32_wt32x32x8", "convolution", True, "bf16"),
    ("void pytorch_flash::flash_fwd_kernel<pytorch_flash::Flash_fwd_kernel_traits<64, 128, "
     "128, 4, false, false, cutlass::bfloat16_t", "attention", True, "bf16"),
    ("fmhaSm100aKernel_QkvE4m3OBfloat16H64PagedKvCausalP16VarSeqQ128Kv128", "attention", True,
     "fp8"),
    ("fmha_cutlassF_bf16_aligned_64x64_rf_sm80", "attention", None, "bf16"),
    ("void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>, at",
     "elementwise", None, "fp32"),
    ("triton_poi_fused__to_copy_1", "elementwise", None, None),
    ("triton_red_fused_add_mean_mul_pow_rsqrt_0", "reduction", None, None),
    ("triton_per_fused_native_layer_norm_0", "normalization", None, None),
    ("void at::native::reduce_kernel<512, 1, at::native::ReduceOp<float, at::native::MeanOps",
     "reduction", None, "fp32"),
    ("void (anonymous namespace)::softmax_warp_forward<c10::Half, float, float, 7>", "reduction",
     None, "fp16"),
    ("void cudnn::bn_fw_tr_1C11_kernel_NCHW<float, float, 512, true, 1>", "normalization", None,
     "fp32"),
    ("void at::native::(anonymous namespace)::vectorized_layer_norm_kernel<float, float>(int",
     "normalization", None, "fp32"),
    ("void at::native::(anonymous namespace)::multi_tensor_apply_kernel<at::native::(anonymous "
     "namespace)::TensorListMetadata<4>", "optimizer", None, None),
    ("void at::native::(anonymous namespace)::indexSelectLargeIndex<long, long, unsigned int",
     "embedding", None, None),
    ("void at::native::(anonymous namespace)::CatArrayBatchedCopy<float, unsigned int, 3, 64",
     "copy", None, "fp32"),
    ("void cudnn::ops::nchwToNhwcKernel<float, float, float, false, true>", "copy", None, "fp32"),
    ("ncclKernel_AllReduce_RING_LL_Sum_float(ncclWorkElem)", "communication", None, "fp32"),
    ("ncclDevKernel_AllGather_RING_LL(ncclDevKernelArgsStorage<4096ul>)", "communication", None,
     None),
    ("ncclSymkDevKernel_AllReduce_AGxLL_R_sum_bf16", "communication", None, "bf16"),
    ("void (anonymous namespace)::multimem_all_reduce_kernel<c10::BFloat16, 16>(c10::BFloat16*",
     "communication", None, "bf16"),
    ("void vllm::cross_device_reduce_1stage<__nv_bfloat16, 8>(vllm::RankData*", "communication",
     None, "bf16"),
    ("my_own_thing", "other", None, None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "kind", "cores", "form"), NAMES, ids=[n[0][:60] for n in NAMES])
def test_name(name: str, kind: str, cores: bool | None, form: str | None) -> None:
    assert kind_of(name).value == kind
    assert tensor_core_use(name) is cores
    assert precision(name) == form


def test_a_hostile_name_costs_no_time() -> None:
    start = time.perf_counter()
    for name in ("a" * 1_000_000, "triton_tem_fused" * 50_000, "dgrad" + "_x" * 400_000):
        kind_of(name), tensor_core_use(name), precision(name)
    assert time.perf_counter() - start < 1
