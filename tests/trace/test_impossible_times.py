"""Times that cannot be are mended or left out, and those that only look so are kept."""

from __future__ import annotations

from perfkit.model.trace import Damage
from tests.trace.conftest import UNDAMAGED, Read, lanes, names
from tests.trace.kineto_text import Bare, document, host, kernel


def test_kernels_at_time_zero_are_left_out(read: Read) -> None:
    rows = [kernel("zero", ts=0, dur=0), host("a"), kernel("b", 2000), kernel("neg", ts=-5)]
    trace = read(document(*rows))
    assert names(trace) == ["a", "b"]
    assert trace.info.damage == Damage(zero_timestamps=2)


def test_time_zero_is_a_time_where_the_clock_starts_there(read: Read) -> None:
    trace = read(document(host("first", ts=0), host("second", ts=5)))
    assert names(trace) == ["first", "second"]
    assert trace.info.damage == UNDAMAGED


def test_negative_durations_become_zero(read: Read) -> None:
    trace = read(document(host("a", dur=Bare("-1.500")), host("b", 5, dur=-3)))
    assert trace.dur.tolist() == [0, 0]
    assert trace.info.damage == Damage(negative_durations=2)


def test_a_negative_time_written_with_two_signs(read: Read) -> None:
    trace = read(document(host("a"), host("b", 1, dur=Bare("-1.-500")), host("c", 2)))
    assert names(trace) == ["a", "c"]
    assert trace.info.damage.unreadable_events == 1


def test_durations_beyond_a_week_are_counter_wraps(read: Read) -> None:
    wrap = Bare("18446744073709551.615")
    trace = read(document(host("a"), kernel("b", 5, dur=wrap), kernel("c", 9, dur=Bare("1e14"))))
    assert names(trace) == ["a"]
    assert trace.info.damage.unreadable_events == 2


def test_durations_that_do_not_fit_the_queue_are_clipped(read: Read) -> None:
    rows = [kernel("long", 0, 10**9), kernel("b", 1000, 500), kernel("c", 2000, 500)]
    trace = read(document(*rows))
    assert trace.dur.tolist() == [1000, 500, 500]
    assert trace.info.damage == Damage(clipped_gpu_events=1)


def test_neighbours_may_overlap(read: Read) -> None:
    rows = [kernel("a", 100, 1500), kernel("b", 1100, 1500), kernel("c", 2100, 1500)]
    trace = read(document(*rows))
    assert trace.dur.tolist() == [1500, 1500, 1500]
    assert trace.info.damage == UNDAMAGED


def test_nodes_of_one_graph_may_overlap(read: Read) -> None:
    node = {"correlation": 55, "graph id": 3}
    rows = [kernel(f"node{i}", 100 * i, 5000, args=node) for i in range(5)]
    trace = read(document(*rows))
    assert trace.dur.tolist() == [5000] * 5
    assert trace.graph.tolist() == [3] * 5
    assert trace.info.damage == UNDAMAGED


def test_streams_and_devices_may_overlap(read: Read) -> None:
    places = [(0, 7), (0, 20), (1, 7), (1, 20)]
    rows = [
        kernel(f"k{i}", 1 + i, 9000, pid=p, tid=t, args={"device": p, "stream": t})
        for i, (p, t) in enumerate(places)
    ]
    trace = read(document(*rows))
    assert trace.dur.tolist() == [9000] * 4
    assert [lane[2:] for lane in lanes(trace)] == places


def test_a_kernel_may_start_before_its_launch(read: Read) -> None:
    launch = host("cudaLaunchKernel", 1000, cat="cuda_runtime", args={"correlation": 9})
    trace = read(document(launch, kernel("early", 900, args={"correlation": 9})))
    assert names(trace) == ["early", "cudaLaunchKernel"]
    assert trace.corr.tolist() == [9, 9]
