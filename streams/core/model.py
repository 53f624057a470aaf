"""AUTODEEP-ID's model in one file: min-max (eq. 1), a VAE (eq. 2-8), a bidirectional GRU (eq. 9-13).

Read it from top to bottom; an event goes the same way:

    row of 41 columns ── eq. 1 ──> numbers in 0..1, symbols one-hot        (N, F)
                      ── eq. 2-8 ─> latent mean, reconstruction score       (N, Z), (N,)
                      ───────────> a small dense encoding of the event      (N, E)
    the last W events ── eq. 9-12 > one GRU state in each direction         (N, H), (N, H)
                      ── eq. 13 ──> class scores                            (N, C)

L = Z + 1 + E numbers stand for an event in every window that it is part of, so they are computed once.
Everything here is deterministic but `VAE.loss`, which draws eps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEAST_SCALE = 0.01
"""Floor of the Gaussian scales: a column that is constant in training must not get infinite likelihood."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """Everything that shapes the tensors. It is part of the artifact."""

    numbers: int
    symbols: tuple[int, ...]  # codes of each symbolic column, the unknown one included
    classes: int
    window: int = 16  # W, the present event included
    latent: int = 16  # Z
    vae_hidden: int = 64
    embedding: int = 16  # E; 0: the BiGRU sees the VAE's latent and score only, as in the paper
    embedding_hidden: int = 64
    gru_hidden: int = 48  # H

    @property
    def features(self) -> int:
        """F: the numbers, then the symbols one-hot."""
        return self.numbers + sum(self.symbols)

    @property
    def event_size(self) -> int:
        """L: what stands for one event in a window."""
        return self.latent + 1 + self.embedding


def min_max(numbers: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Eq. 1, x' = (x - min) / (max - min), on log(1 + x); beyond the training range it is clipped.

    `low` and `high` are the training file's extremes of log(1 + x). (N, numbers) -> (N, numbers) in 0..1.
    """
    span = (high - low).clamp(min=1e-9)
    return ((torch.log1p(numbers.clamp(min=0.0)) - low) / span).clamp(0.0, 1.0)


