"""perfkit's phases as NVTX ranges, so that Nsight Systems shows the same script's phases."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from perfkit.collectors.guard import attempt
from perfkit.model.capture import Sight

_DOMAIN = "perfkit"


class Nvtx:
    """Opens and closes ranges; without a tool attached that costs a fraction of a microsecond."""

    name = "nvtx"

    def __init__(self) -> None:
        self._attributes: dict[str, Any] = {}

    def sight(self) -> Sight:
        """Whether ranges reach a tool that listens."""
        domain = _domain()
        if domain is None:
            missing = ["NVTX ranges need the package nvtx: pip install nvtx."]
            return Sight(collector=self.name, active=False, missing=missing)
        if type(domain).__name__ == "DummyDomain":
            missing = ["No tool listens to NVTX: run the script under nsys profile -t nvtx,cuda."]
            return Sight(collector=self.name, active=False, missing=missing)
        return Sight(collector=self.name, active=True, sees=["phases as NVTX ranges"])

    @cached_property
    def _domain(self) -> Any:
        """The domain, or None where no tool listens to it."""
        domain = attempt("Asking for NVTX", _domain)
        return None if type(domain).__name__ == "DummyDomain" else domain

    @cached_property
    def listens(self) -> bool:
        """Whether a tool does; it cannot attach later."""
        return self._domain is not None

    def open(self, name: str) -> Any:
        """Begin a range; give what it returns to `close`. None where nobody listens."""
        if not self.listens:
            return None
        if name not in self._attributes:
            self._attributes[name] = self._domain.get_event_attributes(message=name)
        return self._domain.start_range(self._attributes[name])

    def close(self, handle: Any) -> None:
        """End a range that `open` began."""
        if handle is not None:
            self._domain.end_range(handle)


def _domain() -> Any:
    try:
        import nvtx
    except ImportError:
        return None
    return nvtx.get_domain(_DOMAIN)
