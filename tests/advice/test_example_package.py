"""A rule of a package of one's own: installed, found by its entry point, and told."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sample_traces.simulator import inject, write

PACKAGE = Path(__file__).parent / "example_package"
ROOT = Path(__file__).parents[2]
CODE = "our-layer-norm"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package in a folder of its own, built from a copy: a build leaves files behind."""
    copy = tmp_path_factory.mktemp("source") / "package"
    shutil.copytree(PACKAGE, copy)
    target = tmp_path_factory.mktemp("installed")
    _run("-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
         "--disable-pip-version-check", "--target", str(target), str(copy))  # fmt: skip
    return target


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(inject({}), tmp_path_factory.mktemp("trace"))


def _run(*arguments: str, path: Path | None = None) -> str:
    found = [str(p) for p in (path, ROOT, os.environ.get("PYTHONPATH")) if p]
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(found)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _findings(trace: Path, installed: Path | None, *options: str) -> dict[str, dict[str, object]]:
    text = _run("-m", "perfkit", "analyze", str(trace), "--json", "-", *options, path=installed)
    return {found["code"]: found for found in json.loads(text)["findings"]}


def test_an_installed_rule_is_told(trace: Path, installed: Path) -> None:
    found = _findings(trace, installed)[CODE]
    assert str(found["title"]).startswith("Layer norms in PyTorch's kernels take ")
    assert found["severity"] == "warning"
    assert found["sources"] == [
        "https://docs.pytorch.org/docs/stable/generated/torch.nn.LayerNorm.html"
    ]


def test_it_can_be_left_out_like_any_other(trace: Path, installed: Path) -> None:
    assert CODE not in _findings(trace, installed, "--ignore", CODE)
    assert CODE not in _findings(trace, None)


def test_explain_shows_its_page(installed: Path) -> None:
    assert "our_library.LayerNorm" in _run("-m", "perfkit", "explain", CODE, path=installed)
