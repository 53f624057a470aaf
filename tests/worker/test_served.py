"""Which models begin, at which operating point, by the settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.adapters.store.models import open_store
from streams.errors import SettingsError
from streams.settings import Settings
from streams.worker.served import begins

STORE = str(Path(__file__).parents[2] / "model_store")


def points(**settings: str) -> list[str]:
    of = Settings(model_store=STORE, flow_topics="ids.sensors", **settings)  # type: ignore[arg-type]
    return [begin.detector.operating_point for begin in begins(of, open_store(STORE))]


def test_each_family_begins_at_an_operating_point_of_its_own() -> None:
    assert points() == ["operator", "operator"]
    assert points(operating_point="contest") == ["contest", "operator"]
    assert points(flow_operating_point="strict") == ["operator", "strict"]


def test_a_point_that_the_model_of_flows_lacks_is_named_with_those_it_has() -> None:
    with pytest.raises(SettingsError, match=r"flows/2 has no operating point 'contest'; it has .*strict"):
        points(flow_operating_point="contest")
