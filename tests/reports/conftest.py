from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from perfkit.model.diagnosis import Diagnosis
from tests.reports.diagnoses import make_diagnosis, make_empty


@pytest.fixture
def slow() -> Diagnosis:
    return make_diagnosis()


@pytest.fixture
def empty() -> Diagnosis:
    return make_empty()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, driven by Playwright; skips where either is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the playwright package")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()
