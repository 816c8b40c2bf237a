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
    ("fmha_cutlassF_bf16_aligned_64x64_rf_sm80", "attention", True, "bf16"),
    ("void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>, at",
     "elementwise", None, "fp32"),
    ("triton_poi_fused__to_copy_1", "elementwise", None, None),
    ("triton_red_fused_add_mean_mul_pow_rsqrt_0", "normalization", None, None),
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
    # the operand's letter may follow an architecture (CUDA 13)
    ("nvjet_sm100_tst_128x256_64x6_2x1_2cta_v_bz_TNT", "gemm", True, "bf16"),
    ("nvjet_sm90_hss_64x8_64x16_1x1_h_bz_splitK_NNT", "gemm", True, "fp16"),
    ("nvjet_sm100_qqtst_128x256_128x6_2x1_2cta_v_bz_bias_TNT", "gemm", True, "fp8"),
    ("nvjet_qqtst_112x128_128x7_2x1_v_bz_coopA_algo2_TNN", "gemm", True, "fp8"),
    ("nvjet_ootst_FP4", "gemm", True, "fp4"),
    ("nvjet_sss_tf32_128x256_TNT", "gemm", True, "tf32"),
    ("nvjet_sm100_sss_128x64_TNT", "gemm", True, "fp32"),
    # the same generator also writes kernels for ordinary cores
    ("sm80_xmma_gemm_f32f32_f32f32_f32_tn_n_tilesize64x64x8_stage3_warpsize1x4x1_ffma_aligna4",
     "gemm", False, "fp32"),
    ("sm90_xmma_gemm_f32f32_tf32f32_f32_tn_n_tilesize128x128x32_warpgroupsize1x1x1", "gemm", True,
     "tf32"),
    ("void cutlass::Kernel<cutlass_75_tensorop_f16_s1688gemm_f16_128x64_tn_align1>(cutlass_75",
     "gemm", True, "fp16"),
    ("volta_fp16_s884cudnn_fp16_256x128_ldg8_relu_f2f_exp_interior_nhwc2nchw_tn_v1", "convolution",
     True, "fp16"),
    ("volta_cgemm_32x32_tn", "gemm", False, "fp32"),
    # nothing that tensor cores would speed up
    ("std::enable_if<true, void>::type internal::gemvx::kernel<int, int, __nv_bfloat16, __nv_",
     "gemm", None, "bf16"),
    ("void gemv2T_kernel_val<int, int, float, float, float, float, 128, 16, 4, 4>(cublasGemv",
     "gemm", None, "fp32"),
    ("volta_dgemm_64x64_nn", "gemm", None, "fp64"),
    # a library's name is not the kernel's work, nor is the type of a parameter
    ("void fbgemm_gpu::permute_2D_data_kernel<false, int, int, decltype(nullptr)>(int", "copy",
     None, None),
    ("void fbgemm_gpu::(anonymous namespace)::_compute_FP8_quantize_cuda_kernel<float>(float",
     "elementwise", None, "fp8"),
    ("void bounds_check_indices_kernel<long, false>(at::GenericPackedTensorAccessor<long, 1ul>, "
     "fbgemm_gpu::BoundsCheckMode)", "embedding", None, None),
    ("void tensorrt_llm::kernels::quantize_with_block_size<(tensorrt_llm::BlockScaleQuantization"
     "Type)2, __nv_bfloat16, 32, true>(int, flashinfer::Layout)", "elementwise", None, None),
    ("void flashinfer::norm::RMSNormKernel<8u, __nv_bfloat16>(__nv_bfloat16*", "normalization",
     None, "bf16"),
    ("void flashinfer::BatchPrefillWithRaggedKVCacheKernel<flashinfer::KernelTraits<", "attention",
     None, None),
    ("SubTensorOpWithScalar1d", "elementwise", None, None),
    ("MIOpenBatchNormFwdTrainSpatial.kd", "normalization", None, None),
    ("convertFP32ToBF16Kernel(float const*, __nv_bfloat16*, int)", "other", None, "bf16"),
    ("void vllm::rotary_embedding_kernel<c10::BFloat16, true>(long const*", "elementwise", None,
     "bf16"),
    ("std::enable_if<(((8)>(0)))&&vllm::_typeConvert<c10::BFloat16>::exists, void>::type "
     "vllm::fused_add_rms_norm_kernel<c10::BFloat16, 8>", "normalization", None, "bf16"),
    ("_ZN2ck16tensor_operation6device37kernel_batched_gemm_xdlops_bwd_weightINS_47Gridwise",
     "convolution", True, None),
    ("_ZN7ck_tile6kentryILi1ENS_12Rmsnorm2dFwdINS_27Rmsnorm2dFwdPipelineProblemIDF16bDF16bf",
     "normalization", None, "bf16"),
    # Inductor names what it fused; only templates compute a matrix
    ("triton_poi_fused_addmm_relu_2", "elementwise", None, None),
    ("triton_poi_fused_convolution_relu_1", "elementwise", None, None),
    ("triton_red_fused__scaled_dot_product_flash_attention_backward_sum_7", "reduction", None,
     None),
    ("triton_per_fused_all_reduce_sum_3", "reduction", None, None),
    ("triton_tem_fused_addmm_native_layer_norm_0", "gemm", None, None),
    ("triton_tem_fused_convolution_3", "convolution", None, None),
    ("triton_tem_fused_flex_attention_1", "attention", None, None),
    ("void cutlass::device_kernel<flash::enable_sm90_or_later<flash::FlashAttnFwdSm90<flash::Coll"
     "ectiveMainloopFwdSm90<2, cutlass::bfloat16_t", "attention", True, "bf16"),
    ("cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_64x128x128_4x1x1_kernel",
     "attention", True, "fp16"),
    ("void multimem_one_shot_all_reduce_kernel<c10::BFloat16, 16>(c10::BFloat16*", "communication",
     None, "bf16"),
    ("void flashinfer::trtllm_allreduce_fusion::allreduce_fusion_kernel_oneshot_lamport<(flash",
     "communication", None, None),
    ("void deep_ep::internode::dispatch<false, 8, true>(int4*", "communication", None, None),
    ("void mori::moe::EpDispatchInterNodeKernel<hip_bfloat16>(args)", "communication", None,
     "bf16"),
    ("void pplx::a2a_dispatch_send_kernel<true>(args)", "communication", None, None),
    ("void at::native::(anonymous namespace)::cuComputeGradInput<float, float, true>(args)",
     "normalization", None, "fp32"),
    ("void kPreconditionOptimizer32bit1State<float, 1>(args)", "optimizer", None, "fp32"),
    ("aiter::mla_dec_stage1_bf16_a16w16_subQ16_mqa16", "attention", None, "bf16"),
    ("_ZN5aiter30mla_a8w8_qh16_qseqlen1_gqaratio16E", "attention", None, None),
    ("aiter::fmoe_bf16_blockscaleFp8_g1u1_vs_silu_1tg_32x256", "gemm", None, "fp8"),
    ("void wvSplitK_hf_sml_<__hip_bfloat16, 64, 1, 16, 8, 2, 1>(int, int", "gemm", None, "bf16"),
    ("void deep_gemm::sm90_fp8_gemm_1d2d_impl<0u, 7168u, 2048u>(float*", "gemm", True, "fp8"),
    ("_fwd_grouped_kernel_stage1", "attention", None, None),
    ("_fwd_kernel", "attention", None, None),
    ("_bwd_kernel_dk_dv", "attention", None, None),
    ("chunk_gated_delta_rule_fwd_kernel_h_blockdim64", "attention", None, None),
    ("void at::native::sbtopk::gatherTopK<float, unsigned int, 2, false>(at", "reduction", None,
     "fp32"),
    ("Im2d2Col_v2", "convolution", None, None),
    ("my_own_fwd_kernel", "other", None, None),
    ("my_own_thing", "other", None, None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "kind", "cores", "form"), NAMES, ids=[n[0][:60] for n in NAMES])
def test_name(name: str, kind: str, cores: bool | None, form: str | None) -> None:
    assert kind_of(name).value == kind
    assert tensor_core_use(name) is cores
    assert precision(name) == form


def test_a_hostile_name_costs_no_time() -> None:
    start = time.perf_counter()
    for name in (
        "a" * 1_000_000,
        "triton_tem_fused" * 50_000,
        "dgrad" + "_x" * 400_000,
        "dgrad_alg" * 100_000,
        "winograd" * 100_000,
        "one_shot" * 100_000,
        "(" * 900_000,
    ):
        kind_of(name), tensor_core_use(name), precision(name)
    assert time.perf_counter() - start < 1
