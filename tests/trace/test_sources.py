"""What cannot be read is refused in one sentence; what can be read is read from anywhere."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import tarfile
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from perfkit.errors import PerfkitError
from perfkit.trace import document as text_of_document
from perfkit.trace import open_trace, source
from tests.trace.conftest import Read, names
from tests.trace.kineto_text import document, host, kernel, many

TEXT = document(host("a"), kernel("b", 2000)).encode()


def refusal(path: str | Path) -> str:
    """The message, which is one sentence with a remedy and no more."""
    with pytest.raises(PerfkitError) as caught:
        open_trace(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    assert ":" in message
    return message


def refused(tmp_path: Path, content: bytes) -> str:
    path = tmp_path / "trace.json"
    path.write_bytes(content)
    message = refusal(path)
    assert str(path) in message
    return message.replace(str(path), "FILE")


def test_a_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "missing.json"
    assert refusal(path) == f"There is no file {path}: check the path."


def test_a_folder(tmp_path: Path) -> None:
    assert "is a folder without a Capture or a trace in it: pass" in refusal(tmp_path)


def test_an_empty_path() -> None:
    assert "Cannot open" in refusal("")


def test_a_path_with_a_null_byte() -> None:
    assert "is no file name" in refusal("a\0b")


def test_a_path_that_is_too_long() -> None:
    assert "Cannot open" in refusal("x" * 5000)


def test_a_file_that_may_not_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "trace.json"
    path.write_bytes(TEXT)
    monkeypatch.setattr(Path, "open", refuse)
    assert refusal(path) == f"Cannot open {path} (Permission denied): pass a readable trace file."


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="Linux has a file that fails")
def test_a_file_that_fails_while_it_is_read() -> None:
    assert refusal("/proc/self/mem").startswith("Reading /proc/self/mem failed")


@pytest.mark.parametrize(
    "content", [b"", b" ", b"\n\n\t \r\n", b"\xef\xbb\xbf", gzip.compress(b"", mtime=0)]
)
def test_an_empty_file(tmp_path: Path, content: bytes) -> None:
    assert refused(tmp_path, content) == (
        "FILE is empty: pass a trace that torch.profiler has exported."
    )


@pytest.mark.parametrize(
    "content",
    [
        b"hello",
        b"{}",
        b'{"a": 1}',
        b"\x00" * 100,
        bytes(range(256)) * 50,
        b'{"traceEvents": null}',
        b'{"traceEvents": {}}',
        b'"traceEvents"',
        b"\x89PNG\r\n\x1a\n",
        b"x" * 3_000_000,
    ],
    ids=lambda content: content[:12].hex(),
)
def test_what_is_no_trace(tmp_path: Path, content: bytes) -> None:
    assert "FILE is no PyTorch Profiler trace" in refused(tmp_path, content)


@pytest.mark.parametrize("cat", ["devtools.timeline", "", None])
def test_a_trace_of_another_tool(tmp_path: Path, cat: str | None) -> None:
    events = [host(f"fusion_{i}", 9 * i, 5, cat=cat, args={"hlo_op": "fusion"}) for i in range(5)]
    assert refused(tmp_path, document(*events).encode()) == (
        "FILE is a trace of another tool (none of its events has a category of PyTorch Profiler): "
        "export one with torch.profiler's export_chrome_trace and pass that file."
    )


def test_a_trace_of_an_npu_is_none_of_a_cpu(tmp_path: Path) -> None:
    """torch_npu gives its kernels no category."""
    steps = [host(f"ProfilerStep#{i}", 9000 * i, 9000) for i in range(3)]
    kernels = [host("aclnnMatmul", 9000 * i, 99, cat=None, pid=2, tid=3) for i in range(3)]
    said = refused(tmp_path, ("[" + ",".join([*steps, *kernels]) + "]").encode())
    assert said.startswith("FILE is a trace of an Ascend NPU, whose kernels perfkit does not read:")


def launches_of(pid: int | str, gpu: int, first: int = 1) -> list[str]:
    return [
        event
        for i in range(5)
        for event in (
            host("cudaLaunchKernel", 99 * i, 5, cat="cuda_runtime", pid=pid,
                 args={"correlation": first + i}),
            kernel("gemm", 99 * i + 9, 9, args={"device": gpu, "correlation": first + i}),
        )
    ]  # fmt: skip


def test_ranks_merged_into_one_file(tmp_path: Path) -> None:
    """Their calls bear the same numbers, so that kernels would be joined to another rank's."""
    ranks = [*launches_of("[TP00] 41", 0), *launches_of("[TP01] 42", 1)]
    assert refused(tmp_path, document(*ranks).encode()) == (
        "FILE holds the recordings of 2 processes ([TP00] 41, [TP01] 42), whose calls cannot be "
        "told apart: pass the file of one rank."
    )


