"""Matrix work and avoidable work of real traces against what is known of them."""

from __future__ import annotations

import pytest

from perfkit.analyzers.peaks import PEAKS, peak_of
from perfkit.analyzers.waste_facts import _FUSED
from perfkit.api import analyze
from perfkit.model.compute_facts import ComputeFacts, Peak, WasteFacts
from perfkit.model.diagnosis import Diagnosis
from perfkit.model.settings import OwnPeak, Settings
from tests.analyzers.test_public_traces import diagnosis
from tests.traces import PUBLIC, needs_public

RESNET = "resnet50_v100/num_workers_0.pt.trace.json.gz"
MI300X = "mi300x/resnet_act_checkpoint.json.gz"
QWEN = "h100/Qwen_Qwen1.5-0.5B-Chat__1016005.json.gz"
SWEEP = "batch_sweep_a100/batch_256.pt.trace.json.gz"


def compute(path: str) -> ComputeFacts:
    found = diagnosis(path).compute
    assert found is not None
    return found


def waste(path: str) -> WasteFacts:
    found = diagnosis(path).waste
    assert found is not None
    return found


@needs_public
def test_resnet50_has_its_published_flops() -> None:
    """4.09 G multiplications forward, twice that backward, less the first layer's input."""
    images = 32
    multiplications = compute(RESNET).flops_per_step / 2 / images
    assert multiplications == pytest.approx(3 * 4.089e9 - 0.118e9, rel=0.002)
    forward = [o for o in compute(RESNET).operators if o.name == "aten::cudnn_convolution"]
    assert forward[0].shapes == "32x256x14x14 · 1024x256x1x1"
    assert compute(RESNET).told_share == pytest.approx(1.0, abs=0.01)


@needs_public
def test_resnet18_with_checkpoints_runs_forward_twice() -> None:
    multiplications = compute(MI300X).flops_per_step / 2 / 10
    # 1.81 G forward; its second run leaves out the first layer and the classifier.
    assert multiplications == pytest.approx(4 * 1.814e9 - 2 * 0.118e9, rel=0.01)


@needs_public
def test_gemms_of_known_shapes_on_an_h100() -> None:
    found = compute(QWEN)
    largest = found.operators[0]
    assert (largest.m, largest.k, largest.n, largest.format) == (8944, 1024, 2816, "bf16")
    assert largest.flops == 2 * 8944 * 1024 * 2816
    assert largest.bound == "compute"
    assert largest.peak_share == pytest.approx(largest.tflops / 989)
    assert 0.5 < (largest.peak_share or 0) < 0.8  # an H100 reaches 80 % at best
    assert found.mfu is not None
    assert found.mfu < 0.13


@needs_public
@pytest.mark.parametrize("path", [RESNET, MI300X, QWEN, SWEEP])
def test_nothing_is_faster_than_the_peak(path: str) -> None:
    found = compute(path)
    assert all((o.peak_share or 0) < 1 for o in found.operators)
    assert all((o.ideal_us or 0) < o.total_us for o in found.operators)


@needs_public
def test_casts_around_an_operator_are_no_product() -> None:
    """Autocast logs a bmm, the casts inside of it, and the bmm that computes."""
    products = [o for o in compute(SWEEP).operators if o.name == "aten::bmm"]
    assert {o.format for o in products} == {"fp16"}


@needs_public
def test_without_shapes_nothing_is_said() -> None:
    assert diagnosis("hta/df_index_resolver/df_index_resolver.json.gz").compute is None


@needs_public
def test_peaks_of_a_project_come_first() -> None:
    own = Settings(peaks={"Tesla V100-DGXS-32GB": OwnPeak(tflops={"fp32": 15.7},
                                                          memory_gb_per_s=900)})  # fmt: skip
    found = analyze(PUBLIC / RESNET, settings=own).compute
    assert compute(RESNET).peak is None
    assert found is not None
    assert found.mfu == pytest.approx(found.tflops / 15.7)


def test_names_of_devices_are_matched_exactly() -> None:
    assert peak_of("NVIDIA H100 80GB HBM3", {}) == PEAKS["NVIDIA H100 80GB HBM3"]
    assert peak_of("NVIDIA H100", {}) is None
    own = Peak(tflops={"fp16": 1.0}, memory_gb_per_s=1.0, source="x")
    assert peak_of("NVIDIA L4", {"NVIDIA L4": own}) == own


