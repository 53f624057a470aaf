"""What a turn costs the model, by its number of events: microseconds of CPU, of one thread.

A turn encodes its events' rows and judges their windows, whose earlier latents are at hand as the worker's
cache has them. `from_rows` is a turn of whose devices nothing is remembered, each with a full ring. All
events are of different devices, which is the least kind case. The least of several rounds counts: other
processes on the machine make a call longer, and nothing makes it shorter.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from streams.adapters.store.models import open_store
from streams.codec.ingest.kdd import read_rows
from streams.core.events import NO_TOPIC_ID, Events, Source
from streams.core.tables import Rows
from streams.core.windows import WIDTH, Advance, WindowLayout, Windows, advance
from streams.model.detector import Detector
from streams.model.inference import infer, infer_from_rows

EVENTS: Final = (1, 8, 32, 64, 512, 4096)
ROUNDS: Final = 9
ROUND_EVENTS: Final = 1024
"""A round repeats a turn until it had about so many events, 50 times at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    windows: Windows  # (D,) full, before the turn
    step: Advance
    rows: Rows  # (D,) one event of each device


def measure(data: Path, model: str) -> dict[str, Any]:
    """Microseconds a call, by the number of events."""
    torch.set_num_threads(1)
    detector = open_store("").load(model)
    rows = read_rows(data, detector.table).rows
    layout = WindowLayout(detector.table)
    return {
        "model": f"{detector.identity.name}/{detector.identity.version}",
        "us_a_turn": {str(events): cost(detector, turn(layout, rows, events)) for events in EVENTS},
    }


def turn(layout: WindowLayout, rows: Rows, devices: int) -> Turn:
    """One event of each device after its ring was filled, all from the file, in its order."""
    taken = np.resize(rows, devices * (WIDTH + 1))
    offset = np.arange(len(taken))
    source, full = Source("bench", NO_TOPIC_ID, 0), devices * WIDTH
    windows = layout.blank(devices, source)
    for of in (slice(0, full), slice(full, None)):
        before = windows
        events = Events(offset[of], offset[of], offset[of], [""] * len(offset[of]), taken[of])
        step = advance(before, offset[of] % devices, events, idle_us=2**60)
        windows = step.windows
    return Turn(before, step, taken[full:])


def cost(detector: Detector, of: Turn) -> dict[str, float]:
    """Microseconds of each part of a turn, and of the whole as the worker calls it."""
    devices, width = len(of.rows), detector.width
    shape = (devices, WIDTH, detector.latent_size)
    latents = np.ascontiguousarray(detector.encode(of.windows["rows"].reshape(-1)).reshape(shape))
    tape = np.concatenate((latents.reshape(-1, detector.latent_size), detector.encode(of.rows)))
    index, valid, known = of.step.index[:, -width:], of.step.valid[:, -width:], np.ones(devices, bool)
    calls: dict[str, Callable[[], object]] = {
        "encode": lambda: detector.encode(of.rows),
        "classify": lambda: detector.classify(tape, index, valid),
        "turn": lambda: infer(detector, of.windows, of.step, of.rows, latents, known),
        "from_rows": lambda: infer_from_rows(detector, of.windows, of.step, of.rows),
    }
    times = min(50, max(1, ROUND_EVENTS // devices))
    return {name: _least_us(call, times) for name, call in calls.items()}


def _least_us(call: Callable[[], object], times: int) -> float:
    call()
    rounds = []
    for _ in range(ROUNDS):
        began_ns = time.thread_time_ns()
        for _ in range(times):
            call()
        rounds.append((time.thread_time_ns() - began_ns) / times / 1000)
    return round(min(rounds), 1)
