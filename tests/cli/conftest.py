from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from perfkit.cli import main

Said = tuple[int, str, str]
Run = Callable[..., Said]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process: (exit status, standard output, standard error)."""

    def perfkit(*arguments: object) -> Said:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, said.out, said.err

    return perfkit


def refusal(said: Said) -> str:
    """What a refused command says: one sentence, and exit status 2."""
    code, out, err = said
    assert (code, out) == (2, "")
    assert re.fullmatch(r"perfkit: [A-Z'/\-].+[.?]\n", err)
    return err
