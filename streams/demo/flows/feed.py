"""A simulation's connections as Zeek's records without keys, sent when a shipper would."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from streams.core.incidents import Incident
from streams.core.topics import NORMAL
from streams.demo.flows.connections import zeek_record
from streams.demo.flows.simulator import FlowSimulation
from streams.demo.flows.trial import UNDER_WAY, Running, Sender
from streams.demo.play import LAST_VERDICT_S

_ONE_PLACE: Final = "history"
"""All that came before goes to one partition, as it did in its time: one after the other."""
_PIECE: Final = 1_024
_POLL_S: Final = 0.05


class FlowFeed:
    """For one thread."""

    def __init__(self, sender: Sender, simulation: FlowSimulation) -> None:
        self._sender = sender
        self._simulation = simulation
        self._sent = 0  # records

    def send_due(self, now_us: int, start_us: int) -> int:
        records, first = self._simulation.records, self._sent
        while self._sent < len(records) and records[self._sent].sent_us <= now_us:
            self._sent += 1
        due = records[first : self._sent]
        if due:
            values = [zeek_record(one.connection.moved(start_us), one.uid) for one in due]
            self._sender.queue([None] * len(due), values)
        return int(self._simulation.events_through[self._sent - 1]) if self._sent else 0

    def finish(self) -> None:
        self._sender.finish()


@dataclass(frozen=True, slots=True)
class Told:
    """What came before as the sensor writes it; `start_us` is when the beginning is."""

    start_us: int
    values: list[bytes]

    @classmethod
    def of(cls, simulation: FlowSimulation, start_us: int) -> Told:
        return cls(start_us, simulation.told_before(start_us))


@dataclass(slots=True)
class History:
    """What became of what came before the beginning."""

    verdicts: Counter[str] = field(default_factory=Counter)
    incidents: dict[str, Incident] = field(default_factory=dict)
    dead_letters: int = 0

    @property
    def alarms(self) -> int:
        """All false: nothing but ordinary connections came before."""
        return self.verdicts.total() - self.verdicts[NORMAL]

    @property
    def judged(self) -> int:
        return self.verdicts.total() + self.dead_letters


def send_history(
    parts: Running,
    simulation: FlowSimulation,
    told: Told,
    clock_s: Callable[[], float],
) -> History:
    """Send it, not too far ahead of the worker, and wait until all of it is judged, or no more comes.

    It has the timestamps of its time.
    """
    records, found, sent = simulation.history, History(), 0
    many = np.cumsum([0, *(sum(end in simulation.names for end in one.connection.ends) for one in records)])
    news_s = clock_s()
    while found.judged < many[-1] and clock_s() - news_s <= LAST_VERDICT_S:
        parts.check()
        if many[sent] - found.judged < UNDER_WAY and sent < len(records):
            piece, values = records[sent : sent + _PIECE], told.values[sent : sent + _PIECE]
            times_ms = [(one.connection.end_us + told.start_us) // 1000 for one in piece]
            parts.sender.queue([_ONE_PLACE] * len(piece), values, times_ms)
            sent += len(piece)
        heard = parts.reader.poll(_POLL_S)
        found.verdicts.update(alert.verdict for alert in heard.verdicts)
        found.incidents.update((one.incident_id, one) for one in heard.incidents)
        found.dead_letters += heard.dead_letters
        if heard.verdicts or heard.dead_letters:
            news_s = clock_s()
    return found
