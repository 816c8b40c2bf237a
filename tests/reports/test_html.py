from __future__ import annotations

import base64
import hashlib
import itertools
import json
import math
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from perfkit.model.cause import Cause
from perfkit.model.diagnosis import Diagnosis, Kernel, StepRow
from perfkit.reports.html import render
from perfkit.reports.html_data import MOST_STEPS, encoded, payload
from perfkit.reports.html_tags import tag, text
from tests.reports.diagnoses import make_diagnosis, make_empty
from tests.reports.findings import make_finding
from tests.reports.hostile import HOSTILE, HOSTILE_NAMES, LONG

_LOADS = ("src", "href", "srcset", "data", "action", "poster", "background", "formaction")


class Page(HTMLParser):
    """Elements, their attributes, and the text of each script by its id."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.words: list[str] = []
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            attributes, code = self.scripts[-1]
            self.scripts[-1] = (attributes, code + data)
        elif self._inside != "style":
            self.words.append(data)

    @property
    def visible(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def data(self) -> dict[str, Any]:
        found = next(code for attributes, code in self.scripts if attributes.get("id") == "data")
        return dict(json.loads(found))


@pytest.fixture(scope="module")
def html() -> str:
    return render(make_diagnosis())


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_stays_small(html: str) -> None:
    assert len(html.encode()) < 3_000_000


def test_stays_small_at_the_analyzers_limits() -> None:
    names = [f"{i} {LONG}"[:400] for i in range(1000)]
    kernels = [
        Kernel(name=n, kind="gemm", launches_per_step=1.3, total_us=1 / 3, mean_us=1 / 7, share=0.1)
        for n in names
    ]
    assert len(render(make_diagnosis(kernels=kernels)).encode()) < 3_000_000


def test_loads_nothing(page: Page) -> None:
    assert not [(name, a) for name, a in page.elements for key in a if key in _LOADS]
    assert not [name for name, _ in page.elements if name in {"link", "img", "iframe", "object"}]


def test_style_loads_nothing(html: str) -> None:
    styles = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    assert styles
    assert not re.search(r"url\(|@import", "".join(styles))


def test_policy_allows_only_the_pages_own_scripts(page: Page) -> None:
    policy = next(
        str(a["content"]) for _, a in page.elements if a.get("http-equiv") and a.get("content")
    )
    own = next(code for attributes, code in page.scripts if not attributes)
    digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy.replace("style-src 'unsafe-inline'", "")


def test_the_only_elements_that_run_are_known(page: Page) -> None:
    kinds = [(attributes.get("type"), attributes.get("id")) for attributes, _ in page.scripts]
    assert kinds == [("application/json", "data"), ("text/plain", "plotly-packed"), (None, None)]
    assert not [key for _, attributes in page.elements for key in attributes if key[:2] == "on"]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_names_stay_text(name: str) -> None:
    finding = make_finding(title=name)
    diagnosis = make_diagnosis(verdict=name, findings=[finding], environment={name: name})
    page = Page(render(diagnosis))
    assert {tag for tag, _ in page.elements}.isdisjoint({"img", "b", "a"})
    assert len(page.scripts) == 3


def test_hostile_name_reads_as_it_is_written(page: Page) -> None:
    assert HOSTILE in page.visible
    assert page.data["kernels"][0][0] == HOSTILE


def test_data_holds_no_markup(html: str) -> None:
    data = re.search(r'id="data">(.*?)</script>', html, re.DOTALL)
    assert data
    assert not re.search("[<>&\u2028\u2029]", data[1])


def test_encoded_reads_back() -> None:
    value = {"a": "</script>&\u2028\u2029\\u003c"}
    assert json.loads(encoded(value)) == value


def test_numbers_that_json_lacks_are_absent() -> None:
    kernel = Kernel(
        name="k", kind="gemm", launches_per_step=1, total_us=math.inf, mean_us=math.nan, share=1
    )
    assert payload(make_diagnosis(kernels=[kernel]))["kernels"] == [["k", "gemm", 1, None, None, 1]]


def test_reads_without_javascript(page: Page, slow: Diagnosis) -> None:
    for part in (
        slow.verdict,
        "waiting for data",
        "62.4 ms",
        "The host waits for the GPU 14 times per step",
        "aten::item stops the launching thread",
        "Read the loss every 50 steps",
        "now 177.6 ms -> 160.6 ms (157.6 to 165.6; never below 156.3)",
        "at most 62.4 ms per step",
        "The file was cut off",
        "ProfilerStep#13 GPU records are missing in it",
    ):
        assert part in page.visible, part


def test_verdict_is_the_first_thing_read(page: Page, slow: Diagnosis) -> None:
    body = page.visible.split("perfkit: rank0.pt.trace.json.gz", 1)[1]
    assert body.strip().startswith(slow.verdict)


def test_unknown_is_there_at_zero() -> None:
    for diagnosis in (make_diagnosis(idle_us={}), make_empty()):
        assert re.search(r"idle: unknown 0 us 0 %", Page(render(diagnosis)).visible)


def test_tables_have_captions_and_scopes(html: str, page: Page) -> None:
    tables = [a for name, a in page.elements if name == "table"]
    assert html.count("<caption>") == len(tables) > 5
    assert all(a.get("scope") in {"row", "col"} for name, a in page.elements if name == "th")


def test_headings_do_not_skip(page: Page) -> None:
    levels = [int(name[1]) for name, _ in page.elements if re.fullmatch(r"h\d", name)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


def test_ids_are_unique(page: Page) -> None:
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))


def test_an_empty_diagnosis_renders_without_charts(empty: Diagnosis) -> None:
    html = render(empty)
    assert len(html) < 100_000
    assert "No rule found anything to fix." in html
    assert "Step by step" not in html


def test_a_long_run_says_what_it_does_not_draw(slow: Diagnosis) -> None:
    rows: list[StepRow] = [slow.step_rows[1]] * (MOST_STEPS + 7)
    page = Page(render(make_diagnosis(step_rows=rows)))
    assert len(page.data["steps"]["wall"]) == MOST_STEPS
    assert f"Only the first {MOST_STEPS} of {MOST_STEPS + 7} are drawn" in page.visible


def test_timeline_names_are_interned(page: Page) -> None:
    events = page.data["timeline"]["events"]
    assert len(events["name"]) == len(events["start"]) == 2000
    assert len(events["names"]) == len(set(events["names"])) < 30


def test_a_cause_of_a_newer_version_is_shown() -> None:
    page = Page(render(make_diagnosis(idle_us={"<teleport>": 5.0, Cause.SYNC: 4.0})))
    assert "<teleport>" in page.visible


def test_attributes_are_escaped() -> None:
    assert tag("p", text("<"), title='"><b>') == '<p title="&quot;&gt;&lt;b&gt;">&lt;</p>'


def test_the_same_diagnosis_gives_the_same_page(html: str) -> None:
    assert render(make_diagnosis()) == html
