"""Ticking fixes in the HTML report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.reports.browsing import Opened, open_page, written
from tests.reports.whatifs import make_predicted, make_withheld

NOW = "now 177.6 ms"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("whatif") / "report.html", make_predicted())


@pytest.fixture
def opened(browser: Any, report: Path) -> Iterator[Opened]:
    found = open_page(browser, report)
    yield found
    found.page.context.close()


def said(page: Any) -> str:
    return str(page.locator("#whatif-said").text_content())


def width(page: Any, name: str) -> float:
    box = page.locator(f"#whatif-{name}").bounding_box()
    return float(box["width"])


def test_the_best_fix_is_ticked_first(opened: Opened) -> None:
    boxes = opened.page.locator("#whatif-choice input")
    assert [box.is_checked() for box in boxes.all()] == [True, False, False]
    assert said(opened.page) == f"{NOW} -> 119.6 ms (116.6 to 125.6; never below 115.2)"
    assert (opened.errors, opened.requests[1:], opened.dialogs) == ([], [], [])


def test_ticking_reads_the_joint_number_and_moves_the_bar(opened: Opened) -> None:
    page = opened.page
    one = width(page, "step")
    page.get_by_label("the host waits for nothing").check()
    assert said(page) == f"{NOW} -> 106.6 ms (101.6 to 114.6; never below 97.6)"
    assert width(page, "step") / width(page, "now") == pytest.approx(106.58 / 177.58, abs=0.003)
    assert width(page, "step") < one
    page.get_by_label("one launch a step").check()
    assert "-> 100.0 ms (93.6 to 110.0; never below 85.6)" in said(page)
    assert width(page, "between") / width(page, "now") == pytest.approx(16.4 / 177.6, abs=0.004)


def test_nothing_ticked_is_the_step_as_it_is(opened: Opened) -> None:
    opened.page.get_by_label("batches are ready in time").uncheck()
    assert said(opened.page) == NOW
    assert width(opened.page, "step") == pytest.approx(width(opened.page, "now"))


def test_a_gain_within_the_error_is_no_number(opened: Opened) -> None:
    page = opened.page
    page.get_by_label("batches are ready in time").uncheck()
    page.get_by_label("one launch a step").check()
    assert said(page).startswith("within the error of the prediction")
    assert "->" not in said(page)


def test_boxes_work_by_keyboard_and_are_announced(opened: Opened) -> None:
    page = opened.page
    page.get_by_role("checkbox", name="dataloader").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert "-> 160.6 ms" in said(page)
    assert page.get_by_role("group", name="Fixes at once").count() == 1
    assert page.get_by_role("status").first.text_content() == said(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_fits_any_screen_and_theme(browser: Any, report: Path, scheme: str, width: int) -> None:
    size = {"width": width, "height": 844}
    found = open_page(browser, report, viewport=size, color_scheme=scheme)
    assert found.page.evaluate("document.documentElement.scrollWidth") <= width
    colors = [
        found.page.evaluate(f"getComputedStyle({where}).backgroundColor")
        for where in (
            "document.getElementById('whatif-step')",
            "document.getElementById('whatif-step').parentElement",
        )
    ]
    assert len(set(colors)) == 2
    found.page.context.close()


def test_without_javascript_the_tables_stay_and_the_boxes_go(browser: Any, report: Path) -> None:
    found = open_page(browser, report, java_script_enabled=False)
    assert not found.page.locator("#whatif-choice").is_visible()
    assert found.page.get_by_role("table", name="Each fix alone").is_visible()
    found.page.context.close()


def test_a_withheld_what_if_opens_without_error(browser: Any, tmp_path: Path) -> None:
    found = open_page(browser, written(tmp_path / "withheld.html", make_withheld()))
    assert found.page.locator("#whatif").is_visible()
    assert (found.errors, found.page.locator("#whatif input").count()) == ([], 0)
    found.page.context.close()
