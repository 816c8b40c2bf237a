"""What a serving engine writes into the names of its ranges: requests and tokens of each step."""

from __future__ import annotations

import re
from dataclasses import dataclass

from perfkit.model.inference_facts import Phase

# vLLM's worker, and its variants that add tokens: NEW and CACHED requests of a step, or
# PROMPTS(tokens)_generation_GENERATIONS(tokens), where tokens may be sums over the requests of
# query lengths (sq), key lengths (sk) and their products.
SERVED = re.compile(
    r"^execute_(?:new_(?P<new>\d{1,9})_cached_(?P<cached>\d{1,9})"
    r"|(?:\d{1,9}_)?context_(?P<prompts>\d{1,9})\((?P<read>\w{0,99})\)"
    r"_generation_(?P<generations>\d{1,9})\((?P<written>\w{0,99})\))$"
)
_SUMS = re.compile(r"^sq(\d{1,15})sk(\d{1,15})")
_TOKENS = re.compile(r"^\d{1,15}")


@dataclass(frozen=True)
class Served:
    """One step: requests whose prompt is read, requests that generate, and tokens where told."""

    prompts: int
    generations: int
    prompt_tokens: int | None = None
    generated_tokens: int | None = None
    context_tokens: int | None = None

    @property
    def phase(self) -> Phase:
        """What the step does."""
        if self.prompts and self.generations:
            return "mixed"
        return "prefill" if self.prompts else "decode"


def served(name: str) -> Served | None:
    """What the name of a range says; None where it is none of an engine's steps."""
    match = SERVED.search(name)
    if match is None:
        return None
    if match["new"] is not None:
        return Served(int(match["new"]), int(match["cached"]))
    return Served(
        int(match["prompts"]),
        int(match["generations"]),
        _computed(match["read"]),
        _computed(match["written"]),
        _looked_at(match["written"]),
    )


def _computed(text: str) -> int | None:
    sums, plain = _SUMS.search(text), _TOKENS.search(text)
    if sums is not None:
        return int(sums[1])
    return int(plain[0]) if plain is not None else None


def _looked_at(text: str) -> int | None:
    sums = _SUMS.search(text)
    return int(sums[2]) if sums is not None else None
