"""The trained network as plain tensors, to serve: `network.py`'s equations in few and wide operations.

A call of the library costs microseconds however few numbers it works on, and a worker with little to do makes
hundreds of them for an event. So what never changes is computed once, steps of both directions are one, and
sums are made in place. The order of every sum is that of the modules: the results are theirs, bit for bit
where the processor's products agree.

All of it is immutable, copies of the network's tensors as they were, and to be called in inference mode.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streams.model.evidence import transformed
from streams.model.network import (
    KEYS,
    OUTPUTS,
    VAE,
    Architecture,
    Classifier,
    Features,
    Network,
    OneHotLinear,
    bounded,
    novelty,
    numbers_there,
)
from streams.model.trees import mixed

_SUM: Final = 0
"""How the function beneath `F.embedding_bag` is told to sum; that one looks at its arguments for 10 us."""


class Affine(NamedTuple):
    """x W + b. The weights lie as (I, O), outputs added up to a multiple of OUTPUTS (`blocks.py`)."""

    weight: Tensor  # (I, O)
    bias: Tensor  # (O,)

    def __call__(self, x: Tensor) -> Tensor:
        """(M, I) -> (M, O)."""
        return torch.addmm(self.bias, x, self.weight)


def affine(weight: Tensor, bias: Tensor) -> Affine:
    """Of a linear layer's weight (O, I) and bias (O,)."""
    missing = -len(weight) % OUTPUTS
    return Affine(F.pad(weight, (0, 0, 0, missing)).T.contiguous(), F.pad(bias, (0, missing)).clone())


def beside(*layers: nn.Linear) -> Affine:
    """Layers of the same input as one, their outputs side by side."""
    return affine(torch.cat([of.weight for of in layers]), torch.cat([of.bias for of in layers]))


class Lookup(NamedTuple):
    """Numbers by a product, symbols by the rows at their places: the first layer of both encodings."""

    numbers: Affine
    table: Tensor  # (T, O)
    bias: Tensor  # (O,)

    def __call__(self, scaled: Tensor, places: Tensor) -> Tensor:
        """(M, numbers), (M, columns) -> (M, O), none below 0."""
        bags = _bags(*places.shape)
        symbols = torch.embedding_bag(
            self.table, places.reshape(-1), bags, False, _SUM, False, None, False, None
        )
        return self.numbers(scaled).add_(symbols[0].add_(self.bias)).relu_()


@cache
def _bags(rows: int, columns: int) -> Tensor:
    """Where each event's places begin. (rows,). A detector's blocks have few sizes (`blocks.py`)."""
    with torch.inference_mode(False):
        return torch.arange(0, rows * columns, columns)


def lookup(numbers: nn.Linear, symbols: OneHotLinear) -> Lookup:
    return Lookup(beside(numbers), symbols.weight.clone(), symbols.bias.clone())


@dataclass(frozen=True, slots=True, eq=False)
class Scorer:
    """The VAE at z = mu (eq. 2-8)."""

    first: Lookup
    second: Affine
    posterior: Affine  # of mu and log sigma^2, side by side
    moments: tuple[int, ...]  # outputs of either, and what was added to them
    decoder: tuple[Affine, Affine]
    value: Affine
    logits: Affine
    symbols: tuple[int, ...]  # codes of each, and what was added to the logits
    first_symbol: int
    log_scale: Tensor  # (numbers,)
    inverse_scale: Tensor  # (numbers,)
    least: Tensor  # (numbers,)
    least_score: Tensor  # ()
    weights: Tensor | None  # (columns + 1,)
    shape: Architecture

    @classmethod
    def of(cls, vae: VAE) -> Scorer:
        numbers = vae.sizes[0]
        weight, bias = vae.output.weight, vae.output.bias
        log_scale, latent = vae.bounded_log_scale, vae.mean.out_features
        posterior, logits = beside(vae.mean, vae.log_variance), affine(weight[numbers:], bias[numbers:])
        return cls(
            first=lookup(vae.numbers, vae.symbols),
            second=_linear(vae.encoder[1]),
            posterior=posterior,
            moments=(latent, latent, len(posterior.bias) - 2 * latent),
            decoder=(_linear(vae.decoder[0]), _linear(vae.decoder[2])),
            value=affine(weight[:numbers], bias[:numbers]),
            logits=logits,
            symbols=(*vae.sizes[1:], len(logits.bias) - sum(vae.sizes[1:])),
            first_symbol=int(vae.starts[0]),
            log_scale=log_scale,
            inverse_scale=torch.exp(-log_scale),
            least=vae.least[:numbers].clone(),
            least_score=vae.least.sum(),
            weights=vae.weights.clone() if vae.weighed else None,
            shape=vae.shape,
        )

    def terms(self, of: Features) -> tuple[Tensor, Tensor]:
        """mu, and what each column and the divergence add to the score. M -> (M, Z), (M, columns + 1)."""
        numbers = len(self.log_scale)
        codes = of.places[:, numbers:] - self.first_symbol  # (M, symbols)
        there = numbers_there(of.places, self.shape) if self.shape.masked else None
        given = of.scaled if there is None else torch.cat((of.scaled, there), 1)
        hidden = self.second(self.first(given, codes)).relu_()
        mean, log_variance, *_ = torch.split_with_sizes(self.posterior(hidden), self.moments, 1)
        decoded = mean
        for layer in self.decoder:
            decoded = layer(decoded).relu_()  # eq. 5
        off = (of.scaled - self.value(decoded)[:, :numbers]).mul_(self.inverse_scale)
        off = off.square_().mul_(0.5).add_(self.log_scale).add_(_HALF_LOG_2PI).sub_(self.least)  # eq. 6
        if there is not None:
            off.mul_(there)
        *parts, _ = torch.split_with_sizes(self.logits(decoded), self.symbols, 1)
        chances = torch.cat([torch.log_softmax(part, 1) for part in parts], 1)
        rarity = chances.gather(1, codes).neg_()  # (M, symbols)
        log_variance = log_variance.clamp(-12.0, 12.0)
        terms = torch.cat((off, rarity, VAE.divergence(mean, log_variance).unsqueeze(1)), 1)  # eq. 7
        return mean, terms if self.weights is None else self.weights * bounded(terms)

    def score(self, terms: Tensor) -> Tensor:
        """Eq. 8. (M, columns + 1) -> (M,)."""
        total = terms.sum(1)
        return total if self.weights is not None else total + self.least_score


