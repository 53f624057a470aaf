"""Training: the VAE by its ELBO, then the bidirectional GRU on what the VAE makes of the events.

Every step draws from generators seeded by (seed, phase, step), so that a resumed run repeats exactly what
an uninterrupted one would have done.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from streams.core.detector import Detector, Identity, Parameters
from streams.core.features import NUMERIC, SYMBOLIC
from streams.core.model import Architecture, Network
from streams.errors import AutodeepError
from streams.training import checkpoint
from streams.training.dataset import NORMAL, TrainingSet
from streams.training.windows import hide_history, windows

VAE_PHASE: Final = "vae"
CLASSIFIER_PHASE: Final = "classifier"

Report = Callable[[str, int, int, float], None]
"""Told of phase, steps done, steps in all and the loss."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Every choice of a training run. It stands in the manifest."""

    seed: int = 1
    window: int = 16
    embedding: int = 16
    vae_steps: int = 3000
    vae_batch: int = 512
    vae_on: str = "normal"  # or "all": which rows the VAE learns; novelty is told better by the former
    vae_learning_rate: float = 2e-3
    divergence_weight: float = 1.0
    classifier_steps: int = 3000
    classifier_batch: int = 256
    classifier_learning_rate: float = 2e-3
    dropout: float = 0.1
    hidden_history_share: float = 0.5
    unknown_symbol_share: float = 0.01  # symbols replaced by the unknown one, so that it means something
    novelty_quantile: float = 0.995  # of held-out normals
    novelty_weight: float = 0.5
    checkpoint_every_steps: int = 500


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One training: its data, the rows that it may learn from, and where it keeps its checkpoints."""

    data: TrainingSet
    learn: npt.NDArray[np.bool_]  # (N,)
    validate: npt.NDArray[np.bool_]  # (N,)
    plan: Plan
    folder: Path | None
    report: Report = lambda phase, step, steps, loss: None

    def digest(self) -> str:
        hashed = hashlib.sha256(json.dumps(dataclasses.asdict(self.plan), sort_keys=True).encode())
        for array in (self.data.rows, self.data.target, self.learn):
            hashed.update(np.ascontiguousarray(array).view(np.uint8).data)
        return hashed.hexdigest()


def fit(run: Run, resume: bool = False) -> Detector:
    """Train a detector. Takes minutes on a core or two; torch's global generator is left as it was.

    Raises AutodeepError where a loss is no longer finite (the last good checkpoint stays), DataError where
    the checkpoint to resume from is another run's.
    """
    with torch.random.fork_rng(devices=[]):
        digest = run.digest()
        found = checkpoint.read(run.folder, digest) if resume and run.folder else None
        parameters = _parameters(run)
        network = Network.random(parameters.shape, run.plan.seed)
        at, tensors = found if found else (checkpoint.Progress(digest, VAE_PHASE, 0), {})
        if tensors:
            checkpoint.restore_network(network, tensors)
        vectors = Detector(Identity("", "", ""), parameters, network).features(run.data.rows[run.data.first])
        network.requires_grad_(True)
        if at.phase == VAE_PHASE:
            _train_vae(run, network, vectors, at, tensors)
            at, tensors = checkpoint.Progress(digest, CLASSIFIER_PHASE, 0), {}
        floor, threshold = _calibrate(run, network, vectors)
        parameters = dataclasses.replace(parameters, score_floor=floor, score_threshold=threshold)
        _train_classifier(run, network, vectors, (floor, threshold), at, tensors)
    return Detector(Identity("", "", ""), parameters, network)


def _parameters(run: Run) -> Parameters:
    """Eq. 1's extremes and the vocabulary, of the rows that are learnt from and of no others."""
    rows = run.data.rows[run.learn]
    numbers = np.log1p(rows["numbers"])
    taxonomy = run.data.taxonomy
    shape = Architecture(
        numbers=len(NUMERIC),
        symbols=tuple(column.size for column in SYMBOLIC),
        classes=len(taxonomy.classes),
        window=run.plan.window,
        embedding=run.plan.embedding,
    )
    return Parameters(
        shape=shape,
        classes=taxonomy.classes,
        low=tuple(numbers.min(0).tolist()),
        high=tuple(numbers.max(0).tolist()),
        seen_codes=tuple(
            tuple(np.unique(rows["codes"][:, column]).tolist()) for column in range(len(SYMBOLIC))
        ),
        cost=taxonomy.cost,
        score_floor=0.0,
        score_threshold=1.0,
        novelty_weight=run.plan.novelty_weight,
    )


def _train_vae(
    run: Run, network: Network, vectors: Tensor, at: checkpoint.Progress, tensors: dict[str, Tensor]
) -> None:
    """Eq. 8 on distinct vectors, each weighted by the square root of its repeats."""
    learn = run.learn & (run.data.target == NORMAL) if run.plan.vae_on == "normal" else run.learn
    repeats = np.bincount(run.data.vector[learn], minlength=len(run.data.first))
    draw = _Drawing(np.sqrt(repeats))

    def loss(rng: np.random.Generator) -> Tensor:
        x = _with_unknown_symbols(vectors[draw(rng, run.plan.vae_batch)], run.plan, rng, network.shape)
        return network.vae.loss(x, run.plan.divergence_weight).mean()

    _descend(run, network, loss, network.vae.parameters(), at, tensors)


