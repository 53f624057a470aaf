"""What workers say of themselves, and what follows for the fleet: who is well, missing, or amiss."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from typing import Final

LEFT: Final = "left"
"""The role of a worker that has stopped as it was asked to."""
REMEMBERED_US: Final = 3_600_000_000
"""For so long after its last word a worker that is gone is spoken of."""
AHEAD_S: Final = 60.0
"""By so much a worker's clock may be ahead of ours before its figures count as of a wrong one."""
_MOST_NAMED: Final = 8


@dataclass(frozen=True, slots=True)
class ServedModel:
    family: str
    version: str
    digest: str
    generation: int
    """The revision of the agreed state that it serves by; 0 where none was agreed on."""
    challenger: str = ""
    """The version that runs beside it."""


@dataclass(frozen=True, slots=True)
class WorkerFigures:
    """Of one worker at one moment. Rates and latencies are of its last minute."""

    worker: str
    host: str
    version: str
    group: str
    started_at_us: int
    at_us: int
    expires_at_us: int
    """After it the figures say nothing any more: there should have been others."""
    role: str
    ready: bool
    why_not: str
    """Why no events could be judged there; empty where they could."""
    partitions: Mapping[str, Sequence[int]]  # by topic
    models: Sequence[ServedModel]
    events_per_s: float
    lag_records: int
    latency_p50_s: float | None
    """From an event's record to its alert; None where there was no alert."""
    latency_p99_s: float | None
    servers: Mapping[str, str] = field(default_factory=dict)
    """By `Kafka` and `Redis`: why it does not answer, empty where it does."""


class State(StrEnum):
    READY = "ready"
    NOT_READY = "not ready"
    SILENT = "silent"
    """It said nothing for longer than it may, and not that it leaves."""
    NO_MEMBER = "no member"
    """Its figures are young, and Kafka says that it is not in the group: it died, or was cut off."""
    REPLACED = "replaced"
    """Gone, and another worker of its host has begun since: a restart."""
    LEFT = "left"
    UNTOLD = "no figures"
    """A member of the group of which nothing is told."""


PRESENT: Final = frozenset({State.READY, State.NOT_READY})
"""Its figures are of now."""


@dataclass(frozen=True, slots=True)
class Judged:
    worker: str
    state: State
    age_s: float
    """Of the figures, by two clocks; 0 where there are none."""
    figures: WorkerFigures | None


@dataclass(frozen=True, slots=True)
class Fleet:
    workers: Sequence[Judged]
    problems: Sequence[str]

    @property
    def healthy(self) -> bool:
        return not self.problems


@dataclass(frozen=True, slots=True)
class Asked:
    """What else is known than the workers' own words."""

    now_us: int
    partitions: int
    """Of the topic of telemetry."""
    topic: str
    group: str
    members: Collection[str] | None
    """The group's; None where Kafka does not say, or while it is being rebalanced."""
    expected: int = 0
    """So many workers have to be ready; 0: nobody said."""


def judged(told: Collection[WorkerFigures], asked: Asked) -> Fleet:
    """`told` is the newest of each worker."""
    recent = [one for one in told if asked.now_us - one.at_us < REMEMBERED_US]
    found = [_judged(one, recent, asked) for one in sorted(recent, key=lambda one: one.worker)]
    known = {one.worker for one in recent}
    untold = sorted(set(asked.members or ()) - known)
    workers = [*found, *(Judged(name, State.UNTOLD, 0.0, None) for name in untold)]
    return Fleet(workers, list(_problems(workers, asked)))


def _judged(figures: WorkerFigures, others: Collection[WorkerFigures], asked: Asked) -> Judged:
    age_s = (asked.now_us - figures.at_us) / 1e6
    if figures.role == LEFT:
        return Judged(figures.worker, State.LEFT, age_s, figures)
    state = State.READY if figures.ready else State.NOT_READY
    if asked.now_us > figures.expires_at_us:
        state = State.SILENT
    elif figures.ready and _is_no_member(figures, asked):
        state = State.NO_MEMBER
    if state not in PRESENT and any(
        one.host == figures.host and one.started_at_us > figures.at_us for one in others
    ):
        state = State.REPLACED
    return Judged(figures.worker, state, age_s, figures)


def _is_no_member(figures: WorkerFigures, asked: Asked) -> bool:
    return figures.group == asked.group and asked.members is not None and figures.worker not in asked.members


def _problems(workers: Sequence[Judged], asked: Asked) -> Iterator[str]:
    for one in workers:
        if one.state is State.NOT_READY and one.figures is not None:
            yield f"{one.worker} is not ready: {one.figures.why_not or 'it does not say why'}"
        elif one.state is State.SILENT:
            still = ", and is a member of the group" if one.worker in (asked.members or ()) else ""
            yield f"{one.worker} is silent since {one.age_s:.0f} s{still}"
        elif one.state is State.NO_MEMBER:
            yield f"{one.worker} is no member of the group any more, and told nothing since {one.age_s:.0f} s"
        elif one.state is State.UNTOLD:
            yield f"{one.worker} is a member of the group and tells no figures"
        if one.age_s < -AHEAD_S:
            yield f"{one.worker} tells figures {-one.age_s:.0f} s ahead of this machine's clock"
    present = [one.figures for one in workers if one.state in PRESENT and one.figures is not None]
    ready = sum(one.state is State.READY for one in workers)
    if ready < asked.expected:
        yield f"{ready} workers are ready, and {asked.expected} are expected"
    elif not present:
        yield "no worker tells of itself"
    owned = {number for figures in present for number in figures.partitions.get(asked.topic, ())}
    unowned = sorted(set(range(asked.partitions)) - owned)
    if present and unowned:
        yield f"no worker that tells of itself has partitions {_some(unowned)} of {asked.topic}"
    yield from _disagreements(present)


def _disagreements(present: Collection[WorkerFigures]) -> Iterator[str]:
    served = sorted(
        {(model.family, model.version, model.digest[:12]) for one in present for model in one.models}
    )
    for family, of in groupby(served, key=lambda model: model[0]):
        versions = [f"{family}/{version} ({digest})" for _, version, digest in of]
        if len(versions) > 1:
            yield f"workers serve different models: {', '.join(versions)}"


def _some(numbers: Sequence[int]) -> str:
    named = ", ".join(map(str, numbers[:_MOST_NAMED]))
    return f"{named} and {len(numbers) - _MOST_NAMED} more" if len(numbers) > _MOST_NAMED else named
