"""AUTODEEP-ID's model in one file: min-max (eq. 1), a VAE (eq. 2-8), a bidirectional GRU (eq. 9-13).

It is one module on purpose. Read it from top to bottom; an event goes the same way:

    row of 41 columns ── eq. 1 ──> numbers in 0..1, each in a bin of its column     (N, 38), (N, 41)
                      ── eq. 2-8 ─> latent mean, score by the negative ELBO        (N, Z), (N,)
                      ───────────> a small dense encoding, and what it can share   (N, E), (N, K)
    the last W events ── eq. 9-12 > one GRU state in each direction                (N, H), (N, H)
                      ── eq. 13 ──> class scores                                   (N, C)

L = Z + 1 + E + K numbers stand for an event in every window that it is part of, so they are computed once.
To the VAE a number is Gaussian with the column's scale and a symbol is categorical: what is near to the
usual is not surprising, even if it never occurred. An event is scored by the terms of its negative ELBO,
each bounded, and weighed by what it says of attacks rather than of rarity. To the dense encoding every column
is categorical as well: counts and bytes have values that stand for something (0, 1, 105 bytes). A number's
bin and a symbol's code are both a place in one table of T places, 41 of which are set for an event.
What is odd about a burst is no event in it, but that there are so many alike: how many of a service's events
ordinarily follow their like stands in a table, learnt from normal rows beside the VAE.
Everything here is deterministic but `VAE.loss`, which draws eps.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streams.core.tables import KeyPlaces
from streams.model.evidence import Evidence
from streams.model.trees import Trees

KEYS: Final = 4
"""K: service, flag, bytes sent and bytes received, by which an event is compared with those before it."""
SERVICE_KEY: Final = 0
ALIKE: Final = 0.005
"""Scaled bytes of events that are alike are no further apart: a tenth, where the most ever sent is 1e9."""
TERM_NATS: Final = 30.0
"""No term of the score exceeds it: one column alone, however far off it is, is not yet an attack."""
OUTPUTS: Final = 16
"""Fewer, and a product's rows may be computed unlike (`wide_linear`)."""
NO_EDGE: Final = 2.0
"""Fills a column's row of edges behind the last one; no scaled number reaches it."""
_LEAST_LOG_SCALE: Final = -5.0
"""A column that is constant in training would have no width, and any other value an infinite score."""
_HALF_LOG_2PI: Final = 0.5 * math.log(2.0 * math.pi)


@dataclass(frozen=True, slots=True)
class Architecture:
    """Everything that shapes the tensors. It is part of the artifact."""

    bins: tuple[int, ...]  # of each number
    symbols: tuple[int, ...]  # codes of each symbolic column, the unknown one included
    keys: KeyPlaces  # of the columns by which events are compared; the feature table's
    classes: int
    window: int = 8  # W, the present event included
    latent: int = 16  # Z
    vae_hidden: int = 64
    embedding: int = 16  # E; 0: the BiGRU sees the VAE's latent and score only, as in the paper
    embedding_hidden: int = 64
    gru_hidden: int = 48  # H
    repetition: bool = False  # whether normal bursts were learnt; older models have not
    weighed: bool = False  # whether the score's terms are; that of older models is the negative ELBO as it is
    masked: bool = False  # whether columns may be absent: a number's last bin then says that it is
    evidence: tuple[
        int, ...
    ] = ()  # numbers that go to the scores by a monotone way of their own, and no other
    withheld: tuple[int, ...] = ()  # numbers that the network does not see: as if they were always absent
    trees: int = 0  # that speak beside the network (trees.py)
    tree_depth: int = 0

    @property
    def numbers(self) -> int:
        return len(self.bins)

    @property
    def columns(self) -> tuple[int, ...]:
        """Places of each column in the table: the numbers' bins, then the symbols' codes."""
        return (*self.bins, *self.symbols)

    @property
    def places(self) -> int:
        """T."""
        return sum(self.columns)

    @property
    def first_symbol(self) -> int:
        """Place of the first symbol's first code: the numbers' bins come before it."""
        return sum(self.bins)

    @property
    def event_size(self) -> int:
        """L: what stands for one event in a window."""
        return self.seen_size + self.unseen_size

    @property
    def boosted(self) -> int:
        """B: scores of the trees, one of each attack."""
        return self.classes - 1 if self.trees else 0

    @property
    def unseen_size(self) -> int:
        """Of these, what the recurrence does not see: the evidence and what the trees say."""
        return len(self.evidence) + self.boosted

    @property
    def seen_size(self) -> int:
        """What it sees."""
        return self.latent + 1 + self.embedding + KEYS

    @property
    def evidence_at(self) -> slice:
        """Where the evidence stands among what stands for an event: before the trees' scores and the keys."""
        first = self.seen_size - KEYS
        return slice(first, first + len(self.evidence))

    @property
    def boosted_at(self) -> slice:
        """Where the trees' scores stand: before the keys."""
        return slice(self.evidence_at.stop, self.evidence_at.stop + self.boosted)

    @property
    def seen(self) -> tuple[int, ...]:
        """Where all else stands."""
        places = range(self.event_size)
        return (*places[: self.evidence_at.start], *places[self.boosted_at.stop :])


