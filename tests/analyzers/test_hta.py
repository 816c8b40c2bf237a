"""Holistic Trace Analysis gets from perfkit what it would have read itself, or better."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import cache
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perfkit.analyzers.gpu import gpu_work
from perfkit.analyzers.hta import (
    LEAST_COVERAGE,
    critical_path,
    temporal_breakdown,
    trace_analysis,
)
from perfkit.analyzers.hta_frame import frame_of, microseconds, nanoseconds, symbols
from perfkit.errors import PerfkitError
from perfkit.model.trace import Kind, Trace
from perfkit.trace import open_trace
from tests.traces import PUBLIC, kineto_files, needs_public

needs_hta = pytest.mark.skipif(
    find_spec("hta") is None, reason="Holistic Trace Analysis is not installed (perfkit[hta])"
)

ALEXNET = "hta/critical_path/alexnet/benchmark_result_2869224_1695835535_trace.json.gz"
ALEXNET_STEP = "[param|pytorch.model.alex_net|0|0|0|measure|forward]"
NCCL = "hta/nccl_parser_config/nccl_data.json.gz"
NANOSECONDS = "hta/ns_resolution_trace/rank-0.Apr_03_18_51_38.1102.pt.trace.json.gz"
MANY_EVENTS = "hta/df_index_resolver/df_index_resolver.json.gz"
QWEN = "h100/Qwen_Qwen1.5-0.5B-Chat__1016005.json.gz"
MI300X = "mi300x/resnet_act_checkpoint.json.gz"
CPU_ONLY = "hta/cpu_only/rank-34.Jul_15_10_52_41.1074.pt.trace.json.gz"
RESNET = "resnet50_v100/num_workers_0.pt.trace.json.gz"
EVENT_SYNC = "hta/critical_path/cuda_event_sync/event_sync_trace.json.gz"
DLRM = "dlrm_8rank_v100/rank{}.pt.trace.json.gz"

# vLLM's own all-reduce, which HTA takes for computation: it knows the names nccl, hccl and hip.
OTHER_COLLECTIVES = "b200/eager_trace.json.gz"


@cache
def read(path: str) -> Trace:
    return open_trace(str(PUBLIC / path))


@contextmanager
def as_it_comes(*, rounding: bool = False) -> Iterator[None]:
    """HTA's own ways, with or without its rounding of nanoseconds."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr("hta.configs.env_options.disable_ns_rounding", lambda: not rounding)
        yield


@cache
def own_load(path: str) -> Any:
    from hta.trace_analysis import TraceAnalysis

    with as_it_comes():
        return TraceAnalysis(trace_files={read(path).info.rank or 0: str(PUBLIC / path)})


@cache
def handed(path: str) -> Any:
    return trace_analysis(read(path))


def frame(analysis: Any) -> Any:
    return next(iter(analysis.t.traces.values()))


def texts(analysis: Any, column: str) -> list[str]:
    table = analysis.t.symbol_table.get_sym_table()
    return [table[i] for i in frame(analysis)[column]]


def times(table: Any) -> list[float]:
    columns = ["idle_time(us)", "compute_time(us)", "non_compute_time(us)", "kernel_time(us)"]
    return [float(table.iloc[0][column]) for column in columns]


# --- the table -----------------------------------------------------------------------------------

SAME_COLUMNS = (
    "index",
    "stream",
    "correlation",
    "index_correlation",
    "iteration",
    "bytes",
    "wait_on_stream",
    "wait_on_cuda_event_record_corr_id",
    "external_id",
)


