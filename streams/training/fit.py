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
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from streams.core.detector import CONTEST, OPERATOR, Detector, Identity, OperatingPoint, Parameters
from streams.core.features import SYMBOLIC
from streams.core.model import SERVICE_KEY, Architecture, Features, Network, alike, min_max
from streams.errors import AutodeepError
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
from streams.training.dataset import NORMAL, TrainingSet
from streams.training.folds import Fold, folds
from streams.training.kinds import kinds_of_normals
from streams.training.log import Log, Validation
from streams.training.plan import Plan
from streams.training.repetition import repetition_table
from streams.training.sampling import (
    Drawing,
    sample,
    sampling_prior,
    sampling_weights,
    vae_weights,
    with_unknown_symbols,
)
from streams.training.usual import usual_values
from streams.training.weighing import Unexplained, cross_fitted, learnt_weights
from streams.training.windows import hide_history, interleave, windows

VAE_PHASE: Final = "vae"
CLASSIFIER_PHASE: Final = "classifier"
_NOBODY: Final = Identity("", "", "")

Report = Callable[[str, int, int, float], None]
"""Told of phase, steps done, steps in all and the loss."""


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One training: its data, the rows that it may learn from, and where it keeps its checkpoints."""

    data: TrainingSet
    learn: npt.NDArray[np.bool_]  # (N,)
    validate: npt.NDArray[np.bool_]  # (N,)
    plan: Plan
    folder: Path | None
    report: Report = lambda phase, step, steps, loss: None
    validated: Callable[[str, Validation], None] = lambda phase, found: None
    device: str = "cpu"

    def digest(self) -> str:
        hashed = hashlib.sha256(json.dumps(dataclasses.asdict(self.plan), sort_keys=True).encode())
        for array in (self.data.rows, self.data.target, self.learn):
            hashed.update(np.ascontiguousarray(array).view(np.uint8).data)
        return hashed.hexdigest()


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
            _train_vae(run, network, vectors.to(run.device), at, tensors)
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
        _train_classifier(run, network, vectors, (floor, threshold), at, tensors)
    detector = Detector(_NOBODY, parameters, network.cpu())
    prior = sampling_prior(run.data, run.learn)
    return with_temperature(detector, run.data, run.validate, run.plan, prior)


def _start(run: Run) -> tuple[Parameters, Network]:
    """Eq. 1's extremes, bins and vocabulary, of the rows that are learnt from and of no others."""
    data, plan, taxonomy = run.data, run.plan, run.data.taxonomy
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
        symbols=tuple(column.size for column in SYMBOLIC),
        classes=len(taxonomy.classes),
        window=plan.window,
        embedding=plan.embedding,
        repetition=plan.window > 1,
        weighed=True,
    )
    parameters = Parameters(
        shape=shape,
        classes=taxonomy.classes,
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
        seen_codes=tuple(
            tuple(np.unique(rows["codes"][:, column]).tolist()) for column in range(len(SYMBOLIC))
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


def _train_vae(
    run: Run, network: Network, vectors: Features, at: checkpoint.Progress, tensors: dict[str, Tensor]
) -> None:
    """Eq. 8 on distinct vectors, drawn by `vae_weights`."""
    learn = run.learn & (run.data.target == NORMAL) if run.plan.vae_on == "normal" else run.learn
    draw = Drawing(vae_weights(run.data, learn, kinds_of_normals(run.data, run.plan)))
    held = sample(np.unique(run.data.vector[run.validate & (run.data.target == NORMAL)]), run.plan.seed)

    def loss(rng: np.random.Generator) -> Tensor:
        chosen = vectors.take(draw(rng, run.plan.vae_batch))
        of, _ = with_unknown_symbols(chosen, run.plan.unknown_symbol_share, rng, network.shape)
        return network.vae.loss(of, run.plan.divergence_weight).mean()

    def validation() -> Validation:
        return Validation(float(network.vae(vectors.take(held))[1].mean()))

    _descend(run, network, (loss, validation), network.vae.parameters(), at, tensors)


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
    shape = (SYMBOLIC[1].size, plan.window)
    found = repetition_table(service, counts, shape, plan.repetition_smoothing, plan.novelty_quantile)
    return torch.from_numpy(found.astype(np.float32))


def _train_classifier(
    run: Run,
    network: Network,
    vectors: Features,
    calibration: tuple[float, float],
    at: checkpoint.Progress,
    tensors: dict[str, Tensor],
) -> None:
    """Cross-entropy on windows in capture order, rows drawn by inverse square roots of both counts."""
    data, plan = run.data, run.plan
    draw = Drawing(sampling_weights(data, run.learn))
    normal = np.flatnonzero(run.learn & (data.target == NORMAL))
    held = sample(np.flatnonzero(run.validate & (data.target >= 0)), plan.seed)
    start = np.zeros(1, np.int64)
    extracted = torch.cat([network.extract(part, *calibration) for part in vectors.parts(4096)])
    cost = torch.tensor(data.taxonomy.cost, device=run.device)

    def scores(
        index: npt.NDArray[np.int64], valid: npt.NDArray[np.bool_], rng: np.random.Generator | None
    ) -> Tensor:
        needed, slot = np.unique(data.vector[index], return_inverse=True)
        of, seen = vectors.take(needed), extracted[needed]
        if rng is not None:
            of, changed = with_unknown_symbols(of, plan.unknown_symbol_share, rng, network.shape)
            seen[changed] = network.extract(of.take(changed), *calibration)
        kept = None
        if rng is not None and plan.column_dropout:
            drawn = rng.random(of.places.shape, np.float32) >= plan.column_dropout
            kept = torch.from_numpy(drawn).to(of.scaled)
        events = network.events(of, seen, kept)  # (D, L)
        window = events[torch.from_numpy(slot.reshape(index.shape))]  # (B, W, L)
        mask = torch.from_numpy(valid).to(run.device)
        found: Tensor = network.classifier(window, mask, plan.dropout if rng is not None else 0.0)
        return found

    def loss(rng: np.random.Generator) -> Tensor:
        places = draw(rng, plan.classifier_batch)
        index, valid = windows(places, start, plan.window)  # (B, W)
        valid &= run.learn[index]  # what is not learnt from is no history to learn from either
        index, valid = interleave(index, valid, normal, plan.interleaved_share, rng)
        valid = hide_history(valid, plan.hidden_history_share, rng)
        truth = torch.from_numpy(data.target[places]).to(run.device)
        return F.cross_entropy(scores(index, valid, rng), truth, label_smoothing=plan.label_smoothing)

    def validation() -> Validation:
        found = scores(*windows(held, start, plan.window), None)
        truth = torch.from_numpy(data.target[held]).to(run.device)
        verdict = (torch.softmax(found, 1) @ cost).argmin(1)
        return Validation(
            float(F.cross_entropy(found, truth)),
            float((verdict == truth).float().mean()),
            float(cost[truth, verdict].mean()),
        )

    trained = [p for name, p in network.named_parameters() if not name.startswith("vae.")]
    _descend(run, network, (loss, validation), trained, at, tensors)


def _descend(
    run: Run,
    network: Network,
    measure: tuple[Callable[[np.random.Generator], Tensor], Callable[[], Validation]],
    trained: object,
    at: checkpoint.Progress,
    tensors: dict[str, Tensor],
) -> None:
    """Adam with a rate that falls along a half cosine, from `at` to the phase's last step."""
    loss_of, validation = measure
    vae = at.phase == VAE_PHASE
    steps = run.plan.vae_steps if vae else run.plan.classifier_steps
    log = Log(run.folder, lambda phase, step: step <= at.step if phase == at.phase else not vae)
    since: list[float] = []
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
        since.append(value)
        run.report(at.phase, step + 1, steps, value)
        if (step + 1) % run.plan.validate_every_steps == 0 or step + 1 == steps:
            with torch.inference_mode():
                found = validation()
            run.validated(at.phase, found)
            log.add(at.phase, step + 1, sum(since) / len(since), found)
            since.clear()
        if run.folder and ((step + 1) % run.plan.checkpoint_every_steps == 0 or step + 1 == steps):
            checkpoint.write(run.folder, dataclasses.replace(at, step=step + 1), network, optimizer)