_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


@dataclass(frozen=True, slots=True, eq=False)
class Encoder:
    """What stands for an event in a window: latent mean, novelty, dense encoding, keys."""

    scorer: Scorer
    dense: tuple[Lookup, Affine] | None
    embedding: int
    floor: float
    threshold: float

    @classmethod
    def of(cls, network: Network, floor: float, threshold: float) -> Encoder:
        size = network.shape.embedding
        dense = (lookup(network.numbers, network.symbols), beside(network.embedding)) if size else None
        return cls(Scorer.of(network.vae), dense, size, floor, threshold)

    def __call__(self, of: Features) -> Tensor:
        """M events -> (M, L)."""
        mean, terms = self.scorer.terms(of)
        odd = novelty(self.scorer.score(terms), self.floor, self.threshold).unsqueeze(1)
        if self.dense is None:
            return torch.cat((mean, odd, of.evidence, of.boosted, of.keys), 1)
        first, last = self.dense
        encoding = last(first(of.scaled, of.places)).tanh_()[:, : self.embedding]
        return torch.cat((mean, odd, encoding, of.evidence, of.boosted, of.keys), 1)

    def surprise(self, of: Features) -> Tensor:
        """What each column adds to the novelty's score. M events -> (M, columns)."""
        return self.scorer.terms(of)[1][:, :-1]


@dataclass(frozen=True, slots=True, eq=False)
class Recurrence:
    """Both directions of the BiGRU (eq. 9-12) in one: pairs are of the one ahead and the one back in time."""

    inputs: tuple[Affine, ...]  # of r, z and candidate: (2, L, H), (2, 1, H)
    gates: Tensor  # (4, H, H): the state's weights of r ahead, r back, z ahead, z back
    candidate: Tensor  # (2, H, H)

    @classmethod
    def of(cls, classifier: Classifier) -> Recurrence:
        pair = (classifier.forwards, classifier.backwards)
        weights = torch.stack([_with_gap(of.W, classifier.shape) for of in pair]).chunk(3, 2)
        biases = torch.stack([of.b for of in pair]).unsqueeze(1).chunk(3, 2)
        gates = torch.stack([of.U for of in pair]).chunk(2, 2)
        inputs = [Affine(w.contiguous(), b.contiguous()) for w, b in zip(weights, biases, strict=True)]
        return cls(tuple(inputs), torch.cat(gates), torch.stack([of.U_candidate for of in pair]))

    def __call__(self, windows: Tensor, hidden: Tensor) -> Tensor:
        """The states after all steps: (2, W, M, L) each in its own order, (2, W, M, 1) -> (2, M, H).

        At a hidden step z is 0, so that the state stays as it was. Its values must be finite.
        """
        _, width, rows, _ = windows.shape
        given = self._given(windows).view(6, width, rows, -1)
        given[2:4].masked_fill_(hidden, -math.inf)
        (first, *to_gates), (alone, *to_candidate) = given[:4].unbind(1), given[4:].unbind(1)
        gates, new = first.clone().sigmoid_(), alone.tanh()  # the state is 0 at first: nothing to multiply
        r, z = gates[:2], gates[2:]
        states = (new * z).expand(2, *new.shape).contiguous()  # twice: of r's products and of z's
        state, both = states[0], states.view(gates.shape)
        for gate, candidate in zip(to_gates, to_candidate, strict=True):
            torch.bmm(both, self.gates, out=gates).add_(gate).sigmoid_()  # eq. 9, eq. 10
            torch.bmm(r.mul_(state), self.candidate, out=new).add_(candidate).tanh_()  # eq. 11
            states.add_(new.sub_(state).mul_(z))  # eq. 12: (1 - z) h + z h~
        return state

    def _given(self, windows: Tensor) -> Tensor:
        """What the events add to r, z and candidate, each ahead and back: (2, W, M, L) -> (6, W * M, H)."""
        events = windows.view(2, -1, windows.shape[3])
        given = windows.new_empty(6, events.shape[1], self.candidate.shape[2])
        for (weight, bias), out in zip(self.inputs, given.chunk(3), strict=True):
            torch.bmm(events, weight, out=out).add_(bias)
        return given


