"""Files that a dying process or a copy has cut short or spoiled: read up to the damage."""

from __future__ import annotations

import gzip

import pytest

from perfkit.model.trace import Damage
from tests.trace.conftest import Read, names
from tests.trace.kineto_text import document, host, many


def test_a_file_cut_in_an_event(read: Read) -> None:
    text = document(*many(20))
    trace = read(text[: text.index("kernel6") + 3])
    assert names(trace)[-1] == "aten::op1"
    assert len(trace) == 13
    assert trace.info.damage == Damage(truncated=True, unreadable_events=1)


def test_a_file_cut_between_events(read: Read) -> None:
    text = document(host("a"), host("b", 1), host("c", 2))
    cut = text[: text.index('"c"')].rindex("},")
    for end in (cut + 1, cut + 2, cut + 3):
        trace = read(text[:end])
        assert names(trace) == ["a", "b"]
        assert trace.info.damage == Damage(truncated=True)


def test_a_file_cut_behind_the_list(read: Read) -> None:
    text = document(host("a"), after={"baseTimeNanoseconds": 12_345})
    whole = read(text).info.damage
    cut = read(text[: text.index("345")])
    assert not whole.truncated
    assert cut.info.damage.truncated
    assert names(cut) == ["a"]


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
def test_a_gzip_file_cut_anywhere_is_salvaged(read: Read, share: float) -> None:
    packed = gzip.compress(document(*many(600)).encode())
    trace = read(packed[: int(len(packed) * share)])
    assert 1200 >= len(trace) > 1200 * share * 0.8
    assert trace.info.damage.truncated


def test_a_corrupt_gzip_file_is_salvaged_up_to_the_damage(read: Read) -> None:
    packed = bytearray(gzip.compress(document(*many(600)).encode()))
    packed[len(packed) // 2] ^= 0xFF
    trace = read(bytes(packed))
    assert 1200 >= len(trace) > 480
    assert trace.info.damage.truncated


def test_a_wrong_checksum_is_said(read: Read) -> None:
    packed = bytearray(gzip.compress(document(*many(20)).encode()))
    packed[-6] ^= 0xFF
    trace = read(bytes(packed))
    assert len(trace) >= 38
    assert trace.info.damage.truncated


def test_a_list_at_the_root_without_its_end(read: Read) -> None:
    trace = read("[" + host("a") + ",\n" + host("b", 1) + ",\n")
    assert names(trace) == ["a", "b"]
    assert trace.info.damage.truncated
