"""A model of flows is an artifact like any other, and looks at every kind of verdict."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from streams.adapters.store.models import open_store
from streams.core.flow.table import FLOW
from streams.model.gate import standard_rows
from tests.flow_model import flow_detector, save_flow_model


def test_a_model_of_flows_is_stored_and_loaded_like_any_other(tmp_path: Path) -> None:
    ref = save_flow_model(tmp_path)
    loaded = open_store(str(tmp_path)).load(ref)
    made = flow_detector()
    assert (loaded.identity.name, loaded.identity.version, loaded.table) == ("flows", "1", FLOW)
    assert loaded.parameters == made.parameters


def test_its_verdicts_on_rows_of_flows_differ() -> None:
    detector = flow_detector()
    rows = standard_rows(FLOW, 200)
    index = np.arange(200)[:, None] - np.arange(detector.width)[::-1]
    verdicts = detector.classify(detector.encode(rows), np.maximum(index, 0), index >= 0)
    assert len(set(verdicts.verdict.tolist())) >= 3
    assert 0 in verdicts.verdict, "some are normal"
