"""Attributes of other people's classes and modules, replaced for a while."""

from __future__ import annotations

from typing import Any

_ABSENT = object()


class Patches:
    """Replaces attributes and puts back what was there, unless someone replaced ours since."""

    def __init__(self) -> None:
        self._made: list[tuple[Any, str, Any, Any]] = []

    def put(self, owner: Any, name: str, value: Any) -> None:
        """Set an attribute of a class or module."""
        self._made.append((owner, name, vars(owner).get(name, _ABSENT), value))
        setattr(owner, name, value)

    def undo(self) -> None:
        """Put everything back.

        A replacement that others have wrapped stays: it must be inert once its collector stopped.
        """
        while self._made:
            owner, name, before, ours = self._made.pop()
            if vars(owner).get(name) is not ours:
                continue
            if before is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, before)
