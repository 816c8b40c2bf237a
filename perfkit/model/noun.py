"""What the parts of a Capture and of a Diagnosis have in common."""

from __future__ import annotations

import msgspec


class Noun(msgspec.Struct, frozen=True, omit_defaults=True):
    """Frozen; what has its default is left out of the JSON, for absent is not measured."""