@needs_hta
@needs_public
@pytest.mark.parametrize("path", [NCCL, MANY_EVENTS, ALEXNET, NANOSECONDS, EVENT_SYNC])
class TestTableIsHtasOwn:
    def test_rows_and_integer_columns(self, path: str) -> None:
        theirs, ours = frame(own_load(path)), frame(handed(path))
        assert theirs.index.equals(ours.index)
        for column in SAME_COLUMNS:
            np.testing.assert_array_equal(theirs[column], ours[column], err_msg=column)

    def test_names_and_places(self, path: str) -> None:
        for column in ("name", "cat"):
            assert texts(own_load(path), column) == texts(handed(path), column)
        for column in ("pid", "tid"):
            theirs, ours = frame(own_load(path)), frame(handed(path))
            assert theirs[column].tolist() == ours[column].tolist()

    def test_times(self, path: str) -> None:
        """HTA's absolute doubles resolve a quarter of a microsecond in 2024; ours are relative."""
        own = own_load(path)
        theirs, ours = frame(own), frame(handed(path))
        resolution = float(np.spacing(float(own.t.min_ts)))
        whole = bool((ours["ts"] % 1 == 0).all())
        exact = 0.0 if whole else 2 * resolution + 1e-4
        assert abs(own.t.min_ts - handed(path).t.min_ts) <= resolution
        np.testing.assert_allclose(ours["ts"], theirs["ts"], rtol=0, atol=exact)
        np.testing.assert_allclose(ours["dur"], theirs["dur"], rtol=0, atol=2e-5)
        # HTA forgets to move `end` along with `ts`
        moved = theirs["end"] - own.t.min_ts
        np.testing.assert_allclose(ours["end"], moved, rtol=0, atol=exact)

    def test_bandwidth_within_the_rounding_of_durations(self, path: str) -> None:
        """The profiler divides by a duration it then writes rounded."""
        theirs, ours = frame(own_load(path)), frame(handed(path))
        moved = (theirs["memory_bw_gbps"] > 0) & (ours["memory_bw_gbps"] > 0)
        took = theirs["bytes"][moved] / theirs["memory_bw_gbps"][moved]
        assert (abs(took - ours["dur"][moved] * 1000) <= 1001).all()


@needs_hta
@needs_public
def test_nanoseconds_are_kept() -> None:
    table = frame(handed(NANOSECONDS))
    trace = read(NANOSECONDS)
    rows = np.searchsorted(np.sort(trace.row), table["index"])
    origin = int(trace.ts.min())
    by_row = np.argsort(trace.row)
    assert (np.rint(table["ts"] * 1000) == (trace.ts[by_row] - origin)[rows]).all()
    assert (np.rint(table["dur"] * 1000) == trace.dur[by_row][rows]).all()
    assert (table["ts"] + table["dur"] == table["end"]).all()


def test_the_grid_keeps_nanoseconds_and_adds_exactly() -> None:
    ns = np.random.default_rng(0).integers(0, 10**13, 100_000)
    us = microseconds(ns)
    assert (np.rint(us * 1000).astype(np.int64) == ns).all()
    assert (us[:-1] + (us[1:] - us[:-1]) == us[1:]).all()
    assert (microseconds(ns * 1000) == ns).all()


# --- small traces --------------------------------------------------------------------------------


def event(cat: str, name: str, ts: float, dur: float, **args: Any) -> dict[str, Any]:
    tid = args.get("stream", 1)
    return {"ph": "X", "cat": cat, "name": name, "pid": 0, "tid": tid, "ts": ts, "dur": dur,
            "args": args}  # fmt: skip


def written(folder: Path, events: list[dict[str, Any]], name: str = "trace.json") -> Trace:
    path = folder / name
    path.write_text(json.dumps({"traceEvents": events}))
    return open_trace(str(path))


def steps(*extra: dict[str, Any], stream: int = 7) -> list[dict[str, Any]]:
    """Two steps of one launch each; HTA keeps the first."""
    events: list[dict[str, Any]] = []
    for i in range(2):
        at = 1000.0 * i
        events += [
            event("user_annotation", f"ProfilerStep#{i + 3}", at, 900.0),
            event("cuda_runtime", "cudaLaunchKernel", at + 10, 5.0, correlation=i + 1),
            event("kernel", "gemm", at + 100.25, 50.5, stream=stream, device=0, correlation=i + 1),
        ]
    return [*events, *extra]


def table_of(trace: Trace) -> Any:
    ids = {name: i for i, name in enumerate(symbols(trace))}
    return frame_of(trace, 0, ids, nanoseconds)


