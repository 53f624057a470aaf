"""Schedules of what goes wrong while models change, drawn by a seed. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

VERSIONS: Final = ("1", "2", "3")
ABSENT: Final = "9"
"""A version that the store does not have: its promote is refused."""


class Kill(StrEnum):
    AGENT = "agent"  # SIGKILL of the worker that decides, between a command and its decision
    LOADING = "loading"  # SIGKILL of a worker that loads the agreed model from a slow store
    BROKER = "broker"  # SIGKILL of Kafka between a command and its decision, and a start on the same data
    PAUSE = "pause"  # SIGSTOP of the worker that decides, for longer than its session lives; then SIGCONT


@dataclass(frozen=True, slots=True)
class Order:
    """A promote of `version`, or a rollback where that is empty."""

    version: str

    def __str__(self) -> str:
        return f"promote {self.version}" if self.version else "rollback"


@dataclass(frozen=True, slots=True)
class Incident:
    """`during` is sent, and `after_s` later it strikes; `then` is sent before anybody has recovered.

    For LOADING `after_s` counts from the decision. `down_s` is how long Kafka stays away.
    """

    kill: Kill
    before: tuple[Order, ...]
    during: Order
    after_s: float
    down_s: float
    then: tuple[Order, ...]

    def __str__(self) -> str:
        said = [*map(str, self.before), f"{self.during}, {self.after_s:.2f} s later kill {self.kill}"]
        if self.kill is Kill.BROKER:
            said.append(f"back after {self.down_s:.1f} s")
        return "; ".join([*said, *map(str, self.then)])


@dataclass(frozen=True, slots=True)
class Schedule:
    number: int
    workers: int
    incidents: tuple[Incident, ...]

    def __str__(self) -> str:
        return f"{self.workers} workers: " + " | ".join(map(str, self.incidents))


def draw(seed: int, number: int) -> Schedule:
    """The schedule of that number, counted from 1, whatever the others are. Kinds of kill come in turn."""
    rng = random.Random(f"{seed}/{number}")
    kinds = list(Kill)
    first = kinds[(number - 1) % len(kinds)]
    second = rng.choice([kind for kind in kinds if kind is not first])
    incidents = tuple(_incident(rng, kind) for kind in (first, second))
    return Schedule(number, rng.choice((2, 3)), incidents)


def _incident(rng: random.Random, kill: Kill) -> Incident:
    """Before the order under way another version is promoted: there is something to examine and load."""
    champion, wanted = rng.sample(VERSIONS, 2)
    return Incident(
        kill,
        before=(*(_order(rng) for _ in range(rng.randint(0, 1))), Order(champion)),
        during=Order(wanted),
        after_s=round(rng.uniform(0.05, 0.8), 2),
        down_s=round(rng.uniform(0.0, 3.0), 1),
        then=tuple(_order(rng) for _ in range(rng.randint(0, 2))),
    )


def _order(rng: random.Random) -> Order:
    return Order(rng.choice((*VERSIONS, *VERSIONS, ABSENT, "", "", "")))
