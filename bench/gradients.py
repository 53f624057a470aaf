"""Integrated gradients of a verdict's log-odds, to hold the shipped explanation against.

Sundararajan, Taly and Yan 2017, eq. 1, along the straight line from the model's usual event without history
to the window as it is. A bin has no slope, so that the line runs where the network first adds up: a column's
coefficient goes from 0, the usual place's rows of each table, to 1, its own; an earlier event's from 0, not
there, to 1. Whether two events share a key is a product of one-hot places, and goes along the line as well.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from streams.core.tables import Rows
from streams.model.detector import Detector
from streams.model.explanation import key_columns, usual_event
from streams.model.network import GRU, KEYS, VAE, Features, Network, OneHotLinear, novelty

STEPS = 32


def integrated_gradients(
    detector: Detector, rows: Rows, valid: npt.NDArray[np.bool_], verdict: int, steps: int = STEPS
) -> tuple[npt.NDArray[np.float64], float]:
    """Of one window (W,) of raw rows: each column's and each earlier event's part, (41 + W - 1,), and the
    difference of log-odds that they should add up to. `verdict` is an attack class of the model.
    """
    own, usual = detector.features(rows[-1:]), detector.features(usual_event(detector))
    earlier = torch.from_numpy(detector.encode(rows))[:-1]  # (W - 1, L)
    width = len(rows)
    along = (torch.arange(steps) + 0.5) / steps

    def odds(columns: Tensor, events: Tensor) -> Tensor:
        """(S, 41), (S, W - 1) coefficients -> (S,)."""
        event, shared = _present(detector, columns, (own, usual), earlier)
        before = torch.cat((earlier[:, :-KEYS].expand(len(columns), -1, -1), shared), 2)
        window = torch.cat((before, event.unsqueeze(1)), 1)  # (S, W, L)
        there = events * torch.from_numpy(valid[:-1]).to(events)
        scores = _scores(detector.network, window, torch.cat((there, torch.ones(len(there), 1)), 1))
        return (scores[:, verdict] - scores[:, 0]) / detector.parameters.temperature

    columns = along[:, None].repeat(1, own.places.shape[1]).requires_grad_(True)  # (S, 41)
    events = along[:, None].repeat(1, width - 1).requires_grad_(True)  # (S, W - 1)
    slopes = torch.autograd.grad(odds(columns, events).sum(), (columns, events))
    ends = torch.tensor([[0.0], [1.0]])
    with torch.no_grad():
        start, end = odds(ends.expand(-1, columns.shape[1]), ends.expand(-1, width - 1)).tolist()
    parts: npt.NDArray[Any] = torch.cat(slopes, 1).mean(0).numpy()
    return parts.astype(np.float64), end - start


def _present(
    detector: Detector, columns: Tensor, ends: tuple[Features, Features], earlier: Tensor
) -> tuple[Tensor, Tensor]:
    """The present event along the line, (S, L), and which keys each earlier one shares, (S, W - 1, K)."""
    network, parameters, (own, usual) = detector.network, detector.parameters, ends
    here, there = own.places[0], usual.places[0]  # (41,)
    vae = network.vae
    count = usual.scaled.shape[1]
    scaled = usual.scaled + columns[:, :count] * (own.scaled - usual.scaled)
    codes, others = (places[count:] - vae.starts[0] for places in (here, there))
    hidden = vae.encoder(vae.numbers(scaled) + _layer(vae.symbols, columns[:, count:], codes, others))
    mean, log_variance = vae.mean(hidden), vae.log_variance(hidden).clamp(-12.0, 12.0)
    score = _explained(vae, mean, scaled, columns[:, count:], (codes, others)) + vae.divergence(
        mean, log_variance
    )
    odd = novelty(score, parameters.score_floor, parameters.score_threshold)
    hidden = F.relu(network.numbers(scaled) + _layer(network.symbols, columns, here, there))
    along = columns[:, None, key_columns(detector.table)]  # (S, 1, K)
    keys = earlier[:, -KEYS:]
    shared = torch.lerp((keys == usual.keys).float(), (keys == own.keys).float(), along)
    ones = torch.ones(len(columns), KEYS)
    return torch.cat((mean, odd[:, None], torch.tanh(network.embedding(hidden)), ones), 1), shared


def _explained(
    vae: VAE, mean: Tensor, scaled: Tensor, columns: Tensor, codes: tuple[Tensor, Tensor]
) -> Tensor:
    """-log p(x|z) along the line, as the VAE has it; a symbol's logit lies between its two. -> (S,)."""
    value, logits = torch.split(vae.output(vae.decoder(mean)), [scaled.shape[1], sum(vae.sizes[1:])], 1)
    log_scale = vae.bounded_log_scale
    numbers = 0.5 * ((scaled - value) * torch.exp(-log_scale)) ** 2 + log_scale
    whole = torch.stack([part.logsumexp(1) for part in torch.split(logits, list(vae.sizes[1:]), 1)], 1)
    symbols = whole - torch.lerp(logits[:, codes[1]], logits[:, codes[0]], columns)
    constant = 0.5 * math.log(2.0 * math.pi) * scaled.shape[1]
    return numbers.sum(1) + symbols.sum(1) + constant


def _layer(layer: OneHotLinear, columns: Tensor, here: Tensor, there: Tensor) -> Tensor:
    """A one-hot layer between two events: (S, 41) coefficients -> (S, O)."""
    own, usual = layer.weight[here], layer.weight[there]  # (41, O)
    return usual.sum(0) + columns @ (own - usual) + layer.bias


def _scores(network: Network, window: Tensor, there: Tensor) -> Tensor:
    """Class scores of windows whose events may be there in part: (S, W, L), (S, W) -> (S, C)."""
    classifier, steps = network.classifier, range(window.shape[1])
    ahead = _state(classifier.forwards, window, there, steps)
    back = _state(classifier.backwards, window, there, steps[::-1])
    scores: Tensor = classifier.output(torch.cat((ahead, back, window[:, -1]), 1))
    return scores


def _state(of: GRU, window: Tensor, there: Tensor, order: range) -> Tensor:
    """Eq. 9-12 with each step's update multiplied by how much its event is there. -> (S, H)."""
    inputs, size = window @ of.W + of.b, of.hidden
    state = torch.zeros(len(window), size)
    for step in order:
        at = inputs[:, step]
        gates = torch.sigmoid(at[:, : 2 * size] + state @ of.U)
        r, z = gates[:, :size], gates[:, size:]
        candidate = torch.tanh(at[:, 2 * size :] + (r * state) @ of.U_candidate)
        state = state + there[:, step, None] * z * (candidate - state)
    return state