def test_processes_that_number_their_calls_apart_are_read(read: Read) -> None:
    trace = read(document(*launches_of(41, 0), *launches_of(42, 0, first=100)))
    assert len(trace) == 20


def test_a_trace_of_the_profiler_before_kineto(tmp_path: Path) -> None:
    operators = [host("mm", 9 * i, 5, cat=None, pid="CPU functions") for i in range(3)]
    said = refused(tmp_path, ("[" + ", ".join(operators) + "]").encode())
    assert said.startswith("FILE is of torch.autograd.profiler, which records no GPU work:")


def archived(content: bytes) -> bytes:
    """A tar archive of two traces."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name in ("rank0.json", "rank1.json"):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return made.getvalue()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"SQLite format 3\0" + b"\0" * 84, "an SQLite file"),
        (b"PK\x03\x04" + TEXT[:50], "a zip archive"),
        (lzma.compress(TEXT), "compressed by xz"),
        (b"PAR1" + b"\0" * 20, "a Parquet file"),
        (bz2.compress(TEXT), "compressed by bzip2"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n",
            "a pointer of Git LFS",
        ),
        (b"<!DOCTYPE html><title>404</title>", "a web page"),
        (b"<html></html>", "a web page"),
        (TEXT.decode().encode("utf-16"), "text in UTF-16"),
        (gzip.compress(gzip.compress(TEXT)), "compressed by gzip twice"),
        (archived(TEXT), "a tar archive"),
        (gzip.compress(archived(TEXT)), "a tar archive"),
    ],
    ids=[
        "sqlite",
        "zip",
        "xz",
        "parquet",
        "bzip2",
        "lfs",
        "doctype",
        "html",
        "utf-16",
        "twice",
        "tar",
        "tar.gz",
    ],
)
def test_other_formats_are_named(tmp_path: Path, content: bytes, what: str) -> None:
    assert refused(tmp_path, content).startswith(f"FILE is {what}")


@pytest.mark.parametrize("content", [b"[", b"[1, 2, 3]", b'[{"a": 1}]', b'["x"]', b"[[[[[["])
def test_a_list_of_other_things(tmp_path: Path, content: bytes) -> None:
    assert "FILE holds no profiler events" in refused(tmp_path, content)


@pytest.mark.parametrize(
    "content",
    [
        b"[[-1, 1, 37888, 7], [1674, 3, -512, 2]]",
        gzip.compress(b"[[-1, 1, 37888, 7]]"),
        b"[[1674, 1675], [[0, 512], [0, 0]]]",
    ],
    ids=["raw", "gzip", "by-category"],
)
def test_a_memory_timeline_is_named(tmp_path: Path, content: bytes) -> None:
    assert refused(tmp_path, content) == (
        "FILE is no trace but lists of numbers, as torch.profiler's export_memory_timeline writes:"
        " export with export_chrome_trace and pass that file."
    )


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_nesting_without_end_instead_of_events(tmp_path: Path, share: float) -> None:
    text = b'{"a": ' + b"[" * int(10_000 * share) + b', "traceEvents": [' + b"[" * 100_000
    assert "holds no profiler events" in refused(tmp_path, text)


def packed(size: int, byte: bytes, before: bytes = b"") -> bytes:
    """A gzip file that inflates to so many bytes, made without holding them."""
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=9) as file:
        file.write(before)
        for _ in range(size >> 20):
            file.write(byte * (1 << 20))
    return out.getvalue()


@pytest.mark.parametrize("byte", [b" ", b"\0"])
@pytest.mark.parametrize("before", [b"", b'{"traceEvents": ['])
def test_a_gzip_bomb(tmp_path: Path, byte: bytes, before: bytes) -> None:
    content = packed(300 << 20, byte, before)
    assert len(content) < 1 << 20
    message = refused(tmp_path, content)
    assert re.search(
        "inflates to more than" if before or byte == b" " else "no PyTorch Profiler", message
    )


def test_a_gzip_bomb_takes_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(packed(400 << 20, b" ", b'{"traceEvents": ['))
    tracemalloc.start()
    try:
        message = refusal(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "inflates to more than 250 times its size" in message
    assert peak < 800 << 20


def test_a_large_file_that_packs_well_is_no_bomb(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "_BOMB_BYTES", 1000)
    assert len(read(gzip.compress(document(*many(2000)).encode()))) == 4000


@pytest.mark.parametrize("size", [2, 5, 9, 10])
def test_a_gzip_file_cut_in_its_header(tmp_path: Path, size: int) -> None:
    assert "FILE is a gzip file damaged at its start" in refused(
        tmp_path, gzip.compress(TEXT)[:size]
    )


@pytest.mark.parametrize("at", [2, 3, 12, 20])
def test_a_gzip_file_corrupt_from_its_start(tmp_path: Path, at: int) -> None:
    content = bytearray(gzip.compress(TEXT))
    content[at:] = b"\xff" * (len(content) - at)
    refused(tmp_path, bytes(content))


@pytest.mark.parametrize("pieces", [2, 5])
def test_a_gzip_file_of_several_members(read: Read, pieces: int) -> None:
    size = -(-len(TEXT) // pieces)
    members = [gzip.compress(TEXT[i : i + size]) for i in range(0, len(TEXT), size)]
    for between in (b"", b"\0" * 7):
        trace = read(between.join(members))
        assert names(trace) == ["a", "b"]
        assert not trace.info.damage.truncated


@pytest.mark.parametrize("zeros", [1, 511, 3_000_000])
def test_zeros_behind_a_gzip_file(read: Read, zeros: int) -> None:
    trace = read(gzip.compress(TEXT) + b"\0" * zeros)
    assert names(trace) == ["a", "b"]
    assert not trace.info.damage.truncated


def test_other_bytes_behind_a_gzip_file(read: Read) -> None:
    assert names(read(gzip.compress(TEXT) + b"other")) == ["a", "b"]


def test_a_gzip_file_with_a_name_and_any_chunk(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.BytesIO()
    with gzip.GzipFile("a name.json", "wb", fileobj=out) as file:
        file.write(TEXT)
    for size in (2, 3, 7, 100):
        monkeypatch.setattr(source, "CHUNK_BYTES", size)
        assert names(read(out.getvalue())) == ["a", "b"]


def test_a_suffix_says_nothing(tmp_path: Path) -> None:
    plain, zipped = tmp_path / "plain.json.gz", tmp_path / "zipped.json"
    plain.write_bytes(TEXT)
    zipped.write_bytes(gzip.compress(TEXT))
    assert names(open_trace(plain)) == names(open_trace(zipped)) == ["a", "b"]


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    files = fsspec.filesystem("memory")
    files.store.clear()
    yield files
    files.store.clear()


@pytest.mark.parametrize("content", [TEXT, gzip.compress(TEXT)], ids=["plain", "gzip"])
def test_an_address(memory: fsspec.AbstractFileSystem, content: bytes) -> None:
    memory.pipe_file("/runs/trace.json", content)
    trace = open_trace("memory://runs/trace.json")
    assert names(trace) == ["a", "b"]
    assert trace.info.source == "memory://runs/trace.json"


def test_a_corrupt_file_at_an_address(memory: fsspec.AbstractFileSystem) -> None:
    content = bytearray(gzip.compress(document(*many(300)).encode()))
    content[len(content) // 2] ^= 0xFF
    memory.pipe_file("/trace.json.gz", bytes(content))
    trace = open_trace("memory://trace.json.gz")
    assert trace.info.damage.truncated
    assert len(trace) > 200


@pytest.mark.usefixtures("memory")
def test_a_missing_address() -> None:
    assert "There is no file memory://nothing.json" in refusal("memory://nothing.json")


@pytest.mark.parametrize("scheme", ["nosuch", "a b"])
def test_an_unknown_scheme(scheme: str) -> None:
    assert "Cannot" in refusal(f"{scheme}://x/trace.json")


def test_a_file_system_with_errors_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class StrangeError(Exception):
        pass

    def fail(*args: object, **options: object) -> None:
        raise StrangeError("token expired")

    monkeypatch.setattr(fsspec, "open", fail)
    assert "(token expired): check the address and access" in refusal("s3://bucket/trace.json")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe(tmp_path: Path) -> None:
    import threading

    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(gzip.compress(TEXT),))
    writer.start()
    trace = open_trace(path)
    writer.join()
    assert names(trace) == ["a", "b"]


def test_deflate_without_a_gzip_header(tmp_path: Path) -> None:
    assert "no PyTorch Profiler trace" in refused(tmp_path, zlib.compress(TEXT))


def test_a_file_that_shrinks_while_it_is_read_is_truncated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "trace.json"
    path.write_text(document(*many(200)))
    size = path.stat().st_size
    monkeypatch.setattr(text_of_document, "BLOCK_BYTES", 4000)
    monkeypatch.setattr(text_of_document, "_LAST_BYTES", 1000)

    def shrink(done: int, total: int) -> None:
        if path.stat().st_size == size:
            os.truncate(path, size // 2)

    trace = open_trace(path, shrink)
    assert trace.info.damage.truncated
    assert 0 < len(trace) < 400


def test_a_file_that_vanishes_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "trace.json"
    path.write_text(document(*many(200)))
    monkeypatch.setattr(text_of_document, "BLOCK_BYTES", 4000)
    with pytest.raises(
        PerfkitError, match=r"^Reading .* failed \(.*\): copy it to a local disk\.$"
    ):
        open_trace(path, lambda done, total: path.unlink(missing_ok=True))
