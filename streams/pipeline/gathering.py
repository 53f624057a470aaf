"""A turn's alerts as incidents see them, partition by partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat

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
    names, verdict = classified.detector.verdicts, classified.verdicts.verdict
    places = np.flatnonzero(np.array([name != NORMAL for name in names])[verdict])  # (M,)
    origin = classified.origin[classified.step.applied[places]]  # (M,) ascending
    begins = [0, *turn.ends.tolist()]
    for number in np.unique(origin).tolist():
        mine = places[origin == number]
        moments = found.moments[number] = found.moments[number] or Moments.of(turn.chunks[number])
        sightings = _sightings(classified, mine, moments, begins[number], severities)
        before = found.sightings[number]
        found.sightings[number] = sightings if before is None else before.joined(sightings)
        found.places[number] += zip(repeat(part), mine.tolist())


def _sightings(
    classified: Classified, places: Index, moments: Moments, begin: int, severities: Mapping[str, Severity]
) -> Sightings:
    """Of the alerts of one chunk, whose records begin at `begin` in the turn."""
    step, events, identity = classified.step, classified.events, classified.detector.identity
    at = step.applied[places]
    record = events.position[at] - begin
    event_us = events.event_time_us[at]
    novelty = _rounded(classified.verdicts.novelty[places])
    score, severity = _scores(classified, places, novelty, severities)
    names = classified.detector.verdicts
    return Sightings(
        place=record,
        device_id=[events.device_id[i] for i in at.tolist()],
        verdict=[names[i] for i in classified.verdicts.verdict[places].tolist()],
        model=[f"{identity.name}/{identity.version}"] * len(places),
        event=events.place[at],
        event_us=event_us,
        counted_us=counted_time_us(event_us, events.kafka_us[at]),
        stream_us=moments.stream_us[record],
        score=score,
        novelty=novelty,
        severity=severity,
        fill=step.fill[places],
        number=step.number[places],
        rounds=rounds_of(width_of(step.windows)),
    )


def _scores(
    classified: Classified,
    places: Index,
    novelty: npt.NDArray[np.float64],
    severities: Mapping[str, Severity],
) -> tuple[npt.NDArray[np.float64], Index]:
    """By what the alerts (M,) of a class are compared, and how severe they are."""
    names, classes = classified.detector.verdicts, classified.detector.classes
    verdict = classified.verdicts.verdict[places]
    is_novel = np.array([name == NOVEL for name in names])[verdict]
    column = np.array([classes.index(name) if name in classes else 0 for name in names])[verdict]
    posterior = _rounded(classified.verdicts.posterior[places, column])
    sure = np.array([severity_of(name, {}, severities) for name in names])[verdict]
    unsure = np.array([severity_of(name, {name: 0.0}, severities) for name in names])[verdict]
    severity = np.where(is_novel | (posterior >= SURE), sure, unsure)
    return np.where(is_novel, novelty, posterior), severity


def _rounded(numbers: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """As alerts have them."""
    return numbers.astype(np.float64).round(4)
