"""Which rows a training step draws, and what it hides of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.model.network import Architecture, Features
from streams.training.dataset import TrainingSet

Mask = npt.NDArray[np.bool_]
VALIDATION_ROWS = 4096


class Drawing:
    """Draws places with probabilities in proportion to their weights."""

    def __init__(self, weights: npt.NDArray[np.float64]) -> None:
        self.places = np.flatnonzero(weights > 0)
        self.cumulative = np.cumsum(weights[self.places])

    def __call__(self, rng: np.random.Generator, count: int) -> npt.NDArray[np.int64]:
        drawn = np.searchsorted(self.cumulative, rng.random(count) * self.cumulative[-1], side="right")
        chosen: npt.NDArray[np.int64] = self.places[np.minimum(drawn, len(self.places) - 1)]
        return chosen


def sampling_weights(data: TrainingSet, learn: Mask) -> npt.NDArray[np.float64]:
    """Of every row: the inverse square roots of its vector's and its class's rows. (N,)."""
    learn = learn & (data.target >= 0)
    repeats = np.bincount(data.vector[learn], minlength=len(data.first))[data.vector]  # (N,)
    members = np.bincount(data.target[learn], minlength=len(data.taxonomy.classes))[data.target]
    return np.where(learn, 1.0 / np.sqrt(np.maximum(repeats, 1) * np.maximum(members, 1)), 0.0)


def sampling_prior(data: TrainingSet, learn: Mask) -> npt.NDArray[np.float64]:
    """How often these weights draw each class. (C,)."""
    weights = sampling_weights(data, learn)
    mass = np.bincount(np.maximum(data.target, 0), weights, minlength=len(data.taxonomy.classes))
    return np.asarray(mass / mass.sum())


def vae_weights(data: TrainingSet, learn: Mask, kind: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Of every vector: the square root of its rows, over the square root of what its kind has of these. (V,).

    So that a kind with ten times the events is drawn three times as often, and rare ones are learnt too.
    What is of no kind (-1) is one kind.
    """
    weights = np.sqrt(np.bincount(data.vector[learn], minlength=len(data.first)))
    mass = np.bincount(kind + 1, weights)
    return np.asarray(weights / np.sqrt(np.maximum(mass, 1.0))[kind + 1])


def sample(places: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.int64]:
    """At most VALIDATION_ROWS of these, the same ones throughout a run."""
    return np.sort(np.random.default_rng(seed).permutation(places)[:VALIDATION_ROWS])


def with_unknown_symbols(
    of: Features, share: float, rng: np.random.Generator, shape: Architecture
) -> tuple[Features, npt.NDArray[np.int64]]:
    """A few symbols replaced by the unknown one, a column's first place; and which events changed."""
    hit = rng.random((len(of.places), len(shape.symbols))) < share
    places = of.places.clone()
    for column in range(len(shape.symbols)):
        start = sum(shape.columns[: shape.numbers + column])
        places[np.flatnonzero(hit[:, column]), shape.numbers + column] = start
    return of._replace(places=places), np.flatnonzero(hit.any(1))
