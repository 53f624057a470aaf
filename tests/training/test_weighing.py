"""The weights of the score's terms: learnt on what folds left out, for each fold on the others alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.training.plan import Plan
from streams.training.weighing import Unexplained, cross_fitted, learnt_weights

PLAN = Plan(seed=1)
TELLING, RARE = 0, 1


def left_out(seed: int, count: int = 400) -> Unexplained:
    """Attacks are odd in one column; in another normals are as odd as they, and odder than in the first."""
    rng = np.random.default_rng(seed)
    attack = rng.random(count) < 0.3
    terms = rng.gamma(1.0, 1.0, (count, 4))
    terms[attack, TELLING] += 8.0
    terms[:, RARE] += rng.gamma(1.0, 12.0, count)
    return Unexplained(torch.from_numpy(terms).float(), attack, np.ones(count))


@given(seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=10)
def test_a_term_that_tells_attacks_from_normals_weighs_more_than_one_that_is_merely_large(seed: int) -> None:
    weights = learnt_weights([left_out(seed)], PLAN)
    assert (weights > 0).all()
    assert weights[TELLING] > 2 * weights[RARE]
    assert torch.equal(weights, learnt_weights([left_out(seed)], PLAN))


def test_the_penalty_draws_the_weights_to_one() -> None:
    plan = dataclasses.replace(PLAN, weighing_penalty=1000.0)
    assert torch.allclose(learnt_weights([left_out(1)], plan), torch.ones(4), atol=0.05)


def test_a_row_that_weighs_nothing_changes_nothing() -> None:
    of, other = left_out(1), left_out(2)
    nothing = dataclasses.replace(other, weight=np.zeros(len(other.weight)))
    assert torch.allclose(learnt_weights([of], PLAN), learnt_weights([of, nothing], PLAN), rtol=1e-4)


def test_what_a_fold_left_out_changes_the_weights_of_the_other_folds_and_not_its_own() -> None:
    folds = [left_out(seed) for seed in (1, 2, 3)]
    before, after = cross_fitted(folds, PLAN), cross_fitted([left_out(9), *folds[1:]], PLAN)
    assert [torch.equal(one, other) for one, other in zip(before, after, strict=True)] == [True, False, False]
