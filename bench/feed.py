"""Telemetry for the benches: rows of a file as records of many devices, sent flat out or at a rate."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from confluent_kafka import Producer

from streams.codec.connections import encode_connections
from streams.core.features import Rows
from streams.core.topics import Topics
from streams.errors import BrokerUnavailable
from streams.kafka.client import producer_config
from streams.settings import Settings

Index = npt.NDArray[np.int64]

START_US: Final = 1_700_000_000_000_000
STEP_US: Final = 1_000
_AT_ONCE: Final = 5_000


@dataclass(frozen=True, slots=True, eq=False)
class Feed:
    """N events in the order of sending: rows (N,), and whose each is."""

    rows: Rows
    device: Index  # (N,)

    def __len__(self) -> int:
        return len(self.device)


def device_name(number: int) -> str:
    return f"device-{number:06d}"


def event_times(events: int) -> Index:
    """(N,) event times, one step apart, so that an event's time names its place in the feed."""
    return START_US + STEP_US * np.arange(events)


def send(settings: Settings, feed: Feed) -> None:
    """Send all flat out; return when all are on the broker."""
    producer = _Sender(settings)
    times = event_times(len(feed))
    for start in range(0, len(feed), _AT_ONCE):
        block = slice(start, start + _AT_ONCE)
        producer.send(feed.device[block], times[block], feed.rows[block])
    producer.finish()


def send_paced(settings: Settings, feed: Feed, events_per_s: float) -> None:
    """Send at a rate, in steps of 10 ms; event times are the wall clock's at sending."""
    producer = _Sender(settings)
    begun_s, sent = time.monotonic(), 0
    while sent < len(feed):
        due = min(int((time.monotonic() - begun_s) * events_per_s), len(feed))
        if due > sent:
            block = slice(sent, due)
            producer.send(feed.device[block], np.full(due - sent, time.time_ns() // 1000), feed.rows[block])
            sent = due
        time.sleep(0.01)
    producer.finish()


class _Sender:
    def __init__(self, settings: Settings) -> None:
        self._topic = Topics(settings.topic_prefix).telemetry
        self._producer = Producer({**producer_config(settings), "partitioner": "murmur2_random"})
        self._failed: list[object] = []

    def send(self, device: Index, times_us: Index, rows: Rows) -> None:
        names: Sequence[str] = [device_name(number) for number in device.tolist()]
        for name, value in zip(names, encode_connections(names, times_us, rows), strict=True):
            while True:
                try:
                    self._producer.produce(self._topic, value, name.encode(), on_delivery=self._told)
                except BufferError:
                    self._producer.poll(0.1)
                else:
                    break
        self._producer.poll(0)

    def finish(self) -> None:
        if self._producer.flush(60) or self._failed:
            raise BrokerUnavailable(f"telemetry did not arrive: {self._failed[:1]}")

    def _told(self, error: Any, message: Any) -> None:
        if error is not None:
            self._failed.append(error)
