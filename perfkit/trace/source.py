"""Bytes of a trace: plain or gzip, from a path or any fsspec URL, inflated ahead of the parser."""

from __future__ import annotations

import io
import queue
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from perfkit.errors import PerfkitError

CHUNK_BYTES = 1 << 19
Progress = Callable[[int, int], None]
"""Called with (bytes read, bytes in the file); the total is 0 where it is not known."""

_OTHER_FORMATS = {
    b"SQLite format 3\0": "an SQLite file, such as Nsight Systems exports, which perfkit does not "
    "read: pass a PyTorch Profiler trace",
    b"PK\x03\x04": "a zip archive: unpack it and pass the trace in it",
    b"\x28\xb5\x2f\xfd": "compressed by zstd: unpack it first",
    b"\xfd7zXZ\0": "compressed by xz: unpack it first",
    b"PAR1": "a Parquet file: pass a PyTorch Profiler trace",
    b"BZh": "compressed by bzip2: unpack it first",
    b"version https://git-lfs": "a pointer of Git LFS, not the file: run git lfs pull",
    b"<!DOCTYPE": "a web page, not the file that it shows: download the raw file",
    b"<html": "a web page, not the file that it shows: download the raw file",
    b"\xff\xfe": "text in UTF-16: save it as UTF-8",
}
_TAR_MAGIC, _TAR_AT = b"ustar", 257
_GZIP_MAGIC = b"\x1f\x8b"
# Kineto traces deflate 10 to 40 times; a file far beyond is made to exhaust memory.
_BOMB_RATIO = 250
_BOMB_BYTES = 256 << 20
_CHUNKS_AHEAD = 32
_SLICE_BYTES = 16


