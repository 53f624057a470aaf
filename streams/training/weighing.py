"""What each term of the score says of attacks rather than of rarity: weights, learnt on what folds left out.

A VAE of normal events is surprised by whatever is rare. How badly it explains a count of connections tells
attacks from other normal events better than how badly it explains a duration; that much can be learnt from
attack types and kinds of normals that it has not seen, and holds for types that the weights have not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from streams.model.network import bounded
from streams.training.plan import Plan

_START: Final = (-9.0, 4.0)
"""Offset and slope of the curve over log(1 + score) from which the descent begins."""


@dataclass(frozen=True, slots=True, eq=False)
class Unexplained:
    """What a fold's VAE makes of rows that it never learnt from."""

    terms: Tensor  # (N, columns + 1) of the score, none bounded or weighed
    attack: npt.NDArray[np.bool_]  # (N,)
    weight: npt.NDArray[np.float64]  # (N,) of the rows


def learnt_weights(folds: Sequence[Unexplained], plan: Plan) -> Tensor:
    """The weight of each term, above 0: (columns + 1,).

    By logistic regression of the attacks on log(1 + sum of w_t * bounded term t), with w_t = exp(u_t) and a
    penalty on the mean of u_t^2, which draws the weights to 1. Deterministic.
    """
    terms = bounded(torch.cat([of.terms for of in folds]))  # (N, T)
    attack = torch.from_numpy(np.concatenate([of.attack for of in folds])).float()
    weight = torch.from_numpy(np.concatenate([of.weight for of in folds])).float()
    weight /= weight.sum()
    logarithm = torch.zeros(terms.shape[1], requires_grad=True)
    curve = torch.tensor(_START, requires_grad=True)
    optimizer = torch.optim.Adam([logarithm, curve], lr=plan.weighing_rate)
    for _ in range(plan.weighing_steps):
        score = torch.log1p(terms @ logarithm.exp())
        misfit = F.binary_cross_entropy_with_logits(
            curve[0] + curve[1] * score, attack, weight, reduction="sum"
        )
        loss = misfit + plan.weighing_penalty * (logarithm**2).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return logarithm.exp().detach()


def cross_fitted(folds: Sequence[Unexplained], plan: Plan) -> list[Tensor]:
    """Weights for the model of each fold, learnt on the other folds alone: (columns + 1,) each.

    What a fold left out must be as new to its weights as to its networks: decisions are calibrated on it.
    """
    return [learnt_weights([*folds[:place], *folds[place + 1 :]], plan) for place in range(len(folds))]
