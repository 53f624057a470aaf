"""Training: the VAE, what the terms of its score weigh, then the bidirectional GRU on what it makes of them.

The same for each fold, by whose models the novelty and the decisions are calibrated.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
import torch
from torch import Tensor

from streams.model.detector import CONTEST, OPERATOR, Detector, Identity, OperatingPoint, Parameters
from streams.model.network import SERVICE_KEY, Architecture, Features, Network, alike, min_max
from streams.training import checkpoint
from streams.training.binning import bin_edges, table
from streams.training.calibrate import (
    Unseen,
    row_weights,
    scored,
    unseen_by,
    with_points,
    with_temperature,
)
from streams.training.dataset import NORMAL
from streams.training.folds import Fold, folds
from streams.training.phases import CLASSIFIER_PHASE, VAE_PHASE, train_classifier, train_vae
from streams.training.repetition import repetition_table
from streams.training.run import Run
from streams.training.sampling import sampling_prior
from streams.training.usual import usual_values
from streams.training.weighing import Unexplained, cross_fitted, learnt_weights
from streams.training.windows import windows

_NOBODY: Final = Identity("", "", "")


def fit(run: Run, resume: bool = False) -> Detector:
    """Train a detector, and one for each fold, by which its novelty and its decisions are calibrated.

    Takes minutes on a core or two; torch's global generator is left as it was.
    Raises AutodeepError where a loss is no longer finite (the last good checkpoint stays), DataError where
    the checkpoint to resume from is another run's.
    """
    parts = [_part(run, fold, number) for number, fold in enumerate(folds(run.data, run.plan), 1)]
    begun = _begun(run, resume)
    begun_parts = [_begun(part.run, resume) for part in parts]
    found = [_unexplained(part, of) for part, of in zip(parts, begun_parts, strict=True)]
    detector = _finished(run, begun, learnt_weights(found, run.plan), resume)
    held = [
        scored(_finished(part.run, of, weights, resume), run.data, part.unseen)
        for part, of, weights in zip(parts, begun_parts, cross_fitted(found, run.plan), strict=True)
    ]
    return with_points(detector, held, run.plan)


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """The run of a fold's model, and the rows that it never learns from."""

    run: Run
    unseen: Unseen


def _part(run: Run, fold: Fold, number: int) -> _Part:
    part = dataclasses.replace(
        run,
        learn=run.learn & ~fold.left_out,
        validate=run.validate & ~fold.left_out,
        folder=run.folder / f"fold-{number}" if run.folder else None,
        report=lambda phase, *told: run.report(f"{phase}, fold {number}", *told),
        validated=lambda phase, found: None,
    )
    return _Part(part, unseen_by(fold, run.data, part.validate, run.plan))


@dataclass(frozen=True, slots=True, eq=False)
class _Begun:
    """A network of which the VAE is trained."""

    parameters: Parameters
    network: Network

    def vectors(self, run: Run) -> Features:
        """Each distinct vector of the run's data as the network reads it. (V,)."""
        return Detector(_NOBODY, self.parameters, self.network).features(run.data.rows[run.data.first])


def _begun(run: Run, resume: bool) -> _Begun:
    with torch.random.fork_rng():
        at, tensors = _progress(run, resume)
        begun = _Begun(*_start(run))
        network, vectors = begun.network, begun.vectors(run)
        network.requires_grad_(True)
        if begun.parameters.shape.repetition:
            network.repetition.copy_(_repetition(run, vectors))
        if tensors:
            checkpoint.restore_network(network, tensors)
        network.to(run.device)
        if at.phase == VAE_PHASE:
            train_vae(run, network, vectors.to(run.device), at, tensors)
    return begun


def _progress(run: Run, resume: bool) -> tuple[checkpoint.Progress, dict[str, Tensor]]:
    """Where the run stands, and its tensors; at the very beginning without any."""
    digest = run.digest()
    found = checkpoint.read(run.folder, digest) if resume and run.folder else None
    return found or (checkpoint.Progress(digest, VAE_PHASE, 0), {})


def _unexplained(part: _Part, begun: _Begun) -> Unexplained:
    run, rows = part.run, part.unseen
    of = begun.vectors(run).take(run.data.vector[rows.places]).to(run.device)
    vae = begun.network.vae
    with torch.inference_mode():
        terms = torch.cat([vae.terms(block, *vae.encode(block)) for block in of.parts(4096)])
    weight = row_weights(rows.label, rows.held_out, rows.unseen, run.plan)
    return Unexplained(terms.cpu(), ~rows.held_out & ~rows.unseen, weight)


