"""`perfkit run` refuses in one sentence, and gives the script what python would give it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.collectors.training import start

RUN = [sys.executable, "-m", "perfkit", "run"]
ASK = """
import json, sys
json.dump({
    "argv": sys.argv, "name": __name__, "file": __file__, "path": sys.path[0],
    "main": sys.modules["__main__"].__dict__ is globals(), "torch": "torch" in sys.modules,
}, sys.stdout)
"""


def test_a_missing_script_is_one_sentence(tmp_path: Path) -> None:
    result = start([*RUN, "absent.py"], tmp_path, False, {})
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "perfkit: There is no script absent.py: check the path.\n"


def test_ranks_are_numbers(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("")
    result = start([*RUN, "--ranks", "all", "train.py"], tmp_path, False, {})
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "numbers such as 0,8" in result.stderr


@pytest.mark.parametrize(
    ("option", "number", "least"),
    [("--wait", "abc", 0), ("--warmup", "-1", 0), ("--active", "0", 1), ("--repeat", "1.5", 0)],
)
def test_a_schedule_is_of_whole_numbers(
    tmp_path: Path, option: str, number: str, least: int
) -> None:
    (tmp_path / "train.py").write_text("")
    result = start([*RUN, option, number, "train.py"], tmp_path, False, {})
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert f"{option} takes a whole number from {least} on, not '{number}': write" in result.stderr


@pytest.mark.parametrize("module", [False, True])
def test_a_script_finds_itself_as_under_python(tmp_path: Path, module: bool) -> None:
    (tmp_path / "train.py").write_text(ASK)
    script = ["-m", "train"] if module else ["train.py"]
    plain = json.loads(start([sys.executable, *script, "-x", "3"], tmp_path, True, {}).stdout)
    ours = json.loads(start([*RUN, *script, "-x", "3"], tmp_path, True, {}).stdout)
    assert ours == plain
    assert not (tmp_path / "perfkit-run").exists()  # without torch there is nothing to collect


def test_torch_is_imported_as_ever(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    ask = (
        "import sys, torch\nprint(type(torch.__spec__.loader).__name__,"
        " type(torch.__loader__).__name__, len(sys.meta_path))\n"
    )
    (tmp_path / "train.py").write_text(ask)
    plain = start([sys.executable, "train.py"], tmp_path, True, {}).stdout
    assert start([*RUN, "train.py"], tmp_path, True, {}).stdout == plain


def test_a_script_without_torch_is_told(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text("print('done')")
    result = start([*RUN, "plain.py"], tmp_path, False, {})
    assert (result.returncode, result.stdout) == (0, "done\n")
    said = "perfkit: nothing was recorded, because the script never imported torch\n"
    assert result.stderr == said
