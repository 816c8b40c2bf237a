"""Templates, Plotly and the security policy of the HTML report."""

from __future__ import annotations

import base64
import gzip
import hashlib
from functools import cache
from importlib.resources import files

_SCRIPTS = (
    "base",
    "charts",
    "steps",
    "run",
    "timeline",
    "timeline_view",
    "kernels",
    "whatif",
    "main",
)


@cache
def template(name: str) -> str:
    """A file of the templates folder."""
    return (files("perfkit.reports") / "templates" / name).read_text(encoding="utf-8")


@cache
def script() -> str:
    """The page's own script: its files in one scope of their own."""
    body = "\n".join(template(f"report_{name}.js") for name in _SCRIPTS)
    return f'(() => {{\n"use strict";\n{body}\n}})();'


@cache
def packed_plotly() -> str:
    """Plotly's script, compressed: 2 MB of text for 4.8 MB of code."""
    return base64.b64encode(gzip.compress(_plotly().encode(), 9, mtime=0)).decode("ascii")


@cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


@cache
def policy() -> str:
    """Only the two scripts of this page run, and nothing is loaded from anywhere."""
    scripts = f"{_digest(script())} {_digest(_plotly())}"
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _digest(code: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"
