from __future__ import annotations

import pytest

from perfkit.model.diagnosis import Diagnosis
from tests.reports.diagnoses import make_diagnosis, make_empty


@pytest.fixture
def slow() -> Diagnosis:
    return make_diagnosis()


@pytest.fixture
def empty() -> Diagnosis:
    return make_empty()