def one_hot(codes: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Symbol codes (N, S) int64 -> (N, sum of sizes) of 0 and 1, column after column."""
    out = torch.zeros(len(codes), sum(sizes))
    starts = torch.tensor([sum(sizes[:column]) for column in range(len(sizes))])
    return out.scatter_(1, codes + starts, 1.0)


def _two_layers(inputs: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())


class VAE(nn.Module):
    """The feature extractor: q(z|x) = N(mu, sigma^2) (eq. 2-4), p(x|z) (eq. 5-6), its ELBO (eq. 7-8)."""

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        self.numbers, self.symbols = shape.numbers, shape.symbols
        self.encoder = _two_layers(shape.features, shape.vae_hidden)
        self.mean = nn.Linear(shape.vae_hidden, shape.latent)
        self.log_variance = nn.Linear(shape.vae_hidden, shape.latent)
        self.decoder = _two_layers(shape.latent, shape.vae_hidden)
        self.output = nn.Linear(shape.vae_hidden, shape.features)
        self.log_scale = nn.Parameter(torch.full((shape.numbers,), math.log(0.1)))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Eq. 2-3: the mean and the log variance of q(z|x). (N, F) -> (N, Z), (N, Z)."""
        hidden = self.encoder(x)
        return self.mean(hidden), self.log_variance(hidden).clamp(-12.0, 12.0)

    def reconstruction(self, x: Tensor, z: Tensor) -> Tensor:
        """-log p(x|z), a number for each event (eq. 5-6). (N, F), (N, Z) -> (N,).

        The likelihoods fit the columns: Gaussian with a learnt scale for numbers, categorical for symbols.
        """
        output = self.output(self.decoder(z))  # (N, F)
        log_scale = self.log_scale.clamp(min=math.log(LEAST_SCALE))
        error = (x[:, : self.numbers] - output[:, : self.numbers]) * torch.exp(-log_scale)
        loss: Tensor = (0.5 * error**2).sum(1) + (log_scale + 0.5 * math.log(2 * math.pi)).sum()
        start = self.numbers
        for size in self.symbols:
            column = slice(start, start + size)
            loss = loss - (x[:, column] * F.log_softmax(output[:, column], 1)).sum(1)
            start += size
        return loss

    @staticmethod
    def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
        """Eq. 7: KL(q(z|x) || N(0, I)) in closed form. (N, Z), (N, Z) -> (N,)."""
        return 0.5 * (mean**2 + log_variance.exp() - 1.0 - log_variance).sum(1)

    def loss(self, x: Tensor, divergence_weight: float = 1.0) -> Tensor:
        """Eq. 8: the negative ELBO with one draw of z = mu + sigma * eps (eq. 4). (N, F) -> (N,)."""
        mean, log_variance = self.encode(x)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        return self.reconstruction(x, z) + divergence_weight * self.divergence(mean, log_variance)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The features of each event, mu, and its negative ELBO at z = mu. (N, F) -> (N, Z), (N,)."""
        mean, log_variance = self.encode(x)
        return mean, self.reconstruction(x, mean) + self.divergence(mean, log_variance)


class GRU(nn.Module):
    """One direction, in the paper's form: r gates the state before the candidate's matrix (eq. 9-12)."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(hidden)
        self.W = nn.Parameter(torch.empty(inputs, 3 * hidden).uniform_(-bound, bound))  # of r, z, candidate
        self.U = nn.Parameter(torch.empty(hidden, 2 * hidden).uniform_(-bound, bound))  # of r, z
        self.U_candidate = nn.Parameter(torch.empty(hidden, hidden).uniform_(-bound, bound))
        self.b = nn.Parameter(torch.zeros(3 * hidden))
        self.hidden = hidden

    def forward(self, x: Tensor, valid: Tensor, order: range) -> Tensor:
        """The state after all steps in `order`. (N, W, L), (N, W, 1) -> (N, H).

        A step that is masked (`valid` 0) leaves the state as it was. `torch.where`, not a product, so that
        no value in a masked place, whatever it is, can reach the state.
        """
        count, width, size = x.shape
        inputs = torch.addmm(self.b, x.reshape(count * width, size), self.W)  # (N * W, 3H)
        inputs = inputs.view(count, width, 3 * self.hidden)
        state = x.new_zeros(count, self.hidden)
        for step in order:
            at = inputs[:, step]  # (N, 3H)
            gates = torch.sigmoid(at[:, : 2 * self.hidden] + state @ self.U)
            r, z = gates[:, : self.hidden], gates[:, self.hidden :]  # eq. 9, eq. 10
            candidate = torch.tanh(at[:, 2 * self.hidden :] + (r * state) @ self.U_candidate)  # eq. 11
            new = state + z * (candidate - state)  # eq. 12: (1 - z) h + z h~
            state = torch.where(valid[:, step], new, state)
        return state


class Classifier(nn.Module):
    """The bidirectional GRU over a window and the class output (eq. 13)."""

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        self.forwards = GRU(shape.event_size, shape.gru_hidden)
        self.backwards = GRU(shape.event_size, shape.gru_hidden)
        self.output = nn.Linear(2 * shape.gru_hidden + shape.event_size, shape.classes)
        self.width = shape.window

    def forward(self, events: Tensor, valid: Tensor, dropout: float = 0.0) -> Tensor:
        """Class scores before the softmax. (N, W, L), (N, W) bool -> (N, C).

        The last place is the present event: it goes into the output a second time, past the recurrence.
        """
        mask = valid.unsqueeze(2)  # (N, W, 1)
        steps = range(self.width)
        ahead = self.forwards(events, mask, steps)  # (N, H)
        back = self.backwards(events, mask, steps[::-1])  # (N, H)
        seen = torch.cat((ahead, back, events[:, -1]), 1)  # (N, 2H + L)
        return self.output(F.dropout(seen, dropout, training=dropout > 0))  # type: ignore[no-any-return]


def novelty(score: Tensor, floor: float, threshold: float) -> Tensor:
    """The reconstruction score as a ratio that is above 1 where nothing in training looked like it. (N,).

    Scores span orders of magnitude and may be negative (densities): hence the logarithm of what exceeds
    `floor`, over `threshold`, which is a quantile of the same logarithm on held-out normal rows.
    """
    return torch.log1p((score - floor).clamp(min=0.0)) / threshold


class Network(nn.Module):
    """All trained tensors: the VAE, the events' dense encoding and the classifier."""

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        self.shape = shape
        self.vae = VAE(shape)
        self.embedding: nn.Sequential | None = None
        if shape.embedding:
            self.embedding = nn.Sequential(
                nn.Linear(shape.features, shape.embedding_hidden),
                nn.ReLU(),
                nn.Linear(shape.embedding_hidden, shape.embedding),
                nn.Tanh(),
            )
        self.classifier = Classifier(shape)

    def events(self, x: Tensor, floor: float, threshold: float) -> Tensor:
        """What stands for an event in a window: latent mean, novelty, dense encoding. (N, F) -> (N, L).

        The VAE is trained before, and gets no gradient from here; the dense encoding learns with the BiGRU.
        """
        with torch.no_grad():
            mean, score = self.vae(x)
            extracted = torch.cat((mean, novelty(score, floor, threshold).unsqueeze(1)), 1)  # (N, Z + 1)
        return extracted if self.embedding is None else torch.cat((extracted, self.embedding(x)), 1)

    @classmethod
    def random(cls, shape: Architecture, seed: int) -> Network:
        """An untrained network; the same seed gives the same weights. The global generator is left alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(shape)
