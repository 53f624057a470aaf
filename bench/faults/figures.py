"""Figures of a schedule: the longest stall, and how long after each fault nothing of before it was left."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from bench.faults.case import Broken, Case, Law
from bench.faults.judge import Judgement
from bench.faults.schedules import Schedule
from bench.faults.stage import Struck


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one schedule came to."""

    schedule: Schedule
    events: int
    struck: Sequence[Struck]
    repeats: int
    cold: int
    broken: Sequence[Broken]
    longest_stall_s: float
    recovery_s: Sequence[tuple[str, float]]
    """Kind of fault, seconds."""
    ended_by_themselves: int
    not_struck: Sequence[str] = ()

    def count(self, law: Law) -> int:
        return sum(one.law is law for one in self.broken)


def times(case: Case, judgement: Judgement) -> dict[int, list[tuple[int, int]]]:
    """By partition: when each record of the present life was appended, and when its first verdict was."""
    appended = {event.place: event.appended_us for event in case.events}
    appended |= {place: at_us for place, (_, at_us) in case.poison.items()}
    pairs: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for place, at_us in appended.items():
        if at_us and place in judgement.judged_us:
            pairs[place.partition].append((at_us, judgement.judged_us[place]))
    return pairs


def longest_stall_s(pairs: Iterable[tuple[int, int]]) -> float:
    """The longest time in which records (of one partition) waited and none was judged."""
    changes = sorted(chain.from_iterable(((at_us, 0), (max(at_us, done_us), 1)) for at_us, done_us in pairs))
    waiting, since_us, longest_us = 0, 0, 0
    for at_us, is_verdict in changes:
        if is_verdict:
            longest_us = max(longest_us, at_us - since_us)
            waiting, since_us = waiting - 1, at_us
        else:
            since_us = since_us if waiting else at_us
            waiting += 1
    return longest_us / 1e6


def recovery_s(pairs: Sequence[tuple[int, int]], fault_ended_us: int) -> float:
    """From a fault's end until nothing waited any more of what had been appended by then."""
    left = [done_us for at_us, done_us in pairs if at_us <= fault_ended_us < done_us]
    return (max(left) - fault_ended_us) / 1e6 if left else 0.0


def summary(outcomes: Sequence[Outcome], seed: int) -> dict[str, Any]:
    struck = Counter(str(one.kind) for outcome in outcomes for one in outcome.struck)
    by_kind: dict[str, list[float]] = defaultdict(list)
    for kind, seconds in (pair for outcome in outcomes for pair in outcome.recovery_s):
        by_kind[kind].append(seconds)
    return {
        "seed": seed,
        "schedules": len(outcomes),
        "events": sum(outcome.events for outcome in outcomes),
        "faults": dict(sorted(struck.items())),
        "repeats": sum(outcome.repeats for outcome in outcomes),
        "cold": sum(outcome.cold for outcome in outcomes),
        **{str(law): sum(outcome.count(law) for outcome in outcomes) for law in Law},
        "longest_stall_s": round(max((outcome.longest_stall_s for outcome in outcomes), default=0.0), 1),
        "recovery_s": {kind: _spread(seconds) for kind, seconds in sorted(by_kind.items())},
        "ended_by_themselves": sum(outcome.ended_by_themselves for outcome in outcomes),
        "not_struck": [f"{one.schedule.number}: {line}" for one in outcomes for line in one.not_struck],
        "failed": [outcome.schedule.number for outcome in outcomes if outcome.broken],
    }


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    p50, p95 = np.percentile(seconds, [50, 95])
    return {"p50": round(float(p50), 1), "p95": round(float(p95), 1), "max": round(max(seconds), 1)}
