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

from streams.core.kdd99 import NUMERIC, NUMERIC_NAMES, SYMBOLIC_NAMES, pack_rows
from streams.core.tables import Rows
from streams.model.detector import Detector, Verdicts
from streams.model.network import KEYS, SERVICE_KEY, alike

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

COLUMNS = (*NUMERIC_NAMES, *SYMBOLIC_NAMES)
"""The order of shares: that of the places in the model's table."""
AT_ONCE = 256
"""Verdicts that are explained together: about 50 windows each, so that a flood does not fill the memory."""
_NUMBERS = len(NUMERIC)
KEY_COLUMNS = [COLUMNS.index(name) for name in ("service", "flag", "src_bytes", "dst_bytes")]
"""Of the model's keys, in their order: the columns by which events are alike."""
_LEAST_CHANCE = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, slots=True, eq=False)
class Shares:
    """What drove N verdicts. Each one's absolute values sum to 1 over both, or to 0 where nothing did."""

    columns: Floats  # (N, 41) in the order of COLUMNS
    events: Floats  # (N, W - 1) of the earlier events, oldest first; 0 where the window holds none


class Explainer:
    """Explains one detector's verdicts. No result depends on its companions, as in the detector itself."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self.reference = usual_event(detector)

    def shares(self, rows: Rows, valid: Mask, verdict: Indices) -> Shares:
        """Of windows (N, W) of raw rows, oldest first, the present event last; `verdict` (N,) as decided."""
        columns = np.zeros((len(rows), len(COLUMNS)))
        events = np.zeros((len(rows), rows.shape[1] - 1))
        for start in range(0, len(rows), AT_ONCE):
            of = slice(start, start + AT_ONCE)
            columns[of], events[of] = self._weights(rows[of], valid[of], verdict[of])
        total = _in_order(np.abs(np.concatenate((columns, events), 1)))[:, None]  # (N, 1)
        total[total == 0] = 1.0
        return Shares(columns / total, events / total)

    def _weights(self, rows: Rows, valid: Mask, verdict: Indices) -> tuple[Floats, Floats]:
        columns = np.zeros((len(rows), len(COLUMNS)))
        events = np.zeros((len(rows), rows.shape[1] - 1))
        novel = verdict == len(self._detector.classes)
        for chosen, weigh in ((novel, self._by_novelty), (~novel, self._by_occlusion)):
            if chosen.any():
                columns[chosen], events[chosen] = weigh(rows[chosen], valid[chosen], verdict[chosen])
        return columns, events

    def _by_occlusion(self, rows: Rows, valid: Mask, verdict: Indices) -> tuple[Floats, Floats]:
        """The falls of log-odds, (N, 41) and (N, W - 1)."""
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
        columns, events = np.zeros((count, len(COLUMNS))), np.zeros((count, width - 1))
        columns[of, column] = now[of] - after
        events[hidden_in, place] = now[hidden_in] - shorter
        total = _in_order(np.abs(events))
        together = np.abs(now - lone) / np.where(total > 0, total, 1.0)
        return columns, events * together[:, None]

    def _by_novelty(self, rows: Rows, valid: Mask, verdict: Indices) -> tuple[Floats, Floats]:
        """The terms of the novelty's sum, or of a burst, where that is odder. (N, 41) and (N, W - 1)."""
        parameters, width = self._detector.parameters, rows.shape[1]
        encoded = self._detector.encode(rows.reshape(-1)).reshape(*rows.shape, -1)  # (N, W, L)
        service = encoded[:, :, SERVICE_KEY - KEYS]
        weight = parameters.score_decay ** np.arange(width - 1, -1, -1.0)  # (W,)
        each = encoded[:, :, parameters.shape.latent].astype(np.float64) * weight  # (N, W)
        each[:, :-1] *= valid[:, :-1] & (service[:, :-1] == service[:, -1:])
        surprise = self._detector.surprise(rows[:, -1]).astype(np.float64)  # (N, 41)
        total = _in_order(surprise)
        columns, events = surprise * (each[:, -1] / np.where(total > 0, total, 1.0))[:, None], each[:, :-1]
        window, there = torch.from_numpy(encoded), torch.from_numpy(valid)
        odd, burst = self._detector.novelties(window, there)
        of = (burst > odd).numpy()  # (N,)
        columns[of] = 0.0
        columns[np.flatnonzero(of)[:, None], KEY_COLUMNS] = 1.0 / len(KEY_COLUMNS)
        events[of] = alike(window[of, :, -KEYS:], there[of]).numpy()
        return columns, events

    def _differing(self, present: Rows) -> Mask:
        """Where an event is not as usual, (N,) -> (N, 41): nothing else can have a share."""
        of = self.reference[0]
        return np.concatenate((present["numbers"] != of["numbers"], present["codes"] != of["codes"]), 1)

    def _replaced(self, events: Rows, column: Indices) -> Rows:
        """Each event (V,) with one column as usual, the one that `column` (V,) says."""
        changed, of = events.copy(), self.reference[0]
        number, symbol = np.flatnonzero(column < _NUMBERS), np.flatnonzero(column >= _NUMBERS)
        changed["numbers"][number, column[number]] = of["numbers"][column[number]]
        changed["codes"][symbol, column[symbol] - _NUMBERS] = of["codes"][column[symbol] - _NUMBERS]
        return changed

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


def usual_event(detector: Detector) -> Rows:
    """The event that the VAE, which learnt normal rows, takes to be most usual: (1,) row.

    What it decodes at z = 0, where its prior is highest: of every number the value, of every symbol the
    likeliest. Whole numbers, and rates with two decimals, as the data has them.
    """
    parameters, vae = detector.parameters, detector.network.vae
    with torch.inference_mode():
        output = vae.output(vae.decoder(torch.zeros(1, parameters.shape.latent)))[0]
    scaled, *logits = torch.split(output, list(vae.sizes))
    codes = np.array([int(part.argmax()) for part in logits])
    low, high = np.array(parameters.low), np.array(parameters.high)
    values = np.expm1(low + scaled.clamp(0.0, 1.0).numpy() * (high - low))
    rounded = [round(float(v), 2 if of.is_rate else 0) for v, of in zip(values, NUMERIC, strict=True)]
    return pack_rows(np.array([rounded], np.float32), codes[None].astype(np.uint8))


def _in_order(parts: Floats) -> Floats:
    """(N, M) -> (N,). A sum in a fixed order: its last bits must not depend on N."""
    total = np.zeros(len(parts))
    for place in range(parts.shape[1]):
        total += parts[:, place]
    return total
