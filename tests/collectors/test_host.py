"""The training process on its machine."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import msgspec
import pytest

from perfkit.collectors import host
from perfkit.collectors.host import Host, take_sample
from perfkit.collectors.protocol import Run
from perfkit.model.capture import HostSample, Record


def records(folder: Path) -> list[HostSample]:
    lines = (folder / "host.jsonl").read_bytes().splitlines()
    decoded = [msgspec.json.decode(line, type=Record) for line in lines]
    return [record for record in decoded if isinstance(record, HostSample)]


def test_processor_time_is_this_processs_own() -> None:
    before = take_sample(2)
    began = time.process_time_ns()
    while time.process_time_ns() - began < 30_000_000:
        sum(range(1000))
    after = take_sample(2)
    assert before.cpu_us is not None and after.cpu_us is not None
    assert 30_000 <= after.cpu_us - before.cpu_us < 300_000
    assert after.cores == 2
    assert after.t_ns > before.t_ns


def test_resident_memory_grows_by_what_is_touched() -> None:
    before = take_sample(None).rss_bytes
    if before is None:
        pytest.skip("no /proc/self/statm here")
    held = bytearray(b"x" * (64 << 20))
    after = take_sample(None).rss_bytes
    assert after is not None
    assert after - before > 48 << 20
    assert len(held) == 64 << 20


def test_samples_are_taken_at_both_ends_and_when_it_is_time(tmp_path: Path) -> None:
    collector = Host()
    collector.start(Run(folder=tmp_path))
    collector.tick()
    collector.stop()
    assert len(records(tmp_path)) == 3


def test_run_delay_is_that_of_the_main_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"text": "5000000 1234567 42\n"}
    monkeypatch.setattr("pathlib.Path.read_text", lambda self: said["text"])
    assert host._run_delay_us() == 1234.567
    said["text"] = "0 0 0\n"  # a kernel that does not count
    assert host._run_delay_us() is None
    said["text"] = "nonsense"
    assert host._run_delay_us() is None


def test_what_the_system_does_not_tell_is_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_text", refuse)
    monkeypatch.setattr("os.getloadavg", lambda: (_ for _ in ()).throw(OSError()))
    monkeypatch.setitem(sys.modules, "resource", None)
    collector = Host()
    collector.start(Run(folder=tmp_path))
    collector.stop()
    sample = records(tmp_path)[0]
    absent = (sample.run_delay_us, sample.rss_bytes, sample.load, sample.major_faults)
    assert absent == (None,) * 4
    assert sample.cpu_us is not None
    sight = collector.sight()
    assert sight.active
    assert "processor time" in sight.sees
    assert "time without a core" not in sight.sees
    assert len(sight.missing) == 2


def test_stop_after_a_start_that_failed() -> None:
    Host().stop()
