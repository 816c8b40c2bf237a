"""What helps a window that serves: settings of the engine that runs it, never those of training."""

from __future__ import annotations

from perfkit.model.diagnosis import Diagnosis, Remedy

_MOSTLY = 0.5

_REPLAY = {
    "vLLM": Remedy(
        text=(
            "Let the engine replay steps as CUDA graphs: no --enforce-eager, and capture sizes "
            "that cover the batches you serve; decode steps can replay as one graph."
        ),
        snippet=(
            "vllm serve MODEL --compilation-config \\\n"
            '  \'{"cudagraph_mode": "FULL_AND_PIECEWISE"}\'    # and no --enforce-eager'
        ),
        applies_to="vLLM",
    ),
    "SGLang": Remedy(
        text=(
            "Let the engine replay decode steps as CUDA graphs: no --disable-cuda-graph, and "
            "--cuda-graph-max-bs at least the number of requests that run at once."
        ),
        snippet="python -m sglang.launch_server --model-path MODEL --cuda-graph-max-bs 256",
        applies_to="SGLang",
    ),
    "TensorRT-LLM": Remedy(
        text=(
            "Let the engine replay decode steps as CUDA graphs, padded to the captured batch sizes."
        ),
        snippet="cuda_graph_config: {enable_padding: true, max_batch_size: 256}  # LLM API",
        applies_to="TensorRT-LLM, PyTorch backend",
    ),
}
_TOKEN_LOOP = Remedy(
    text=(
        "Give the decode step fixed shapes (a static KV cache) and compile it with CUDA graphs, so "
        "that a token is one launch; or serve through an engine that batches requests as they come."
    ),
    snippet=(
        'model.generation_config.cache_implementation = "static"\n'
        'model.forward = torch.compile(model.forward, mode="reduce-overhead", fullgraph=True)'
    ),
    applies_to="Transformers generate",
)
_FORWARD = Remedy(
    text=(
        "Replay the model as a CUDA graph, for a few input shapes that requests are padded to, or "
        "serve larger batches."
    ),
    snippet='model = torch.compile(model, mode="reduce-overhead", dynamic=False)',
    applies_to="PyTorch inference",
)
_BETWEEN = {
    "vLLM": Remedy(
        text=(
            "The model replays as CUDA graphs already; the gaps are host work between its steps: "
            "schedule the next step while this one runs, and ask for fewer log-probabilities and "
            "sampling penalties, which run on the host."
        ),
        snippet="vllm serve MODEL --async-scheduling",
        applies_to="vLLM",
    ),
    "SGLang": Remedy(
        text=(
            "The model replays as CUDA graphs already; the gaps are host work between its steps: "
            "keep the overlap scheduler on (no --disable-overlap-schedule)."
        ),
        applies_to="SGLang",
    ),
}
_BETWEEN_ANY = Remedy(
    text=(
        "The model replays as CUDA graphs already; the gaps are host work between the replays: "
        "sample on the GPU, prepare the next step's inputs while this one runs, and look at "
        "finished sequences every few tokens."
    ),
    applies_to="CUDA graphs",
)


def serves(diagnosis: Diagnosis) -> bool:
    """Whether nothing in the window trains, so that advice must fit serving."""
    return diagnosis.framework.inference


def replays_graphs(diagnosis: Diagnosis) -> bool:
    """Whether CUDA graphs do most of an inference window's work."""
    facts = diagnosis.inference
    return facts is not None and (facts.graph_share or 0.0) > _MOSTLY


def launch_remedy(diagnosis: Diagnosis) -> Remedy:
    """What to do where the host is slower than the GPU it launches for."""
    facts = diagnosis.inference
    engine = facts.engine or "" if facts else ""
    if replays_graphs(diagnosis):
        return _BETWEEN.get(engine, _BETWEEN_ANY)
    if engine in _REPLAY:
        return _REPLAY[engine]
    tokens = facts is not None and facts.phase in ("decode", "mixed")
    return _TOKEN_LOOP if tokens or engine == "Transformers" else _FORWARD
