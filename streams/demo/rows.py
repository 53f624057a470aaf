"""A simulation's rows as telemetry, sent when they happen."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from streams.core.tables import Rows
from streams.demo.simulator import Simulation


class Telemetry(Protocol):
    def send(self, devices: list[str], event_times_us: npt.ArrayLike, rows: Rows) -> None: ...
    def finish(self) -> None: ...


class RowSender:
    """For one thread."""

    def __init__(self, telemetry: Telemetry, simulation: Simulation) -> None:
        self._telemetry = telemetry
        self._simulation = simulation
        self._sent = 0

    def send_due(self, now_us: int, start_us: int) -> int:
        simulation = self._simulation
        due = int(np.searchsorted(simulation.event_time_us, now_us, side="right"))
        if due > self._sent:
            block = slice(self._sent, due)
            times_us = simulation.event_time_us[block] + start_us
            self._telemetry.send(simulation.device_id[block], times_us, simulation.rows[block])
            self._sent = due
        return self._sent

    def finish(self) -> None:
        self._telemetry.finish()
