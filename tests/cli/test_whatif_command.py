"""`perfkit whatif`, and what idle GPUs cost in `perfkit analyze`."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

import perfkit
from perfkit.analyzers.graph.build import Built, build
from perfkit.analyzers.whatif.fixes import CATALOGUE
from perfkit.model.diagnosis import Diagnosis
from sample_traces.simulator import SCENARIOS, simulate, trace_text
from tests.captures import HEALTHY
from tests.cli.conftest import Run, refusal

STEP = r"now [\d.]+ ms -> [\d.]+ ms \([\d.]+ to [\d.]+(; never below [\d.]+)?\)"


@pytest.fixture(scope="session")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated run in which the host waits for the GPU."""
    text = trace_text(SCENARIOS["sync_bound"], simulate("sync_bound", 0, 6).recording)
    path = tmp_path_factory.mktemp("whatif") / "trace.json.gz"
    path.write_bytes(gzip.compress(text.encode()))
    return path


def test_each_fix_alone_and_all_together(run: Run, trace: Path) -> None:
    code, out, err = run("whatif", trace, "--fix", "sync", "--fix", "kernels:gemm=2")
    assert (code, err) == (0, "")
    assert re.match(r"Now [\d.]+ ms per step; 6 steps replayed\.\n", out)
    assert re.search(rf"^  sync            {STEP}$", out, re.MULTILINE)
    assert re.search(rf"^  kernels:gemm=2  {STEP}$", out, re.MULTILINE)
    assert re.search(rf"^sync \+ kernels:gemm=2 together: {STEP}$", out, re.MULTILINE)
    assert re.search(r"^Replay reproduces the recording within .* %", out, re.MULTILINE)


def test_one_fix_needs_no_joint_number(run: Run, trace: Path) -> None:
    code, out, _ = run("whatif", trace, "--fix", "sync")
    assert code == 0
    assert "together" not in out


def test_without_a_fix_all_that_return_something(run: Run, trace: Path) -> None:
    code, out, _ = run("whatif", trace)
    assert code == 0
    assert re.search(rf"^  sync +{STEP}$", out, re.MULTILINE)
    assert "checkpoint" not in out


def test_json_is_a_diagnosis_with_what_was_asked(run: Run, trace: Path, tmp_path: Path) -> None:
    code, out, _ = run("whatif", trace, "--fix", "kernels=2", "--json", "-")
    assert code == 0
    found = Diagnosis.from_json(out)
    assert found.whatif is not None
    assert [row.fix for row in found.whatif.fixes] == ["kernels=2"]
    assert [f.code for f in found.findings] == [f.code for f in perfkit.analyze(trace).findings]
    target = tmp_path / "whatif.json"
    assert run("whatif", trace, "--fix", "sync", "--json", target)[1].startswith("Now ")
    assert json.loads(target.read_text("utf-8"))["whatif"]["fixes"][0]["fix"] == "sync"


@pytest.mark.parametrize("fix", ["nosuch", "sync=2", "kernels=0", "kernels=x", "kernels:nosuch=2"])
def test_what_is_no_fix_is_refused_before_reading(run: Run, tmp_path: Path, fix: str) -> None:
    said = refusal(run("whatif", tmp_path / "not-there.json", "--fix", fix))
    assert fix.partition("=")[0].partition(":")[0] in said


def test_an_unknown_fix_is_told_where_the_known_ones_are(run: Run, trace: Path) -> None:
    assert "`perfkit whatif --list` lists them" in refusal(run("whatif", trace, "--fix", "zzz"))


def test_what_if_needs_a_trace(run: Run) -> None:
    assert "perfkit whatif trace" in refusal(run("whatif"))


def test_the_trace_is_never_overwritten(run: Run, trace: Path) -> None:
    before = trace.read_bytes()
    assert "would overwrite" in refusal(run("whatif", trace, "--json", trace))
    assert trace.read_bytes() == before


