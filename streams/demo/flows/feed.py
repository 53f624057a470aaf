"""A simulation's connections as Zeek's records without keys, sent when a shipper would."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from streams.core.incidents import Incident
from streams.demo.flows.connections import zeek_record
from streams.demo.flows.simulator import FlowSimulation
from streams.demo.play import LAST_VERDICT_S, Polled

_ONE_PLACE: Final = "history"
"""All that came before goes to one partition, as it did in its time: one after the other."""
_POLL_S: Final = 0.2


class Sender(Protocol):
    def queue(
        self, keys: list[str | None], values: list[bytes], timestamps_ms: list[int] | None = None
    ) -> None: ...
    def finish(self) -> None: ...


class Reader(Protocol):
    def poll(self, wait_s: float) -> Polled: ...


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


@dataclass(slots=True)
class History:
    """What became of what came before the beginning."""

    verdicts: Counter[str] = field(default_factory=Counter)
    incidents: dict[str, Incident] = field(default_factory=dict)
    dead_letters: int = 0


def send_history(
    sender: Sender,
    reader: Reader,
    simulation: FlowSimulation,
    start_us: int,
    clock_s: Callable[[], float],
    show: Callable[[int, int], None] = lambda judged, of: None,
) -> History:
    """Send it at once, with the timestamps of its time, and wait until all of it is judged, or no more comes.

    `show` is told how much is.
    """
    records, found = simulation.history, History()
    values = [zeek_record(one.connection.moved(start_us), one.uid) for one in records]
    times_ms = [(one.connection.end_us + start_us) // 1000 for one in records]
    sender.queue([_ONE_PLACE] * len(records), values, times_ms)
    events = sum(end in simulation.names for one in records for end in one.connection.ends)
    news_s = clock_s()
    while found.verdicts.total() + found.dead_letters < events:
        heard = reader.poll(_POLL_S)
        found.verdicts.update(alert.verdict for alert in heard.verdicts)
        found.incidents.update((one.incident_id, one) for one in heard.incidents)
        found.dead_letters += heard.dead_letters
        if heard.verdicts or heard.dead_letters:
            news_s = clock_s()
        if clock_s() - news_s > LAST_VERDICT_S:
            break
        show(found.verdicts.total(), events)
    return found
