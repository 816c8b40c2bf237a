"""What a serving engine writes into the names of its ranges: requests and tokens of each step."""

from __future__ import annotations

import re
from dataclasses import dataclass

from perfkit.model.inference_facts import Phase

# vLLM's worker, and its variants that add tokens: NEW and CACHED requests of a step, or
# PROMPTS(tokens)_generation_GENERATIONS(tokens), where tokens may be sums over the requests of
# query lengths (sq), key lengths (sk) and their products.
_EXECUTE = (
    r"execute_(?:new_(?P<new>\d{1,9})_cached_(?P<cached>\d{1,9})"
    r"|(?:\d{1,9}_)?context_(?P<prompts>\d{1,9})\((?P<read>\w{0,99})\)"
    r"_generation_(?P<generations>\d{1,9})\((?P<written>\w{0,99})\))$"
)
# SGLang's model runner: step[DECODE bs=9], step[EXTEND bs=1 toks=888], with sums of prompts (c_)
# and generations (g_) where they are asked for. ATOM: decode[bs=9 tok=9 d=9], bs=9/16 if padded.
_STEP = r"step\[(?P<mode>(?i:EXTEND|DECODE|MIXED|(?:TARGET_)?VERIFY))\b"
_PHASE = r"(?P<phase>prefill|decode)\[bs="
_EXECUTOR = (  # of TensorRT-LLM
    r"\[Executor\] _forward_step(?: \d{1,15})?: (?P<read_by>\d{1,9}) ctx reqs, "
    r"(?:(?P<read_tokens>\d{1,15}) ctx tokens, )?(?P<served_by>\d{1,9}) gen reqs"
)
SERVED = re.compile(rf"^(?:{_EXECUTE}|{_STEP}|{_PHASE}|{_EXECUTOR})")
VERIFIES = re.compile(r"^step\[(?i:(TARGET_)?VERIFY)\b")
"""The large model looks at what a small one proposed: what that one does before is no step."""
PROPOSES = re.compile(r"^step\[(?i:DECODE)\b")
_FIELD = re.compile(r"\b(\w{1,9})=(\d{1,15})")
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
    if match["mode"] is not None:
        return _of_sglang(match["mode"].upper(), _fields(name))
    if match["phase"] is not None:
        return _of_atom(match["phase"], _fields(name))
    if match["read_by"] is not None:
        tokens = _computed(match["read_tokens"] or "")
        return Served(int(match["read_by"]), int(match["served_by"]), tokens)
    if match["new"] is not None:
        return Served(int(match["new"]), int(match["cached"]))
    return Served(
        int(match["prompts"]),
        int(match["generations"]),
        _computed(match["read"]),
        _computed(match["written"]),
        _looked_at(match["written"]),
    )


def _fields(name: str) -> dict[str, int]:
    return {key: int(value) for key, value in _FIELD.findall(name)}


def _of_sglang(mode: str, told: dict[str, int]) -> Served:
    requests, context = told.get("bs", 0), told.get("g_sk")
    if mode == "EXTEND":
        return Served(requests, 0, told.get("toks", told.get("c_sq")), 0)
    if mode == "DECODE":
        return Served(0, requests, 0, told.get("g_sq", requests), context)
    if mode == "MIXED":
        prompts = told.get("c", 1)
        generations = told.get("g", max(requests - prompts, 1))
        return Served(prompts, generations, told.get("c_sq"), told.get("g_sq"), context)
    return Served(0, requests, 0, told.get("c_sq"), told.get("c_sk"))


def _of_atom(phase: str, told: dict[str, int]) -> Served:
    requests, tokens = told.get("bs", 0), told.get("tok")
    if phase == "prefill":
        return Served(requests, 0, tokens, 0)
    return Served(0, requests, 0, tokens, told.get("sk"))


def _computed(text: str) -> int | None:
    sums, plain = _SUMS.search(text), _TOKENS.search(text)
    if sums is not None:
        return int(sums[1])
    return int(plain[0]) if plain is not None else None


def _looked_at(text: str) -> int | None:
    sums = _SUMS.search(text)
    return int(sums[2]) if sums is not None else None