def test_launches_and_kernels_are_linked_and_stepped(tmp_path: Path) -> None:
    table = table_of(written(tmp_path, steps()))
    assert table["index_correlation"].tolist() == [-1, 2, 1, -1, 5, 4]
    assert table["iteration"].tolist() == [3, 3, 3, 4, 4, 4]


def test_stream_zero_has_steps_too(tmp_path: Path) -> None:
    """HTA leaves them out, and with them all of ROCm."""
    table = table_of(written(tmp_path, steps(stream=0)))
    assert table["stream"].tolist() == [-1, -1, 0, -1, -1, 0]
    assert table["iteration"].tolist() == [3, 3, 3, 4, 4, 4]


def test_an_unknown_partner_is_zero(tmp_path: Path) -> None:
    lost = event("kernel", "gemm", 500.0, 10.0, stream=7, device=0, correlation=99)
    assert table_of(written(tmp_path, steps(lost)))["index_correlation"].tolist()[-1] == 0


def test_syncs_without_a_stream(tmp_path: Path) -> None:
    sync = event("cuda_sync", "Event Sync", 20.0, 5.0, stream=-1, correlation=1, wait_on_stream=7)
    row = table_of(written(tmp_path, steps(sync))).iloc[-1]
    assert (row["stream"], row["wait_on_stream"], row["index_correlation"]) == (-1, 7, 1)


def test_annotations_on_the_gpu_are_on_no_stream(tmp_path: Path) -> None:
    mark = event("gpu_user_annotation", "ProfilerStep#3", 100.0, 60.0, stream=7)
    assert table_of(written(tmp_path, steps(mark)))["stream"].tolist()[-1] == -1


@needs_hta
def test_events_without_category_stay_out(tmp_path: Path) -> None:
    odd = event("", "odd", 20.0, 5.0)
    analysis = trace_analysis(written(tmp_path, steps(odd)))
    assert "odd" not in texts(analysis, "name")


@needs_hta
def test_the_last_step_is_left_out(tmp_path: Path) -> None:
    breakdown = temporal_breakdown(written(tmp_path, steps()))
    assert times(breakdown) == [0, 50.5, 0, 50.5]


@needs_hta
def test_two_ranks_share_clock_and_names(tmp_path: Path) -> None:
    """The second rank knows other names and starts a second later."""
    late = [{**e, "ts": e["ts"] + 1e6} for e in steps(event("cpu_op", "aten::add", 1.0, 2.0))]
    traces = {4: written(tmp_path, steps(), "a.json"), 5: written(tmp_path, late, "b.json")}
    analysis = trace_analysis(traces)
    assert sorted(analysis.t.traces) == [4, 5]
    assert analysis.t.traces[5]["ts"].min() == 1e6
    assert temporal_breakdown(traces)["rank"].tolist() == [4, 5]


# --- the breakdown -------------------------------------------------------------------------------


@needs_hta
@needs_public
@pytest.mark.parametrize("path", [NCCL, MANY_EVENTS, ALEXNET, NANOSECONDS, EVENT_SYNC])
def test_breakdown_is_htas_own(path: str) -> None:
    with as_it_comes():
        theirs = own_load(path).get_temporal_breakdown(visualize=False)
    resolution = float(np.spacing(float(own_load(path).t.min_ts)))
    assert times(temporal_breakdown(read(path))) == pytest.approx(times(theirs), abs=resolution)
    handed_over = handed(path).get_temporal_breakdown(visualize=False)
    assert times(handed_over) == pytest.approx(times(theirs), abs=resolution)


@needs_hta
@needs_public
def test_overlap_of_two_ranks_is_htas_own() -> None:
    from hta.trace_analysis import TraceAnalysis

    paths = {rank: DLRM.format(rank) for rank in (0, 7)}
    with as_it_comes():
        own = TraceAnalysis(trace_files={r: str(PUBLIC / p) for r, p in paths.items()})
        theirs = own.get_comm_comp_overlap(visualize=False)
        ours = trace_analysis({r: read(p) for r, p in paths.items()})
        assert ours.get_comm_comp_overlap(visualize=False).equals(theirs)


