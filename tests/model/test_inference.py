"""Verdicts from raw windows: those of each window by itself, with no more rows encoded than it needs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from streams.core.events import NO_TOPIC_ID, Events, Source
from streams.core.kdd99 import KDD99
from streams.core.tables import Rows
from streams.core.windows import WIDTH, WindowLayout, Windows, advance, in_order
from streams.model.detector import Detector
from streams.model.inference import infer, infer_from_rows
from tests.model.test_detector import some_rows

RNG = np.random.default_rng(8)
DEVICES, IDLE_US = 7, 1_000


class Counting(Detector):
    """Remembers how many rows it encoded."""

    encoded = 0

    def encode(self, rows: Rows) -> npt.NDArray[np.float32]:
        self.encoded += len(rows)
        return super().encode(rows)


def drawn(width: int) -> Counting:
    of = Detector.random(KDD99, 6, width)
    return Counting(of.identity, of.parameters, of.network)


def chunk(first: int, count: int) -> tuple[Events, npt.NDArray[np.int64]]:
    """So many events of devices in disorder. After some, all of a chunk's later ones are IDLE_US away."""
    device = RNG.integers(0, DEVICES, count)
    offset = np.arange(first, first + count)
    time_us = first + np.arange(count) + IDLE_US * 10 * np.cumsum(RNG.random(count) < 0.01)
    return Events(offset, offset, time_us, [""] * count, some_rows(RNG, count)), device


def by_hand(detector: Detector, windows: Windows, device: int) -> tuple[float, ...]:
    """Posterior and novelty of the last event of a device, from its rows after the chunk."""
    rows = in_order(windows[device : device + 1])[0][-detector.width :]
    valid = np.zeros((1, detector.width), bool)
    valid[0, -len(rows) :] = True
    index = np.maximum(np.arange(len(rows) - detector.width, len(rows)), 0)[None]
    found = detector.classify(detector.encode(rows), index, valid)
    return (*found.posterior[0].tolist(), float(found.novelty[0]))


@pytest.mark.parametrize("width", [1, 2, 8, WIDTH])
def test_verdicts_and_later_ones_from_remembered_latents_are_those_of_each_window_by_itself(
    width: int,
) -> None:
    detector = drawn(width)
    windows = WindowLayout(KDD99).blank(DEVICES, Source("t", NO_TOPIC_ID, 0))
    latents = np.full((DEVICES, WIDTH, detector.latent_size), np.nan, np.float32)
    known = np.zeros(DEVICES, bool)
    for number in range(12):
        events, device = chunk(number * 100, int(RNG.integers(1, 40)))
        step = advance(windows, device, events, IDLE_US)
        forgotten = RNG.random(DEVICES) < 0.3
        latents[forgotten], known[forgotten] = np.nan, False
        found, latents = infer(detector, windows, step, events.rows, latents, known)
        from_rows = infer_from_rows(detector, windows, step, events.rows)
        assert np.array_equal(found.posterior, from_rows.posterior)
        assert np.array_equal(found.novelty, from_rows.novelty)
        windows, known = step.windows, np.ones(DEVICES, bool)
        for of in range(DEVICES):
            if (device == of).any():
                last = np.flatnonzero(device == of)[-1]
                told = (*found.posterior[last].tolist(), float(found.novelty[last]))
                assert told == by_hand(detector, windows, of)


@pytest.mark.parametrize(("width", "each"), [(1, 0), (8, 7), (WIDTH, 15)])
def test_of_a_full_ring_only_the_rows_are_encoded_at_which_a_verdict_looks(width: int, each: int) -> None:
    detector = drawn(width)
    windows = WindowLayout(KDD99).blank(DEVICES, Source("t", NO_TOPIC_ID, 0))
    offset = np.arange(DEVICES * WIDTH)
    filling = Events(offset, offset, offset, [""] * len(offset), some_rows(RNG, len(offset)))
    windows = advance(windows, offset % DEVICES, filling, IDLE_US).windows
    one = np.array([len(offset)])
    event = Events(one, one, one, [""], some_rows(RNG, 1))
    step = advance(windows, np.zeros(1, np.int64), event, IDLE_US)
    infer_from_rows(detector, windows, step, event.rows)
    assert detector.encoded == DEVICES * each + 1
