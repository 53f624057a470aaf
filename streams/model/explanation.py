"""What drove a verdict: the share of each column of the event, and of each earlier event in its window.

By occlusion. A column's weight is what the verdict's log-odds against normal fall by when that column alone
has the value of the model's most usual event; an earlier event's is the fall when that event had not been.
Events of a burst stand in for each other, so that one alone is hardly missed: together they get the fall of
a window without any of them, dealt out by their own falls. Shares are weights over the sum of all weights'
absolute values; one below 0 speaks against the verdict.

Integrated gradients (Sundararajan, Taly and Yan 2017) along the straight line from that usual event, without
history, to the window as it is agree with it and cost more: docs/explain.md has the figures.

`novel` needs no occlusion, since the novelty is a sum: of the present event, whose part its columns share by
what each adds to its score, and, with falling weights, of the earlier events of its service. The novelty
of a burst is every event's alike; the present one's part is shared by the columns that make them alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from streams.core.tables import FeatureTable, Rows
from streams.model.detector import Detector, Verdicts
from streams.model.network import KEYS, SERVICE_KEY, alike

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

AT_ONCE = 256
"""Verdicts that are explained together: about 50 windows each, so that a flood does not fill the memory."""
_LEAST_CHANCE = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, slots=True, eq=False)
class Shares:
    """What drove N verdicts. Each one's absolute values sum to 1 over both, or to 0 where nothing did."""

    columns: (
        Floats  # (N, columns) in the order of the feature table's names: that of the places in the model's
    )
    events: Floats  # (N, W - 1) of the earlier events, oldest first; 0 where the window holds none