@needs_hta
@needs_public
def test_a_breakdown_where_htas_rounding_fails() -> None:
    from hta.trace_analysis import TraceAnalysis

    with as_it_comes(rounding=True), pytest.raises(AssertionError):
        own = TraceAnalysis(trace_files={0: str(PUBLIC / QWEN)})
        own.get_temporal_breakdown(visualize=False)
    idle, compute, _, whole = times(temporal_breakdown(read(QWEN)))
    assert (idle / whole, compute / whole) == pytest.approx((0.081, 0.915), abs=0.0005)


@needs_hta
@needs_public
def test_a_trace_that_hta_cannot_load_with_pandas_3() -> None:
    assert times(temporal_breakdown(read(MI300X)))[3] == pytest.approx(56_517.603)


def our_times(trace: Trace, kept: Any) -> list[float]:
    """Idle, compute, exposed other work and window of the kept events, by perfkit."""
    work = gpu_work(trace.take(np.isin(trace.row, kept)))
    start, end = work.start.min(), work.end.max()
    window = int(end - start)
    compute = int(work.compute.covered(start, end))
    busy = int(work.busy.covered(start, end))
    return [part / 1000 for part in (window - busy, compute, busy - compute, window)]


def with_gpu_work() -> list[str]:
    return kineto_files() if PUBLIC.is_dir() else []


@needs_hta
@needs_public
@pytest.mark.parametrize("path", with_gpu_work())
def test_perfkit_and_hta_agree_to_the_nanosecond(path: str) -> None:
    """On the events HTA keeps. It counts cuda_sync events as GPU work, so they are taken out."""
    trace = read(path)
    trace = trace.take(trace.kind != Kind.SYNC)
    try:
        theirs = times(temporal_breakdown(trace))
    except PerfkitError as error:
        assert not trace.is_gpu_work.any(), error
        pytest.skip("no GPU work in the trace, of which HTA makes no breakdown")
    ours = our_times(trace, frame(trace_analysis(trace))["index"])
    if path == OTHER_COLLECTIVES:
        assert theirs[1] > ours[1]
        assert theirs[1] - ours[1] == pytest.approx(ours[2] - theirs[2])
        theirs[1:3] = ours[1:3]
    assert ours == pytest.approx(theirs, abs=1e-6)


@needs_hta
@needs_public
def test_hta_counts_waiting_for_the_gpu_as_gpu_work() -> None:
    """Why the comparison above leaves them out."""
    trace = read(EVENT_SYNC)
    waiting = trace.take(trace.kind != Kind.SYNC)
    assert times(temporal_breakdown(trace))[0] == 207
    assert times(temporal_breakdown(waiting))[0] == 212


# --- the critical path ---------------------------------------------------------------------------


def path_of(analysis: Any, annotation: str, instance: int) -> Any:
    rank = next(iter(analysis.t.traces))
    with as_it_comes():
        graph, found = analysis.critical_path_analysis(rank, annotation, instance)
    assert found
    return graph


@needs_hta
@needs_public
def test_the_graph_is_htas_own() -> None:
    theirs = path_of(own_load(ALEXNET), ALEXNET_STEP, 1)
    ours = path_of(handed(ALEXNET), ALEXNET_STEP, 1)
    assert (len(ours), ours.number_of_edges()) == (len(theirs), theirs.number_of_edges())
    assert ours.critical_path_nodes == theirs.critical_path_nodes


@needs_hta
@needs_public
def test_a_path_that_explains_its_step() -> None:
    found = critical_path(read(ALEXNET), annotation=ALEXNET_STEP, instance=1)
    graph = path_of(own_load(ALEXNET), ALEXNET_STEP, 1)
    with as_it_comes(), redirect_stdout(StringIO()):
        shares = (graph.summary() / 100).to_dict()
    assert (found.path_us, found.step_us) == (35_834, 36_356)
    assert found.coverage == pytest.approx(35_834 / 36_356)
    assert found.has_cuda_sync
    assert found.bound_by == pytest.approx({k: v for k, v in shares.items() if k and v})
    assert found.verdict is not None
    assert "the host sets the pace" in found.verdict
    assert "99%" in found.text
    assert "has cuda_sync events" in found.text


