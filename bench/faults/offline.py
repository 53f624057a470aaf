"""What must be said of each event, by a plain recomputation that shares nothing with the stream's windows.

A device's window is the last W rows of its events in one partition of one life of the topic, in order of
their offsets; a gap longer than the idle rule's begins it anew, where event time and Kafka's both have it.
What a gap is, `core/clocks.py` says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.faults.feed import Record
from bench.faults.flow import Place
from bench.parity import Said
from streams.client.replaying import Feed, device_name
from streams.core.clocks import begins_anew, counted_time_us
from streams.model.detector import Detector, Verdicts


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the input. `history` are the events of its full window, itself last."""

    place: Place
    device: str
    time_us: int
    row: int  # its place in the feed
    appended_us: int  # to the topic, by the broker; 0 where its life of the topic is over
    history: tuple[int, ...]
    latest_us: int
    """The latest time that an event counted as since its window began."""

    @property
    def full(self) -> int:
        """How many events its window holds."""
        return len(self.history)


def events_of(found: Mapping[Place, tuple[Record, int]], feed: Feed, width: int, idle_us: int) -> list[Event]:
    """The events (no poison) among records and their times of appending, in order of their places."""
    events: list[Event] = []
    last: dict[tuple[int, int, str], int] = {}
    kafka_us: dict[tuple[int, int, str], int] = {}
    for place in sorted(found, key=lambda place: (place.life, place.partition, place.offset)):
        record, appended_us = found[place]
        if record.poison is not None:
            continue
        device, time_us = device_name(int(feed.device[record.row])), int(feed.event_time_us[record.row])
        counted_us = int(counted_time_us(time_us, appended_us))
        whose, history, latest_us = (place.life, place.partition, device), tuple[int, ...](), counted_us
        if whose in last:
            before = events[last[whose]]
            latest_us = max(counted_us, before.latest_us)
            if not begins_anew(counted_us - before.latest_us, appended_us - kafka_us[whose], idle_us):
                history = before.history[1 - width :]
        last[whose], kafka_us[whose] = len(events), max(appended_us, kafka_us.get(whose, 0))
        history = (*history, len(events))
        events.append(Event(place, device, time_us, record.row, appended_us, history, latest_us))
    return events


class Offline:
    """Verdicts of the events' windows, as full as is asked for; at most the detector's width."""

    def __init__(self, detector: Detector, events: Sequence[Event], feed: Feed) -> None:
        self._detector = detector
        self._events = events
        self._latents = detector.encode(feed.rows[[event.row for event in events]])  # (N, L)

    def __call__(self, asked: Sequence[tuple[int, int]]) -> list[Said]:
        """What is to be said of each (event, fill), the window holding only its last `fill` events."""
        if not asked:
            return []
        width = self._detector.width
        index = np.zeros((len(asked), width), np.int64)
        valid = np.zeros((len(asked), width), bool)
        for i, (event, fill) in enumerate(asked):
            history = self._events[event].history[-fill:]
            index[i, width - len(history) :] = history
            valid[i, width - len(history) :] = True
        found = self._detector.classify(self._latents, index, valid)
        return [self._said(found, i, fill) for i, (_, fill) in enumerate(asked)]

    def _said(self, found: Verdicts, i: int, fill: int) -> Said:
        return Said(
            self._detector.verdicts[int(found.verdict[i])],
            self._detector.classes[int(found.closest[i])],
            tuple(found.posterior[i].astype(np.float64).round(4).tolist()),
            float(found.novelty[i].astype(np.float64).round(4)),
            fill,
        )
