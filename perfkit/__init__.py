"""perfkit says why your GPUs are idle and which fix pays."""

from typing import TYPE_CHECKING

from perfkit.version import __version__

__all__ = ["PerfkitError", "__version__", "analyze", "annotate", "open_trace", "profile", "whatif"]

if TYPE_CHECKING:
    from perfkit.api import analyze, whatif
    from perfkit.collectors.profile import profile
    from perfkit.collectors.ranges import annotate
    from perfkit.errors import PerfkitError
    from perfkit.trace import open_trace

_HOME = {
    "analyze": "perfkit.api",
    "whatif": "perfkit.api",
    "open_trace": "perfkit.trace",
    "profile": "perfkit.collectors.profile",
    "annotate": "perfkit.collectors.ranges",
    "PerfkitError": "perfkit.errors",
}


def __getattr__(name: str) -> object:
    # Lazy: `import perfkit` in a training script must cost almost nothing.
    from importlib import import_module

    if name not in _HOME:
        raise AttributeError(f"module 'perfkit' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