@needs_hta
@needs_public
@pytest.mark.parametrize(
    ("path", "instance", "of_0_5", "of_0_6", "has_sync"),
    [
        (EVENT_SYNC, 0, 0.761, 0.764, True),
        (MANY_EVENTS, 1, 0.692, 0.710, False),
        (NCCL, 1, 0.463, 0.865, False),
    ],
)
def test_no_verdict_at_low_coverage(
    path: str, instance: int, of_0_5: float, of_0_6: float, has_sync: bool
) -> None:
    """The figures differ between HTA's versions, which is why there is no verdict."""
    import hta

    found = critical_path(read(path), instance=instance)
    coverage = of_0_5 if hta.__version__.startswith("0.5") else of_0_6
    assert found.coverage == pytest.approx(coverage, abs=0.001)
    assert found.coverage < LEAST_COVERAGE
    assert found.has_cuda_sync == has_sync
    assert found.verdict is None
    assert "No verdict" in found.text


@needs_hta
@needs_public
def test_gpu_work_may_outlast_the_step() -> None:
    found = critical_path(read(NANOSECONDS), instance=1)
    assert found.path_us == pytest.approx(95_736, abs=1)
    assert found.step_us == pytest.approx(72_077, abs=1)
    assert 0.98 < found.coverage <= 1
    assert "outlasts" in found.text
    assert next(iter(found.bound_by)) == "gpu_compute_bound"


@needs_hta
@needs_public
@pytest.mark.parametrize("path", [ALEXNET, NCCL, NANOSECONDS, MI300X, QWEN])
def test_shares_are_those_of_the_edges_as_they_are(path: str) -> None:
    annotation = ALEXNET_STEP if path == ALEXNET else "ProfilerStep"
    found = critical_path(read(path), annotation=annotation)
    assert sum(found.bound_by.values()) == pytest.approx(1)
    assert 0 < found.coverage <= 1


@needs_hta
@needs_public
def test_marks_on_the_gpu_are_no_instances() -> None:
    """The profiler draws ProfilerStep on the stream as well, and HTA would take it for a step."""
    trace = read(NCCL)
    names = {critical_path(trace, instance=i).text.split(" of ")[-1].split(" ")[0] for i in (0, 1)}
    assert names == {"ProfilerStep#4", "ProfilerStep#5"}
    with pytest.raises(PerfkitError, match="no instance 2 among 2: choose one from 0 to 1"):
        critical_path(trace, instance=2)


# --- failures and silence ------------------------------------------------------------------------


@needs_hta
@needs_public
def test_failures_are_sentences() -> None:
    with pytest.raises(PerfkitError, match="no GPU work that Holistic Trace Analysis counts"):
        temporal_breakdown(read(CPU_ONLY))
    with pytest.raises(PerfkitError, match="no GPU work"):
        critical_path(read(CPU_ONLY))
    with pytest.raises(PerfkitError, match="'no such thing' in its name"):
        critical_path(read(NCCL), annotation="no such thing")
    with pytest.raises(PerfkitError, match="'' in its name"):
        critical_path(read(NCCL), annotation="")
    with pytest.raises(PerfkitError, match="fails to find the critical path"):
        critical_path(read(RESNET))
    with pytest.raises(PerfkitError, match="at least one"):
        trace_analysis({})


def test_without_hta_one_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "hta"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "hta", None)
    with pytest.raises(PerfkitError, match=r"not installed: pip install 'perfkit\[hta\]'"):
        trace_analysis(written(tmp_path, steps()))


@needs_hta
@needs_public
def test_hta_is_silent_and_logging_stays_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    def state() -> list[object]:
        loggers = [logging.getLogger(), logging.getLogger("hta")]
        return [(list(x.handlers), list(x.filters), x.level, x.disabled) for x in loggers]

    root = logging.getLogger()
    handlers = root.handlers[:]
    try:
        root.handlers.clear()  # as in a program that does not log: HTA would set a handler up
        before = state()
        critical_path(read(NCCL))
        temporal_breakdown(read(NCCL))
        assert state() == before
    finally:
        root.handlers[:] = handlers
    assert capfd.readouterr() == ("", "")
