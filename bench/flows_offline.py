"""What is said in memory of flows as they lie on a partition: by the judge of `autodeep flows judge`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from confluent_kafka import Message

from bench.parity import Said
from streams.codec import device_flows
from streams.core.alerts import event_ids
from streams.core.events import ORDINAL_SHIFT, Header, Source
from streams.core.profile.agreed import Agreed
from streams.model.detector import Detector
from streams.pipeline.flow_judging import TURN, Arrived, FlowJudge, JudgingRules
from streams.pipeline.sites import Sites

_RULES: Final = JudgingRules(3_600_000_000)
"""The setting's default."""


@dataclass(frozen=True, slots=True)
class Lying:
    """A record as it lies on a topic."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[Header] = field(default=())


def by_partition(messages: Iterable[Message]) -> dict[int, list[Lying]]:
    """In order of offsets."""
    found: dict[int, list[Lying]] = {}
    for one in messages:
        record = Lying(one.offset() or 0, one.timestamp()[1], one.key(), one.value())
        found.setdefault(one.partition() or 0, []).append(record)
    return {number: sorted(records, key=lambda one: one.offset) for number, records in found.items()}


def said_of(
    source: Source,
    records: Sequence[Lying],
    judge: Callable[[int], Detector],
    sites: Sites = Sites(Agreed),
) -> Mapping[str, Said]:
    """By alert's id; `judge` is the model at an offset, which stays the same between switches.

    `sites`: what is agreed on about sites; by itself nothing, and devices are learnt about as by default.
    """
    if not records:
        return {}
    found: dict[str, Said] = {}
    running = FlowJudge(judge(records[0].offset), _RULES, sites)
    for detector, those in groupby(records, lambda one: judge(one.offset)):
        running.serve(detector)
        part = [Arrived(one.offset, device_flows.decode(one.value), one.timestamp) for one in those]
        for first in range(0, len(part), TURN):
            verdicts = running.turn(part[first : first + TURN])
            ids = event_ids(source, [one.caused_by + (one.ordinal << ORDINAL_SHIFT) for one in verdicts])
            for at, one in zip(ids, verdicts, strict=True):
                found[at] = Said(one.verdict, one.closest, tuple(one.scores.values()), one.novelty, one.fill)
    return found