@dataclass(frozen=True, slots=True, eq=False)
class Raising:
    """The monotone way of evidence to the scores (`evidence.py`)."""

    at: slice
    context: Affine
    units: Tensor  # (4 V, M)
    scores: Tensor  # (M, C) and what was added

    @classmethod
    def of(cls, classifier: Classifier) -> Raising:
        shape, way = classifier.shape, classifier.evidence
        scores = F.pad(way.score_weights, (0, -shape.classes % OUTPUTS)).contiguous()
        units = way.unit_weights.clone()
        return cls(shape.evidence_at, _blind(way.context, shape), units, scores)

    def __call__(self, context: Tensor, present: Tensor) -> Tensor:
        """What is added to the scores: (M, 2H + L), (M, L) -> (M, C) and what was added."""
        units = self.context(context).addmm_(transformed(present[:, self.at]), self.units).sigmoid_()
        return units @ self.scores


class Mixing(NamedTuple):
    """What the trees said of an event, and how far the network is trusted beside them (`trees.py`)."""

    at: slice
    trust: Tensor  # (C - 1,)


@dataclass(frozen=True, slots=True, eq=False)
class Judge:
    """From windows to class probabilities: the BiGRU and the class output (eq. 13), calibrated."""

    recurrence: Recurrence
    output: Affine
    evidence: Raising | None
    boosted: Mixing | None
    temperature: float
    log_prior: Tensor  # (C,)

    @classmethod
    def of(cls, network: Network, temperature: float, log_prior: Tensor) -> Judge:
        classifier = network.classifier
        raising = Raising.of(classifier) if classifier.shape.evidence else None
        output = _blind(classifier.output, classifier.shape) if raising else beside(classifier.output)
        mixing = Mixing(classifier.shape.boosted_at, network.trees.trust) if classifier.shape.trees else None
        return cls(Recurrence.of(classifier), output, raising, mixing, temperature, log_prior)

    def __call__(self, windows: Tensor, hidden: Tensor) -> Tensor:
        """(2, W, M, L) forwards and backwards in time, overwritten, (2, W, M, 1) -> (M, C)."""
        keys, present = windows[..., -KEYS:], windows[0, -1]
        keys.copy_(keys == present[:, -KEYS:])  # which each event shares with the present one
        ahead, back = self.recurrence(windows, hidden)
        context = torch.cat((ahead, back, present), 1)
        scores = self.output(context)[:, : len(self.log_prior)]
        if self.evidence is not None:
            scores = scores + self.evidence(context, present)[:, : len(self.log_prior)]
        if self.boosted is not None:
            scores = mixed(scores, present[:, self.boosted.at], self.boosted.trust)
        return torch.softmax(scores / self.temperature - self.log_prior, 1)


def _with_gap(weight: Tensor, shape: Architecture, before: int = 0) -> Tensor:
    """Weights (I, O) of what is seen of an event as weights of all of it: of evidence and trees' scores 0.

    `before` inputs are no event's.
    """
    at = before + shape.evidence_at.start
    gap = weight.new_zeros(shape.unseen_size, weight.shape[1])
    return torch.cat((weight[:at], gap, weight[at:]))


def _blind(layer: nn.Linear, shape: Architecture) -> Affine:
    """A layer of both states and what is seen of an event, for both states and all of it."""
    return affine(_with_gap(layer.weight.T, shape, 2 * shape.gru_hidden).T, layer.bias)


def _linear(layer: nn.Module) -> Affine:
    assert isinstance(layer, nn.Linear)
    return beside(layer)
