"""Helper processes give what this process gives, whatever becomes of them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perfkit.model.trace import Trace
from perfkit.trace import children, columns, helpers, open_trace, source
from perfkit.trace import document as text_of_document
from perfkit.trace.stretch import Stretch
from tests.trace.kineto_text import Bare, document, host, many
from tests.trace.test_layouts import assert_same

Started = list["subprocess.Popen[bytes]"]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="children are killed by signal")


@pytest.fixture
def path(tmp_path: Path) -> str:
    rows = [*many(400), host(Bare('"broken "name" here"'), 10**7), *many(400, 400)]
    file = tmp_path / "trace.json"
    file.write_text(document(*rows, before={"baseTimeNanoseconds": 5}))
    return str(file)


@pytest.fixture
def alone(path: str) -> Trace:
    return open_trace(path)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[Started]:
    """Small blocks and three helpers, whose processes are listed."""
    monkeypatch.setattr(text_of_document, "BLOCK_BYTES", 8000)
    monkeypatch.setattr(text_of_document, "_LAST_BYTES", 1000)
    monkeypatch.setattr(source, "CHUNK_BYTES", 4000)
    monkeypatch.setattr(helpers, "_ALONE_BLOCKS", 2)
    monkeypatch.setattr(helpers, "_IN_FLIGHT", 2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    processes: Started = []
    popen = subprocess.Popen

    def start(*args: Any, **options: Any) -> subprocess.Popen[bytes]:
        processes.append(popen(*args, **options))
        return processes[-1]

    monkeypatch.setattr(subprocess, "Popen", start)
    yield processes
    assert all(process.poll() is not None for process in processes)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[bytes | Stretch]:
    """Blocks this process worked on, at a pace that leaves some for the helpers."""
    texts: list[bytes | Stretch] = []
    work = helpers._work

    def slowly(text: bytes | Stretch) -> columns.BlockColumns:
        texts.append(text)
        time.sleep(0.005)
        return work(text)

    monkeypatch.setattr(helpers, "_work", slowly)
    return texts


def blocks_of(path: str) -> int:
    return len(list(text_of_document.header_and_blocks(source.ByteSource(path))[1]))


def test_helpers_give_the_same(
    alone: Trace, started: Started, here: list[bytes | Stretch], path: str
) -> None:
    shared = open_trace(path)
    assert_same(shared, alone)
    assert shared.info.damage == alone.info.damage
    assert shared.info.damage.repaired_events == 1
    assert len(started) == 3
    assert 0 < len(here) < blocks_of(path)


def test_children_that_started_early_do_the_work(
    alone: Trace,
    started: Started,
    here: list[bytes | Stretch],
    monkeypatch: pytest.MonkeyPatch,
    path: str,
) -> None:
    monkeypatch.setattr(children, "_LARGE_BYTES", 1000)
    with children.started_early(path):
        assert len(started) == 3
        assert_same(open_trace(path), alone)
    assert len(started) == 3
    assert 0 < len(here) < blocks_of(path)


def test_children_that_nothing_was_read_with_end(
    started: Started, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(children, "_LARGE_BYTES", 1000)
    with children.started_early(path):
        pass
    assert [process.poll() is not None for process in started] == [True] * 3
    for small in (path + ".gone", "s3://bucket/trace.json", "a\0b"):
        with children.started_early(small):
            assert len(started) == 3


def test_each_ends_the_children_that_it_started(
    started: Started, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(children, "_LARGE_BYTES", 1000)
    with children.started_early(path):
        with children.started_early(path):
            pass
        assert [process.poll() is None for process in started] == [True] * 3 + [False] * 3
        taken = children.children()
        assert taken == started[:3]
    for process in taken:
        assert process.poll() is None
        with process:
            process.kill()


def test_a_few_blocks_need_no_helper(
    alone: Trace, started: Started, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(helpers, "_ALONE_BLOCKS", 10_000)
    assert_same(open_trace(path), alone)
    assert started == []


@pytest.mark.parametrize("after", [0, 3, 8])
def test_killed_helpers_cost_nothing(
    alone: Trace,
    started: Started,
    here: list[bytes | Stretch],
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    after: int,
) -> None:
    offer = helpers._Helper.offer
    offers: list[bool] = []
    killed: list[int] = []

    def fatal(helper: helpers._Helper, number: int, text: bytes | Stretch) -> bool:
        taken = offer(helper, number, text)
        offers.append(taken)
        if len(offers) > after and taken:
            os.kill(helper._process.pid, signal.SIGKILL)
            killed.append(number)
        return taken

    monkeypatch.setattr(helpers._Helper, "offer", fatal)
    assert_same(open_trace(path), alone)
    assert killed


def test_helpers_that_answer_nonsense_cost_nothing(
    alone: Trace, started: Started, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(children, "_PROGRAM", "print('what?', {path!r})")
    assert_same(open_trace(path), alone)
    assert len(started) == 3


def test_helpers_that_cannot_start_cost_nothing(
    alone: Trace, started: Started, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert_same(open_trace(path), alone)


def test_a_reader_that_fails_leaves_no_helper(started: Started, path: str) -> None:
    def interrupted(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_trace(path, interrupted)
    assert all(process.poll() is not None for process in started)