def _finished(run: Run, begun: _Begun, weights: Tensor, resume: bool) -> Detector:
    """A detector of this run's rows; its decisions are not calibrated yet."""
    network = begun.network
    with torch.random.fork_rng():
        at, tensors = _progress(run, resume)
        if at.phase == VAE_PHASE:
            at, tensors = dataclasses.replace(at, phase=CLASSIFIER_PHASE, step=0), {}
        vectors = begun.vectors(run).to(run.device)
        network.requires_grad_(True)
        network.vae.weights.copy_(weights)
        floor, threshold = _calibrate(run, network, vectors)
        parameters = dataclasses.replace(begun.parameters, score_floor=floor, score_threshold=threshold)
        train_classifier(run, network, vectors, (floor, threshold), at, tensors)
    detector = Detector(_NOBODY, parameters, network.cpu())
    prior = sampling_prior(run.data, run.learn)
    return with_temperature(detector, run.data, run.validate, run.plan, prior)


def _start(run: Run) -> tuple[Parameters, Network]:
    """Eq. 1's extremes, bins and vocabulary, of the rows that are learnt from and of no others."""
    data, plan, taxonomy, of_table = run.data, run.plan, run.data.taxonomy, run.data.table
    rows = data.rows[run.learn]
    numbers = np.log1p(rows["numbers"])
    low, high = numbers.min(0), numbers.max(0)
    distinct = np.unique(data.vector[run.learn])
    vectors = data.rows["numbers"][data.first[distinct]]
    scaled = min_max(torch.from_numpy(vectors), torch.from_numpy(low), torch.from_numpy(high)).numpy()
    repeats = np.bincount(data.vector[run.learn])[distinct]
    edges = bin_edges(scaled, np.sqrt(repeats), plan.quantile_bins, plan.common_bins)
    shape = Architecture(
        bins=tuple(len(of) + 1 for of in edges),
        symbols=tuple(column.size for column in of_table.symbolic),
        keys=of_table.key_places,
        classes=len(taxonomy.classes),
        window=plan.window,
        embedding=plan.embedding,
        repetition=plan.window > 1,
        weighed=True,
    )
    parameters = Parameters(
        table=of_table,
        shape=shape,
        classes=taxonomy.classes,
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
        seen_codes=tuple(
            tuple(np.unique(rows["codes"][:, column]).tolist()) for column in range(len(of_table.symbolic))
        ),
        cost=taxonomy.cost,
        score_floor=0.0,
        score_threshold=1.0,
        score_decay=plan.score_decay,
        unknown_offset=0.0,
        unknown_slope=0.0,
        temperature=1.0,
        log_prior=(0.0,) * shape.classes,
        operating_points=MappingProxyType({OPERATOR: OperatingPoint(1.0), CONTEST: OperatingPoint(1.0)}),
        default_point=OPERATOR,
        usual=MappingProxyType(usual_values(data, run.learn)),
    )
    network = Network.random(shape, plan.seed)
    network.edges.copy_(torch.from_numpy(table(edges)))
    return parameters, network


def _calibrate(run: Run, network: Network, vectors: Features) -> tuple[float, float]:
    """Floor and threshold of the novelty, from the scores of normal rows that nothing was learnt from."""
    chosen = run.validate & (run.data.target == NORMAL)
    places, repeats = np.unique(run.data.vector[chosen], return_counts=True)
    with torch.inference_mode():
        score = network.vae(vectors.take(places))[1].cpu().numpy().astype(np.float64)
    score = np.repeat(score, repeats)
    floor = float(score.min())
    return floor, float(np.log1p(np.quantile(score, run.plan.novelty_quantile) - floor))


def _repetition(run: Run, vectors: Features) -> Tensor:
    """Of normal rows, as captured if what is not learnt from had never been. (services, W)."""
    plan, rows = run.plan, np.flatnonzero(run.learn)
    normal = np.flatnonzero(run.data.target[rows] == NORMAL)  # places in `rows`
    index, valid = windows(normal, np.zeros(1, np.int64), plan.window)
    keys = vectors.keys[torch.from_numpy(run.data.vector[rows[index]])]  # (N, W, K)
    counts = alike(keys, torch.from_numpy(valid)).sum(1).numpy()
    service = keys[:, -1, SERVICE_KEY].numpy().astype(np.int64)
    of_table = run.data.table
    shape = (of_table.symbolic[of_table.key_places.service].size, plan.window)
    found = repetition_table(service, counts, shape, plan.repetition_smoothing, plan.novelty_quantile)
    return torch.from_numpy(found.astype(np.float32))
