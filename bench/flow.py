"""Telemetry at a rate, from a thread, while something else is done to the workers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

import numpy as np

from streams.adapters.kafka.telemetry import TelemetrySender
from streams.client.replaying import Feed, device_name
from streams.core.kdd99 import KDD99
from streams.settings import Settings

_STEP_S: Final = 0.01
_PATIENT_S: Final = 60.0
"""A broker that is killed and started again loses none of what is sent meanwhile."""


class Flow:
    """A feed over and over, in steps of 10 ms; event times are the wall clock's, in a step 1 us apart.

    Within one device no two events have the same time, so device and time name an event.
    """

    def __init__(self, settings: Settings, feed: Feed, events_per_s: float) -> None:
        self.sent = 0
        self.since_us = time.time_ns() // 1000
        self._settings = replace(settings, network_timeout_s=_PATIENT_S)
        self._feed = feed
        self._rate = events_per_s
        self._end = threading.Event()
        self._failed: BaseException | None = None

    def run(self) -> None:
        try:
            self._send()
        except BaseException as exc:
            self._failed = exc
            raise

    def end(self) -> None:
        self._end.set()

    def check(self) -> None:
        """Raises what ended the sending."""
        if self._failed is not None:
            raise self._failed

    def _send(self) -> None:
        feed, begun_s = self._feed, time.monotonic()
        with TelemetrySender(self._settings, KDD99) as sender:
            while not self._end.wait(_STEP_S):
                due = int((time.monotonic() - begun_s) * self._rate)
                place = np.arange(self.sent, due) % len(feed)
                names = [device_name(number) for number in feed.device[place].tolist()]
                time_us = time.time_ns() // 1000 + np.arange(len(place))
                sender.send(names, time_us, feed.rows[place])
                self.sent = due


@contextmanager
def flowing(flow: Flow) -> Iterator[Flow]:
    """The flow in a thread of its own; at the end everything sent is on the broker."""
    thread = threading.Thread(target=flow.run, name="flow")
    thread.start()
    try:
        yield flow
    finally:
        flow.end()
        thread.join()
    flow.check()
