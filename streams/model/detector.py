"""A trained model ready to serve: rows in, verdicts out, and no row's result depends on its companions.

Batches are padded here, and worked on in blocks of sizes in which that holds (`blocks.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from streams.core.decisions import CONTEST_CLASSES, CONTEST_COST, decide, unknown_share, with_false_alarms
from streams.core.tables import UNKNOWN_SYMBOL, FeatureTable, Mask, Rows
from streams.core.usual import Usual
from streams.errors import SettingsError
from streams.model.blocks import blocks, padded
from streams.model.compiled import Encoder, Judge
from streams.model.evidence import log_counts
from streams.model.network import (
    KEYS,
    SERVICE_KEY,
    Architecture,
    Features,
    Network,
    alike,
    features,
    scaled_in_place,
    smoothed,
    span_of,
)
from streams.model.trees import Forest, asked

NOVEL = "novel"
CONTEST: Final = "contest"
OPERATOR: Final = "operator"


@dataclass(frozen=True, slots=True)
class Identity:
    """Which model: `digest` is the sha256 (hex) of its manifest's bytes."""

    name: str
    version: str
    digest: str


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """How dear a false alarm is, as a multiple of the cost matrix's: the one thing in which points differ."""

    false_alarm_factor: float
    says: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.false_alarm_factor < float("inf"):
            raise ValueError("the false alarm factor of an operating point must be above 0")


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a detector needs beside its tensors. All of it stands in the manifest."""

    table: FeatureTable  # what its rows are of; the manifest has the name
    shape: Architecture
    classes: tuple[str, ...]  # C; the first is normal
    low: tuple[float, ...]  # eq. 1: least log(1 + x) of each number in training
    high: tuple[float, ...]
    seen_codes: tuple[tuple[int, ...], ...]  # of each symbolic column; the others are mapped to unknown
    cost: tuple[tuple[float, ...], ...]  # (C true, C verdict)
    score_floor: float  # score that counts as nothing unusual
    score_threshold: float  # log(1 + score - floor) above which an event is like nothing in training
    score_decay: float  # weight of an event's novelty against the next one's of its service
    unknown_offset: float  # of the logistic curve from novelty to the share of unknown attacks
    unknown_slope: float
    temperature: float  # that the class scores are divided by
    log_prior: tuple[float, ...]  # (C,) taken off the class scores: training drew rare classes too often
    operating_points: Mapping[str, OperatingPoint]
    default_point: str
    usual: Mapping[str, Usual] = field(default_factory=lambda: MappingProxyType({}))
    """What is usual in a class, for people alone; a class may be missing, and in older models all are."""

    def __post_init__(self) -> None:
        count = len(self.classes)
        if count != self.shape.classes or len(self.cost) != count or any(len(r) != count for r in self.cost):
            raise ValueError(f"{count} classes need a {count} x {count} cost matrix and as many outputs")
        if not len(self.low) == len(self.high) == self.shape.numbers:
            raise ValueError(f"min-max needs {self.shape.numbers} least and greatest values")
        if len(self.seen_codes) != len(self.shape.symbols):
            raise ValueError(f"the vocabulary needs {len(self.shape.symbols)} columns")
        if len(self.log_prior) != count:
            raise ValueError(f"{count} classes need as many log priors")
        if min(self.score_threshold, self.temperature) <= 0 or not 0 <= self.score_decay <= 1:
            raise ValueError("novelty threshold and temperature must be above 0, the decay in 0..1")
        if not self.usual.keys() <= set(self.classes):
            raise ValueError("usual: describes a class that the model does not have")
        for usual in self.usual.values():
            usual.check(self.table)
        if self.default_point not in self.operating_points:
            raise ValueError(f"the default operating point {self.default_point!r} is none of the points")


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts:
    verdict: npt.NDArray[np.int64]  # (N,) place in Detector.verdicts
    closest: npt.NDArray[np.int64]  # (N,) place in Detector.classes
    posterior: npt.NDArray[np.float32]  # (N, C) unrounded
    novelty: npt.NDArray[np.float32]  # (N,) score over threshold; above 1: like nothing in training


class Detector:
    """Thread-safe: nothing changes after construction.

    `golden_difference`: how far it is off its golden vectors at most, as its loader measured; None where it
    was not loaded from files.
    """

    def __init__(
        self,
        identity: Identity,
        parameters: Parameters,
        network: Network,
        operating_point: str = "",
        golden_difference: float | None = None,
    ) -> None:
        self.identity = identity
        self.golden_difference = golden_difference
        self.parameters = parameters
        self.table = parameters.table
        self.network = network.eval().requires_grad_(False)
        self.classes = parameters.classes
        self.verdicts = (*parameters.classes, NOVEL)
        self.width = parameters.shape.window
        self.latent_size = parameters.shape.event_size
        self.operating_point = operating_point or parameters.default_point
        self._low = torch.tensor(parameters.low)
        self._span = span_of(self._low, torch.tensor(parameters.high))
        self._known = np.stack(known_codes(parameters.seen_codes))  # (symbols, 256)
        self._repetition = network.repetition.numpy() if parameters.shape.repetition else None
        self._forest = Forest.of(network.trees) if parameters.shape.trees else None
        self._encoder = Encoder.of(network, parameters.score_floor, parameters.score_threshold)
        log_prior = torch.tensor(parameters.log_prior)
        self._judge = Judge.of(network, parameters.temperature, log_prior)
        point = parameters.operating_points[self.operating_point]
        self._cost = with_false_alarms(parameters.cost, point.false_alarm_factor)

    def at(self, point: str) -> Detector:
        """The same model at another operating point; "" is its default. Raises SettingsError."""
        points = self.parameters.operating_points
        if point and point not in points:
            raise SettingsError(
                f"{self.identity.name}/{self.identity.version} has no operating point {point!r}; "
                f"it has {', '.join(sorted(points))}"
            )
        return Detector(self.identity, self.parameters, self.network, point, self.golden_difference)

    def features(self, rows: Rows) -> Features:
        """Eq. 1, bins and symbol codes of (N,) rows. Codes unseen in training become unknown."""
        return self._features(rows, len(rows))

    def _features(self, rows: Rows, size: int) -> Features:
        """The same, padded to `size` events."""
        numbers = np.zeros((size, self.parameters.shape.numbers), np.float32)
        codes = np.zeros((size, len(self._known)), np.int64)
        numbers[: len(rows)] = rows["numbers"]
        codes[: len(rows)] = self._known[np.arange(len(self._known)), rows["codes"]]
        shape, given = self.parameters.shape, torch.from_numpy(numbers)
        evidence = log_counts(given[:, list(shape.evidence)]) if shape.evidence else None
        scaled = scaled_in_place(given, self._low, self._span)
        present = self.table.present(rows) if shape.masked else None
        seen = None if present is None else self._seen(present, size)
        found = features(scaled, torch.from_numpy(codes), self.network.edges, shape, seen)
        if evidence is not None:
            found = found._replace(evidence=evidence)
        return found if self._forest is None else found._replace(boosted=self._boosted(rows, present, size))

    def _boosted(self, rows: Rows, present: Mask | None, size: int) -> Tensor:
        """What the trees say, (size, B); 0 of what pads."""
        forest, shape = self._forest, self.parameters.shape
        assert forest is not None
        scores = forest(torch.from_numpy(asked(self.table, shape.evidence, rows, present)))
        return F.pad(scores, (0, 0, 0, size - len(rows)))

    def _seen(self, present: Mask, size: int) -> Tensor:
        """Which numbers the network sees: (N, columns) -> (size, numbers)."""
        shape = self.parameters.shape
        seen = np.zeros((size, shape.numbers), np.bool_)
        seen[: len(present)] = present[:, : shape.numbers]
        seen[:, [*shape.withheld, *shape.evidence]] = False
        return torch.from_numpy(seen)

    @torch.inference_mode()
    def encode(self, rows: Rows) -> npt.NDArray[np.float32]:
        """What stands for each event in a window: latent mean, novelty, dense encoding, keys. N -> (N, L)."""
        out = np.empty((len(rows), self.latent_size), np.float32)
        for block in blocks(len(rows)):
            count = block.stop - block.start
            out[block] = self._encoder(self._features(rows[block], padded(count)))[:count].numpy()
        return out

    @torch.inference_mode()
    def surprise(self, rows: Rows) -> npt.NDArray[np.float32]:
        """What each column adds to the novelty's score, numbers first, 0 at least: (N,) -> (N, columns)."""
        out = np.empty((len(rows), len(self.parameters.shape.columns)), np.float32)
        for block in blocks(len(rows)):
            count = block.stop - block.start
            out[block] = self._encoder.surprise(self._features(rows[block], padded(count)))[:count].numpy()
        return out

    @torch.inference_mode()
    def classify(
        self, latents: npt.NDArray[np.float32], index: npt.NDArray[np.int64], valid: npt.NDArray[np.bool_]
    ) -> Verdicts:
        """Verdicts of windows: latents (T, L), index (N, W), valid (N, W) -> N verdicts.

        index[i, j] is the place in `latents` of window i's j-th event, oldest first, the present one last.
        Where valid[i, j] is False there is no history; its index may be anything in range. The present event
        is there in any case.
        """
        posterior = np.empty((len(index), len(self.classes)), np.float32)
        novelty = np.empty(len(index), np.float32)
        events = torch.from_numpy(np.ascontiguousarray(latents, np.float32))
        for block in blocks(len(index)):
            count = block.stop - block.start
            windows, hidden = _both_ways(events, index[block], valid[block])
            seen = windows[0, :, :count].numpy().swapaxes(0, 1)  # (B, W, L)
            there = ~hidden[0, :, :count, 0].numpy().T  # (B, W)
            novelty[block] = np.maximum(*self.novelties(seen, there))
            posterior[block] = self._judge(windows, hidden)[:count].numpy()
        verdict, closest = self.decide(posterior, novelty)
        return Verdicts(verdict, closest, posterior, novelty)

    def decide(
        self, posterior: npt.NDArray[np.float32], novelty: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Verdict and closest class at this operating point: (N, C), (N,) -> (N,), (N,)."""
        offset, slope = self.parameters.unknown_offset, self.parameters.unknown_slope
        unknown = unknown_share(novelty.astype(np.float64), offset, slope)
        return decide(posterior.astype(np.float64), unknown, self._cost)

    def novelties(
        self, windows: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """How odd the present event is, and how odd its burst: (N, W, L), (N, W) -> (N,), (N,)."""
        service = windows[:, :, SERVICE_KEY - KEYS]  # (N, W)
        each = windows[:, :, self.parameters.shape.latent]
        odd = smoothed(each, (service == service[:, -1:]) & valid, self.parameters.score_decay)
        table = self._repetition
        if table is None:
            return odd, np.zeros_like(odd)
        code = service[:, -1].astype(np.int64).clip(0, len(table) - 1)
        return odd, table[code, alike(windows[:, :, -KEYS:], valid).sum(1)]

    @classmethod
    def random(cls, table: FeatureTable, seed: int = 0, window: int = 8, embedding: int = 16) -> Detector:
        """An untrained detector of the real shape, for tests: every verdict is possible, none is meant."""
        shape = Architecture(
            bins=(20,) * len(table.numeric),
            symbols=tuple(column.size for column in table.symbolic),
            keys=table.key_places,
            classes=len(CONTEST_CLASSES),
            window=window,
            embedding=embedding,
            repetition=True,
            weighed=True,
        )
        network = Network.random(shape, seed)
        with torch.no_grad():
            network.vae.weights[:] = torch.linspace(0.5, 2.0, len(network.vae.weights))
            network.repetition[:] = torch.linspace(0.0, 3.0, window)
            network.edges[:] = torch.linspace(0.05, 0.95, 19)
            for weight in (*network.classifier.parameters(), *network.vae.mean.parameters()):
                weight.mul_(4.0)  # untrained outputs are all alike otherwise: nothing to compare
        parameters = Parameters(
            table=table,
            shape=shape,
            classes=CONTEST_CLASSES,
            low=(0.0,) * shape.numbers,
            high=tuple(1.0 if column.is_rate else 12.0 for column in table.numeric),
            seen_codes=tuple(tuple(range(1, size)) for size in shape.symbols),
            cost=CONTEST_COST,
            score_floor=0.0,
            score_threshold=6.0,
            score_decay=0.5,
            unknown_offset=-4.0,
            unknown_slope=4.0,
            temperature=1.0,
            log_prior=(0.0,) * shape.classes,
            operating_points=MappingProxyType(
                {OPERATOR: OperatingPoint(3.0, "few false alarms"), CONTEST: OperatingPoint(1.0)}
            ),
            default_point=OPERATOR,
        )
        return cls(Identity("random", str(seed), f"{seed:064x}"), parameters, network)

    def renamed(self, identity: Identity) -> Detector:
        """The same model under another identity: a saved one takes its manifest's digest."""
        return Detector(identity, self.parameters, self.network, self.operating_point, self.golden_difference)


def known_codes(seen: tuple[tuple[int, ...], ...]) -> list[npt.NDArray[np.int64]]:
    """A table for each symbolic column, code -> code, that sends what training never saw to unknown."""
    tables = []
    for codes in seen:
        table = np.full(256, UNKNOWN_SYMBOL, np.int64)
        table[list(codes)] = codes
        tables.append(table)
    return tables


def _both_ways(
    events: Tensor, index: npt.NDArray[np.int64], valid: npt.NDArray[np.bool_]
) -> tuple[Tensor, Tensor]:
    """Windows padded to M, forwards and backwards in time, and which of their events are not there.

    (T, L), (N, W), (N, W) -> (2, W, M, L), (2, W, M, 1). What is not there is 0, whatever lies at its place.
    """
    count, width = index.shape
    places = np.zeros((2, width, padded(count)), np.int64)
    hidden = np.ones(places.shape, bool)
    places[0, :, :count], hidden[0, :, :count] = index.T, ~valid.T
    hidden[0, -1] = False  # the present event
    places[1], hidden[1] = places[0, ::-1], hidden[0, ::-1]
    windows = events.index_select(0, torch.from_numpy(places.reshape(-1))).view(*places.shape, -1)
    mask = torch.from_numpy(hidden).unsqueeze(3)
    return windows.masked_fill_(mask, 0.0), mask
