"""A discrete-event machine that writes Kineto traces together with the truth about their idle time.

Nothing here imports perfkit: the analyzers are judged by this package, so they share no code.
"""

from .kineto import trace_text
from .run import Simulated, simulate, write
from .scenarios import SCENARIOS, Scenario

__all__ = ["SCENARIOS", "Scenario", "Simulated", "simulate", "trace_text", "write"]
