"""Nothing that happens inside perfkit, or to it, changes what the training run does."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import perfkit
from tests.collectors.training import (
    BODY,
    DECORATED,
    LOOP,
    SHOW,
    STEPS,
    rank_file,
    run,
    start,
    step_count,
)

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the script prints without perfkit."""
    return run(BODY + LOOP + SHOW, folder=tmp_path_factory.mktemp("plain")).stdout


@pytest.mark.parametrize("loop", [STEPS, DECORATED], ids=["steps", "decorator"])
def test_losses_are_the_same_bit_for_bit(tmp_path: Path, loop: str, plain: str) -> None:
    assert run(BODY + loop + SHOW, "capture", folder=tmp_path).stdout == plain
    assert step_count(tmp_path / "capture") == 40
    assert rank_file(tmp_path / "capture").ended == "finished"
    assert perfkit.open_trace(tmp_path / "capture/rank0/window8.pt.trace.json.gz")


def test_losses_are_the_same_under_perfkit_run(tmp_path: Path, plain: str) -> None:
    (tmp_path / "train.py").write_text(BODY + LOOP + SHOW)
    command = [sys.executable, "-m", "perfkit", "run", "-o", "capture", "train.py"]
    result = start(command, tmp_path, True, {})
    assert result.stdout == plain
    assert "perfkit: recorded; see it with: perfkit analyze capture\n" in result.stderr
    assert step_count(tmp_path / "capture") == 39  # the first has no known begin
    assert rank_file(tmp_path / "capture").step_marker == "optimizer"


def test_a_disabled_decorator_is_the_function_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERFKIT_DISABLE", "1")

    def step() -> None: ...

    assert perfkit.profile("nowhere")(step) is step
    batches = [1, 2]
    with perfkit.profile("nowhere") as p:
        assert p.steps(batches) is batches
        p.step()
    assert not Path("nowhere").exists()


def test_an_unwritable_folder_is_said_once(tmp_path: Path, plain: str) -> None:
    (tmp_path / "file").write_text("")
    result = run(BODY + STEPS + SHOW, "file/capture", folder=tmp_path)
    assert result.stdout == plain
    assert result.stderr.count("cannot be written") == 1
    assert "choose a folder" in result.stderr


def test_a_full_disk_changes_nothing_and_leaves_whole_files(tmp_path: Path, plain: str) -> None:
    limit = (
        "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))\n"
    )
    result = run(limit + BODY + STEPS + SHOW, "capture", folder=tmp_path)
    assert result.stdout == plain
    assert "left out" in result.stderr
    assert rank_file(tmp_path / "capture")
    step_count(tmp_path / "capture")  # every line is whole
    assert not list((tmp_path / "capture/rank0").glob("*.gz"))
    assert not list((tmp_path / "capture/rank0").glob(".*"))


KILL = """
import perfkit
with perfkit.profile(sys.argv[1], active=500) as p:
    for batch in p.steps(loader):
        train_step(batch)
        time.sleep(0.05)
        if len(losses) == 30:
            os.kill(os.getpid(), getattr(signal, sys.argv[2]))
"""


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_a_killed_run_dies_as_ever_and_leaves_what_it_wrote(tmp_path: Path, name: str) -> None:
    result = run(BODY + KILL, "capture", name, folder=tmp_path, check=False)
    assert result.returncode == -getattr(signal, name)
    assert rank_file(tmp_path / "capture").ended is None
    assert step_count(tmp_path / "capture") >= 5  # all but the last second or so


RAISE = """
import perfkit
try:
    with perfkit.profile(sys.argv[1], active=5) as p:
        for batch in p.steps(loader):
            train_step(batch)
            if len(losses) == 20:
                raise KeyError("mine")
except KeyError as error:
    print(repr(error))
"""


def test_the_users_exception_passes_and_the_capture_says_so(tmp_path: Path) -> None:
    assert run(BODY + RAISE, "capture", folder=tmp_path).stdout == "KeyError('mine')\n"
    facts = rank_file(tmp_path / "capture")
    assert (facts.ended, facts.error) == ("exception", "KeyError")
    assert [window.steps for window in facts.windows] == [5]


SKIP = """
import perfkit
failed = 0
@perfkit.profile(sys.argv[1], active=5)
def step(batch):
    if len(losses) in (10, 12):
        losses.append(0.0)
        raise ValueError
    train_step(batch)
for batch in loader:
    try:
        step(batch)
    except ValueError:
        failed += 1
print(failed)
"""


def test_a_step_that_raises_is_none_and_the_next_ones_count(tmp_path: Path) -> None:
    assert run(BODY + SKIP, "capture", folder=tmp_path).stdout == "2\n"
    assert step_count(tmp_path / "capture") == 38