def test_a_withheld_what_if_says_why_and_is_no_failure(run: Run, tmp_path: Path) -> None:
    made = simulate("sync_bound", 0, 6).recording
    events = json.loads(trace_text(SCENARIOS["sync_bound"], made))
    launches = [e for e in events["traceEvents"] if e.get("name") == "cudaLaunchKernel"]
    lost = {id(event) for event in launches[::3]}
    events["traceEvents"] = [e for e in events["traceEvents"] if id(e) not in lost]
    path = tmp_path / "lossy.json"
    path.write_text(json.dumps(events))
    code, out, err = run("whatif", path, "--fix", "sync")
    assert (code, err) == (0, "")
    assert re.search(r"^What-if is withheld: .*lack their launch.*\.$", out, re.MULTILINE)
    assert "->" not in out


def test_the_list_has_a_line_for_every_fix(run: Run) -> None:
    code, out, err = run("whatif", "--list")
    assert (code, err) == (0, "")
    names = [re.split("[=: ]", line)[0] for line in out.splitlines()]
    assert set(names) == set(CATALOGUE)
    assert all(re.match(r"\S+  +\S", line) for line in out.splitlines())
    assert "{" not in out


def test_help_names_the_command(run: Run) -> None:
    assert "whatif" in run("--help")[1]
    assert "--fix" in run("whatif", "--help")[1]


def test_the_same_from_python(trace: Path) -> None:
    by_path = perfkit.whatif(trace, ["sync", "kernels=2"])
    assert perfkit.whatif(perfkit.open_trace(trace), ["sync", "kernels=2"]) == by_path
    assert by_path.order[-1].fixes == ["sync", "kernels=2"]
    assert perfkit.whatif(str(trace)) == perfkit.analyze(trace).whatif
    with pytest.raises(perfkit.PerfkitError, match="no fix 'nosuch'"):
        perfkit.whatif(trace, ["nosuch"])


def test_idle_gpus_and_their_price(run: Run, trace: Path) -> None:
    code, out, _ = run("analyze", trace, "--gpus", 8, "--gpu-hour-price", 2.5, "--json", "-")
    found = Diagnosis.from_json(out)
    assert code == 0
    assert found.money is not None
    share = found.breakdown_us.idle / found.steps.mean_us
    assert found.money.idle.gpu_hours == pytest.approx(share * 8 * 24)
    assert found.money.idle.cost == pytest.approx(share * 8 * 24 * 2.5)
    assert "GPU hours a day" in " ".join(run("analyze", trace, "--gpus", 8)[1].split())


def test_without_gpus_there_is_no_money(run: Run, trace: Path) -> None:
    assert "money" not in json.loads(run("analyze", trace, "--json", "-")[1])


@pytest.mark.parametrize("price", ["abc", "", "0", "-1", "nan", "inf"])
def test_a_price_that_is_none(run: Run, trace: Path, price: str) -> None:
    said = run("analyze", trace, "--gpus", 8, "--gpu-hour-price", price)
    assert f"--gpu-hour-price takes a price above 0, not '{price}': write" in refusal(said)


def test_a_price_needs_a_number_of_gpus(run: Run, trace: Path) -> None:
    assert "add --gpus" in refusal(run("analyze", trace, "--gpu-hour-price", 2))


def test_a_trace_without_gpus_has_no_idle_gpus(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "cpu.json"
    path.write_text(HEALTHY)
    assert "leave --gpus out" in refusal(run("analyze", path, "--gpus", 8))


def test_asking_for_fixes_builds_the_graph_once(
    trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Built] = []

    def counted(*given: Any) -> Built:
        built.append(build(*given))
        return built[-1]

    monkeypatch.setattr("perfkit.analyzers.facts.build", counted)
    asked = perfkit.analyze(trace, fixes=["sync", "kernels=2"])
    assert len(built) == 1
    assert asked.whatif == perfkit.whatif(trace, ["sync", "kernels=2"])
    assert asked.findings == perfkit.analyze(trace).findings
