"""Thresholds come of clean flows of other networks, and keep to the false incidents that are allowed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import DataError
from streams.training.flow_protocol.deciding import Budget, limit, margins, thresholds, verdicts
from streams.training.flow_protocol.folds import Fold, LeaveOut, folds
from streams.training.flow_protocol.incidents import incidents
from streams.training.flow_protocol.labelled import CLASSES, LabelledFlows
from streams.training.flow_protocol.watched import Watched
from tests.labelled_flows import flows_of

SCORES = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.booleans()), min_size=1, max_size=60)


@given(SCORES, st.floats(0, 0.99))
def test_no_more_than_the_share_of_clean_flows_is_above_and_no_lower_threshold_would_do(
    told: list[tuple[float, float, bool]], share: float
) -> None:
    scores = np.array([one[:2] for one in told])
    clean = np.array([one[2] for one in told])
    if not clean.any():
        with pytest.raises(DataError, match="no clean flows"):
            thresholds(scores, clean, share)
        return
    limits = thresholds(scores, clean, share)
    allowed = int(share * clean.sum())
    assert ((scores[clean] > limits).sum(0) <= allowed).all()
    assert ((scores[clean] >= limits).sum(0) > allowed).all()


def test_the_verdict_is_the_class_furthest_above_its_threshold_and_novel_only_where_none_is() -> None:
    scores = np.array([[0.9, 0.3, 9.0], [0.2, 0.3, 9.0], [0.9, 0.95, 0.0], [0.5, 0.2, 9.0], [0.0, 0.0, 0.0]])
    limits = np.array([0.5, 0.2, 5.0])
    assert verdicts(scores - limits, classes=2).tolist() == [1, 2, 2, 3, 0]


def clean_days(*scores: float) -> tuple[LabelledFlows, np.ndarray[Any, Any]]:
    """A device a data set, watched for three hours, whose ten last flows score so."""
    told, found = [], []
    for capture, score in enumerate(scores):
        for at in range(200):
            told.append((capture, 0, 60 * at, "normal", False))
            found.append(score if at >= 190 else -5.0)
    return flows_of(*told), np.repeat(np.array(found)[:, None], 4, axis=1)


def test_a_fold_has_no_say_in_its_own_thresholds() -> None:
    flows, scores = clean_days(1.0, 2.0)
    halves = [Fold("low", flows.capture == 0), Fold("high", flows.capture == 1)]
    found = verdicts(margins(scores, flows, halves, Budget(0.0, 0.0))) > 0
    assert found[flows.capture == 1].sum() == 10
    assert not found[flows.capture == 0].any()


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=4), st.sampled_from([0.0, 1.0, 3.0, 9.0]))
def test_a_threshold_keeps_to_its_budget_of_false_incidents(told: list[float], steady: float) -> None:
    flows, scores = clean_days(*told)
    watched = Watched.of(flows, np.ones(len(flows), bool))
    found = limit(scores[:, 0], flows.clean, watched, Budget(steady, 0.0))
    assert watched.false_incidents(scores[:, 0] > found)[0] <= steady
    assert found <= scores.max()


def test_a_looser_budget_gives_a_lower_threshold() -> None:
    flows, scores = clean_days(1.0, 2.0, 3.0)
    watched = Watched.of(flows, np.ones(len(flows), bool))
    limits = [limit(scores[:, 0], flows.clean, watched, Budget(one, 0.0)) for one in (0.0, 3.0, 6.0, 9.0)]
    assert limits == [3.0, 2.0, 1.0, -5.0]


def test_a_class_of_one_network_alone_may_cost_a_tenth() -> None:
    assert Budget(1.0, 20.0).of("r2l") == Budget(0.1, 2.0)
    assert Budget(1.0, 20.0).of("probe") == Budget(1.0, 20.0)


def test_novelty_alone_may_flag_few_clean_flows() -> None:
    flows = flows_of(*((0, 0, at, "normal", False) for at in range(10_000)), (1, 0, 0, "normal", False))
    scores = np.zeros((10_001, 5))
    scores[:10_000, 4], scores[10_000, 4] = np.arange(10_000), 9_998.5
    halves = [Fold("others", flows.capture == 0), Fold("held", flows.capture == 1)]
    assert verdicts(margins(scores, flows, halves, Budget(0.0, 0.0)))[-1] == len(CLASSES)
    scores[10_000, 4] = 9_997.0
    assert verdicts(margins(scores, flows, halves, Budget(0.0, 0.0)))[-1] == 0


FLOWS = st.tuples(
    st.integers(0, 1), st.integers(0, 2), st.integers(0, 20_000), st.sampled_from(["normal", None]),
    st.booleans(),
)  # fmt: skip


@given(st.lists(st.tuples(FLOWS, st.booleans()), min_size=1, max_size=80))
def test_false_incidents_counted_from_alerts_alone_are_those_of_all_flows(told: list[Any]) -> None:
    told = sorted(told, key=lambda it: it[0][0])
    flows = flows_of(*(one for one, _ in told), datasets=("setup", "b"))
    alert = np.array([rings for _, rings in told]) & flows.scored
    there = flows.scored
    counts = incidents(flows.device[there], flows.end_us[there], alert[there]).counts
    watched = Watched.of(flows, np.ones(len(flows), bool))
    for days, part, rate in zip(
        watched.days,
        (~flows.setting_up, flows.setting_up),
        watched.false_incidents(alert),
        strict=True,
    ):
        number = len(set(counts[part[there]].tolist()) - {-1})
        assert rate == pytest.approx(number / days if days else 0.0)


def test_every_flow_is_held_once_by_its_data_set_capture_or_group() -> None:
    told = [(at, 0, s, "normal", False) for at in range(6) for s in range(3)]
    told += [(at, 1, s, "probe", False) for at in (1, 3) for s in range(3)]
    flows = flows_of(*sorted(told), datasets=("a", "b", "a", "c", "d", "e"))
    names = {one: [fold.name for fold in folds(flows, one)] for one in LeaveOut}
    assert names[LeaveOut.DATASET] == ["a", "b", "c", "d", "e"]
    assert names[LeaveOut.CAPTURE] == [f"capture{at}" for at in range(6)]
    assert names[LeaveOut.GROUP] == ["b", "c", "a+e", "d"]
    for one in LeaveOut:
        assert (np.sum([fold.held for fold in folds(flows, one)], axis=0) == 1).all()
    assert set(flows.capture[folds(flows, LeaveOut.GROUP)[2].held]) == {0, 2, 5}
    assert set(flows.capture[folds(flows, LeaveOut.DATASET)[0].held]) == {0, 2}


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ([(0, 0, 0, "normal", False), (0, 1, 0, "probe", False)], "one dataset alone"),
        ([(0, 0, 0, "probe", False), (1, 0, 0, "dos", False)], "no device without attacks"),
        ([(0, 0, 0, "normal", False), (1, 0, 0, "normal", False)], "there is no attack to learn from"),
    ],
)
def test_flows_from_which_nothing_can_be_learnt_or_judged_are_refused(
    told: list[tuple[int, int, int, str, bool]], says: str
) -> None:
    with pytest.raises(DataError, match=says):
        folds(flows_of(*told), LeaveOut.DATASET)
