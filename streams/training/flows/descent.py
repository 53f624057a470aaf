"""The two descents: the VAE on clean flows (eq. 2-8), then the BiGRU and the evidence on windows (eq. 9-13).

Every step draws from generators seeded by (seed, phase, step). On CPU the same seed and data give the same
tensors on the same machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streams.core.flow.columns import Index, Mask
from streams.errors import AutodeepError
from streams.model.network import Features, Network
from streams.training.flows.plan import FlowPlan
from streams.training.sampling import Drawing
from streams.training.windows import hide_history

Floats = npt.NDArray[np.float64]
Report = Callable[[str, int, int, float], None]
"""Told of phase, steps done, steps in all and the loss."""
_AT_ONCE = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What a model learns from: R events, and N windows of them."""

    full: Features
    bare: Features
    """The same events as NetFlow has them."""
    index: Index
    """(N, W) places among the events, the present one last."""
    valid: Mask
    target: Index
    weight: Floats
    """(N,) how often each is drawn."""
    clean_weight: Floats
    """(R,) likewise, for the VAE; 0 where an event is no normal one."""


def train_vae(network: Network, of: Material, plan: FlowPlan, report: Report) -> None:
    draw = Drawing(of.clean_weight)

    def loss(rng: np.random.Generator) -> Tensor:
        drawn = torch.from_numpy(draw(rng, plan.vae_batch))
        source = of.bare if rng.random() < plan.netflow_share else of.full
        return network.vae.loss(source.take(drawn), plan.divergence_weight).mean()

    optimizer = torch.optim.Adam(network.vae.parameters(), lr=plan.vae_learning_rate)
    _descend(optimizer, loss, ("vae", plan.vae_steps, plan.seed), report)


@torch.inference_mode()
def novelty_scale(network: Network, of: Material, quantile: float) -> tuple[float, float]:
    """The score of a normal event in the middle, and what log(1 + score - it) few exceed."""
    clean = torch.from_numpy(np.flatnonzero(of.clean_weight))
    score = torch.cat([network.vae(of.full.take(part))[1] for part in torch.split(clean, _AT_ONCE)])
    floor = float(score.median())
    beyond = torch.log1p((score - floor).clamp(min=0.0))
    return floor, max(float(torch.quantile(beyond, quantile)), 1e-3)


def train_classifier(
    network: Network, of: Material, scale: tuple[float, float], plan: FlowPlan, report: Report
) -> None:
    extracted = [
        torch.cat([network.extract(part, *scale) for part in source.parts(_AT_ONCE)])
        for source in (of.full, of.bare)
    ]
    draw = Drawing(of.weight)

    def loss(rng: np.random.Generator) -> Tensor:
        drawn = draw(rng, plan.classifier_batch)
        valid = hide_history(of.valid[drawn], plan.hidden_history_share, rng)
        is_bare = bool(rng.random() < plan.netflow_share)
        needed, slot = np.unique(of.index[drawn], return_inverse=True)
        at = torch.from_numpy(needed)
        events = _events(
            network, (of.bare if is_bare else of.full).take(at), extracted[is_bare][at], plan, rng
        )
        windows = events[torch.from_numpy(slot.reshape(len(drawn), -1))]  # (B, W, L)
        scores = network.classifier(windows, torch.from_numpy(valid), plan.dropout)
        return against_normal(scores, torch.from_numpy(of.target[drawn]), plan)

    optimizer = torch.optim.AdamW(_groups(network, plan), weight_decay=plan.weight_decay)
    _descend(optimizer, loss, ("classifier", plan.classifier_steps, plan.seed), report)


def against_normal(scores: Tensor, target: Tensor, plan: FlowPlan) -> Tensor:
    """Each attack told from normal flows by itself: (N, C), (N,) -> ().

    Attacks of other classes count little: told apart by what their few networks have in common, classes
    would be known by their network.
    """
    odds = scores[:, 1:] - scores[:, :1]  # (N, C - 1)
    own = F.one_hot(target, scores.shape[1])[:, 1:].to(odds.dtype)
    weight = torch.where((target == 0).unsqueeze(1) | (own > 0), 1.0, plan.others_weight)
    wanted = own * (1.0 - 2.0 * plan.smoothing) + plan.smoothing
    return F.binary_cross_entropy_with_logits(odds, wanted, weight) * own.shape[1]


def _groups(network: Network, plan: FlowPlan) -> list[dict[str, Any]]:
    """What is trained, and how fast."""
    named = [(name, p) for name, p in network.named_parameters() if not name.startswith("vae.")]
    rate = plan.classifier_learning_rate
    raising = [p for name, p in named if ".raise_" in name]
    return [
        {"params": [p for name, p in named if ".raise_" not in name], "lr": rate},
        {"params": raising, "lr": rate * plan.evidence_rate},
    ]


def _events(
    network: Network, of: Features, extracted: Tensor, plan: FlowPlan, rng: np.random.Generator
) -> Tensor:
    """`Network.events` with columns left out, its sums of rows as a product: that is faster to go back."""
    kept = _kept(rng, plan.column_dropout, of.places.shape[1]) / (1.0 - plan.column_dropout)
    marks = kept.new_zeros(len(of.places), network.shape.places)
    marks.scatter_(1, of.places, kept.expand(len(of.places), -1))
    symbols = marks @ network.symbols.weight + network.symbols.bias
    hidden = F.relu(network.numbers(of.scaled * kept[: network.shape.numbers]) + symbols)
    if rng.random() < plan.latent_dropout:
        extracted = extracted * torch.eye(1, extracted.shape[1]).flip(1)  # the novelty alone
    evidence = of.evidence * _kept(rng, plan.evidence_dropout, of.evidence.shape[1])
    return torch.cat((extracted, torch.tanh(network.embedding(hidden)), evidence, of.keys), 1)


def _kept(rng: np.random.Generator, dropout: float, count: int) -> Tensor:
    """(count,) of 0 and 1: the same for all events of a step, or their windows would fill the gaps."""
    return torch.from_numpy((rng.random(count, np.float32) >= dropout).astype(np.float32))


def _descend(
    optimizer: torch.optim.Optimizer,
    loss_of: Callable[[np.random.Generator], Tensor],
    phase: tuple[str, int, int],
    report: Report,
) -> None:
    """With a rate that falls along a half cosine. `phase`: its name, steps and seed."""
    name, steps, seed = phase
    rates = [group["lr"] for group in optimizer.param_groups]
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for step in range(steps):
        rng = np.random.default_rng((seed, int(name == "vae"), step))
        torch.manual_seed(int(rng.integers(2**62)))
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * 0.5 * (1.0 + math.cos(math.pi * step / steps))
        loss = loss_of(rng)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise AutodeepError(
                f"the loss is {value} at step {step} of the {name}; training stopped; try another seed or a "
                "lower learning rate"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        report(name, step + 1, steps, value)
