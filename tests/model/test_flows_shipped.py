"""The detector of flows that ships: sound, small, and of the table that this version has."""

from __future__ import annotations

from pathlib import Path

from streams.adapters.store.models import open_store, shipped
from streams.core.flow.table import FLOW
from streams.core.topics import ATTACK_CLASSES

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
