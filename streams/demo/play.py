"""A simulation in real time: events out as they happen, verdicts in, the view kept up to date."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from streams.core.alerts import Alert
from streams.core.incidents import Incident
from streams.demo.ledger import Ledger
from streams.demo.script import Script
from streams.demo.view import View, alerted, buried, served, ticked

_POLL_S: Final = 0.05
_SETTLE_S: Final = 1.0
"""Time for the alert topics after the last verdict: they are written before it, and may be read after it."""
LAST_VERDICT_S: Final = 30.0
"""Without news for so long after the last event, what has no verdict counts as lost."""


@dataclass(frozen=True, slots=True)
class Polled:
    """What one poll brought: records of the topic with every verdict, of the alert topics, dead letters."""

    verdicts: tuple[Alert, ...]
    alerts: tuple[Alert, ...]
    dead_letters: int
    incidents: tuple[Incident, ...] = ()


class Sender(Protocol):
    def send_due(self, now_us: int, start_us: int) -> int:
        """Send what leaves until then, as times from the beginning; how many events have left.

        `start_us`: when that was.
        """

    def finish(self) -> None:
        """Wait until all of it is on the broker."""


class Reader(Protocol):
    def poll(self, wait_s: float) -> Polled: ...


class Promotion(Protocol):
    @property
    def said(self) -> str:
        """Which model serves, and how far its successor is; one line."""

    def begin(self) -> None:
        """Ask for the successor, if there is one; does not wait."""


class Path(Protocol):
    """The running parts: telemetry goes in, verdicts come out, and a worker is in between."""

    @property
    def sender(self) -> Sender: ...
    @property
    def reader(self) -> Reader: ...
    @property
    def promotion(self) -> Promotion: ...
    def check(self) -> None:
        """Raise Unavailable if the worker has ended."""


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """How far it came: the ledger with all verdicts, and the last view."""

    ledger: Ledger
    view: View
    interrupted: bool


def play(
    path: Path,
    simulation: Script,
    span_s: float,
    show: Callable[[View], None],
    clock_s: Callable[[], float] = time.monotonic,
    earlier: Sequence[Incident] = (),
) -> Played:
    """Send all events at their times, and return when each has its verdict, or none comes any more.

    Half-way the other model is promoted. `simulation` begins at time 0. `show` gets the view some 20 times
    a second. Ctrl-C ends it early. Raises BrokerUnavailable, and Unavailable if the worker ends.
    """
    start_us = time.time_ns() // 1000
    ledger = Ledger(simulation, start_us, earlier)
    devices = len(set(simulation.device_id))
    view = View(span_s, devices, simulation.episodes, start_us, classes=simulation.classes)
    player = _Player(path, ledger, view, clock_s)
    try:
        player.run(show)
    except KeyboardInterrupt:
        return Played(ledger, player.view, interrupted=True)
    return Played(ledger, player.view, interrupted=False)


class _Player:
    def __init__(self, path: Path, ledger: Ledger, view: View, clock_s: Callable[[], float]) -> None:
        self._path = path
        self._ledger = ledger
        self._clock_s = clock_s
        self._began_s = self._news_s = clock_s()
        self.view = view

    def run(self, show: Callable[[View], None]) -> None:
        sent, total = 0, len(self._ledger.simulation.device_id)
        asked, promotion = False, self._path.promotion
        while sent < total or not self._done(total):
            sent = self._send(sent)
            self._listen()
            at_s = self._clock_s() - self._began_s
            if not asked and at_s >= self.view.span_s / 2:
                asked = True
                promotion.begin()
            self.view = served(ticked(self.view, at_s, sent, self._ledger.classified), promotion.said)
            show(self.view)
            self._path.check()
        self._path.sender.finish()

    def _send(self, sent: int) -> int:
        """Send what is due; how many have been sent."""
        now_us = int((self._clock_s() - self._began_s) * 1e6)
        left = self._path.sender.send_due(now_us, self._ledger.start_us)
        if left > sent:
            self._news_s = self._clock_s()
        return left

    def _listen(self) -> None:
        heard = self._path.reader.poll(_POLL_S)
        read_us = int((self._clock_s() - self._began_s) * 1e6)
        for verdict in heard.verdicts:
            self._ledger.note_verdict(verdict, read_us)
        for incident in heard.incidents:
            self._ledger.note_incident(incident)
        fresh = [alert for alert in heard.alerts if self._ledger.note_alert(alert)]
        self.view = buried(alerted(self.view, fresh), heard.dead_letters)
        if heard.verdicts or fresh or heard.dead_letters:
            self._news_s = self._clock_s()

    def _done(self, total: int) -> bool:
        quiet_s = self._clock_s() - self._news_s
        settled = self._ledger.classified + self.view.dead_letters >= total
        return quiet_s > (_SETTLE_S if settled else LAST_VERDICT_S)
