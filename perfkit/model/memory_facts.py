"""Memory of a device where an allocation failed."""

from __future__ import annotations

from perfkit.model.noun import Noun


class FailedAllocation(Noun, frozen=True, kw_only=True):
    """The last allocation that the device had no memory for, and the allocator at that moment.

    By then the allocator had given back whatever blocks were free as a whole: what is reserved and
    not allocated lies in pieces beside what is in use. `count` allocations failed in all;
    `went_on` where something was allocated afterwards.
    """

    count: int
    asked_bytes: int
    allocated_bytes: int
    reserved_bytes: int
    went_on: bool = False
