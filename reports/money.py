"""What idle GPUs cost a day, and what the best fixes together return of it."""

from __future__ import annotations

import msgspec

from perfkit.errors import PerfkitError
from perfkit.model.diagnosis import Diagnosis, Gain, Money, PerDay
from perfkit.reports.format import plural
from perfkit.reports.gains import interval, is_within_error, names_text

_HOURS = 24


def with_money(diagnosis: Diagnosis, gpus: int, gpu_hour_price: float | None = None) -> Diagnosis:
    """The diagnosis with the worth of idle time, if all `gpus` idle as the measured one.

    Raises PerfkitError where no GPU was measured.
    """
    if diagnosis.device.kind != "gpu" or not diagnosis.steps.mean_us:
        raise PerfkitError("The trace shows no GPU at work, whose idle time has no price: "
                           "leave --gpus out.")  # fmt: skip
    money = _money(diagnosis, gpus, gpu_hour_price)
    return msgspec.structs.replace(diagnosis, money=money)


def _money(diagnosis: Diagnosis, gpus: int, price: float | None) -> Money:
    mean = diagnosis.steps.mean_us

    def per_day(us: float) -> PerDay:
        hours = us / mean * gpus * _HOURS
        return PerDay(gpu_hours=hours, cost=None if price is None else hours * price)

    idle = per_day(diagnosis.breakdown_us.idle)
    worth = Money(gpus=gpus, gpu_hour_price=price, idle=idle)
    best = diagnosis.whatif.order[-1:] if diagnosis.whatif else []
    ends = _interval(best[0].gain_us) if best else None
    if ends is None:
        return worth
    low, high = map(per_day, ends)
    fixes = best[0].fixes
    return msgspec.structs.replace(worth, fixes=fixes, returned_low=low, returned_high=high)


def _interval(gain: Gain) -> tuple[float, float] | None:
    """The least and the most a step gains; None where the prediction says neither.

    Faster clocks in another run are no return, so nothing passes the bound.
    """
    ends = interval(gain)
    if ends is None or is_within_error(gain):
        return None
    return max(ends[0], 0.0), min(ends[1], gain.bound)


def money_text(money: Money) -> str:
    """The whole of it in one sentence."""
    price = money.gpu_hour_price
    cost = "" if price is None else f", {_cost(money.idle)} at {price:,.2f} an hour"
    said = f"Idle time of {plural(money.gpus, 'GPU')} like this one: {idle_text(money)}{cost}"
    return f"{said}{_returned(money)}."


def idle_text(money: Money) -> str:
    """GPU hours of a day that are idle."""
    return f"{_hours(money.idle)} GPU hours a day"


def cost_text(money: Money) -> str | None:
    """What they cost a day; None without a price."""
    return None if money.idle.cost is None else _cost(money.idle)


def _returned(money: Money) -> str:
    low, high = money.returned_low, money.returned_high
    if low is None or high is None:
        return ""
    hours = f"{_hours(low)} to {_hours(high)} GPU hours"
    cost = "" if low.cost is None else f", {_cost(low)} to {_cost(high)}"
    who = names_text(money.fixes)
    return f"; {who} {'return' if len(money.fixes) > 1 else 'returns'} {hours}{cost}"


def _hours(worth: PerDay) -> str:
    return f"{worth.gpu_hours:,.1f}"


def _cost(worth: PerDay) -> str:
    return f"{worth.cost:,.2f}"
