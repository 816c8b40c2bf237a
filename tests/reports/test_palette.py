"""The colours tell apart what stands side by side, for every eye, on both grounds."""

from __future__ import annotations

import itertools

import pytest

from perfkit.model.cause import Cause
from perfkit.reports.palette import COLORS, color, glyph, idle_key

Color = tuple[float, ...]
GROUNDS = ("#ffffff", "#1a2027")  # --panel of report.css, light and dark
CAUSES = (Cause.DATALOADER, Cause.SYNC, Cause.LAUNCH, Cause.PYTHON, Cause.DISPATCH)
OFTEN = ("compute", "communication", "copy", *map(idle_key, CAUSES))
# Machado, Oliveira, Fernandes 2009, severity 1.0, on linear RGB
EYES = {
    "usual": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}


@pytest.mark.parametrize("eye", EYES)
def test_colours_met_often_differ(eye: str) -> None:
    seen = {key: _lab(_through(EYES[eye], _linear(COLORS[key]))) for key in OFTEN}
    for a, b in itertools.combinations(OFTEN, 2):
        assert _distance(seen[a], seen[b]) > 14, (a, b)


@pytest.mark.parametrize("ground", GROUNDS)
def test_every_colour_stands_on_the_ground(ground: str) -> None:
    for key, value in COLORS.items():
        assert _contrast(value, ground) > 1.8, key


def test_every_cause_has_its_own_colour_and_glyph() -> None:
    keys = [idle_key(cause) for cause in Cause] + ["compute", "communication", "copy"]
    assert len({color(key) for key in keys}) == len(keys)
    assert len({glyph(key) for key in keys}) == len(keys)


def test_a_cause_of_a_newer_version_has_a_colour() -> None:
    assert color(idle_key("teleportation")).startswith("#")
    assert glyph(idle_key("teleportation"))


def _linear(text: str) -> Color:
    values = (int(text[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return tuple(v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values)


def _through(eye: tuple[tuple[float, ...], ...], light: Color) -> Color:
    mixed = (sum(a * b for a, b in zip(row, light, strict=True)) for row in eye)
    return tuple(min(max(value, 0.0), 1.0) for value in mixed)


def _lab(light: Color) -> Color:
    r, g, b = light
    x = (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.95047
    y = _luminance(light)
    z = (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.08883
    fx, fy, fz = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


def _luminance(light: Color) -> float:
    return 0.2126 * light[0] + 0.7152 * light[1] + 0.0722 * light[2]


def _distance(a: Color, b: Color) -> float:
    return float(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) ** 0.5)


def _contrast(a: str, b: str) -> float:
    dark, light = sorted(_luminance(_linear(value)) for value in (a, b))
    return (light + 0.05) / (dark + 0.05)
