"""What a model says of the flows of a partition, in memory: no store, no cache, and turns of another size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from confluent_kafka import Message

from bench.parity import Said
from streams.codec.ingest.device_flows import DeviceFlowDecoder
from streams.core.alerts import event_ids
from streams.core.events import Events, Header, Source
from streams.core.flow.keeping import WINDOWS
from streams.core.profile.agreed import Agreed
from streams.core.windows import numbered
from streams.model.classified import Classified
from streams.model.detector import Detector, Verdicts
from streams.model.inference import infer_from_rows
from streams.pipeline.describing import Step, advance, as_flows
from streams.pipeline.sites import Sites, applied_to, seen_of

_AT_ONCE: Final = 1500
_IDLE_US: Final = 3_600_000_000
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
    events = DeviceFlowDecoder().decode(records).events
    names, device = numbered(events.device_id)
    windows = WINDOWS.blank(len(names), source)
    found: dict[str, Said] = {}
    for first, end in _turns(events, judge):
        mask = np.zeros(len(events), np.bool_)
        mask[first:end] = True
        owners, number = np.unique(device[first:end], return_inverse=True)
        before = windows[owners]
        step = advance(as_flows, before, number, events.only(mask), _IDLE_US)
        detector, rows = judge(int(events.offset[first])), step.described.events.rows
        verdicts = infer_from_rows(detector, before, step.advance, rows)
        windows[owners] = step.advance.windows
        verdicts = _known_to_sites(source, step, detector, verdicts, sites)
        ids = event_ids(source, step.described.events.place[step.advance.applied].tolist())
        columns = zip(
            ids,
            verdicts.verdict.tolist(),
            verdicts.closest.tolist(),
            verdicts.posterior.astype(np.float64).round(4).tolist(),
            verdicts.novelty.astype(np.float64).round(4).tolist(),
            np.minimum(step.advance.fill, detector.width).tolist(),
            strict=True,
        )
        for at, verdict, closest, scores, novelty, fill in columns:
            names_of = detector.verdicts[verdict], detector.classes[closest]
            found[at] = Said(*names_of, tuple(scores), novelty, fill)
    return found


def _known_to_sites(
    source: Source, step: Step, detector: Detector, verdicts: Verdicts, sites: Sites
) -> Verdicts:
    described = step.described
    if described.flows is None or described.age_ms is None:
        return verdicts
    origin = np.zeros(len(described.events), np.int64)
    classified = Classified([source], origin, described.events, step.advance, detector, verdicts)
    seen, scores = seen_of(classified, described.flows, described.age_ms)
    return applied_to(classified, seen, scores, sites)[0].verdicts


def _turns(events: Events, judge: Callable[[int], Detector]) -> Iterable[tuple[int, int]]:
    """Of at most so many records, and of one model each."""
    offsets = events.offset.tolist()
    first = 0
    for at in range(1, len(offsets) + 1):
        is_over = at == len(offsets) or at - first == _AT_ONCE
        if is_over or judge(offsets[at]) is not judge(offsets[first]):
            yield first, at
            first = at
