"""The HTML report in a browser: what only running it can show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perfkit.model.diagnosis import Diagnosis, Kernel
from perfkit.reports import format as fmt
from tests.reports.browsing import Opened, open_page, wait_until, written
from tests.reports.diagnoses import make_diagnosis, make_empty
from tests.reports.hostile import BREAKOUT, HOSTILE, HOSTILE_NAMES
from tests.reports.runs import make_memory, make_run


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("report") / "report.html", make_diagnosis())


@pytest.fixture
def opened(browser: Any, report: Path) -> Iterator[Opened]:
    found = open_page(browser, report)
    yield found
    found.page.context.close()


@pytest.fixture(scope="module")
def untouched(browser: Any, report: Path) -> Iterator[Opened]:
    """One page for the tests that only look."""
    found = open_page(browser, report)
    yield found
    found.page.context.close()


def kernel_column(page: Any, column: int) -> list[str]:
    cells = page.locator(f"#kernel-table tbody tr > :nth-child({column})")
    return [text.strip() for text in cells.all_text_contents()]


def view(page: Any) -> tuple[float, float]:
    low, high = page.evaluate("document.getElementById('timeline').layout.xaxis.range.map(Number)")
    return low, high


def test_opens_without_request_error_or_dialog(untouched: Opened, report: Path) -> None:
    assert untouched.page.locator("#steps .main-svg").count()
    assert untouched.page.locator("#timeline .bars path").count() > 2000
    assert untouched.requests == [report.as_uri()]
    assert untouched.errors == []
    assert untouched.dialogs == []


def test_an_empty_diagnosis_opens(browser: Any, tmp_path: Path) -> None:
    found = open_page(browser, written(tmp_path / "empty.html", make_empty()))
    assert found.errors == []
    found.page.context.close()


def test_the_policy_stops_foreign_code_and_loading(opened: Opened) -> None:
    answered: list[str] = []
    opened.page.on("response", lambda response: answered.append(response.url))
    stopped: list[str] = []
    opened.page.on("requestfailed", lambda request: stopped.append(str(request.failure)))
    ran = opened.page.evaluate(
        """() => {
            const script = document.createElement('script');
            script.textContent = 'window.foreign = true';
            document.body.append(script);
            const image = document.createElement('img');
            image.setAttribute('onerror', 'window.foreign = true');
            image.src = 'https://evil.example/x.png';
            document.body.append(image);
            return fetch('https://evil.example/').then(() => 'fetched', () => 'stopped');
        }"""
    )
    opened.page.wait_for_timeout(200)
    assert ran == "stopped"
    assert opened.page.evaluate("window.foreign") is None
    assert answered == []
    assert set(stopped) <= {"csp"}


def test_kernel_table_sorts(opened: Opened) -> None:
    page = opened.page
    heads = page.locator("#kernel-table thead th")
    assert heads.nth(1).get_attribute("aria-sort") == "descending"
    assert kernel_column(page, 1)[0] == HOSTILE
    page.get_by_role("button", name="mean").click()
    means = [in_us(text) for text in kernel_column(page, 4)]
    assert means == sorted(means, reverse=True)
    assert heads.nth(1).get_attribute("aria-sort") == "none"
    page.get_by_role("button", name="mean").press("Enter")
    assert heads.nth(3).get_attribute("aria-sort") == "ascending"
    means = [in_us(text) for text in kernel_column(page, 4)]
    assert means == sorted(means)
    page.get_by_role("button", name="class").click()
    assert set(kernel_column(page, 6)) == {"conv"}


def in_us(text: str) -> float:
    number, unit = text.replace(",", "").split()
    return float(number) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]


def test_kernel_table_searches_names_and_classes(opened: Opened) -> None:
    page = opened.page
    page.get_by_label("Search by name or class").fill("SGEMM_12")
    names = kernel_column(page, 1)
    assert names
    assert all("sgemm_12" in name for name in names)
    page.get_by_label("Search by name or class").fill("sgemm optimizer")
    assert set(kernel_column(page, 6)) == {"optimizer"}
    page.get_by_label("Search by name or class").fill("<script>")
    assert kernel_column(page, 1) == [HOSTILE]
    page.get_by_label("Search by name or class").fill("no such kernel")
    assert kernel_column(page, 1) == []
    assert page.locator("#kernel-count").text_content() == "0 of 0 kernels"


def test_kernel_table_shows_more(opened: Opened) -> None:
    assert opened.page.locator("#kernel-table tbody tr").count() == 50
    opened.page.locator("#kernel-more").click()
    opened.page.locator("#kernel-more").click()
    assert opened.page.locator("#kernel-table tbody tr").count() == 300
    assert not opened.page.locator("#kernel-more").is_visible()


def test_timeline_zooms_by_button(opened: Opened) -> None:
    page = opened.page
    whole = view(page)
    page.get_by_role("button", name="Zoom in").click()
    low, high = view(page)
    assert high - low == pytest.approx((whole[1] - whole[0]) / 2)
    page.get_by_role("button", name="Later").click()
    assert view(page)[0] > low
    page.get_by_role("button", name="Whole step").click()
    assert view(page) == pytest.approx(whole)
    page.get_by_role("button", name="Zoom out").click()
    assert view(page) == pytest.approx(whole)


def test_timeline_goes_to_the_longest_gap_first(opened: Opened) -> None:
    opened.page.get_by_role("button", name="Next idle gap").click()
    low, high = view(opened.page)
    assert low == 0
    assert 62.4 < high < 110
    assert "waiting for data" in opened.page.locator("#timeline").text_content()


def test_timeline_zooms_by_drag(opened: Opened) -> None:
    chart = opened.page.locator("#timeline")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box
    middle = box["y"] + box["height"] / 2
    opened.page.mouse.move(box["x"] + 500, middle)
    opened.page.mouse.down()
    opened.page.mouse.move(box["x"] + 700, middle, steps=6)
    opened.page.mouse.up()
    wait_until(opened.page, "document.getElementById('timeline-range').textContent[0] !== '0'")
    low, high = view(opened.page)
    assert 20 < high - low < 60


def test_timeline_zooms_by_key_and_keeps_its_height(opened: Opened) -> None:
    page = opened.page
    before = page.locator("#timeline").bounding_box()["height"]
    page.locator("#timeline").focus()
    page.keyboard.press("+")
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    low, high = view(page)
    assert high - low == pytest.approx(171.2 / 4)
    page.set_viewport_size({"width": 1100, "height": 800})
    page.wait_for_timeout(500)
    assert page.locator("#timeline").bounding_box()["height"] == before
    page.keyboard.press("0")
    assert view(page) == pytest.approx((0, 171.2))


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_hostile_names_are_text_everywhere(untouched: Opened, name: str) -> None:
    page, shown = untouched.page, fmt.clean(name)
    assert shown in kernel_column(page, 1)
    page.evaluate(
        """(name) => {
            const chart = document.getElementById('timeline');
            const trace = chart.data.findIndex((t) => t.meta.includes(name));
            const point = chart.data[trace].meta.indexOf(name);
            Plotly.Fx.unhover(chart);
            Plotly.Fx.hover(chart, [{curveNumber: trace, pointNumber: point}]);
        }""",
        shown,
    )
    hover = page.locator("#timeline .hoverlayer .hovertext").text_content()
    assert shown[:60] in hover
    assert page.locator("#timeline a").count() == 0
    assert page.locator("img").count() == 0
    assert untouched.dialogs == []


def test_hostile_lane_is_text_in_the_ticks(untouched: Opened) -> None:
    ticks = untouched.page.locator("#timeline .ytick").all_text_contents()
    assert any("<scri" in tick for tick in ticks)


def test_breakout_is_text_in_a_finding(untouched: Opened) -> None:
    assert BREAKOUT in untouched.page.locator("#findings").text_content()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_no_horizontal_scroll_in_any_theme(
    browser: Any, report: Path, scheme: str, width: int
) -> None:
    found = open_page(
        browser, report, viewport={"width": width, "height": 844}, color_scheme=scheme
    )
    assert found.page.evaluate("document.documentElement.scrollWidth") <= width
    found.page.get_by_role("button", name="Zoom in").click()
    assert found.page.evaluate("document.documentElement.scrollWidth") <= width
    found.page.context.close()


def font(page: Any) -> str:
    return str(page.evaluate("document.getElementById('timeline').layout.font.color"))


def test_charts_follow_the_theme_and_print_light(opened: Opened) -> None:
    page = opened.page
    page.emulate_media(color_scheme="light")
    wait_until(page, "document.getElementById('timeline').layout.font.color === '#1b2128'")
    page.emulate_media(color_scheme="dark")
    wait_until(page, "document.getElementById('timeline').layout.font.color !== '#1b2128'")
    assert font(page) == "#e4e8ed"
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(228, 232, 237)"
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert font(page) == "#1b2128"
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert font(page) == "#e4e8ed"


def test_excluded_steps_are_hatched(untouched: Opened) -> None:
    shapes = untouched.page.evaluate(
        "document.getElementById('steps').data[0].marker.pattern.shape"
    )
    assert [i for i, shape in enumerate(shapes) if shape == "/"] == [0, 13]


def test_copies_the_snippet(browser: Any, report: Path, slow: Diagnosis) -> None:
    found = open_page(browser, report, permissions=["clipboard-read", "clipboard-write"])
    found.page.locator("button.copy").first.click()
    found.page.get_by_role("button", name="Copied").wait_for()
    copied = found.page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("DataLoader(\n    dataset,\n    num_workers=8,")
    found.page.context.close()


def test_reads_without_javascript(browser: Any, report: Path, slow: Diagnosis) -> None:
    found = open_page(browser, report, java_script_enabled=False)
    assert found.page.locator("h1").text_content() == slow.verdict
    assert found.page.locator("#findings h3").first.is_visible()
    assert found.page.get_by_text("Drawing needs JavaScript.").first.is_visible()
    assert not found.page.get_by_role("button", name="Zoom in").is_visible()
    found.page.context.close()


def test_numbers_read_as_in_the_other_reports(browser: Any, tmp_path: Path) -> None:
    times = (0.0, 0.04, 4.21, 9.96, 312.4, 999.6, 4_250.0, 9_996.0, 177_600.0, 2_414_000.0)
    shares = (0.0, 0.00001, 0.0004, 0.334, 1.0)
    kernels = [
        Kernel(name="k", kind="x", launches_per_step=t, total_us=t, mean_us=t, share=shares[i % 5])
        for i, t in enumerate(times)
    ]
    path = written(tmp_path / "numbers.html", make_diagnosis(kernels=kernels))
    found = open_page(browser, path)
    assert sorted(kernel_column(found.page, 2)) == sorted(map(fmt.time_us, times))
    assert sorted(kernel_column(found.page, 3)) == sorted(2 * list(map(fmt.share, shares)))
    assert sorted(kernel_column(found.page, 5)) == sorted(map(fmt.count, times))
    found.page.context.close()


def test_the_step_times_of_a_run_are_drawn(browser: Any, tmp_path: Path) -> None:
    made = make_diagnosis(run=make_run(), memory=make_memory())
    found = open_page(browser, written(tmp_path / "run.html", made))
    assert found.page.locator("#run-steps .scatterlayer .trace").count() == 2
    assert found.page.locator("#run-steps-legend li").count() == 2
    assert (found.errors, found.requests[1:], found.dialogs) == ([], [], [])
    found.page.context.close()
