"""A discrete-event machine that writes Kineto traces together with the truth about their idle time.

Nothing here imports perfkit: the analyzers are judged by this package, so they share no code.
"""

from .capture import write_capture
from .damage import DAMAGES, damage
from .inject import fixed_again, inject
from .injections import INJECTIONS, Injection
from .kineto import trace_text
from .program import Scenario
from .run import Simulated, simulate, write
from .scenarios import SCENARIOS

__all__ = [
    "DAMAGES",
    "INJECTIONS",
    "SCENARIOS",
    "Injection",
    "Scenario",
    "Simulated",
    "damage",
    "fixed_again",
    "inject",
    "simulate",
    "trace_text",
    "write",
    "write_capture",
]
