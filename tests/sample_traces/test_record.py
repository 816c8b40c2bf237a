"""The recorder: what it lists, runs, writes and leaves out, without waiting for all scenarios."""

import functools
import gzip
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the scenarios train with torch")

from perfkit.model.cause import Cause
from perfkit.reports.advice import codes
from sample_traces import record as recorder
from sample_traces.scenarios import SCENARIOS, Scenario, runs
from sample_traces.scenarios.publish import publish, scrubbed, scrubber
from sample_traces.scenarios.runs import Run, RunError, in_fresh_process, measure

TOP = Path(__file__).resolve().parents[2]
every_scenario = pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_list_names_every_scenario_and_why_some_are_skipped(
    device: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recorder.main(["--list", "--device", device]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(SCENARIOS)
    skipped = [line.split()[0] for line in lines if "skipped: " in line]
    assert skipped == [s.name for s in SCENARIOS.values() if device in s.skip]
    assert 0 < len(skipped) < len(SCENARIOS)


@every_scenario
def test_expectations_are_in_the_vocabulary(scenario: Scenario) -> None:
    causes = {scenario.cause, *scenario.also} - {None}
    assert causes <= {cause.value for cause in Cause}
    assert {scenario.finding, scenario.cpu_finding} - {None} <= set(codes())
    assert not (scenario.healthy and (causes or scenario.finding or scenario.cpu_finding))


@every_scenario
def test_every_scenario_runs_somewhere_in_its_fixed_form(scenario: Scenario) -> None:
    assert {"cpu", "cuda"} - set(scenario.skip)
    assert "fixed" in scenario.forms
    assert scenario.is_clean("fixed")
    assert scenario.is_clean("faulty") == scenario.healthy


@pytest.mark.parametrize(
    "wrong", [["--steps", "29"], ["--dose", "0"], ["--scenario", "none"], ["--device", "tpu"]]
)
def test_wrong_arguments_are_refused(
    wrong: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        recorder.main(["--out", str(tmp_path), *wrong])
    assert left.value.code == 2
    assert "error: " in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


class _Fake:
    """Instead of runs: notes them, and takes 20 ms a step with the fault and 10 ms without."""

    def __init__(self, fails: str | None = None) -> None:
        self.fails = fails
        self.measured: list[str] = []
        self.recorded: list[tuple[str, float, str]] = []

    def measure(self, run: Run) -> float:
        if run.scenario == self.fails:
            raise RunError("it broke")
        self.measured.append(run.form)
        return 20.0 if run.form == "faulty" else 10.0

    def record(self, run: Run, folder: Path, active: int) -> None:
        self.recorded.append((run.scenario, run.dose, run.form))
        (run.where / folder).mkdir(parents=True)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> _Fake:
    made = _Fake()
    monkeypatch.setattr(recorder, "measure", made.measure)
    monkeypatch.setattr(recorder, "record", made.record)
    monkeypatch.setattr(recorder, "device_name", lambda device: "a processor")
    return made


def test_forms_are_measured_in_turns_and_the_truth_says_how_long(
    fake: _Fake, tmp_path: Path
) -> None:
    assert recorder.main(["--out", str(tmp_path), "--scenario", "gc_storm"]) == 0
    assert fake.measured == ["faulty", "fixed"] * 2
    truth = json.loads((tmp_path / "cpu/gc_storm/faulty/truth.json").read_text("utf-8"))
    assert truth["first_cause"] == "gc"
    assert truth["ratio"] == 2.0
    assert truth["unprofiled_step_ms"]["fixed"] == {"rounds": [10.0, 10.0], "median": 10.0}
    fixed = json.loads((tmp_path / "cpu/gc_storm/fixed/truth.json").read_text("utf-8"))
    assert (fixed["first_cause"], fixed["first_finding"], fixed["clean"]) == (None, None, True)
    assert fixed.keys() == truth.keys()


def test_doses_stand_in_folders_of_their_own_and_one_form_is_enough(
    fake: _Fake, tmp_path: Path
) -> None:
    arguments = ["--scenario", "gc_storm", "--dose", "0.5", "1", "2", "--form", "faulty"]
    assert recorder.main(["--out", str(tmp_path), *arguments]) == 0
    assert fake.recorded == [("gc_storm", dose, "faulty") for dose in (0.5, 1.0, 2.0)]
    found = sorted(path.name for path in (tmp_path / "cpu").iterdir())
    assert found == ["gc_storm", "gc_storm-x0.5", "gc_storm-x2"]


def test_one_failing_scenario_leaves_the_others(
    fake: _Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.fails = "gc_storm"
    assert recorder.main(["--out", str(tmp_path), "--scenario", "gc_storm", "healthy"]) == 1
    told = capsys.readouterr()
    assert "gc_storm at dose 1 failed:\nit broke" in told.err
    assert "failed: gc_storm at dose 1" in told.out
    assert (tmp_path / "cpu/healthy/fixed/truth.json").is_file()


def test_a_run_that_raises_or_dies_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert in_fresh_process(functools.partial(divmod, 7, 2)) == (3, 1)
    with pytest.raises(RunError, match="invalid literal"):
        in_fresh_process(functools.partial(int, "seven"))
    with pytest.raises(RunError, match="exit status 3"):
        in_fresh_process(functools.partial(os._exit, 3))
    monkeypatch.setattr(runs, "PATIENCE_S", 0.2)
    with pytest.raises(RunError, match=r"within 0\.2 s"):
        in_fresh_process(functools.partial(time.sleep, 60))


def test_a_scenario_from_end_to_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(recorder, "measure", lambda run: measure(replace(run, steps=2)))
    monkeypatch.setattr(recorder, "_ROUNDS", 1)
    assert recorder.main(["--out", str(tmp_path), "--scenario", "healthy", "--publish"]) == 0
    capture = tmp_path / "cpu" / "healthy" / "fixed"
    truth = json.loads((capture / "truth.json").read_text("utf-8"))
    facts = json.loads((capture / "rank0" / "rank.json").read_text("utf-8"))
    assert (facts["ended"], facts["host"]) == ("finished", "host")
    assert [(w["first_step"], w["steps"]) for w in facts["windows"]] == [(13, 10)]
    assert (capture / "rank0" / facts["windows"][0]["file"]).is_file()
    assert truth["unprofiled_step_ms"]["fixed"]["median"] > 1
    assert not list(tmp_path.rglob("scratch-*"))


def test_the_script_runs_by_itself() -> None:
    script = str(TOP / "sample_traces" / "record.py")
    done = subprocess.run([sys.executable, script, "--list"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == len(SCENARIOS)


def test_scrubbing_takes_names_and_paths_and_leaves_the_rest() -> None:
    scrub = scrubber({"node7": "host", "ada": "user"}, {"/home/ada": "~", "/home/ada/runs": "."})
    cases = {
        "node7": "host",
        "node7.example": "host.example",
        "mynode7": "mynode7",
        "ada and adam": "user and adam",
        "/home/ada/runs/a/b": "./a/b",
        "/home/ada/x.py(3): f": "~/x.py(3): f",
        "at /opt/very/deep.so": "at <path>/deep.so",
        "/proc/self/io": "/proc/self/io",
        "1/2 us/step": "1/2 us/step",
        "aten::mm": "aten::mm",
    }
    assert {text: scrub(text) for text in cases} == cases


def test_scrubbing_keeps_numbers_and_escapes() -> None:
    text = '{"ts": 4715646903984.431, "name": "a\\"b", "mount": "/x", "source": "y"}'
    clean = scrubbed(text, scrubber({}, {}))
    assert clean == text.replace('"/x"', '"/"').replace('"y"', '"a device"')


def test_publishing_covers_traces_records_and_facts(tmp_path: Path) -> None:
    rank = tmp_path / "cpu" / "healthy" / "fixed" / "rank0"
    rank.mkdir(parents=True)
    inside = json.dumps({"name": f"{rank}/trace.json"})
    (rank / "window.pt.trace.json.gz").write_bytes(gzip.compress(inside.encode()))
    (rank / "storage.jsonl").write_text(inside + "\n", "utf-8")
    facts = {"host": "node7", "environment": {"slurm": {"node": "n1"}, "python": "3.12"}}
    (rank / "rank.json").write_text(json.dumps(facts), "utf-8")
    publish(rank.parent)
    trace = json.loads(gzip.decompress((rank / "window.pt.trace.json.gz").read_bytes()))
    records = json.loads((rank / "storage.jsonl").read_text("utf-8"))
    assert trace == records == {"name": "./healthy/fixed/rank0/trace.json"}
    kept = json.loads((rank / "rank.json").read_text("utf-8"))
    assert kept == {"host": "host", "environment": {"python": "3.12"}}
