"""Telemetry for the benches: sent flat out or at a rate."""

from __future__ import annotations

import time
from typing import Final

import numpy as np

from streams.adapters.kafka.telemetry import TelemetrySender
from streams.client.replaying import Feed, device_name
from streams.core.kdd99 import KDD99
from streams.settings import Settings

START_US: Final = 1_700_000_000_000_000
STEP_US: Final = 1_000
_AT_ONCE: Final = 5_000


def send(settings: Settings, feed: Feed) -> None:
    """Send all flat out; return when all are on the broker."""
    with TelemetrySender(settings, KDD99) as sender:
        for start in range(0, len(feed), _AT_ONCE):
            block = slice(start, start + _AT_ONCE)
            sender.send(_names(feed, block), feed.event_time_us[block], feed.rows[block])


def send_paced(settings: Settings, feed: Feed, events_per_s: float) -> None:
    """Send at a rate, in steps of 10 ms; event times are the wall clock's at sending."""
    with TelemetrySender(settings, KDD99) as sender:
        begun_s, sent = time.monotonic(), 0
        while sent < len(feed):
            due = min(int((time.monotonic() - begun_s) * events_per_s), len(feed))
            if due > sent:
                block = slice(sent, due)
                now_us = np.full(due - sent, time.time_ns() // 1000)
                sender.send(_names(feed, block), now_us, feed.rows[block])
                sent = due
            time.sleep(0.01)


def _names(feed: Feed, block: slice) -> list[str]:
    return [device_name(number) for number in feed.device[block].tolist()]
