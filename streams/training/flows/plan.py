"""Every choice of a training run of flows, one frozen value. It stands in the manifest."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FlowPlan:
    seed: int = 1
    window: int = 8  # W
    latent: int = 12
    vae_hidden: int = 48
    embedding: int = 16
    embedding_hidden: int = 32
    gru_hidden: int = 24
    quantile_bins: int = 16
    common_bins: int = 8
    most_of_a_capture: int = 1500  # flows of one class of one capture: those of a flood are all alike
    vae_steps: int = 250
    vae_batch: int = 128
    vae_learning_rate: float = 3e-3
    divergence_weight: float = 1.0
    classifier_steps: int = 400
    classifier_batch: int = 192
    classifier_learning_rate: float = 4e-3
    weight_decay: float = 1e-4
    evidence_rate: float = 10.0  # times the rate of all else: weights that cannot be negative move slowly
    dropout: float = 0.2
    column_dropout: float = 0.4  # share of the columns that the dense encoding does not see in a step
    latent_dropout: float = 0.5  # share of the steps that do not see what the VAE makes of events
    evidence_dropout: float = 0.15  # share of the evidence that a step does not see
    others_weight: float = 0.1  # of attacks of other classes, where a class is told from normal flows
    smoothing: float = 0.02
    hidden_history_share: float = 0.5
    netflow_share: float = 0.5  # of the steps: as a sensor without states, services and payload has the flows
    normal_share: float = 0.5  # of the windows of a step
    tree_rounds: int = 60  # trees of each class that has some
    tree_depth: int = 3
    tree_rate: float = 0.15
    tree_ridge: float = 3.0
    tree_share: float = 0.5  # of the columns, that a tree may ask about
    tree_most: int = 200  # flows of one class of one capture
    clean_quantile: float = 0.998  # of what clean flows that were learnt from score, by class: it becomes 0
    novelty_quantile: float = 0.995
    score_decay: float = 0.3