def _calibrate(run: Run, network: Network, vectors: Tensor) -> tuple[float, float]:
    """Floor and threshold of the novelty, from the scores of normal rows that nothing was learnt from."""
    chosen = run.validate & (run.data.target == NORMAL)
    places, repeats = np.unique(run.data.vector[chosen], return_counts=True)
    with torch.inference_mode():
        score = network.vae(vectors[places])[1].numpy().astype(np.float64)
    score = np.repeat(score, repeats)
    floor = float(score.min())
    return floor, float(np.log1p(np.quantile(score, run.plan.novelty_quantile) - floor))


def _train_classifier(
    run: Run,
    network: Network,
    vectors: Tensor,
    calibration: tuple[float, float],
    at: checkpoint.Progress,
    tensors: dict[str, Tensor],
) -> None:
    """Cross-entropy on windows in capture order, rows drawn by inverse square roots of both counts."""
    data, plan = run.data, run.plan
    learn = run.learn & (data.target >= 0)
    repeats = np.bincount(data.vector[learn], minlength=len(data.first))[data.vector]  # (N,)
    members = np.bincount(data.target[learn], minlength=len(data.taxonomy.classes))[data.target]
    draw = _Drawing(np.where(learn, 1.0 / np.sqrt(np.maximum(repeats, 1) * np.maximum(members, 1)), 0.0))
    start = np.zeros(1, np.int64)

    def loss(rng: np.random.Generator) -> Tensor:
        places = draw(rng, plan.classifier_batch)
        index, valid = windows(places, start, plan.window)  # (B, W)
        valid &= ~run.validate[index]  # what is kept for validation is no history to learn from either
        valid = hide_history(valid, plan.hidden_history_share, rng)
        needed, slot = np.unique(data.vector[index], return_inverse=True)
        x = _with_unknown_symbols(vectors[needed], plan, rng, network.shape)
        events = network.events(x, *calibration)  # (D, L)
        scores = network.classifier(
            events[torch.from_numpy(slot.reshape(index.shape))], torch.from_numpy(valid), plan.dropout
        )
        return F.cross_entropy(scores, torch.from_numpy(data.target[places]))

    trained = [p for name, p in network.named_parameters() if not name.startswith("vae.")]
    _descend(run, network, loss, trained, at, tensors)


def _descend(
    run: Run,
    network: Network,
    loss_of: Callable[[np.random.Generator], Tensor],
    trained: object,
    at: checkpoint.Progress,
    tensors: dict[str, Tensor],
) -> None:
    """Adam with a rate that falls along a half cosine, from `at` to the phase's last step."""
    vae = at.phase == VAE_PHASE
    steps = run.plan.vae_steps if vae else run.plan.classifier_steps
    rate = run.plan.vae_learning_rate if vae else run.plan.classifier_learning_rate
    optimizer = torch.optim.Adam(trained, lr=rate)  # type: ignore[arg-type]
    if at.step:
        checkpoint.restore_optimizer(optimizer, tensors)
    for step in range(at.step, steps):
        rng = np.random.default_rng((run.plan.seed, int(vae), step))
        torch.manual_seed(int(rng.integers(2**62)))
        optimizer.param_groups[0]["lr"] = rate * 0.5 * (1.0 + math.cos(math.pi * step / steps))
        loss = loss_of(rng)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise AutodeepError(
                f"the loss is {value} at step {step} of the {at.phase}; training stopped and the last good "
                f"checkpoint kept ({run.folder or 'in no folder'}); try another seed or a lower learning rate"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 5.0)
        optimizer.step()
        run.report(at.phase, step + 1, steps, value)
        if run.folder and ((step + 1) % run.plan.checkpoint_every_steps == 0 or step + 1 == steps):
            checkpoint.write(run.folder, dataclasses.replace(at, step=step + 1), network, optimizer)


class _Drawing:
    """Draws places with probabilities in proportion to their weights."""

    def __init__(self, weights: npt.NDArray[np.float64]) -> None:
        self.places = np.flatnonzero(weights > 0)
        self.cumulative = np.cumsum(weights[self.places])

    def __call__(self, rng: np.random.Generator, count: int) -> npt.NDArray[np.int64]:
        drawn = np.searchsorted(self.cumulative, rng.random(count) * self.cumulative[-1], side="right")
        chosen: npt.NDArray[np.int64] = self.places[np.minimum(drawn, len(self.places) - 1)]
        return chosen


def _with_unknown_symbols(x: Tensor, plan: Plan, rng: np.random.Generator, shape: Architecture) -> Tensor:
    """A few symbols replaced by the unknown one (the first place of their column). (N, F) -> (N, F)."""
    x = x.clone()
    start = shape.numbers
    for size in shape.symbols:
        hit = torch.from_numpy(rng.random(len(x)) < plan.unknown_symbol_share)
        x[hit, start : start + size] = 0.0
        x[hit, start] = 1.0
        start += size
    return x