OTHER = """
import perfkit
from torch.profiler import profile as other
with perfkit.profile(sys.argv[1], active=500) as p:
    for batch in p.steps(loader):
        if len(losses) == 15:
            with perfkit.annotate("around the start"):
                mine = other()
                mine.start()
            train_step(batch)
            mine.stop()
            print(any(event.key == "aten::linear" for event in mine.key_averages()))
        else:
            train_step(batch)
"""


def test_another_profiler_gets_its_events(tmp_path: Path) -> None:
    result = run(BODY + OTHER, "capture", folder=tmp_path)
    assert result.stdout == "True\n"
    assert "Another profiler was started" in result.stderr
    assert step_count(tmp_path / "capture") == 40


AROUND = """
import perfkit
from torch.profiler import profile as other, record_function
marks = []
with perfkit.profile(sys.argv[1], wait=1, warmup=1, active=5) as p:
    for batch in p.steps(loader):
        if len(losses) in (4, 9):
            marks.append(record_function("theirs"))
            marks[-1].__enter__()
        if len(losses) == int(sys.argv[2]):
            mine = other()
            mine.start()
        train_step(batch)
        if len(losses) == int(sys.argv[2]) + 5:
            while marks:
                marks.pop().__exit__(None, None, None)
            mine.stop()
print(any(event.key == "aten::linear" for event in mine.key_averages()))
"""


@pytest.mark.parametrize("start_at", [5, 10], ids=["inside the window", "after it"])
def test_a_range_of_the_window_may_end_under_another_profiler(
    tmp_path: Path, start_at: int
) -> None:
    assert run(BODY + AROUND, "capture", start_at, folder=tmp_path).stdout == "True\n"
    if start_at == 10:
        trace = perfkit.open_trace(tmp_path / "capture")
        assert [trace.names[i] for i in trace.name].count("theirs") == 1


def test_a_profiler_that_runs_already_is_left_alone(tmp_path: Path) -> None:
    around = (
        "from torch.profiler import profile as other\nmine = other()\nmine.start()\n"
        + STEPS
        + "mine.stop()\nprint(sum(e.key == 'aten::linear' for e in mine.events()))\n"
    )
    result = run(BODY + around, "capture", folder=tmp_path)
    assert result.stdout == "80\n"
    assert rank_file(tmp_path / "capture").windows == []


FORK = """
import perfkit
with perfkit.profile(sys.argv[1], active=5) as p:
    for batch in p.steps(loader):
        train_step(batch)
        if len(losses) == 20:
            child = os.fork()
            if child == 0:
                for batch in p.steps(loader):
                    train_step(batch)
                p.__exit__(None, None, None)
                os._exit(len(losses) % 256)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_child_goes_on_and_writes_nothing(tmp_path: Path) -> None:
    assert run(BODY + FORK, "capture", folder=tmp_path).stdout == "60\n"
    assert step_count(tmp_path / "capture") == 40


BROKEN = """
import perfkit
from perfkit.collectors import memory
def fail(self, *_):
    raise RuntimeError("inside perfkit")
setattr(memory.Memory, sys.argv[2], fail)
"""


@pytest.mark.parametrize("method", ["start", "step", "stop", "__init__"])
def test_a_collector_that_fails_is_left_out(tmp_path: Path, method: str, plain: str) -> None:
    result = run(BODY + BROKEN + STEPS + SHOW, "capture", method, folder=tmp_path)
    assert result.stdout == plain
    assert result.stderr.count("inside perfkit") == 1
    facts = rank_file(tmp_path / "capture")
    assert (step_count(tmp_path / "capture"), len(facts.windows)) == (40, 1)


def test_the_scripts_exit_status_and_traceback_are_its_own(tmp_path: Path) -> None:
    script = "import sys\ndef f():\n    raise OSError(28, 'mine')\nf()\n"
    plain = run(script, folder=tmp_path, check=False)
    command = [sys.executable, "-m", "perfkit", "run", str(tmp_path / "train.py")]
    result = start(command, tmp_path, False, {})
    assert (result.returncode, result.stderr) == (plain.returncode, plain.stderr)
    (tmp_path / "train.py").write_text("import sys\nsys.exit(int(sys.argv[1]))\n")
    assert start([*command, "7"], tmp_path, False, {}).returncode == 7


def test_an_interrupted_run_ends_as_an_interrupted_python(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(BODY + "print('ready', flush=True)\ntime.sleep(60)\n")
    command = [sys.executable, "-m", "perfkit", "run", "train.py"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=90)  # a lost signal ends the sleep, with status 0
    assert process.returncode == -signal.SIGINT