@dataclass
class ByteSource:
    """The text of one trace file, in chunks.

    After the first chunk `plain_size` is the size of a file of which any part can be read as it
    is, 0 for others. After the last, `cut_short` says whether a gzip stream ended early or was
    corrupt.
    """

    path: str
    progress: Progress | None = None
    cut_short: bool = False
    plain_size: int = field(default=0, init=False)
    _corrupt: bool = field(default=False, init=False)
    _size: int = field(default=0, init=False)
    _told: int = field(default=0, init=False)

    def tell(self, done: int) -> None:
        """Report progress, which never goes back."""
        if self.progress is not None and done > self._told:
            self._told = done
            self.progress(done, self._size)

    def __iter__(self) -> Generator[bytes, None, None]:
        """Yield chunks of a few MB; raises PerfkitError when the file cannot be read."""
        return _ahead(self._text())

    def _text(self) -> Iterator[bytes]:
        with _open(self.path) as file:
            chunks = self._chunks(file)
            first = next(chunks, b"")
            rest = _chain(first, chunks)
            _refuse_other_formats(self.path, first)
            is_gzip = first.startswith(_GZIP_MAGIC)
            self.plain_size = 0 if is_gzip or "://" in self.path else self._size
            yield from self._gunzip(rest) if is_gzip else rest

    def _chunks(self, file: IO[bytes]) -> Iterator[bytes]:
        done, self._size = 0, _size(file)
        while data := _read(file, self.path):
            done += len(data)
            yield data
            self.tell(done)

    def _gunzip(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        made = 0
        for piece in self._inflated(chunks):
            if not made:
                _refuse_packed(self.path, piece)
            made += len(piece)
            yield piece
        if self._corrupt:
            for piece in _without(self._salvaged(), made):
                made += len(piece)
                yield piece
        if self.cut_short and not made:
            raise PerfkitError(
                f"{self.path} is a gzip file damaged at its start: copy it again or export it anew."
            )

    def _salvaged(self) -> Iterator[bytes]:
        """The text up to the damage, from the start: an inflater that fails keeps what it had."""
        with _open(self.path) as file:
            yield from self._inflated(_slices(file, self.path))

    def _inflated(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        inflater, taken, made = _inflater(), 0, 0
        self._corrupt = False
        for chunk in chunks:
            taken += len(chunk)
            data = chunk
            while data and not self._corrupt:
                if inflater.eof:  # gzip allows members one after another, and zero padding
                    data = data.lstrip(b"\0")
                    inflater = _inflater() if data else inflater
                    continue
                for piece in self._inflate(inflater, data):
                    made += len(piece)
                    _refuse_bomb(self.path, taken, made)
                    yield piece
                data = inflater.unused_data
        self.cut_short = self._corrupt or not inflater.eof

    def _inflate(self, inflater: Any, data: bytes) -> Iterator[bytes]:
        while data and not inflater.eof:
            try:
                yield inflater.decompress(data, CHUNK_BYTES)
            except Exception:  # isal raises classes of its own for every kind of corruption
                self._corrupt = True
                return
            data = inflater.unconsumed_tail


def _slices(file: IO[bytes], path: str) -> Iterator[bytes]:
    while data := _read(file, path):
        for start in range(0, len(data), _SLICE_BYTES):
            yield data[start : start + _SLICE_BYTES]


def _without(pieces: Iterator[bytes], count: int) -> Iterator[bytes]:
    """What follows the first `count` bytes, in chunks."""
    kept = io.BytesIO()
    for piece in pieces:
        kept.write(piece[count:])
        count = max(count - len(piece), 0)
        if kept.tell() >= CHUNK_BYTES:
            yield kept.getvalue()
            kept = io.BytesIO()
    if kept.tell():
        yield kept.getvalue()


def _refuse_other_formats(path: str, start: bytes) -> None:
    for magic, what in _OTHER_FORMATS.items():
        if start.startswith(magic):
            raise PerfkitError(f"{path} is {what}.")
    if start.startswith(_TAR_MAGIC, _TAR_AT):
        raise PerfkitError(f"{path} is a tar archive: unpack it and pass one trace in it.")


def _refuse_packed(path: str, start: bytes) -> None:
    """What a gzip file holds may be no text yet."""
    if start.startswith(_GZIP_MAGIC):
        raise PerfkitError(f"{path} is compressed by gzip twice: unpack it once.")
    _refuse_other_formats(path, start)


def _inflater() -> Any:
    from isal import isal_zlib

    return isal_zlib.decompressobj(wbits=31)


def _refuse_bomb(path: str, taken: int, made: int) -> None:
    if made > _BOMB_BYTES and made > _BOMB_RATIO * taken:
        raise PerfkitError(
            f"{path} inflates to more than {_BOMB_RATIO} times its size, which no profiler "
            "writes: unpack it yourself and pass the JSON if you trust it."
        )


def _open(path: str) -> IO[bytes]:
    try:
        if "://" in path:
            return _open_url(path)
        return Path(path).open("rb")
    except FileNotFoundError as error:
        raise PerfkitError(f"There is no file {path}: check the path.") from error
    except ValueError as error:
        raise PerfkitError(f"{path!r} is no file name ({error}): check the path.") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise PerfkitError(f"Cannot open {path} ({reason}): pass a readable trace file.") from error


def _open_url(url: str) -> IO[bytes]:
    import fsspec

    try:
        return cast("IO[bytes]", fsspec.open(url, "rb").open())
    except ImportError as error:
        raise PerfkitError(f"Cannot open {url}: {error}.") from error
    except ValueError as error:
        raise PerfkitError(f"Cannot open {url} ({error}): copy the file here first.") from error
    except OSError:
        raise
    except Exception as error:  # every file system behind fsspec has errors of its own
        raise PerfkitError(f"Cannot open {url} ({error}): check the address and access.") from error


def _read(file: IO[bytes], path: str) -> bytes:
    try:
        return file.read(CHUNK_BYTES)
    except Exception as error:  # network file systems raise classes of their own
        raise PerfkitError(f"Reading {path} failed ({error}): copy it to a local disk.") from error


def _size(file: IO[bytes]) -> int:
    try:
        size = file.seek(0, 2)
        file.seek(0)
    except (OSError, ValueError):
        return 0
    return size


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


def _ahead(chunks: Iterator[bytes]) -> Generator[bytes, None, None]:
    """Run `chunks` in a thread: reading and inflating release the interpreter lock."""
    ready: queue.Queue[bytes | BaseException | None] = queue.Queue(_CHUNKS_AHEAD)
    stop = threading.Event()
    work = threading.Thread(
        target=_produce, args=(chunks, ready, stop), name="perfkit-read", daemon=True
    )
    work.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        work.join()


def _produce(
    chunks: Iterator[bytes],
    ready: queue.Queue[bytes | BaseException | None],
    stop: threading.Event,
) -> None:
    try:
        for chunk in chunks:
            if not _put(chunk, ready, stop):
                return
        _put(None, ready, stop)
    except BaseException as error:  # handed to the consumer, which raises it
        _put(error, ready, stop)


def _put(
    item: bytes | BaseException | None,
    ready: queue.Queue[bytes | BaseException | None],
    stop: threading.Event,
) -> bool:
    """False when the consumer has gone."""
    while not stop.is_set():
        try:
            ready.put(item, timeout=0.1)
        except queue.Full:
            continue
        return True
    return False
