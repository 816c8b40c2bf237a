"""Takes out of a recorded run what names the machine, its users and their folders."""

from __future__ import annotations

import functools
import getpass
import gzip
import json
import re
import socket
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_LITERAL = re.compile(r'"(?:[^"\\]|\\.)*"')
_FIELDS = {"host": "host", "mount": "/", "source": "a device", "uuid": "a GPU"}
_FIELD = re.compile(rf'("({"|".join(_FIELDS)})"\s*:\s*)"(?:[^"\\]|\\.)*"')
_PATH = re.compile(r"(?<![\w.~<>/])(?:/[\w.+@-]+)+/?")
_OWN_FACTS = ("slurm", "kubernetes", "kernel", "variables")  # of the environment in rank.json
_ANYWHERE = ("/proc/", "/sys/", "/dev/")  # every Linux has them
_NAMES_NOBODY = frozenset(("", "root", "localhost", "user", "host"))
Scrub = Callable[[str], str]


def publish(folder: Path) -> None:
    """Scrub every text file in the folder; numbers stay as they were written."""
    scrub = scrubber(_names(), _folders(folder))
    for path in sorted(folder.rglob("*")):
        if path.name.endswith(".json.gz"):
            text = gzip.decompress(path.read_bytes()).decode()
            path.write_bytes(gzip.compress(scrubbed(text, scrub).encode(), 9, mtime=0))
        elif path.suffix in {".json", ".jsonl"}:
            text = path.read_text("utf-8")
            text = _without_own_facts(text) if path.name == "rank.json" else text
            path.write_text(scrubbed(text, scrub), "utf-8")


def _without_own_facts(text: str) -> str:
    facts = json.loads(text)
    for key in _OWN_FACTS:
        facts.get("environment", {}).pop(key, None)
    return json.dumps(facts, indent=2)


def scrubber(names: dict[str, str], folders: dict[str, str]) -> Scrub:
    """Replaces folders and whole words, and cuts any other absolute path to its last part."""
    words = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    word = re.compile(rf"(?<![\w-])({words})(?![\w-])") if names else None
    inner_first = sorted(folders.items(), key=lambda item: -len(item[0]))

    @functools.lru_cache(maxsize=10_000)
    def scrub(text: str) -> str:
        for path, stand_in in inner_first:
            text = re.sub(rf"{re.escape(path)}(?![\w.-])", stand_in, text)
        if word is not None:
            text = word.sub(lambda match: names[match[0]], text)
        return _PATH.sub(_last_part, text)

    return scrub


def scrubbed(text: str, scrub: Scrub) -> str:
    """The JSON text with each of its strings scrubbed."""
    text = _FIELD.sub(lambda match: f'{match[1]}"{_FIELDS[match[2]]}"', text)
    return _LITERAL.sub(lambda match: _literal(match[0], scrub), text)


def _literal(literal: str, scrub: Scrub) -> str:
    value = json.loads(literal)
    clean = scrub(value)
    return literal if clean == value else json.dumps(clean)


def _last_part(match: re.Match[str]) -> str:
    path = match[0]
    if path.startswith(_ANYWHERE):
        return path
    return f"<path>/{path.rstrip('/').rpartition('/')[2]}"


def _names() -> dict[str, str]:
    full = socket.gethostname()
    names = {full: "host", full.partition(".")[0]: "host"}
    with suppress(OSError, KeyError):
        names[getpass.getuser()] = "user"
    return {name: stand_in for name, stand_in in names.items() if name not in _NAMES_NOBODY}


def _folders(folder: Path) -> dict[str, str]:
    """Where things are, from the widest to what lies inside of it."""
    places = {
        Path.home(): "~",
        Path(tempfile.gettempdir()): "<tmp>",
        Path(sys.prefix): "<python>",
        Path(sys.base_prefix): "<python>",
        Path(__file__).resolve().parents[2]: "<perfkit>",
        folder.resolve().parents[1]: ".",
    }
    return {str(place): stand_in for place, stand_in in places.items() if len(place.parts) > 1}
