"""A trained model ready to serve: rows in, verdicts out, and no row's result depends on its companions.

Matrix products are bit-equal for a row in any company as long as the number of rows is a multiple of 64
(measured, and held by a test); so batches are padded here, and worked on in blocks that fit the caches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from streams.core.decision import CONTEST_CLASSES, CONTEST_COST, decide
from streams.core.features import NUMERIC, SYMBOLIC, UNKNOWN_SYMBOL, Rows
from streams.core.model import Architecture, Network, min_max, one_hot

PAD_ROWS = 64
BLOCK_ROWS = 512
NOVEL = "novel"

_Array = TypeVar("_Array", bound=npt.NDArray[np.generic])


@dataclass(frozen=True, slots=True)
class Identity:
    """Which model: `digest` is the sha256 (hex) of its manifest's bytes."""

    name: str
    version: str
    digest: str


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a detector needs beside its tensors. All of it stands in the manifest."""

    shape: Architecture
    classes: tuple[str, ...]  # C; the first is normal
    low: tuple[float, ...]  # eq. 1: least log(1 + x) of each number in training
    high: tuple[float, ...]
    seen_codes: tuple[tuple[int, ...], ...]  # of each symbolic column; the others are mapped to unknown
    cost: tuple[tuple[float, ...], ...]  # (C true, C verdict)
    score_floor: float  # reconstruction score that counts as nothing unusual
    score_threshold: float  # log(1 + score - floor) above which an event is like nothing in training
    novelty_weight: float  # of the even prior over attacks where that is so

    def __post_init__(self) -> None:
        count = len(self.classes)
        if count != self.shape.classes or len(self.cost) != count or any(len(r) != count for r in self.cost):
            raise ValueError(f"{count} classes need a {count} x {count} cost matrix and as many outputs")
        if not len(self.low) == len(self.high) == self.shape.numbers:
            raise ValueError(f"min-max needs {self.shape.numbers} least and greatest values")
        if len(self.seen_codes) != len(self.shape.symbols):
            raise ValueError(f"the vocabulary needs {len(self.shape.symbols)} columns")
        if self.score_threshold <= 0 or not 0 <= self.novelty_weight <= 1:
            raise ValueError("the novelty threshold must be above 0 and its weight in 0..1")


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
        golden_difference: float | None = None,
    ) -> None:
        self.identity = identity
        self.golden_difference = golden_difference
        self.parameters = parameters
        self.network = network.eval().requires_grad_(False)
        self.classes = parameters.classes
        self.verdicts = (*parameters.classes, NOVEL)
        self.width = parameters.shape.window
        self.latent_size = parameters.shape.event_size
        self._low = torch.tensor(parameters.low)
        self._high = torch.tensor(parameters.high)
        self._cost = np.array(parameters.cost, np.float64)
        self._known = known_codes(parameters.seen_codes)

    def features(self, rows: Rows) -> Tensor:
        """Eq. 1 and one-hot symbols: (N,) rows -> (N, F) float32. Codes unseen in training become unknown."""
        numbers = torch.from_numpy(np.ascontiguousarray(rows["numbers"], np.float32))  # (N, 38)
        codes = np.stack(  # (N, 3)
            [self._known[column][rows["codes"][:, column]] for column in range(len(self._known))], 1
        )
        scaled = min_max(numbers, self._low, self._high)
        return torch.cat((scaled, one_hot(torch.from_numpy(codes), self.parameters.shape.symbols)), 1)

    def encode(self, rows: Rows) -> npt.NDArray[np.float32]:
        """What stands for each event in a window: latent mean, novelty, dense encoding. (N,) -> (N, L)."""
        out = np.empty((len(rows), self.latent_size), np.float32)
        floor, threshold = self.parameters.score_floor, self.parameters.score_threshold

        def work(block: slice) -> None:
            chosen = rows[block]
            x = self.features(_padded(chosen))  # (B, F)
            out[block] = self.network.events(x, floor, threshold)[: len(chosen)].numpy()

        _in_blocks(len(rows), work)
        return out

    def classify(
        self, latents: npt.NDArray[np.float32], index: npt.NDArray[np.int64], valid: npt.NDArray[np.bool_]
    ) -> Verdicts:
        """Verdicts of windows: latents (T, L), index (N, W), valid (N, W) -> N verdicts.

        index[i, j] is the place in `latents` of window i's j-th event, oldest first, the present one last.
        Where valid[i, j] is False there is no history; its index may be anything in range.
        """
        posterior = np.empty((len(index), len(self.classes)), np.float32)
        events = torch.from_numpy(np.ascontiguousarray(latents, np.float32))

        def work(block: slice) -> None:
            places = torch.from_numpy(_padded(index[block]))  # (B, W)
            mask = torch.from_numpy(_padded(valid[block]))
            window = events.index_select(0, places.reshape(-1)).view(*places.shape, -1)  # -> (B, W, L)
            scores = self.network.classifier(window, mask)
            count = block.stop - block.start
            posterior[block] = torch.softmax(scores, 1)[:count].numpy()

        _in_blocks(len(index), work)
        novelty = latents[index[:, -1], self.parameters.shape.latent]
        verdict, closest = decide(
            posterior.astype(np.float64),
            novelty.astype(np.float64),
            self._cost,
            self.parameters.novelty_weight,
        )
        return Verdicts(verdict, closest, posterior, novelty)

    @classmethod
    def random(cls, seed: int = 0, window: int = 16, embedding: int = 16) -> Detector:
        """An untrained detector of the real shape, for tests: every verdict is possible, none is meant."""
        shape = Architecture(
            numbers=len(NUMERIC),
            symbols=tuple(column.size for column in SYMBOLIC),
            classes=len(CONTEST_CLASSES),
            window=window,
            embedding=embedding,
        )
        network = Network.random(shape, seed)
        with torch.no_grad():
            for weight in (*network.classifier.parameters(), *network.vae.mean.parameters()):
                weight.mul_(4.0)  # untrained outputs are all alike otherwise: nothing to compare
        parameters = Parameters(
            shape=shape,
            classes=CONTEST_CLASSES,
            low=(0.0,) * shape.numbers,
            high=tuple(1.0 if column.is_rate else 12.0 for column in NUMERIC),
            seen_codes=tuple(tuple(range(1, size)) for size in shape.symbols),
            cost=CONTEST_COST,
            score_floor=0.0,
            score_threshold=6.0,
            novelty_weight=0.5,
        )
        return cls(Identity("random", str(seed), f"{seed:064x}"), parameters, network)

    def renamed(self, identity: Identity) -> Detector:
        """The same model under another identity: a saved one takes its manifest's digest."""
        return Detector(identity, self.parameters, self.network, self.golden_difference)


def known_codes(seen: tuple[tuple[int, ...], ...]) -> list[npt.NDArray[np.int64]]:
    """A table for each symbolic column, code -> code, that sends what training never saw to unknown."""
    tables = []
    for codes in seen:
        table = np.full(256, UNKNOWN_SYMBOL, np.int64)
        table[list(codes)] = codes
        tables.append(table)
    return tables


def _padded(array: _Array) -> _Array:
    """Zeros after the last row, up to a multiple of PAD_ROWS. (N, ...) -> (M, ...)."""
    missing = -len(array) % PAD_ROWS
    if not missing:
        return np.ascontiguousarray(array)  # type: ignore[return-value]
    return np.concatenate((array, np.zeros((missing, *array.shape[1:]), array.dtype)))  # type: ignore[return-value]


def _in_blocks(count: int, work: Callable[[slice], None]) -> None:
    with torch.inference_mode():
        for start in range(0, count, BLOCK_ROWS):
            work(slice(start, min(start + BLOCK_ROWS, count)))
