"""[tool.perfkit] in pyproject.toml, and the options that choose findings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from perfkit.cli.settings import settings_near
from perfkit.errors import PerfkitError


def test_the_nearest_table_counts(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text('[tool.perfkit]\nignore = ["launch-bound"]\n')
    assert settings_near(below).ignore == ["launch-bound"]
    (below / "pyproject.toml").write_text("[tool.other]\nx = 1\n")
    assert settings_near(below).ignore == []


def test_the_table_in_the_readme_is_one(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    (table,) = re.findall(r"```toml\n(.*?)```", readme, re.DOTALL)
    (tmp_path / "pyproject.toml").write_text(table)
    found = settings_near(tmp_path)
    assert found.limits["host-sync-in-step"]["warning-share"] == 0.02
    assert found.own_peaks()["NVIDIA A100-PG509-200"].tflops["bf16"] == 312


@pytest.mark.parametrize("table", ["[tool.perfkit]\nignores = []\n", "[tool.perfkit\n",
    "[tool.perfkit.limits.launch-bound]\nwarning = 0.2\n", "[tool]\nperfkit = 3\n",
    "[tool.perfkit]\nleast-share = 5\n", "[tool.perfkit]\nleast-share = -1\n",
    "[tool.perfkit.limits.launch-bound]\nwarning-share = -0.2\n",
    "[tool.perfkit.limits.launch-bound]\nwarning-share = 0.9\ncritical-share = 0.5\n",
])  # fmt: skip
def test_a_wrong_table_is_one_sentence(tmp_path: Path, table: str) -> None:
    (tmp_path / "pyproject.toml").write_text(table)
    with pytest.raises(PerfkitError, match=r"pyproject\.toml"):
        settings_near(tmp_path)


def test_peaks_of_a_device(tmp_path: Path) -> None:
    file = tmp_path / "pyproject.toml"
    table = '[tool.perfkit.peaks."My GPU"]\ntflops = {bf16 = 100}\nmemory-gb-per-s = 1000\n'
    file.write_text(table)
    peak = settings_near(tmp_path).own_peaks()["My GPU"]
    assert (peak.tflops, peak.memory_gb_per_s) == ({"bf16": 100}, 1000)
    for wrong in (table.replace("100}", "0}"), table.replace("bf16", "bf61")):
        file.write_text(wrong)
        with pytest.raises(PerfkitError, match="memory-gb-per-s"):
            settings_near(tmp_path)
