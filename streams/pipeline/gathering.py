"""A turn's alerts as incidents see them, partition by partition."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.core.clocks import counted_time_us
from streams.core.severity import SURE, Severity, severity_of
from streams.core.sightings import Moments, Sightings
from streams.core.topics import NORMAL, NOVEL
from streams.core.windows import Index, rounds_of, width_of
from streams.model.classified import Classified
from streams.pipeline.turn import Turn


@dataclass(slots=True)
class Gathered:
    """Of each chunk (C)."""

    moments: list[Moments | None]
    """None where nobody asks."""
    sightings: list[Sightings | None]
    """Its alerts; None without any."""
    places: list[list[tuple[int, int]]]
    """Of each alert the part that judged it, and its applied event."""


def gather(
    turn: Turn, wanted: Sequence[bool], judged: Sequence[Classified], severities: Mapping[str, Severity]
) -> Gathered:
    """`wanted` (C,) are the chunks whose moments are asked for though there be no alerts."""
    chunks = turn.chunks
    found = Gathered(
        [Moments.of(chunk) if wants else None for chunk, wants in zip(chunks, wanted, strict=True)],
        [None for _ in chunks],
        [[] for _ in chunks],
    )
    for part, classified in enumerate(judged):
        _add(found, turn, part, classified, severities)
    if len(judged) > 1:
        for number, sightings in enumerate(found.sightings):
            if sightings is not None:
                order = np.argsort(sightings.place, kind="stable")
                found.sightings[number] = sightings.in_order(order)
                found.places[number] = [found.places[number][i] for i in order.tolist()]
    return found


def _add(
    found: Gathered, turn: Turn, part: int, classified: Classified, severities: Mapping[str, Severity]
) -> None:
    kinds = _kinds(classified.detector.verdicts, classified.detector.classes, tuple(severities.items()))
    places = np.flatnonzero(kinds.is_alert[classified.verdicts.verdict])  # (M,)
    if not len(places):
        return
    origin = classified.origin[classified.step.applied[places]]  # (M,) ascending
    ends = np.searchsorted(origin, np.arange(len(turn.chunks)), "right").tolist()
    alerts = _sightings(classified, places, origin, turn, kinds)
    for number, (first, end) in enumerate(zip([0, *ends], ends, strict=False)):
        if first == end:
            continue
        moments = found.moments[number] = found.moments[number] or Moments.of(turn.chunks[number])
        mine = alerts.of_chunk(first, end, moments)
        before = found.sightings[number]
        found.sightings[number] = mine if before is None else before.joined(mine)
        found.places[number] += zip(repeat(part), places[first:end].tolist())


def _sightings(classified: Classified, places: Index, origin: Index, turn: Turn, kinds: _Kinds) -> Sightings:
    """Of all alerts (M,) of the turn, chunk by chunk; the stream's time is each chunk's to say."""
    step, events, identity = classified.step, classified.events, classified.detector.identity
    verdict, at = classified.verdicts.verdict[places], step.applied[places]
    begins = np.append(0, turn.ends[:-1])  # (C,)
    event_us = events.event_time_us[at]
    novelty = _rounded(classified.verdicts.novelty[places])
    posterior = _rounded(classified.verdicts.posterior[places, kinds.column[verdict]])
    is_novel = kinds.is_novel[verdict]
    names = classified.detector.verdicts
    return Sightings(
        place=events.position[at] - begins[origin],
        device_id=[events.device_id[i] for i in at.tolist()],
        verdict=[names[i] for i in verdict.tolist()],
        model=[f"{identity.name}/{identity.version}"] * len(places),
        event=events.place[at],
        event_us=event_us,
        counted_us=counted_time_us(event_us, events.kafka_us[at]),
        stream_us=event_us,
        score=np.where(is_novel, novelty, posterior),
        novelty=novelty,
        severity=np.where(is_novel | (posterior >= SURE), kinds.sure[verdict], kinds.unsure[verdict]),
        fill=step.fill[places],
        number=step.number[places],
        rounds=rounds_of(width_of(step.windows)),
    )


class _Kinds(NamedTuple):
    """Of each verdict of a detector."""

    is_alert: npt.NDArray[np.bool_]
    is_novel: npt.NDArray[np.bool_]
    column: Index
    """Of its posterior, by which alerts of a class are compared."""
    sure: Index
    """Its severity; then that of one that the model is not sure of."""
    unsure: Index


@functools.lru_cache(maxsize=64)
def _kinds(
    names: tuple[str, ...], classes: tuple[str, ...], severities: tuple[tuple[str, Severity], ...]
) -> _Kinds:
    by_class = dict(severities)
    return _Kinds(
        np.array([name != NORMAL for name in names]),
        np.array([name == NOVEL for name in names]),
        np.array([classes.index(name) if name in classes else 0 for name in names]),
        np.array([severity_of(name, {}, by_class) for name in names]),
        np.array([severity_of(name, {name: 0.0}, by_class) for name in names]),
    )


def _rounded(numbers: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """As alerts have them."""
    return numbers.astype(np.float64).round(4)
