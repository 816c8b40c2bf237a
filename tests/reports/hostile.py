"""Names that a trace may have and a report must show as text."""

from __future__ import annotations

HOSTILE = "<script>alert(1)</script>"
BREAKOUT = "</script><img src=x onerror=alert(1)>"
LONG = "void at::native::elementwise_kernel<" + "float, " * 80 + "4>(int)"
UNICODE = "kernel_größe_核_🚀"
HOSTILE_NAMES = (
    HOSTILE,
    BREAKOUT,
    LONG[:600],
    UNICODE,
    "| a `pipe` | @everyone #1 <b>bold</b> *x* [y](javascript:alert(1))",
    "\x1b[2Jcleared\x07\u202ereversed",
    "%{x} <a href='https://evil.example/'>click</a> &amp; &lt;",
)
