"""The detector of flows that ships: sound, small, and of the table that this version has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streams.adapters.store.models import open_store, shipped
from streams.core.flow.table import FLOW
from streams.core.topics import ATTACK_CLASSES
from tests.model.test_evidence import EVIDENCE_AT, NUMBERS, odds, some_rows

STORE = open_store()


def test_the_champion_of_flows_is_sound_and_small() -> None:
    detector = STORE.load("flows@champion")
    assert detector.table is FLOW
    assert detector.classes[0] == "normal"
    assert set(detector.classes[1:]) <= set(ATTACK_CLASSES)
    assert {"strict", "operator", "sensitive"} == detector.parameters.operating_points.keys()
    folder = Path(shipped()) / "flows" / detector.identity.version
    assert sum(path.stat().st_size for path in folder.iterdir()) < 2 * 2**20


def test_its_card_says_what_it_does_not_find_and_what_its_captures_allow() -> None:
    card = STORE.describe("flows@champion")[1]
    for told in ("What it does not claim", "NetFlow's fields alone", "CC BY 4.0", "GPL-2.0", "train flows"):
        assert told in card


@pytest.mark.parametrize("column", EVIDENCE_AT, ids=[NUMBERS[at] for at in EVIDENCE_AT])
def test_more_evidence_never_lowers_a_score_of_it(column: int) -> None:
    detector, before = STORE.load("flows@champion"), some_rows(200, column)
    lowest = odds(detector, before)
    for more in (1.0, 5.0, 90.0):
        after = before.copy()
        after["numbers"][:, column] += np.float32(more)
        found = odds(detector, after)
        assert (found >= lowest - 1e-4).all()
        lowest = found


def test_its_trees_speak_of_scans_and_c2_alone() -> None:
    trees = STORE.load("flows@champion").network.trees
    speak = trees.leaves.abs().amax((0, 1)) > 0
    classes = STORE.load("flows@champion").classes[1:]
    assert {name for name, it in zip(classes, speak.tolist(), strict=True) if it} == {"probe", "c2"}
