"""What the rules on storage share: the data's place, the wait it explains, and its signatures."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Diagnosis, Evidence
from perfkit.model.run_facts import FileSystemFacts, LoaderFacts
from perfkit.reports.advice._loader import main_loader
from perfkit.reports.format import count, share, size, time_us
from perfkit.reports.rule import fact, idle_us

STORE = "object store"
REMOTE = frozenset(
    ("lustre", "nfs", "gpfs", "beegfs", "ceph", "daos", "weka", STORE),
)  # a file system whose every request crosses a network
MIB, GIB = 1 << 20, 1 << 30
SMALL_FILE_BYTES = MIB  # Lustre wiki, many small files; Drishti's small_bytes
SMALL_SHARD_BYTES = 8e6  # AWS: typical byte-range requests to S3 are of 8 or 16 MB
_FEWEST_FILES = 1000  # Drishti: fewer than 1000 small requests are nobody's problem
_FEWEST_SHARDS = 100
SMALL_READ_BYTES = 64 * 1024  # the smallest Lustre stripe; half of Linux's usual read-ahead
_LARGE_WIRE_READ_BYTES = 256 * 1024  # read-ahead has joined the small reads
_RANDOM_SHARE = 0.20  # Drishti, random_operations
_PIECES = 16  # of a file: a sample that is less of it is not read from its start to its end
SHARDS = frozenset(
    (".tar", ".mds", ".parquet", ".arrow", ".tfrecord", ".tfrecords", ".beton", ".ffcv", ".wds")
)
_NFS_METADATA = (
    "GETATTR", "LOOKUP", "ACCESS", "OPEN", "OPEN_NOATTR", "CLOSE", "READDIR", "READDIRPLUS",
    "READLINK", "LOOKUPP", "FS_LOCATIONS", "DELEGRETURN",
)  # fmt: skip
_LUSTRE_METADATA = ("open", "close", "getattr", "readdir", "getxattr", "statfs")


@dataclass(frozen=True)
class Input:
    """A dataset on storage; `wait_us` is the idle time per step that this storage explains."""

    place: FileSystemFacts
    loader: LoaderFacts
    wait_us: float


def storage_input(diagnosis: Diagnosis, *families: str) -> Input | None:
    """The dataset on these file systems (all that are remote), and the loader that reads it."""
    loader, place = main_loader(diagnosis), dataset_place(diagnosis, *families)
    if loader is None or place is None:
        return None
    waits = idle_us(diagnosis, Cause.DATALOADER) * _waiting_share(loader, place)
    return Input(place, loader, waits)


def dataset_place(diagnosis: Diagnosis, *families: str) -> FileSystemFacts | None:
    """Where the dataset lies, of several places the one with most files."""
    places = diagnosis.run.file_systems if diagnosis.run else []
    wanted = families or REMOTE
    found = [p for p in places if p.role == "dataset" and p.family in wanted]
    return max(found, key=lambda p: (p.files or 0, len(p.counters or {})), default=None)


def _waiting_share(loader: LoaderFacts, place: FileSystemFacts) -> float:
    """The part of making a batch that waits for storage; 0 where something else binds.

    What comes over a socket is not counted as reading, so that an object store shows as waiting.
    """
    if loader.bound != "io" and not (loader.bound == "waiting" and place.family == STORE):
        return 0.0
    delay = loader.workers.delay_share if loader.workers else None
    return max(1.0 - (loader.cpu_share or 0.0) - (delay or 0.0), 0.0)


def mean_file_bytes(place: FileSystemFacts) -> float | None:
    """Mean size of the files seen."""
    return place.bytes / place.files if place.files and place.bytes is not None else None


def bytes_per_item(loader: LoaderFacts) -> float | None:
    """What one sample reads, caches included."""
    items = loader.items or loader.batch_size
    return loader.rchar_bytes / items if loader.rchar_bytes and items else None


def mean_read_bytes(loader: LoaderFacts) -> float | None:
    """The mean size of a read(2)."""
    return (
        loader.rchar_bytes / loader.read_calls if loader.rchar_bytes and loader.read_calls else None
    )


def is_sharded(place: FileSystemFacts) -> bool:
    """Whether most files seen are of a type that holds many samples."""
    types = place.file_types or {}
    return sum(n for end, n in types.items() if end in SHARDS) * 2 > sum(types.values())


def has_small_files(data: Input) -> bool:
    """Whether samples are small files of their own, or shards are smaller than one request."""
    place, mean = data.place, mean_file_bytes(data.place)
    files = place.files or 0
    if mean is None:
        return False
    if is_sharded(place):
        return mean < SMALL_SHARD_BYTES and (place.partial or files >= _FEWEST_SHARDS)
    sample = bytes_per_item(data.loader)
    whole = sample is None or sample * 4 >= mean
    return mean < SMALL_FILE_BYTES and whole and (place.partial or files >= _FEWEST_FILES)


def has_small_reads(data: Input) -> bool:
    """Whether samples are small pieces, picked out of large files by their numbers."""
    mean, sample = mean_file_bytes(data.place), bytes_per_item(data.loader)
    read = mean_read_bytes(data.loader)
    if mean is None or sample is None or read is None or data.loader.kind != "map":
        return False
    small = read < SMALL_READ_BYTES and mean >= _PIECES * max(sample, SMALL_FILE_BYTES)
    return small and not _read_ahead_works(data.place)


def _read_ahead_works(place: FileSystemFacts) -> bool:
    wire, missed = wire_read_bytes(place), read_ahead_miss_share(place)
    joined = wire is not None and wire >= _LARGE_WIRE_READ_BYTES
    return joined or (missed is not None and missed < _RANDOM_SHARE)


def wire_read_bytes(place: FileSystemFacts) -> float | None:
    """The mean size of an NFS READ."""
    return _ratio(place.counters or {}, "bytes.server_read", "READ.ops")


def read_ahead_miss_share(place: FileSystemFacts) -> float | None:
    """Of the pages that Lustre's client was asked for: those that read-ahead had not fetched."""
    counters = place.counters or {}
    missed = counters.get("read_ahead.misses.samples", 0.0)
    asked = missed + counters.get("read_ahead.hits.samples", 0.0)
    return missed / asked if asked else None


