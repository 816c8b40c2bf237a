"""Storage is looked at without ever holding up the run."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from perfkit.collectors import lustre, scan, storage
from perfkit.collectors.mounts import Mount
from perfkit.collectors.protocol import Run
from perfkit.collectors.storage import Role, Storage, file_system, notice, place_of
from perfkit.model.capture import FileSystem, Record


def until(true: Callable[[], object], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)


def found(folder: Path) -> list[FileSystem]:
    path = folder / "storage.jsonl"
    lines = path.read_bytes().splitlines() if path.exists() else []
    records = [msgspec.json.decode(line, type=Record) for line in lines]
    return [record for record in records if isinstance(record, FileSystem)]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "run").mkdir()
    return Run(folder=tmp_path / "run")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "train"
    folder.mkdir(parents=True)
    for number in range(5):
        (folder / f"{number}.jpg").write_bytes(b"x" * 100 * (number + 1))
    return tmp_path / "data"


@pytest.fixture
def started(run: Run) -> Iterator[Storage]:
    collector = Storage()
    collector.start(run)
    yield collector
    collector.stop()


def test_a_folder_is_looked_through(data: Path) -> None:
    place = file_system(str(data), "dataset")
    assert (place.files, place.bytes, place.partial) == (5, 1500, False)
    assert (place.largest_bytes, place.file_types) == (500, {".jpg": 5})
    assert place.kind and place.mount and place.family


def test_a_large_folder_is_looked_through_in_part(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "SCAN_ENTRIES", 3)
    place = file_system(str(data), "dataset")
    assert place.partial
    assert place.files is not None and place.files < 5


def test_the_most_frequent_types_are_told(data: Path) -> None:
    for number, name in enumerate(["a.TAR", "b.tar", "c", "d.x", "e.y", "f.z"]):
        (data / name).write_bytes(b"x" * number)
    types = file_system(str(data), "dataset").file_types or {}
    assert list(types.items())[:2] == [(".jpg", 5), (".tar", 2)]
    assert len(types) == 5


def test_an_empty_folder_has_no_largest_file(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    place = file_system(str(tmp_path / "empty"), "dataset")
    assert (place.files, place.largest_bytes, place.file_types) == (0, None, None)


def test_a_link_leads_to_where_the_files_are(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = [Mount("/", "ext4", "/dev/sda"), Mount(str(data), "beegfs", "beegfs_nodev")]
    monkeypatch.setattr(storage, "mounts", lambda: table)
    monkeypatch.setattr(storage, "device_of", lambda _: None)
    (tmp_path / "link").symlink_to(data)
    assert file_system(str(tmp_path / "link" / "train"), "dataset").kind == "beegfs"


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        file_system(str(tmp_path / "absent"), "dataset")


def test_on_lustre_the_largest_file_tells_the_layout(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def layout(path: str) -> dict[str, object]:
        asked.append(path)
        return {"stripe_count": 1}

    monkeypatch.setattr(storage, "mounts", lambda: [Mount("/", "lustre", "mgs@tcp:/scr")])
    monkeypatch.setattr(lustre, "layout", layout)
    assert file_system(str(data), "dataset").layout == {"stripe_count": 1}
    assert asked == [str(data / "train" / "4.jpg")]


def test_urls_are_known_by_their_scheme() -> None:
    place = file_system("gs://bucket/shards", "dataset")
    assert (place.kind, place.source, place.family) == ("gs", "bucket", "object store")
    assert place.files is None


def test_a_run_records_its_places_once(run: Run, data: Path, started: Storage) -> None:
    files = [str(path) for path in sorted((data / "train").iterdir())]
    for _ in range(3):
        notice(files, "dataset")
    notice(["train", str(data / "absent"), "s3://bucket/a", "s3://bucket/b"], "dataset")
    notice([str(data), *files], "checkpoint")
    until(lambda: len(found(run.folder)) >= 4)
    started.stop()
    capture, sampled, bucket, checkpoint = found(run.folder)
    assert (capture.role, capture.path) == ("capture", str(run.folder))
    assert (sampled.path, sampled.files, sampled.partial) == (str(data / "train"), 5, True)
    assert (bucket.path, bucket.kind) == ("s3://bucket", "s3")
    assert (checkpoint.path, checkpoint.files, checkpoint.partial) == (str(data), 5, False)


def test_counters_are_what_was_added_meanwhile(
    run: Run, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = iter([{"READ.ops": 10.0, "idle": 1.0}, {"READ.ops": 25.0, "idle": 1.0, "new": 2.0}])
    monkeypatch.setattr(storage, "client_counters", lambda _: next(counts))
    collector = Storage()
    collector.start(run)
    until(lambda: found(run.folder))
    collector.stop()
    first, last = found(run.folder)
    assert first.counters is None
    assert last.counters == {"READ.ops": 15.0, "new": 2.0}
    assert last.path == first.path


def test_a_hung_file_system_holds_up_neither_the_run_nor_other_places(
    run: Run, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, hung, real = threading.Event(), data / "train", place_of

    def hang(paths: Sequence[str], role: Role) -> FileSystem:
        if paths[0].startswith(str(hung)):
            release.wait(20)
        return real(paths, role)

    mounted = [Mount("/", "ext4", "/dev/sda"), Mount(str(hung), "nfs4", "dead:/x")]
    monkeypatch.setattr(storage, "mounts", lambda: mounted)
    monkeypatch.setattr(storage, "device_of", lambda _: None)
    monkeypatch.setattr(storage, "place_of", hang)
    monkeypatch.setattr(storage, "PATIENCE_S", 0.1)
    collector = Storage()
    began = time.monotonic()
    collector.start(run)
    for name in ("0.jpg", "1.jpg"):
        collector.add([str(hung / name)], "dataset")
    collector.add([str(data)], "checkpoint")
    assert time.monotonic() - began < 0.1
    until(lambda: len(found(run.folder)) == 4)
    collector.stop()
    release.set()
    kinds = [(place.role, place.kind, place.files) for place in found(run.folder)]
    assert kinds[1:3] == [("dataset", "nfs4", None)] * 2
    assert kinds[3][:2] == ("checkpoint", "ext4")


def test_a_stopped_collector_is_told_of_nothing(run: Run, data: Path, started: Storage) -> None:
    started.stop()
    before = len(found(run.folder))
    notice([str(data)], "dataset")
    time.sleep(0.1)
    assert len(found(run.folder)) == before


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_neither_adds_nor_waits(run: Run, data: Path, started: Storage) -> None:
    until(lambda: found(run.folder))
    child = os.fork()
    if child == 0:
        notice([str(data)], "dataset")
        started.stop()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert len(found(run.folder)) == 1


def test_sight_names_network_mounts_and_what_lustre_hides(monkeypatch: pytest.MonkeyPatch) -> None:
    table = [Mount("/", "ext4", "/dev/sda"), Mount("/scr", "lustre", "mgs@tcp:/scr")]
    monkeypatch.setattr(storage, "mounts", lambda: table)
    sight = Storage().sight()
    assert sight.active
    assert "lustre at /scr" in sight.sees
    assert len(sight.missing) == 1 and "root" in sight.missing[0]
