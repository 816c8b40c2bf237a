"""Opening a report in a browser, and everything it does there."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perfkit.model.diagnosis import Diagnosis
from perfkit.reports.html import render


@dataclass
class Opened:
    """A page and everything it did."""

    page: Any
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)


def written(path: Path, diagnosis: Diagnosis) -> Path:
    path.write_text(render(diagnosis), encoding="utf-8")
    return path


def open_page(browser: Any, path: Path, **options: Any) -> Opened:
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
    found = Opened(context.new_page())
    found.page.on("request", lambda request: found.requests.append(request.url))
    found.page.on("console", lambda message: found.errors.append(message.text))
    found.page.on("pageerror", lambda error: found.errors.append(str(error)))
    found.page.on("dialog", lambda dialog: noted(found, dialog))
    found.page.goto(path.as_uri())
    if options.get("java_script_enabled", True):
        found.page.wait_for_selector("html[data-drawn]")
    return found


def noted(found: Opened, dialog: Any) -> None:
    found.dialogs.append(dialog.message)
    dialog.dismiss()


def wait_until(page: Any, script: str) -> None:
    """Polled from here: the page's policy forbids the evaluation that a poll inside it needs."""
    for _ in range(100):
        if page.evaluate(script):
            return
        page.wait_for_timeout(50)
    raise AssertionError(script)
