"""Events are found to be of a known shape by their text alone, and only where every byte fits."""

from __future__ import annotations

import numpy as np

from perfkit.trace.digits import Mask, words_of
from perfkit.trace.digits import alike as made_alike
from perfkit.trace.repeats import Repeats
from perfkit.trace.segments import cut
from tests.trace.kineto_text import host

KNOWN = 300  # more than the tables begin with
EVENT = host("void gemm<8, 16>", 1234, 56).strip().encode()


def found(event: bytes) -> int | None:
    """The shape of an event that is guessed to be EVENT's; None where it is cut in two."""
    made = cut(b",\n".join((EVENT, event, EVENT)))
    if made is None or len(made.start) != 3:
        return None
    repeats = Repeats()
    repeats.add(KNOWN, Mask()(EVENT)[len(made.lead) : -1])
    slots = np.arange(3)
    repeats.remember(slots[1:2], np.array([KNOWN]))
    return int(repeats.shapes(made, slots)[1])


def test_every_byte_must_fit() -> None:
    looked_at = 0
    for i in range(EVENT.index(b'"') + 1, len(EVENT) - 1):
        for byte in b"09a:/ \x80":
            changed = EVENT[:i] + bytes([byte]) + EVENT[i + 1 :]
            fits = KNOWN if Mask()(changed) == Mask()(EVENT) else 0
            number = found(changed)
            assert number in (fits, None), changed
            looked_at += number is not None
    assert looked_at > 5 * len(EVENT)


def test_an_event_of_another_length_is_another() -> None:
    assert found(EVENT) == KNOWN
    assert found(host("void gemm<8, 16> ", 1234, 56).strip().encode()) == 0
    assert found(host("void gemm<8, 161>", 1234, 56).strip().encode()) == 0


def test_slots_do_not_depend_on_digits_or_the_place_in_the_block() -> None:
    events = [host("void gemm<8, 16>", 1234 + i, 56 + i % 30) for i in range(1000)]
    made = cut(",\n".join([*events, host("other")]).encode())
    assert made is not None
    slots = Repeats().slots(made)
    assert len(set(slots[:-1].tolist())) == 1
    assert slots[-1] != slots[0]


def test_all_digits_become_alike_and_letters_stay() -> None:
    def alike(byte: int) -> bytes:
        word = int(made_alike(words_of(b"abc" + bytes([byte]) + b"wxyz"))[0])
        return word.to_bytes(8, "little")

    assert len({alike(byte) for byte in b"0123456789"}) == 1
    assert {alike(byte) for byte in b' ",.-_()'}.isdisjoint({alike(ord("0"))})
    for byte in range(256):
        if chr(byte).isascii() and chr(byte).isalpha():
            assert alike(byte) == b"abc" + bytes([byte]) + b"wxyz"