class Explainer:
    """Explains one detector's verdicts. No result depends on its companions, as in the detector itself."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._table = detector.table
        self._keys = key_columns(detector.table)
        self.reference = usual_event(detector)

    def shares(self, rows: Rows, valid: Mask, verdict: Indices) -> Shares:
        """Of windows (N, W) of raw rows, oldest first, the present event last; `verdict` (N,) as decided."""
        columns = np.zeros((len(rows), len(self._table.names)))
        events = np.zeros((len(rows), rows.shape[1] - 1))
        for start in range(0, len(rows), AT_ONCE):
            of = slice(start, start + AT_ONCE)
            columns[of], events[of] = self._weights(rows[of], valid[of], verdict[of])
        total = _in_order(np.abs(np.concatenate((columns, events), 1)))[:, None]  # (N, 1)
        total[total == 0] = 1.0
        return Shares(columns / total, events / total)

    def _weights(self, rows: Rows, valid: Mask, verdict: Indices) -> tuple[Floats, Floats]:
        columns = np.zeros((len(rows), len(self._table.names)))
        events = np.zeros((len(rows), rows.shape[1] - 1))
        novel = verdict == len(self._detector.classes)
        for chosen, weigh in ((novel, self._by_novelty), (~novel, self._by_occlusion)):
            if chosen.any():
                columns[chosen], events[chosen] = weigh(rows[chosen], valid[chosen], verdict[chosen])
        return columns, events

    def _by_occlusion(self, rows: Rows, valid: Mask, verdict: Indices) -> tuple[Floats, Floats]:
        """The falls of log-odds, (N, columns) and (N, W - 1)."""
        count, width = rows.shape
        present = rows[:, -1]
        of, column = np.nonzero(self._differing(present))  # (V,) which event, which of its columns
        hidden_in, place = np.nonzero(valid[:, :-1])  # (E,) which window, which of its earlier events
        changed = self._replaced(present[of], column)  # (V,)
        index = np.arange(rows.size).reshape(count, width)
        instead = index[of]
        instead[:, -1] = rows.size + np.arange(len(of))
        without = valid[hidden_in]
        without[np.arange(len(place)), place] = False
        alone = np.zeros_like(valid)
        alone[:, -1] = True
        every = np.arange(count)
        odds = self._log_odds(
            self._detector.classify(
                self._detector.encode(np.concatenate((rows.reshape(-1), changed))),
                np.concatenate((index, instead, index[hidden_in], index)),
                np.concatenate((valid, valid[of], without, alone)),
            ),
            np.concatenate((every, of, hidden_in, every)),
            verdict,
        )
        now, after, shorter, lone = np.split(odds, np.cumsum((count, len(of), len(place))))
        columns, events = np.zeros((count, len(self._table.names))), np.zeros((count, width - 1))
        columns[of, column] = now[of] - after
        events[hidden_in, place] = now[hidden_in] - shorter
        total = _in_order(np.abs(events))
        together = np.abs(now - lone) / np.where(total > 0, total, 1.0)
        return columns, events * together[:, None]

    def _by_novelty(self, rows: Rows, valid: Mask, verdict: Indices) -> tuple[Floats, Floats]:
        """The terms of the novelty's sum, or of a burst, where that is odder. (N, columns) and (N, W - 1)."""
        parameters, width = self._detector.parameters, rows.shape[1]
        encoded = self._detector.encode(rows.reshape(-1)).reshape(*rows.shape, -1)  # (N, W, L)
        service = encoded[:, :, SERVICE_KEY - KEYS]
        weight = parameters.score_decay ** np.arange(width - 1, -1, -1.0)  # (W,)
        each = encoded[:, :, parameters.shape.latent].astype(np.float64) * weight  # (N, W)
        each[:, :-1] *= valid[:, :-1] & (service[:, :-1] == service[:, -1:])
        surprise = self._detector.surprise(rows[:, -1]).astype(np.float64)  # (N, columns)
        total = _in_order(surprise)
        columns, events = surprise * (each[:, -1] / np.where(total > 0, total, 1.0))[:, None], each[:, :-1]
        odd, burst = self._detector.novelties(encoded, valid)
        of = burst > odd  # (N,)
        columns[of] = 0.0
        columns[np.flatnonzero(of)[:, None], self._keys] = 1.0 / len(self._keys)
        events[of] = alike(encoded[of, :, -KEYS:], valid[of])
        return columns, events

    def _differing(self, present: Rows) -> Mask:
        """Where an event is not as usual, (N,) -> (N, columns): nothing else can have a share."""
        of, table = self.reference[0], self._table
        other = np.concatenate((present["numbers"] != of["numbers"], present["codes"] != of["codes"]), 1)
        return np.asarray(other | (table.present(present) != table.present(self.reference)))

    def _replaced(self, events: Rows, column: Indices) -> Rows:
        """Each event (V,) with one column as usual, the one that `column` (V,) says."""
        of, count = self.reference[0], len(self._table.numeric)
        numbers, codes, there = events["numbers"].copy(), events["codes"].copy(), self._table.present(events)
        number, symbol = np.flatnonzero(column < count), np.flatnonzero(column >= count)
        numbers[number, column[number]] = of["numbers"][column[number]]
        codes[symbol, column[symbol] - count] = of["codes"][column[symbol] - count]
        there[np.arange(len(column)), column] = self._table.present(self.reference)[0, column]
        return self._table.pack(numbers, codes, there)

    @staticmethod
    def _log_odds(found: Verdicts, of: Indices, verdict: Indices) -> Floats:
        """Of each window's verdict against normal, or of normal against the likeliest attack. (M,) -> (M,).

        `of` (M,) says whose verdict (N,) is meant; the first N windows are the verdicts' own.
        """
        rival = found.posterior[: len(verdict), 1:].argmax(1) + 1  # (N,)
        against = np.where(verdict == 0, rival, 0)
        chance = np.log(np.maximum(found.posterior.astype(np.float64), _LEAST_CHANCE))  # (M, C)
        every = np.arange(len(of))
        odds: Floats = chance[every, verdict[of]] - chance[every, against[of]]
        return odds


def key_columns(table: FeatureTable) -> list[int]:
    """Places among all columns of the model's keys, in their order: the columns by which events are alike."""
    return [table.names.index(name) for name in table.keys]


def usual_event(detector: Detector) -> Rows:
    """The event that the VAE, which learnt normal rows, takes to be most usual: (1,) row.

    What it decodes at z = 0, where its prior is highest: of every number the value, of every symbol the
    likeliest. Whole numbers, and rates with two decimals, as the data has them. Nothing is absent.
    """
    parameters, vae, table = detector.parameters, detector.network.vae, detector.table
    with torch.inference_mode():
        output = vae.output(vae.decoder(torch.zeros(1, parameters.shape.latent)))[0]
    scaled, *logits = torch.split(output, list(vae.sizes))
    codes = np.array([int(part.argmax()) for part in logits])
    low, high = np.array(parameters.low), np.array(parameters.high)
    values = np.expm1(low + scaled.clamp(0.0, 1.0).numpy() * (high - low))
    values[[*parameters.shape.evidence, *parameters.shape.withheld]] = 0.0  # no VAE has seen these
    rounded = [round(float(v), of.decimals) for v, of in zip(values, table.numeric, strict=True)]
    return table.pack(np.array([rounded], np.float32), codes[None].astype(np.uint8))


def _in_order(parts: Floats) -> Floats:
    """(N, M) -> (N,). A sum in a fixed order: its last bits must not depend on N."""
    total = np.zeros(len(parts))
    for place in range(parts.shape[1]):
        total += parts[:, place]
    return total
