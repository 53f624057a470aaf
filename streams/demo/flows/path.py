"""The simulated fleet on the running parts: first what came before, then all of it at its times."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from streams.core.profile.values import Profile
from streams.demo.flows.account import Standing
from streams.demo.flows.feed import FlowFeed, History, Told, send_history
from streams.demo.flows.knowing import know, wait_for
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


@dataclass(frozen=True, slots=True)
class Before:
    """What came before the beginning."""

    history: History
    profile: Profile
    """What was learnt of it."""
    held: Mapping[str, int]
    """Verdicts that did not alert until then, by why."""


def prepare(stage: FlowStage, simulation: FlowSimulation) -> Before:
    """Make the network known: its profile is learnt, and the worker judges what its devices did before."""
    told = Told.of(simulation, time.time_ns() // 1000)
    known = know(stage.settings, told.values)  # while the worker starts
    stage.worker.wait_ready()
    history = send_history(stage, simulation, told, time.monotonic)
    wait_for(known, stage)
    return Before(history, known.profile, stage.standing().held)


def played(
    stage: FlowStage,
    simulation: FlowSimulation,
    seconds: float,
    show: Callable[[View], None],
    before: Before,
) -> Played:
    path = FlowPath(stage, FlowFeed(stage.sender, simulation), Serving(f"{stage.model} serves"))
    return play(path, simulation, seconds, show, earlier=list(before.history.incidents.values()))


def run_of(
    simulation: FlowSimulation, asked: tuple[float, int], what: Played, before: Before, standing: Standing
) -> Run:
    """`asked`: seconds and seed; `standing`: how far the worker was at the end."""
    seconds, seed = asked
    judged, alarms = before.history.verdicts.total(), before.history.alarms
    held = Counter(standing.held) - Counter(before.held)
    shipped = {
        "records": len(simulation.records),
        "late": simulation.late,
        "twice": simulation.twice,
        "events_before": judged,
        "alarms_before": alarms,
        "incidents_before": len(before.history.incidents),
        "held_back": held.total(),
    }
    by_why = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in held.most_common())
    remarks = [
        f"The sensor's records left without keys: {shipped['records']:,}, {shipped['late']:,} of them late, "
        f"{shipped['twice']:,} for the second time.",
        f"Before that {judged:,} events of {-simulation.history[0].sent_us / 6e7:.0f} minutes made the "
        f"network known: {_about(before.profile)} Until then there were {alarms:,} false alarms in "
        f"{len(before.history.incidents):,} incidents.",
    ]
    if held:
        remarks.append(
            f"What is known of the network held back {held.total():,} verdicts ({by_why}); those of "
            "attacks count as missed."
        )
    sent, letters = what.view.sent, what.view.dead_letters
    return Run(seconds, seed, sent, letters, "", (*remarks, NO_MEASURE), shipped)


def _about(profile: Profile) -> str:
    accepted = sum(one.how == "accepted" for one in profile.known)
    return (
        f"{len(profile.known):,} kinds of connections are its own, {accepted:,} of them by a word that no "
        "attack was among them (`autodeep profile learn`, `accept`)."
    )