@needs_public
def test_recomputation_is_seen_where_it_is_and_nowhere_else() -> None:
    found = waste(MI300X).recompute
    assert found is not None
    # Of 20 convolutions, 19 run again: the same kernels, the same time within a tenth.
    forward = sum(o.total_us for o in compute(MI300X).operators if "miopen" in o.name)
    assert found.total_us > 0.4 * forward
    for path in (RESNET, QWEN, SWEEP, "h100/small_transformer_training.pt.trace.json.gz"):
        assert waste(path).recompute is None


@needs_public
def test_attention_written_out_is_seen() -> None:
    found = waste(SWEEP).attention
    assert found is not None
    assert found.count_per_step == 10
    assert waste(QWEN).attention is None  # it uses flash attention


@needs_public
def test_optimizers_by_what_they_launch() -> None:
    forms = {path: waste(path).optimizer for path in (RESNET, MI300X, QWEN)}
    assert [o and o.form for o in forms.values()] == ["for-loop", "foreach", None]
    sgd = forms[RESNET]
    assert sgd is not None
    assert sgd.kernels_per_step == 3 * 161  # weight decay, momentum and update of each parameter
    assert sgd.operators == ["add", "mul"]
    plain = forms[MI300X]
    assert plain is not None
    assert plain.operators == ["add"]  # no momentum


@needs_public
def test_a_pair_of_kernels_saves_at_most_the_shorter_one() -> None:
    """In ResNet-50 large kernels follow the small ones that add up a bias's gradient."""
    found = waste(RESNET).chains
    assert found is not None
    assert found.total_us == pytest.approx(2078, abs=1)  # of 7029 that the second ones take


@needs_public
def test_gradients_set_to_zero_one_by_one() -> None:
    found = waste(RESNET).zeroing
    assert found is not None
    assert found.count_per_step == 161  # the parameters of ResNet-50


@needs_public
def test_idle_time_in_zero_grad_is_not_the_optimizers() -> None:
    """Of PyTorch 1.8, whose SGD.zero_grad fills tensor after tensor."""
    found = waste("edge/no_profiler_step_2021.pt.trace.json.gz")
    assert found.zeroing_idle_us == pytest.approx(2596, rel=0.02)
    assert found.optimizer is not None
    assert found.optimizer.idle_us < 2000
    assert waste(MI300X).zeroing_idle_us is None


@pytest.mark.parametrize(
    ("kernel", "fused"),
    [
        ("multi_tensor_apply_kernel<TensorListMetadata<4>, FusedAdamMathFunctor<float, 4>>", True),
        ("multi_tensor_apply_kernel<TensorListMetadata<4>, AdamFunctor<float>>", True),
        ("multi_tensor_apply_kernel<TensorListMetadata<4>, LAMBStage1Functor<float>>", True),
        ("multi_tensor_apply_kernel<TensorListMetadata<3>, NovoGradFunctor<float>>", True),
        ("void lamb_cuda_kernel_part1<float, float, 512>", True),
        (
            "multi_tensor_apply_kernel<TensorListMetadata<2>, BinaryOpListAlphaFunctor>",
            False,
        ),
        ("multi_tensor_apply_kernel<TensorListMetadata<1>, ZeroFunctor<float>>", False),
        ("multi_tensor_apply_kernel<TensorListMetadata<3>, PointwiseOpListFunctor>", False),
    ],
)
def test_kernels_of_fused_optimizers(kernel: str, fused: bool) -> None:
    assert bool(_FUSED.search(kernel)) == fused


def test_a_trace_without_operators_has_none_of_it(tiny: Diagnosis) -> None:
    assert (tiny.compute, tiny.waste) == (None, None)


@pytest.fixture
def tiny() -> Diagnosis:
    from perfkit.analyzers.diagnose import diagnose
    from tests.analyzers.programs import Action, recorded, trace_of

    events = recorded([[Action("kernel", host=5.0, gpu=20.0)]] * 3)
    return diagnose(trace_of([e for e in events if e.get("cat") == "kernel"]))
