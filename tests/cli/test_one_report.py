"""A command that makes one report: the collector's state is as before, whatever happens inside."""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Iterator

import pytest

from perfkit.cli.memory import one_report


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


@pytest.mark.parametrize("was_on", [True, False])
def test_the_collector_rests_inside_and_is_as_before_afterwards(was_on: bool) -> None:
    (gc.enable if was_on else gc.disable)()
    before = gc.get_freeze_count()
    try:
        with one_report():
            assert not gc.isenabled()
        assert gc.isenabled() is was_on
        assert gc.get_freeze_count() > before
    finally:
        gc.enable()


def test_a_failure_comes_through_and_freezes_nothing() -> None:
    before = gc.get_freeze_count()
    with pytest.raises(ValueError, match="inside"), one_report():
        raise ValueError("inside")
    assert gc.isenabled()
    assert gc.get_freeze_count() <= before  # what was frozen earlier may be freed meanwhile


def test_settings_of_numpy_that_the_user_made_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    monkeypatch.delenv("NUMPY_MADVISE_HUGEPAGE", raising=False)
    with one_report():
        assert os.environ["OPENBLAS_NUM_THREADS"] == "3"
        assert os.environ["NUMPY_MADVISE_HUGEPAGE"] == "0"


@pytest.mark.parametrize("library", [object(), None])
def test_other_c_libraries_go_on(monkeypatch: pytest.MonkeyPatch, library: object) -> None:
    def opened(_: None) -> object:
        if library is None:
            raise OSError("no such library")
        return library

    monkeypatch.setattr(ctypes, "CDLL", opened)
    with one_report():
        assert not gc.isenabled()
