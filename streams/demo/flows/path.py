"""The simulated fleet on the running parts: first what came before, then all of it at its times."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from streams.core.topics import NORMAL
from streams.demo.flows.feed import FlowFeed, History, send_history
from streams.demo.flows.simulator import FlowSimulation
from streams.demo.flows.stage import FlowStage
from streams.demo.play import Played, play
from streams.demo.stage import Reader
from streams.demo.summary import Run
from streams.demo.view import View

NO_MEASURE: Final = (
    "Devices and attacks are made up after public captures: this shows the path at work and is no measure of "
    "the model."
)


class Serving:
    """One version serves from beginning to end."""

    def __init__(self, said: str) -> None:
        self.said = said

    def begin(self) -> None:
        """Nothing is promoted."""


@dataclass(frozen=True, slots=True)
class FlowPath:
    """What `play` needs of the parts."""

    stage: FlowStage
    sender: FlowFeed
    promotion: Serving

    @property
    def reader(self) -> Reader:
        return self.stage.reader

    def check(self) -> None:
        self.stage.check()


def prepare(stage: FlowStage, simulation: FlowSimulation, show: Callable[[int, int], None]) -> History:
    """Make the devices known: the worker judges what they did before."""
    start_us = time.time_ns() // 1000
    return send_history(stage, simulation, start_us, time.monotonic, show)


def played(
    stage: FlowStage,
    simulation: FlowSimulation,
    seconds: float,
    show: Callable[[View], None],
    history: History,
) -> Played:
    path = FlowPath(stage, FlowFeed(stage.sender, simulation), Serving(f"{stage.model} serves"))
    return play(path, simulation, seconds, show, earlier=list(history.incidents.values()))


def run_of(seconds: float, seed: int, what: Played, simulation: FlowSimulation, history: History) -> Run:
    before = history.verdicts.total()
    alarms = before - history.verdicts[NORMAL]
    shipped = {
        "records": len(simulation.records),
        "late": simulation.late,
        "twice": simulation.twice,
        "events_before": before,
        "alarms_before": alarms,
        "incidents_before": len(history.incidents),
    }
    remarks = (
        f"The sensor's records left without keys: {shipped['records']:,}, {shipped['late']:,} of them late, "
        f"{shipped['twice']:,} for the second time.",
        f"Before that {before:,} events of {-simulation.history[0].sent_us / 6e7:.0f} minutes made the "
        f"devices known: {alarms:,} false alarms in {len(history.incidents):,} incidents.",
        NO_MEASURE,
    )
    return Run(seconds, seed, what.view.sent, what.view.dead_letters, "", remarks, shipped)
