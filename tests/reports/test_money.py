"""What idle GPUs cost, in every report."""

from __future__ import annotations

import msgspec
import pytest

from perfkit.errors import PerfkitError
from perfkit.model.diagnosis import Diagnosis, Gain, Together
from perfkit.reports.html import render as html
from perfkit.reports.markdown import render as markdown
from perfkit.reports.money import money_text, with_money
from perfkit.reports.terminal import render as terminal
from tests.reports.diagnoses import make_diagnosis, make_empty
from tests.reports.whatifs import make_predicted, make_whatif, make_withheld

IDLE_SHARE = 112.1 / 177.6


def said(diagnosis: Diagnosis) -> str:
    assert diagnosis.money is not None
    return money_text(diagnosis.money)


def test_idle_time_is_its_share_of_all_gpu_hours() -> None:
    money = with_money(make_predicted(), 8, 2.5).money
    assert money is not None
    assert money.idle.gpu_hours == pytest.approx(IDLE_SHARE * 8 * 24, rel=1e-3)
    assert money.idle.cost == pytest.approx(IDLE_SHARE * 8 * 24 * 2.5, rel=1e-3)


def test_the_joint_gain_is_returned_and_not_the_sum() -> None:
    money = with_money(make_predicted(), 8, 2.5).money
    assert money is not None
    assert money.fixes == ["dataloader", "sync", "cuda-graphs"]
    assert money.returned_low is not None
    assert money.returned_high is not None
    assert money.returned_low.gpu_hours == pytest.approx(67_600 / 177_600 * 192, rel=1e-3)
    assert money.returned_high.cost == pytest.approx(84_000 / 177_600 * 480, rel=1e-3)


def test_one_sentence_with_and_without_a_price() -> None:
    assert said(with_money(make_predicted(), 8, 2.5)) == (
        "Idle time of 8 GPUs like this one: 121.2 GPU hours a day, 302.97 at 2.50 an hour; "
        "dataloader + sync + cuda-graphs return 73.1 to 90.8 GPU hours, 182.70 to 227.03."
    )
    assert said(with_money(make_diagnosis(), 1)) == (
        "Idle time of 1 GPU like this one: 15.1 GPU hours a day."
    )


@pytest.mark.parametrize(
    "gain",
    [Gain(bound=9e4), Gain(bound=9e4, expected=1e3, low=-4e3, high=6e3)],
    ids=["no interval", "within the error"],
)
def test_what_is_not_sure_is_not_promised(gain: Gain) -> None:
    order = [Together(fixes=["sync"], gain_us=gain)]
    text = said(with_money(make_predicted(whatif=make_whatif(order=order)), 8))
    assert "return" not in text


def test_a_return_is_neither_negative_nor_above_the_bound() -> None:
    gain = Gain(bound=50_000.0, expected=40_000.0, low=-1_000.0, high=60_000.0)
    order = [Together(fixes=["sync"], gain_us=gain)]
    money = with_money(make_predicted(whatif=make_whatif(order=order)), 1).money
    assert money is not None
    assert money.returned_low is not None
    assert money.returned_high is not None
    assert money.returned_low.gpu_hours == 0
    assert money.returned_high.gpu_hours == pytest.approx(50_000 / 177_600 * 24, rel=1e-3)


def test_a_withheld_what_if_promises_nothing() -> None:
    assert "return" not in said(with_money(make_withheld(), 8, 2.5))


def test_every_report_has_it() -> None:
    priced = with_money(make_predicted(), 8, 2.5)
    text = " ".join(terminal(priced, width=100, color=False).split())
    for found in (text, markdown(priced), html(priced)):
        assert "121.2 GPU hours a day, 302.97 at 2.50 an hour" in found
    assert "idle GPUs cost a day" in html(priced)
    assert "of 8 GPUs" in html(with_money(make_predicted(), 8))
    assert Diagnosis.from_json(priced.to_json()) == priced


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_the_screen_still_fits(width: int) -> None:
    priced = with_money(make_predicted(), 1024, 3.75)
    assert len(terminal(priced, width=width, color=False).splitlines()) <= (
        40 if width > 60 else 42
    )


def test_no_gpu_no_money() -> None:
    cpu = msgspec.structs.replace(make_diagnosis().device, kind="cpu")
    for diagnosis in (make_empty(), make_diagnosis(device=cpu)):
        with pytest.raises(PerfkitError, match=r"leave --gpus out\.$"):
            with_money(diagnosis, 8)
