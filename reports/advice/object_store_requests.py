"""Workers wait for single requests to an object store.

What it detects
    Waiting for data on S3, GCS, Azure and the like (by URL, or mounted by FUSE), where making a
    batch mostly waits, and the objects are not small. Charged is the part of the wait in which
    making a batch did not compute.

Why it costs
    The first byte of an object comes after tens to hundreds of milliseconds, and one connection
    carries some 100 MB/s. A worker that reads one object after the other gets no more, while
    the store would serve thousands of requests a second for each prefix.

What to do
    Ask for much at once: 8 to 16 MB a request, several at a time in each worker (clients do it
    when told the wanted throughput), more workers than cores, since they wait; shards of 100 MB
    and more read from start to end; and a cache on a local disk for the second pass.

When not to
    Where the node's network or the store's quota is full, more requests end in 503 SlowDown: see
    the client's retries. Across regions, move the data first.

References
    https://docs.aws.amazon.com/whitepapers/latest/s3-optimizing-performance-best-practices/use-byte-range-fetches.html
    (8 or 16 MB) and https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html
    (5,500 GET a second and prefix, latency, parallel connections)
    https://github.com/awslabs/s3-connector-for-pytorch (throughput_target_gbps 10, part_size
    8 MiB); XProf's 5 and 20 % for waiting.
"""

from __future__ import annotations

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Diagnosis, Evidence, Remedy
from perfkit.model.run_facts import FileSystemFacts, LoaderFacts
from perfkit.reports.advice._storage import (
    STORE,
    bytes_per_s,
    has_small_files,
    place_fact,
    storage_input,
    wait_facts,
)
from perfkit.reports.format import plural, size
from perfkit.reports.rule import Advice, Limits, fact, of_step

LIMITS = Limits(warning_share=0.05, critical_share=0.20)  # XProf, input pipeline analysis
_S3 = (
    "from s3torchconnector import S3ClientConfig, S3IterableDataset\n"
    "config = S3ClientConfig(throughput_target_gbps=50, part_size=16 * 1024**2)\n"
    "S3IterableDataset.from_prefix(uri, region=region, s3client_config=config)"
)
_ANY = (
    "from concurrent.futures import ThreadPoolExecutor\n"
    "with ThreadPoolExecutor(16) as pool:      # in each worker: 16 ranges of 16 MiB at a time\n"
    "    parts = list(pool.map(read_range, ranges))"
)
_FUSE = "mount-s3 BUCKET {mount} --read-only --cache /local/cache   # or gcsfuse --cache-dir"


def check(diagnosis: Diagnosis) -> Advice | None:
    """The wait for an object store."""
    data = storage_input(diagnosis, STORE)
    if data is None or has_small_files(data):
        return None
    where = of_step(diagnosis, data.wait_us)
    return Advice(
        title=f"Waiting for objects from {data.place.kind} takes {where}",
        cause=Cause.DATALOADER,
        cost_us=data.wait_us,
        limits=LIMITS,
        evidence=[*_streams(data.loader), place_fact(data.place), *wait_facts(data)],
        remedy=_remedy(data.place, data.loader),
        places=[],
    )


def _streams(loader: LoaderFacts) -> list[Evidence]:
    workers, rate = max(loader.num_workers or 1, 1), bytes_per_s(loader)
    together = f", {size(rate)}/s together" if rate and loader.bound == "io" else ""
    said = f"objects are asked for by {plural(workers, 'worker')}{together}"
    return [fact(said, float(workers), "streams")]


def _remedy(place: FileSystemFacts, loader: LoaderFacts) -> Remedy:
    needed = loader.workers_needed or 0
    more = (
        f" num_workers={needed} would keep up, also where that is more than the cores: they wait."
        if needed > (loader.num_workers or 0)
        else ""
    )
    is_url = not place.mount.startswith("/")
    by_s3 = is_url and place.kind.startswith("s3")
    return Remedy(
        text=(
            "Ask for 8 to 16 MB a request and for several at a time in each worker, and keep a "
            f"cache on a local disk for later passes.{more}"
        ),
        snippet=_S3 if by_s3 else _ANY if is_url else _FUSE.format(mount=place.mount),
        applies_to=place.kind,
    )
