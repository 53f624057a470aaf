"""Boosted trees: they find what parts two classes, never fall where they are to rise, and repeat."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.training.flows.boosting import Grown, Growth, grown

HOW = Growth(rounds=20, depth=3, rate=0.3, ridge=1.0, share=1.0)


def scores(trees: Grown, asked: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    total = np.zeros(asked.shape[1])
    for tree, leaves in enumerate(trees.leaves):
        bits = asked[trees.columns[:, tree]] > trees.limits[:, tree, None]  # (D, N)
        total += leaves[(bits << np.arange(len(bits))[:, None]).sum(0)]
    return total


def some(seed: int, count: int = 300) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).integers(0, 60, (4, count)).astype(np.float32)


def test_what_parts_two_classes_is_found() -> None:
    asked = some(1)
    wanted = (asked[0] > 20) & (asked[2] <= 30)
    found = scores(grown(asked, wanted, np.zeros(4, bool), HOW, 1), asked)
    assert ((found > 0) == wanted).mean() > 0.98


@given(st.integers(0, 1000))
@settings(deadline=None, max_examples=15)
def test_a_score_never_falls_where_it_is_to_rise_even_where_the_data_say_so(seed: int) -> None:
    rng, asked = np.random.default_rng(seed), some(seed)
    wanted = rng.random(300) < np.where(asked[1] > 30, 0.2, 0.7)
    wanted[:2] = [True, False]
    found = grown(asked, wanted, np.array([True, True, False, False]), HOW, seed)
    before = some(seed + 1, 50)
    for column in (0, 1):
        after = before.copy()
        after[column] += rng.integers(1, 40, 50).astype(np.float32)
        assert (scores(found, after) >= scores(found, before) - 1e-9).all()


def test_a_column_that_may_not_be_asked_about_is_never_asked_about() -> None:
    asked = some(2)
    wanted = asked[0] > 30
    asked[0] = np.nan
    found = grown(asked, wanted, np.zeros(4, bool), HOW, 1)
    assert 0 not in found.columns[found.limits < 1e30]


def test_the_same_seed_gives_the_same_trees_and_nothing_to_ask_gives_the_chance_alone() -> None:
    asked = some(3)
    wanted = asked[3] > 15
    first, again = (grown(asked, wanted, np.zeros(4, bool), HOW, 7) for _ in range(2))
    assert first.leaves.tobytes() == again.leaves.tobytes()
    assert first.limits.tobytes() == again.limits.tobytes()
    flat = np.ones((2, 4), np.float32)
    flat[0] = [0, 0, 0, 1]
    alone = scores(grown(flat, np.array([True, False, True, False]), np.zeros(2, bool), HOW, 1), flat[:, :3])
    assert np.ptp(alone) == 0
