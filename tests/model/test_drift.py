"""Drift is nothing on what training saw, moves by the feature that moved, and is told of the right hour."""

from __future__ import annotations

import dataclasses
import doctest
import uuid
from types import MappingProxyType

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streams.adapters.store.models import open_store
from streams.core.events import Events, Source
from streams.core.kdd99 import KDD99
from streams.core.usual import Usual
from streams.core.windows import WindowLayout, advance
from streams.model import drift
from streams.model.classified import Classified
from streams.model.detector import Detector, Verdicts
from streams.model.drift import KEPT_HOURS, LEAST_EVENTS, OUTSIDE, Drift, DriftFigures, range_psi

LAYOUT = WindowLayout(KDD99)
SOURCE = Source("ids.telemetry", uuid.UUID(int=7), 3)
HOUR_US = 3_600_000_000
MANY = LEAST_EVENTS
SENT = KDD99.numeric_names.index("src_bytes")


def detector(seed: int = 1, *, usual: bool = True) -> Detector:
    """Usual in its normal events: 10 to 20 bytes sent, 0 to 1 of everything else; `http` alone was seen."""
    base = Detector.random(KDD99, seed=seed)
    ranges = [(0.0, 1.0)] * len(KDD99.numeric)
    ranges[SENT] = (10.0, 20.0)
    of = Usual(tuple(ranges), ((),) * len(KDD99.symbolic))
    service = KDD99.symbolic_names.index("service")
    seen = list(base.parameters.seen_codes)
    seen[service] = (KDD99.symbolic[service].code("http"),)
    parameters = dataclasses.replace(
        base.parameters,
        usual=MappingProxyType({"normal": of} if usual else {}),
        seen_codes=tuple(seen),
    )
    return Detector(base.identity, parameters, base.network)


def judged(
    of: Detector, sent: list[float], *, hour: int = 0, verdict: int = 0, service: str = "http"
) -> Classified:
    """Events of one device each, all in one hour, with the same verdict."""
    count = len(sent)
    rows = np.zeros(count, KDD99.row)
    rows["numbers"][:, SENT] = sent
    for place, column in enumerate(KDD99.symbolic):
        rows["codes"][:, place] = column.code(service) if column.name == "service" else 1
    offsets = np.arange(count)
    events = Events(
        offsets, offsets, np.full(count, hour * HOUR_US + 7), [f"d{i}" for i in range(count)], rows
    )
    step = advance(LAYOUT.blank(count, SOURCE), offsets, events, 10**9)
    verdicts = Verdicts(
        np.full(count, verdict), np.zeros(count, np.int64), np.zeros((count, 1), np.float32),
        np.zeros(count, np.float32),
    )  # fmt: skip
    return Classified([SOURCE], np.zeros(count, np.int64), events, step, of, verdicts)


def told(of: Detector, *turns: Classified) -> DriftFigures | None:
    drift = Drift(lambda: of.identity.digest)
    for turn in turns:
        drift.note(turn)
    return drift.figures()


def test_the_example_holds() -> None:
    assert doctest.testmod(drift, extraglobs={"np": np}).failed == 0


def test_what_is_usual_has_no_drift_and_a_number_that_moves_has_it_alone() -> None:
    of = detector()
    usual = told(of, judged(of, [10.0, 15.0, 20.0, 12.0] * MANY))
    assert usual is not None
    assert set(usual.psi.values()) == {0.0}
    assert (usual.events, usual.novel) == (4 * MANY, 0.0)
    moved = told(of, judged(of, [15.0, 21.0] * MANY))
    assert moved is not None
    assert moved.psi["src_bytes"] > 1
    assert {name for name, index in moved.psi.items() if index} == {"src_bytes"}


def test_events_that_are_not_called_normal_move_no_number_but_count_among_novel_and_unknown() -> None:
    of = detector()
    novel = len(of.classes)
    found = told(
        of,
        judged(of, [15.0] * MANY),
        judged(of, [9e9] * MANY, verdict=novel, service="smtp"),
        judged(of, [9e9] * 2 * MANY, verdict=1),
    )
    assert found is not None
    assert (found.psi["src_bytes"], found.novel) == (0.0, 0.25)
    assert found.unknown == {"protocol_type": 0.0, "service": 0.25, "flag": 0.0}


def test_an_hour_is_told_once_it_has_enough_events_and_the_one_before_until_then() -> None:
    of, said = detector(), []
    drift = Drift(lambda: of.identity.digest)
    for hour, count in ((5, MANY - 1), (5, 1), (6, MANY - 1), (5, 2), (6, 1), (6, 10)):
        drift.note(judged(of, [15.0] * count, hour=hour))
        found = drift.figures()
        said.append(None if found is None else (found.hour_start_s // 3600, found.events))
    assert said == [None, (5, MANY), (5, MANY), (5, MANY + 2), (6, MANY), (6, MANY + 10)]


def test_clocks_that_are_wrong_take_no_memory() -> None:
    of = detector()
    turn = judged(of, [15.0] * 1000)
    times = np.arange(1000) * HOUR_US
    times[:MANY] = 9 * HOUR_US
    drift = Drift(lambda: of.identity.digest)
    for _ in range(3):
        drift.note(dataclasses.replace(turn, events=dataclasses.replace(turn.events, event_time_us=times)))
        assert len(drift._hours) == 2  # of each turn those of the most events alone
    found = drift.figures()
    assert found is not None
    assert (found.hour_start_s, found.events) == (9 * 3600, 3 * MANY)
    for hour in range(20, 30):
        drift.note(judged(of, [15.0], hour=hour))
    assert len(drift._hours) == KEPT_HOURS


def test_another_champion_begins_anew_and_what_a_former_one_still_judges_does_not_count() -> None:
    old, new = detector(1), detector(2)
    serving = [old]
    drift = Drift(lambda: serving[0].identity.digest)
    drift.note(judged(old, [50.0] * MANY))
    serving[0] = new
    drift.note(judged(new, [15.0] * MANY))
    drift.note(judged(old, [50.0] * MANY))
    found = drift.figures()
    assert found is not None
    assert (found.digest, found.events, found.psi["src_bytes"]) == (new.identity.digest, MANY, 0.0)
    serving[0] = old  # rolled back
    drift.note(judged(old, [15.0] * MANY))
    found = drift.figures()
    assert found is not None
    assert (found.digest, found.psi["src_bytes"]) == (old.identity.digest, 0.0)


def test_a_model_that_does_not_say_what_is_usual_has_no_index_but_the_shares() -> None:
    of = detector(usual=False)
    found = told(of, judged(of, [15.0] * MANY, service="smtp"))
    assert found is not None
    assert (found.psi, found.unknown["service"]) == ({}, 1.0)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_the_index_is_0_within_the_quantiles_and_grows_with_what_is_outside(a: int, b: int, c: int) -> None:
    """In percent of the events: below in two hours, and above in both."""
    below, above = np.array(sorted((a, b))) / 100, np.array([c, c]) / 100
    found = range_psi(below, above)
    assert ((found > 1e-9) == ((below > OUTSIDE) | (above > OUTSIDE))).all()
    assert -1e-9 <= found[0] <= found[1] + 1e-9


def test_the_model_that_ships_says_what_is_usual() -> None:
    shipped = open_store().load("kdd99@champion")
    rows = Drift(lambda: shipped.identity.digest)
    rows.note(judged(shipped, [300.0] * MANY))
    found = rows.figures()
    assert found is not None
    assert set(found.psi) == set(KDD99.numeric_names)
    assert found.psi["src_bytes"] == 0.0
