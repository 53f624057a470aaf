"""The two phases of a training, step by step: the VAE by its ELBO, then the bidirectional GRU.

Every step draws from generators seeded by (seed, phase, step), so that a resumed run repeats exactly what
an uninterrupted one would have done.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from streams.errors import AutodeepError
from streams.model.network import Features, Network
from streams.training import checkpoint
from streams.training.dataset import NORMAL
from streams.training.kinds import kinds_of_normals
from streams.training.log import Log, Validation
from streams.training.run import Run
from streams.training.sampling import Drawing, sample, sampling_weights, vae_weights, with_unknown_symbols
from streams.training.windows import hide_history, interleave, windows

VAE_PHASE: Final = "vae"
CLASSIFIER_PHASE: Final = "classifier"


def train_vae(
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
        return Validation(float(network.vae.negative_elbo(vectors.take(held)).mean()))

    _descend(run, network, (loss, validation), network.vae.parameters(), at, tensors)


def train_classifier(
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
