"""Every choice of a training run, one frozen value. It stands in the manifest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

from streams.training.flows.plan import FlowPlan


@dataclass(frozen=True, slots=True)
class Plan:
    seed: int = 1
    window: int = 8  # W; 1 where the file is in no order
    embedding: int = 16
    quantile_bins: int = 50
    common_bins: int = 25
    vae_steps: int = 2000
    vae_batch: int = 512
    vae_on: str = "normal"  # or "all": which rows the VAE learns; novelty is told better by the former
    vae_learning_rate: float = 2e-3
    divergence_weight: float = 1.0
    classifier_steps: int = 1500
    classifier_batch: int = 256
    classifier_learning_rate: float = 2e-3
    dropout: float = 0.1
    column_dropout: float = 0.3  # share of an event's columns that the dense encoding does not see
    label_smoothing: float = 0.0
    hidden_history_share: float = 0.3
    interleaved_share: float = 0.5  # of the windows; in these, ordinary events come between
    unknown_symbol_share: float = 0.01  # columns replaced by their unknown place, so that it means something
    novelty_quantile: float = 0.995  # of held-out normals
    score_decay: float = 0.3
    repetition_smoothing: float = 3.0  # events by which a service's repetition is drawn towards all services'
    weighing_steps: int = 300
    weighing_rate: float = 0.05
    weighing_penalty: float = 0.01
    prior_exponent: float = 0.5  # of the sampling prior that the posterior is divided by
    unknown_odds: float = 0.5  # of unknown attacks to normals, where the novelty is calibrated
    unseen_share: float = 0.1  # of these normals that are of kinds left out; the others are held out
    folds: int = 3  # two at least; each leaves attack types and kinds of normals out, to calibrate decisions
    normal_kinds: int = 90  # clusters of normal events
    operator_types_flagged: float = 0.84  # of the attack types left out: 80 %, and what draws differ by
    checkpoint_every_steps: int = 500
    validate_every_steps: int = 250


AnyPlan = TypeVar("AnyPlan", Plan, FlowPlan)


def limited(plan: AnyPlan, most_steps: int) -> AnyPlan:
    """With at most so many steps of each phase; 0: as it is."""
    if not most_steps:
        return plan
    return replace(
        plan,
        vae_steps=min(plan.vae_steps, most_steps),
        classifier_steps=min(plan.classifier_steps, most_steps),
    )
