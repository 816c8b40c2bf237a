"""The command line as a user and a script meet it."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from perfkit.reports import advice
from sample_traces.simulator import SCENARIOS, simulate, trace_text
from tests.cli.conftest import Run, Said


@pytest.fixture(scope="session")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated run that waits for its data."""
    text = trace_text(SCENARIOS["input_bound"], simulate("input_bound", 0, 4).recording)
    path = tmp_path_factory.mktemp("cli") / "trace.json.gz"
    path.write_bytes(gzip.compress(text.encode()))
    return path


BELOW_A_FILE = "file/report.json"
WINDOWS = "cp1252"


def process(*arguments: object, **variables: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "perfkit", *map(str, arguments)]
    environment = os.environ | variables
    return subprocess.run(command, env=environment, capture_output=True, check=False)


def one_sentence(message: str) -> str:
    """Checks that the message is one line that names the program, and returns it."""
    assert message.startswith("perfkit: ")
    assert message.endswith(".\n")
    assert message.count("\n") == 1
    return message


def test_a_trace_is_analyzed(run: Run, trace: Path) -> None:
    code, out, err = run("analyze", trace)
    assert (code, err) == (0, "")
    assert "dataloader-starvation" in out
    assert "\x1b" not in out


def test_json_on_standard_output_is_nothing_but_json(run: Run, trace: Path) -> None:
    code, out, err = run("analyze", trace, "--json", "-")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["source"]["path"] == str(trace)
    assert found["findings"][0]["code"] == "dataloader-starvation"


def test_markdown_on_standard_output_is_nothing_but_markdown(run: Run, trace: Path) -> None:
    code, out, err = run("analyze", trace, "--markdown", "-")
    assert (code, err) == (0, "")
    assert out.lstrip()[0] in "#*<"
    assert "dataloader-starvation" in out


def test_html_on_standard_output_is_nothing_but_html(run: Run, trace: Path) -> None:
    code, out, err = run("analyze", trace, "--html", "-")
    assert (code, err) == (0, "")
    assert out.lower().startswith("<!doctype html>")
    assert out.rstrip().endswith("</html>")


def test_every_report_goes_to_its_file(run: Run, trace: Path, tmp_path: Path) -> None:
    files = {kind: tmp_path / f"report.{kind}" for kind in ("html", "json", "markdown")}
    options = [word for kind, path in files.items() for word in (f"--{kind}", path)]
    code, out, _ = run("analyze", trace, *options)
    assert code == 0
    assert "dataloader-starvation" in out
    assert all("dataloader-starvation" in path.read_text("utf-8") for path in files.values())
    assert sorted(tmp_path.iterdir()) == sorted(files.values())


def test_a_report_replaces_what_was_there(run: Run, trace: Path, tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    target.write_text("old " * 100_000)
    assert run("analyze", trace, "--json", target)[0] == 0
    json.loads(target.read_text("utf-8"))


@pytest.mark.parametrize("target", ["missing/report.json", "folder", BELOW_A_FILE])
def test_a_target_that_cannot_be_written(
    run: Run, trace: Path, tmp_path: Path, target: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    code, out, err = run("analyze", trace, "--json", tmp_path / target)
    assert (code, out) == (2, "")
    assert f"Cannot write {tmp_path / target}" in one_sentence(err)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_two_reports_cannot_share_standard_output(run: Run, trace: Path) -> None:
    code, out, err = run("analyze", trace, "--json", "-", "--markdown", "-")
    assert (code, out) == (2, "")
    assert "Only one report" in one_sentence(err)


def test_a_browser_needs_a_file(run: Run, trace: Path) -> None:
    for html in ([], ["--html", "-"]):
        code, out, err = run("analyze", trace, "--open", *html)
        assert (code, out) == (2, "")
        assert "add --html" in one_sentence(err)


def test_a_browser_opens_the_file(
    run: Run, trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    target = tmp_path / "a report.html"
    assert run("analyze", trace, "--html", target, "--open")[0] == 0
    assert opened == [target.resolve().as_uri()]


def test_the_trace_is_never_overwritten(run: Run, trace: Path) -> None:
    before = trace.read_bytes()
    code, _, err = run("analyze", trace, "--json", trace)
    assert code == 2
    assert "would overwrite" in one_sentence(err)
    assert trace.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "There is no file"),
        (b"", "is empty"),
        (b"hello", "is no PyTorch Profiler trace"),
        (b"[]", "holds no profiler events"),
        (b"\x1f\x8b\x08\0", "damaged"),
    ],
)
def test_what_cannot_be_read(run: Run, tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "trace.json"
    if content is not None:
        path.write_bytes(content)
    target = tmp_path / "out.json"
    code, out, err = run("analyze", path, "--json", target)
    assert (code, out) == (2, "")
    assert message in one_sentence(err)
    assert not target.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--nosuch"], ["nosuch"], ["analyze"], ["analyze", "--nosuch"], ["analyze", "x", "y"]),
        *(["analyze", "x", "--json"], ["explain", "a", "b"], ["whatif", "x", "--fix"]),
    ],
)
def test_a_wrong_command_line(run: Run, arguments: list[str]) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert re.fullmatch(r"perfkit: .{10,}\n", err)


@pytest.mark.parametrize("option", ["--rule", "--ignore"])
def test_an_unknown_rule(run: Run, trace: Path, option: str) -> None:
    code, out, err = run("analyze", trace, option, "nosuch")
    assert (code, out) == (2, "")
    assert "nosuch" in one_sentence(err)