def metadata_share(place: FileSystemFacts) -> float | None:
    """Of the client's time in requests: those that move no data. None where it is not counted."""
    spent = metadata_times(place)
    reads = _reading_time(place)
    total = sum(spent.values()) + reads
    return sum(spent.values()) / total if total and reads else None


def metadata_times(place: FileSystemFacts) -> dict[str, float]:
    """Time in each kind of metadata request, in the counters' unit; only those that were made."""
    counters = place.counters or {}
    if place.family == "nfs":
        named = {name: counters.get(f"{name}.execute_ms", 0.0) for name in _NFS_METADATA}
    else:
        named = {name: counters.get(f"llite.{name}.sum", 0.0) for name in _LUSTRE_METADATA}
    return {name: spent for name, spent in named.items() if spent}


def _reading_time(place: FileSystemFacts) -> float:
    counters = place.counters or {}
    name = "READ.execute_ms" if place.family == "nfs" else "llite.read.sum"
    return counters.get(name, 0.0)


def _ratio(counters: dict[str, float], above: str, below: str) -> float | None:
    total, parts = counters.get(above), counters.get(below)
    return total / parts if total is not None and parts else None


def bytes_per_s(loader: LoaderFacts) -> float | None:
    """What all workers of the loader read together while they make batches."""
    if not loader.rchar_bytes or not loader.make_us:
        return None
    return max(loader.num_workers or 1, 1) * loader.rchar_bytes / loader.make_us * 1e6


def reading_once_us(data: Input) -> float | None:
    """How long reading all files once takes at the pace of the run; None where it is not known."""
    rate = bytes_per_s(data.loader)
    known = data.place.bytes and not data.place.partial
    return (data.place.bytes or 0) / rate * 1e6 if known and rate else None


def folder_of(place: FileSystemFacts) -> str:
    """The folder to name in a command, quoted for a shell."""
    last = place.path.rpartition("/")[2]
    is_file = place.files == 1 and "." in last
    return shlex.quote(place.path.rpartition("/")[0] if is_file else place.path)


def place_fact(place: FileSystemFacts) -> Evidence:
    """What lies where."""
    mean, more = mean_file_bytes(place), "at least " if place.partial else ""
    if mean is None:
        return fact(f"the data lie on {place.kind} ({place.mount or place.source})")
    said = (
        f"{place.path} on {place.kind} holds {more}{count(place.files)} files, "
        f"{size(mean)} each on average"
    )
    return fact(said, mean, "B/file")


def wait_facts(data: Input) -> list[Evidence]:
    """How much of making a batch waits for storage, and what it reads."""
    loader, found = data.loader, []
    if loader.cpu_share is not None and loader.make_us is not None:
        said = (
            f"a batch takes {time_us(loader.make_us)} to make, of which "
            f"{share(loader.cpu_share)} is processor time"
        )
        found.append(fact(said, loader.make_us, "us/batch"))
    read = mean_read_bytes(loader)
    if read is not None:
        said = f"it reads {size(loader.rchar_bytes)} in pieces of {size(read)}"
        found.append(fact(said, read, "B/read"))
    return found
