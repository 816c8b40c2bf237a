"""Options of an NFS mount hold reads up.

What it detects
    Waiting for data on NFS where the mount is the reason: requests queue in the client for want
    of a connection (half of READ's time and no nconnect), reads are cut at an rsize below 1 MiB,
    or noac (actimeo=0) makes the client ask for attributes again and again. Charged is that part
    of the wait for storage, of these the largest.

Why it costs
    One TCP connection has one queue, and on fast networks one core that serves it. A small rsize
    turns one read into many round trips. Without attribute caching, each open and each look at a
    file waits for the server.

What to do
    Have the administrator mount with nconnect=8 (Linux 5.3 and later, at most 16), rsize and
    wsize of 1048576, and for data that nobody changes ro,nocto,actimeo=600. rsize is negotiated:
    /proc/mounts says what came out. Options of the server's first mount hold for all of them.

When not to
    A server that is itself the bottleneck (round trips long, queues short) does not get faster.
    noac is sometimes wanted: programs that coordinate through files rely on it. Site policy wins.

References
    https://man7.org/linux/man-pages/man5/nfs.5.html (rsize to 1,048,576 bytes, ac, cto)
    https://git.zx2c4.com/linux-dev/commit/?id=53c326307156249253be36b33cd6c32f4a24f9b2
    (nconnect, Linux 5.3); XProf's 5 and 20 % for waiting.
"""

from __future__ import annotations

from dataclasses import dataclass

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Diagnosis, Evidence, Remedy
from perfkit.model.run_facts import FileSystemFacts
from perfkit.reports.advice._storage import metadata_times, storage_input, wire_read_bytes
from perfkit.reports.format import share, size, time_us
from perfkit.reports.rule import Advice, Limits, fact, of_step

AUDIENCE = "infrastructure"
LIMITS = Limits(warning_share=0.05, critical_share=0.20)  # XProf, input pipeline analysis
_MOST_RSIZE = 1 << 20  # nfs(5)
_FILLED = 0.9  # a READ as large as rsize allows, but for the last one of a file
_QUEUED = 0.5


@dataclass(frozen=True)
class _Fault:
    """An option, the part of the wait it explains, and what says so."""

    option: str
    part: float
    evidence: Evidence


def check(diagnosis: Diagnosis) -> Advice | None:
    """The part of the wait that an option of the mount explains."""
    data = storage_input(diagnosis, "nfs")
    faults = [f for look in _LOOKS if (f := look(data.place))] if data else []
    if data is None or not faults:
        return None
    worst = max(faults, key=lambda fault: fault.part)
    cost = data.wait_us * worst.part
    where = of_step(diagnosis, cost)
    return Advice(
        title=f"The NFS mount {data.place.mount} lacks {worst.option}, which takes {where}",
        cause=Cause.DATALOADER,
        cost_us=cost,
        limits=LIMITS,
        evidence=[*(fault.evidence for fault in faults), *_round_trip(data.place)],
        remedy=_remedy(data.place, [fault.option for fault in faults]),
        places=[],
    )


def _queue(place: FileSystemFacts) -> _Fault | None:
    counters = place.counters or {}
    queued, took = counters.get("READ.queue_ms", 0.0), counters.get("READ.execute_ms", 0.0)
    if _value(place, "nconnect") is not None or not took or queued / took < _QUEUED:
        return None
    said = f"READs wait {share(queued / took)} of their time in the client's own queue"
    return _Fault("nconnect=8", queued / took, fact(said, queued / took, "share"))


def _cut(place: FileSystemFacts) -> _Fault | None:
    rsize, wire = _value(place, "rsize"), wire_read_bytes(place)
    if rsize is None or wire is None or rsize >= _MOST_RSIZE or wire < _FILLED * rsize:
        return None
    said = f"READs are {size(wire)}, all that rsize={rsize} allows"
    return _Fault(f"rsize={_MOST_RSIZE}", 1 - rsize / _MOST_RSIZE, fact(said, wire, "B/READ"))


def _uncached(place: FileSystemFacts) -> _Fault | None:
    asked = metadata_times(place).get("GETATTR", 0.0)
    total = sum(metadata_times(place).values()) + (place.counters or {}).get("READ.execute_ms", 0.0)
    off = "noac" in place.options or _value(place, "actimeo") == 0 or _value(place, "acregmax") == 0
    if not off or not asked:
        return None
    said = f"attributes are not cached: GETATTR takes {share(asked / total)} of the time"
    return _Fault("attribute caching (actimeo=60)", asked / total, fact(said))


_LOOKS = (_queue, _cut, _uncached)


def _value(place: FileSystemFacts, name: str) -> int | None:
    text = next((o.partition("=")[2] for o in place.options if o.startswith(f"{name}=")), "")
    return int(text) if text.isdigit() else None


def _round_trip(place: FileSystemFacts) -> list[Evidence]:
    counters = place.counters or {}
    calls, spent = counters.get("READ.ops"), counters.get("READ.rtt_ms")
    if not calls or spent is None:
        return []
    said = f"a READ's round trip to the server takes {time_us(spent / calls * 1e3)}"
    return [fact(said, spent / calls * 1e3, "us")]


def _remedy(place: FileSystemFacts, wanted: list[str]) -> Remedy:
    return Remedy(
        text=(
            f"Mount {place.source} anew with {', '.join(wanted)}; for data that nobody changes "
            "also ro,nocto,actimeo=600. It needs an unmount, and the site's policy comes first."
        ),
        snippet=(
            f"# /etc/fstab (check with: grep {place.mount} /proc/mounts)\n"
            f"{place.source} {place.mount} nfs "
            "ro,nconnect=8,rsize=1048576,wsize=1048576,nocto,actimeo=600,noatime 0 0"
        ),
        applies_to="Linux NFS client",
    )