def test_advice_can_be_chosen(run: Run, trace: Path) -> None:
    def codes(*options: str) -> list[str]:
        found = json.loads(run("analyze", trace, "--json", "-", *options)[1])["findings"]
        return [finding["code"] for finding in found]

    assert codes("--rule", "dataloader-starvation") == ["dataloader-starvation"]
    assert "dataloader-starvation" not in codes("--ignore", "dataloader-starvation")


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_lists_the_commands(run: Run, flag: str) -> None:
    code, out, err = run(flag)
    assert (code, err) == (0, "")
    assert out.startswith("Usage: ")
    assert "analyze" in out
    assert "explain" in out


@pytest.mark.parametrize("command", ["analyze", "explain", "whatif"])
def test_help_of_each_command(run: Run, command: str) -> None:
    code, out, err = run(command, "--help")
    assert (code, err) == (0, "")
    assert out.startswith("Usage: ")
    assert f"{command} [OPTIONS]" in out


def test_no_command_shows_the_help(run: Run) -> None:
    _, out, err = run()
    assert "analyze" in out + err


def test_the_version(run: Run) -> None:
    import perfkit

    code, out, _ = run("--version")
    assert code == 0
    assert perfkit.__version__ in out


def test_explain_lists_the_rules(run: Run) -> None:
    code, out, err = run("explain")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == list(advice.codes())


@pytest.mark.parametrize("rule", advice.codes())
def test_explain_has_a_page_for_each_rule(run: Run, rule: str) -> None:
    code, out, err = run("explain", rule)
    assert (code, err) == (0, "")
    assert rule in out
    assert len(out) > 300


def test_explain_an_unknown_rule(run: Run) -> None:
    code, out, err = run("explain", "nosuch")
    assert (code, out) == (2, "")
    assert "nosuch" in one_sentence(err)


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["explain", "launch_bond"], "launch-bound"),
        (["explain", "starvation"], "dataloader-starvation"),
        (["analyze", "x", "--ignore", "Pageable-Copies"], "pageable-copy"),
        (["whatif", "x", "--fix", "cudagraphs"], "cuda-graphs"),
        (["whatif", "x", "--fix", "loader"], "dataloader"),
    ],
)
def test_a_misspelt_name_gets_the_one_that_was_meant(
    run: Run, arguments: list[str], meant: str
) -> None:
    code, _, err = run(*arguments)
    assert code == 2
    assert f"did you mean {meant}?" in one_sentence(err)


@pytest.mark.parametrize("number", ["abc", "0", "1.5"])
def test_a_number_that_is_none_is_told_what_is_wanted(run: Run, trace: Path, number: str) -> None:
    code, out, err = run("analyze", trace, "--gpus", number)
    assert (code, out) == (2, "")
    assert f"--gpus takes a whole number from 1 on, not '{number}'" in one_sentence(err)


@pytest.mark.parametrize("options", [(), ("--ignore", "launch-bound")])
def test_every_report_says_what_was_left_out(run: Run, trace: Path, options: Said) -> None:
    told = [run("analyze", trace, *options)[1]]
    told += [run("analyze", trace, f"--{f}", "-", *options)[1] for f in ("markdown", "html")]
    for text in told:
        assert ("rule launch-bound" in text) is bool(options)
        assert "of the step (--all)" in " ".join(text.split())
        assert "Left out:" in text
    assert "of the step (--all)" not in run("analyze", trace, "--all")[1]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_on_a_terminal_only(
    run: Run, trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    code, out, _ = run("analyze", trace, "--json", "-")
    assert code == 0
    json.loads(out)
    assert "Reading" in terminal.getvalue()
    assert "100%" in terminal.getvalue()


def test_nothing_but_the_report_in_a_pipe(trace: Path) -> None:
    ended = process("analyze", trace, "--json", "-")
    assert (ended.returncode, ended.stderr) == (0, b"")
    json.loads(ended.stdout)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", WINDOWS])
def test_names_in_any_script_in_any_locale(tmp_path: Path, encoding: str) -> None:
    text = trace_text(SCENARIOS["sync_bound"], simulate("sync_bound", 0, 3).recording)
    path = tmp_path / "trace.json"
    path.write_text(text.replace("aten::", "aten\N{SNOWMAN}::"), "utf-8")
    ended = process("analyze", path, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_a_reader_that_leaves_early_is_no_failure(trace: Path) -> None:
    command = [sys.executable, "-m", "perfkit", "analyze", str(trace), "--json", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        assert child.stderr.read() == b""
    assert child.returncode == 0


def test_an_interrupt_ends_without_a_traceback(
    run: Run, trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("perfkit.api.analyze", interrupt)
    code, out, err = run("analyze", trace)
    assert (code, out, err.strip()) == (130, "", "")


def test_a_project_s_table_leaves_rules_out(
    trace: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.perfkit]\nignore = ["dataloader-starvation"]\n')
    monkeypatch.chdir(tmp_path)
    _, out, _ = run("analyze", trace, "--json", "-")
    assert "dataloader-starvation" not in {f["code"] for f in json.loads(out)["findings"]}


def test_all_shows_small_findings_and_audience_chooses(trace: Path, run: Run) -> None:
    def findings(*options: str) -> list[dict[str, Any]]:
        found = json.loads(run("analyze", trace, "--json", "-", *options)[1])
        return list(found["findings"])

    assert all(f["cost_share"] >= 0.005 for f in findings())
    assert len(findings("--all")) > len(findings())
    assert all(f["audience"] == "infrastructure" for f in findings("--audience", "infrastructure"))