class Features(NamedTuple):
    """Events as the network reads them."""

    scaled: Tensor  # (N, numbers) float32 in 0..1
    places: Tensor  # (N, columns) int64, in 0..T - 1: each column's bin or code
    keys: Tensor  # (N, K) float32
    evidence: Tensor  # (N, V) float32, log(1 + x); V is 0 where there is none
    boosted: Tensor  # (N, B) float32, what the trees say; B is 0 where there are none

    def take(self, chosen: object) -> Features:
        return Features(*(of[chosen] for of in self))  # type: ignore[index]

    def parts(self, rows: int) -> list[Features]:
        """The same in parts of so many events."""
        return [Features(*part) for part in zip(*(torch.split(of, rows) for of in self), strict=True)]

    def to(self, device: str) -> Features:
        return Features(*(of.to(device) for of in self))


def min_max(numbers: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Eq. 1, x' = (x - min) / (max - min), on log(1 + x); beyond the training range it is clipped.

    `low` and `high` are the training file's extremes of log(1 + x). (N, numbers) -> (N, numbers) in 0..1.
    """
    return scaled_in_place(numbers.clone(), low, span_of(low, high))


def span_of(low: Tensor, high: Tensor) -> Tensor:
    """(numbers,). That of a column that is constant in training is not 0."""
    return (high - low).clamp(min=1e-9)


def scaled_in_place(numbers: Tensor, low: Tensor, span: Tensor) -> Tensor:
    """`min_max` of numbers that nobody needs any more."""
    return numbers.clamp_(min=0.0).log1p_().sub_(low).div_(span).clamp_(0.0, 1.0)


@cache
def _starts(columns: tuple[int, ...]) -> Tensor:
    """The place of each column's first bin or code in the table. (columns,) int64."""
    with torch.inference_mode(False):  # whoever asks first
        return torch.tensor([sum(columns[:column]) for column in range(len(columns))])


@cache
def _columns(places: tuple[int, ...]) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(places)


def features(
    scaled: Tensor, codes: Tensor, edges: Tensor, shape: Architecture, there: Tensor | None = None
) -> Features:
    """Min-max numbers (N, numbers) and symbol codes (N, symbols) as places in the table and as keys.

    `edges` (numbers, B): the least scaled value of every bin but a column's first, ascending. `there`
    (N, numbers), where columns may be absent: which are not. No evidence yet, and nothing of trees.
    """
    if there is not None:
        scaled = scaled * there
    bins = torch.searchsorted(edges, scaled.T.contiguous(), right=True).T  # (N, numbers)
    if there is not None:
        bins = torch.where(there, bins, torch.tensor(shape.bins) - 1)
    places = torch.cat((bins, codes), 1).add_(_starts(shape.columns))  # (N, columns)
    service, flag, sent, received = shape.keys
    names = codes.index_select(1, _columns((service, flag))).to(torch.float32)
    sizes = scaled.index_select(1, _columns((sent, received)))
    nothing = scaled.new_empty(len(scaled), 0)
    return Features(scaled, places, torch.cat((names, sizes), 1), nothing, nothing)


def numbers_there(places: Tensor, shape: Architecture) -> Tensor:
    """Which numbers are not absent: (N, columns) -> (N, numbers) float32."""
    last = _starts(shape.columns)[: shape.numbers] + torch.tensor(shape.bins) - 1
    return (places[:, : shape.numbers] != last).to(torch.float32)


class OneHotLinear(nn.Module):
    """A linear layer on one-hot columns: the sum of the rows at an event's places. (N, columns) -> (N, O)."""

    def __init__(self, places: int, outputs: int, columns: int) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(columns)
        self.weight = nn.Parameter(torch.empty(places, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, places: Tensor, kept: Tensor | None = None) -> Tensor:
        """`kept` (N, columns) of 0 and 1 leaves columns out, in training."""
        return F.embedding_bag(places, self.weight, mode="sum", per_sample_weights=kept) + self.bias


class VAE(nn.Module):
    """The feature extractor: q(z|x) = N(mu, sigma^2) (eq. 2-4), p(x|z) (eq. 5-6), its ELBO (eq. 7-8)."""

    starts: Tensor  # (symbols,) place of each symbol's first code
    weights: Tensor  # (columns + 1,) of the score's terms

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        hidden, codes = shape.vae_hidden, sum(shape.symbols)
        self.sizes = (shape.numbers, *shape.symbols)
        starts = [shape.first_symbol + sum(shape.symbols[:i]) for i in range(len(shape.symbols))]
        self.register_buffer("starts", torch.tensor(starts), persistent=False)
        self.weighed, self.masked, self.shape = shape.weighed, shape.masked, shape
        if shape.weighed:
            self.register_buffer("weights", torch.ones(len(shape.columns) + 1))
        self.numbers = nn.Linear(shape.numbers * (2 if shape.masked else 1), hidden)
        self.symbols = OneHotLinear(codes, hidden, len(shape.symbols))
        self.encoder = nn.Sequential(nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.mean = nn.Linear(hidden, shape.latent)
        self.log_variance = nn.Linear(hidden, shape.latent)
        self.decoder = nn.Sequential(
            nn.Linear(shape.latent, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()
        )
        self.output = nn.Linear(hidden, shape.numbers + codes)
        self.log_scale = nn.Parameter(torch.full((shape.numbers,), -2.0))

    def encode(self, of: Features) -> tuple[Tensor, Tensor]:
        """Eq. 2-3: the mean and the log variance of q(z|x). N events -> (N, Z), (N, Z)."""
        symbols = of.places[:, len(self.log_scale) :] - self.starts[0]
        hidden = self.encoder(self.numbers(self.given(of)) + self.symbols(symbols))
        return self.mean(hidden), self.log_variance(hidden).clamp(-12.0, 12.0)

    def given(self, of: Features) -> Tensor:
        """The numbers, and beside them which are there, where they may be absent."""
        return torch.cat((of.scaled, numbers_there(of.places, self.shape)), 1) if self.masked else of.scaled

    def reconstruction(self, of: Features, z: Tensor) -> Tensor:
        """-log p(x|z) of each column (eq. 5-6): N events, (N, Z) -> (N, columns).

        Gaussian around the decoded value, with a learnt scale, of numbers; categorical of symbols.
        """
        value, *logits = torch.split(self.output(self.decoder(z)), list(self.sizes), 1)
        log_scale = self.bounded_log_scale
        off = (of.scaled - value) * torch.exp(-log_scale)  # (N, numbers)
        numbers = 0.5 * off**2 + log_scale + _HALF_LOG_2PI
        if self.masked:  # what is absent needs no explanation
            numbers = numbers * numbers_there(of.places, self.shape)
        codes = of.places[:, len(self.log_scale) :] - self.starts  # (N, symbols), each in its column
        symbols = [F.cross_entropy(part, codes[:, i], reduction="none") for i, part in enumerate(logits)]
        return torch.cat((numbers, torch.stack(symbols, 1)), 1)

    @property
    def bounded_log_scale(self) -> Tensor:
        """log sigma of p(x|z) for each number. (numbers,)."""
        return self.log_scale.clamp(min=_LEAST_LOG_SCALE)

    @property
    def least(self) -> Tensor:
        """-log p(x|z) of each column where z explains it perfectly. (columns,)."""
        numbers = self.bounded_log_scale + _HALF_LOG_2PI
        return torch.cat((numbers, numbers.new_zeros(len(self.sizes) - 1)))

    def terms(self, of: Features, mean: Tensor, log_variance: Tensor) -> Tensor:
        """The negative ELBO at z = mu in parts: each column beyond its least, and the divergence.

        N events, (N, Z), (N, Z) -> (N, columns + 1), none below 0.
        """
        least = self.least
        if self.masked:
            least = least * F.pad(numbers_there(of.places, self.shape), (0, len(self.sizes) - 1), value=1.0)
        columns = self.reconstruction(of, mean) - least
        return torch.cat((columns, self.divergence(mean, log_variance).unsqueeze(1)), 1)

    def negative_elbo(self, of: Features) -> Tensor:
        """Eq. 8 at z = mu, whatever the score weighs. N events -> (N,)."""
        return self.terms(of, *self.encode(of)).sum(1) + self.least.sum()

    def weigh(self, terms: Tensor) -> Tensor:
        """What each term adds to the score. (N, columns + 1) -> the same."""
        return self.weights * bounded(terms) if self.weighed else terms

    def surprise(self, of: Features) -> Tensor:
        """What each column adds to the score. N events -> (N, columns)."""
        return self.weigh(self.terms(of, *self.encode(of)))[:, :-1]

    @staticmethod
    def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
        """Eq. 7: KL(q(z|x) || N(0, I)) in closed form. (N, Z), (N, Z) -> (N,)."""
        return 0.5 * (mean**2 + log_variance.exp() - 1.0 - log_variance).sum(1)

    def loss(self, of: Features, divergence_weight: float = 1.0) -> Tensor:
        """Eq. 8: the negative ELBO with one draw of z = mu + sigma * eps (eq. 4). N events -> (N,)."""
        mean, log_variance = self.encode(of)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        return self.reconstruction(of, z).sum(1) + divergence_weight * self.divergence(mean, log_variance)

    def forward(self, of: Features) -> tuple[Tensor, Tensor]:
        """The features of each event, mu, and its score: the negative ELBO (eq. 8) at z = mu, or what its
        terms weigh. N -> (N, Z), (N,)."""
        mean, log_variance = self.encode(of)
        score = self.weigh(self.terms(of, mean, log_variance)).sum(1)
        return mean, score if self.weighed else score + self.least.sum()


def bounded(terms: Tensor) -> Tensor:
    """Each as it is where it is small, and never beyond TERM_NATS."""
    return terms / (1.0 + terms / TERM_NATS)


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
        size = 2 * shape.gru_hidden + shape.seen_size
        self.forwards = GRU(shape.seen_size, shape.gru_hidden)
        self.backwards = GRU(shape.seen_size, shape.gru_hidden)
        self.output = nn.Linear(size, shape.classes)
        if shape.evidence:
            self.evidence = Evidence(len(shape.evidence), size, shape.classes - 1)
        self.width, self.shape = shape.window, shape

    def forward(self, events: Tensor, valid: Tensor, dropout: float = 0.0) -> Tensor:
        """Class scores before the softmax. (N, W, L), (N, W) bool -> (N, C).

        The last place is the present event: it goes into the output a second time, past the recurrence.
        """
        mask = valid.unsqueeze(2)  # (N, W, 1)
        steps = range(self.width)
        of, events = events[:, -1, self.shape.evidence_at], related(events)
        if self.shape.evidence:
            events = events[:, :, list(self.shape.seen)]  # the trees' scores are mixed in afterwards
        ahead = self.forwards(events, mask, steps)  # (N, H)
        back = self.backwards(events, mask, steps[::-1])  # (N, H)
        seen = torch.cat((ahead, back, events[:, -1]), 1)  # (N, 2H + L)
        seen = F.dropout(seen, dropout, training=dropout > 0)
        scores = wide_linear(seen, self.output)
        return scores + self.evidence(seen, of) if self.shape.evidence else scores


def wide_linear(x: Tensor, layer: nn.Linear) -> Tensor:
    """The layer with outputs added up to a multiple of OUTPUTS, and taken off again. (N, I) -> (N, O).

    Of a narrow product some processors compute rows at some places of a batch by other kernels, so that the
    last bits of a row would depend on where it stands.
    """
    outputs = layer.out_features
    missing = -outputs % OUTPUTS
    weight, bias = F.pad(layer.weight, (0, 0, 0, missing)), F.pad(layer.bias, (0, missing))
    return F.linear(x, weight, bias)[:, :outputs]


def related(events: Tensor) -> Tensor:
    """Each event's keys replaced by which of them it shares with the present one. (N, W, L) -> (N, W, L).

    So that a burst of ordinary events, each like the one before, shows as a burst.
    """
    keys = events[:, :, -KEYS:]
    return torch.cat((events[:, :, :-KEYS], (keys == keys[:, -1:]).to(events.dtype)), 2)


def novelty(score: Tensor, floor: float, threshold: float) -> Tensor:
    """The score as a ratio that is above 1 where nothing in training looked like it. (N,).

    Scores span orders of magnitude: hence the logarithm of what exceeds `floor`, over `threshold`, which is a
    quantile of the same logarithm on held-out normal rows.
    """
    return torch.log1p((score - floor).clamp(min=0.0)) / threshold


def smoothed(
    novelty: npt.NDArray[np.float32], counted: npt.NDArray[np.bool_], decay: float
) -> npt.NDArray[np.float32]:
    """Novelty of the present event, averaged with that of the earlier ones of its service in the window.

    An event counts `decay` times as much as the one after it, where it is `counted`, as the present one is.
    (N, W), (N, W) -> (N,). A sum in a fixed order: its last bits must not depend on N.
    """
    weight = (decay ** np.arange(novelty.shape[1] - 1, -1, -1.0)).astype(np.float32)  # (W,)
    parts = np.where(counted, weight * novelty, np.float32(0)), np.where(counted, weight, np.float32(0))
    total, weights = (np.add.accumulate(of, 1)[:, -1] for of in parts)
    return np.asarray(total / weights, np.float32)


_Of = TypeVar("_Of", Tensor, np.ndarray[Any, Any])


def alike(keys: _Of, valid: _Of) -> _Of:
    """Which earlier events of a window are like the present one. (N, W, K), (N, W) bool -> (N, W - 1) bool.

    Alike: the same service and flag, and about as many bytes in both directions.
    """
    apart = abs(keys[:, :-1] - keys[:, -1:])  # (N, W - 1, K)
    found: _Of = (apart[:, :, :2] == 0).all(2) & (apart[:, :, 2:] <= ALIKE).all(2) & valid[:, :-1]
    return found


class Network(nn.Module):
    """All trained tensors: the bins, the VAE, repetition, the events' dense encoding and the classifier."""

    edges: Tensor
    repetition: Tensor  # (services, W): the novelty of a service's event by how many earlier ones are like it

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        self.shape = shape
        self.register_buffer("edges", torch.full((shape.numbers, max(*shape.bins, 2) - 1), NO_EDGE))
        if shape.repetition:
            self.register_buffer("repetition", torch.zeros(shape.symbols[shape.keys.service], shape.window))
        self.vae = VAE(shape)
        if shape.embedding:
            self.numbers = nn.Linear(shape.numbers, shape.embedding_hidden)
            self.symbols = OneHotLinear(shape.places, shape.embedding_hidden, len(shape.columns))
            self.embedding = nn.Linear(shape.embedding_hidden, shape.embedding)
        self.classifier = Classifier(shape)
        if shape.trees:
            self.trees = Trees(shape.trees, shape.tree_depth, shape.classes - 1)

    def with_trees(self, trees: Trees) -> Network:
        """The same network with these trees beside it."""
        depth, count = trees.columns.shape
        found = Network(dataclasses.replace(self.shape, trees=count, tree_depth=depth))
        found.load_state_dict(self.state_dict() | {f"trees.{k}": v for k, v in trees.state_dict().items()})
        return found

    @torch.no_grad()
    def extract(self, of: Features, floor: float, threshold: float) -> Tensor:
        """Latent mean and novelty. N events -> (N, Z + 1). No gradient: the VAE is trained before."""
        mean, score = self.vae(of)
        return torch.cat((mean, novelty(score, floor, threshold).unsqueeze(1)), 1)

    def events(self, of: Features, extracted: Tensor, kept: Tensor | None = None) -> Tensor:
        """What stands for an event in a window: latent mean, novelty, dense encoding, keys. N -> (N, L).

        The dense encoding learns with the BiGRU: what tells classes apart need not be what explains events.
        `kept` (N, columns) of 0 and 1 hides columns from it, in training.
        """
        if not self.shape.embedding:
            return torch.cat((extracted, of.evidence, of.boosted, of.keys), 1)
        scaled = of.scaled if kept is None else of.scaled * kept[:, : self.shape.numbers]
        hidden = F.relu(self.numbers(scaled) + self.symbols(of.places, kept))
        encoding = torch.tanh(self.embedding(hidden))
        return torch.cat((extracted, encoding, of.evidence, of.boosted, of.keys), 1)

    @classmethod
    def random(cls, shape: Architecture, seed: int) -> Network:
        """An untrained network; the same seed gives the same weights. The global generator is left alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(shape)
