"""Thresholds come of clean flows of other networks, and keep to the share that is allowed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import DataError
from streams.training.flow_protocol.deciding import margins, thresholds, verdicts
from streams.training.flow_protocol.folds import Fold, LeaveOut, folds
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


def test_a_fold_has_no_say_in_its_own_thresholds() -> None:
    clean = np.ones(6, bool)
    scores = np.repeat([[0.1], [0.2], [0.3], [0.7], [0.8], [0.9]], 4, axis=1)
    scores[:, 1:] = 0
    halves = [Fold("low", np.arange(6) < 3), Fold("high", np.arange(6) >= 3)]
    assert verdicts(margins(scores, clean, halves, 0.0)).tolist() == [0, 0, 0, 1, 1, 1]


def test_novel_may_flag_a_smaller_part_of_clean_flows() -> None:
    scores = np.zeros((3004, 5))
    scores[:3000, 0] = scores[:3000, 4] = np.arange(3000)
    scores[3000:, [0, 4]] = [[2955, 0], [0, 2955], [0, 2997], [0, 0]]
    held = np.arange(3004) >= 3000
    clean = ~held | (np.arange(3004) == 3003)
    found = verdicts(margins(scores, clean, [Fold("others", ~held), Fold("held", held)], 0.015))
    assert found[held].tolist() == [1, 0, 5, 0]


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
