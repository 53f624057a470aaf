"""A simulation in real time: events out as they happen, verdicts in, the view kept up to date."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from streams.demo.ledger import Ledger
from streams.demo.simulator import Simulation
from streams.demo.stage import Stage
from streams.demo.view import View, alerted, buried, ticked

_POLL_S: Final = 0.05
_SETTLE_S: Final = 1.0
"""Time for the alert topics after the last verdict: they are written before it, and may be read after it."""
LAST_VERDICT_S: Final = 30.0
"""Without news for so long after the last event, what has no verdict counts as lost."""


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """How far it came: the ledger with all verdicts, and the last view."""

    ledger: Ledger
    view: View
    interrupted: bool


def play(stage: Stage, simulation: Simulation, span_s: float, show: Callable[[View], None]) -> Played:
    """Send all events at their times, and return when each has its verdict, or none comes any more.

    `simulation` begins at time 0. `show` gets the view some 20 times a second. Ctrl-C ends it early. Raises
    BrokerUnavailable, and Unavailable if the worker ends.
    """
    start_us = time.time_ns() // 1000
    ledger = Ledger(simulation, start_us)
    view = View(span_s, len(set(simulation.device_id)), simulation.episodes)
    player = _Player(stage, ledger, view, start_us)
    try:
        player.run(show)
    except KeyboardInterrupt:
        return Played(ledger, player.view, interrupted=True)
    return Played(ledger, player.view, interrupted=False)


class _Player:
    def __init__(self, stage: Stage, ledger: Ledger, view: View, start_us: int) -> None:
        self._stage = stage
        self._ledger = ledger
        self._start_us = start_us
        self._began_s = time.monotonic()
        self._news_s = self._began_s
        self.view = view

    def run(self, show: Callable[[View], None]) -> None:
        sent, total = 0, len(self._ledger.simulation.device_id)
        while sent < total or not self._done(total):
            sent = self._send(sent)
            self._listen()
            at_s = time.monotonic() - self._began_s
            self.view = ticked(self.view, at_s, sent, self._ledger.classified)
            show(self.view)
            self._stage.check()
        self._stage.sender.finish()

    def _send(self, sent: int) -> int:
        """Send what is due; how many are sent now."""
        simulation = self._ledger.simulation
        now_us = int((time.monotonic() - self._began_s) * 1e6)
        due = int(np.searchsorted(simulation.event_time_us, now_us, side="right"))
        if due > sent:
            block = slice(sent, due)
            times_us = simulation.event_time_us[block] + self._start_us
            self._stage.sender.send(simulation.device_id[block], times_us, simulation.rows[block])
            self._news_s = time.monotonic()
        return max(due, sent)

    def _listen(self) -> None:
        heard = self._stage.reader.poll(_POLL_S)
        for verdict in heard.verdicts:
            self._ledger.note_verdict(verdict)
        fresh = [alert for alert in heard.alerts if self._ledger.note_alert(alert)]
        self.view = buried(alerted(self.view, fresh), heard.dead_letters)
        if heard.verdicts or fresh or heard.dead_letters:
            self._news_s = time.monotonic()

    def _done(self, total: int) -> bool:
        quiet_s = time.monotonic() - self._news_s
        settled = self._ledger.classified + self.view.dead_letters >= total
        return quiet_s > (_SETTLE_S if settled else LAST_VERDICT_S)
