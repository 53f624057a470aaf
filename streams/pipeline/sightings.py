"""A turn's alerts as incidents see them, partition by partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import numpy.typing as npt

from streams.core.clocks import counted_time_us
from streams.core.incident_book import Moments, Sighting
from streams.core.incident_rules import Seen
from streams.core.severity import SURE, Severity, severity_of
from streams.core.topics import NORMAL, NOVEL
from streams.core.windows import Index, rounds_of, width_of
from streams.model.classified import Classified
from streams.pipeline.turn import Turn


@dataclass(slots=True)
class Gathered:
    """The alerts of each chunk, in the order of offsets."""

    moments: list[Moments | None]  # C; None where nobody asks
    sightings: list[list[Sighting]]  # C
    places: list[list[tuple[int, int]]]  # C; of each alert the part that judged it, and its applied event


def gather(
    turn: Turn, wanted: Sequence[bool], judged: Sequence[Classified], severities: Mapping[str, Severity]
) -> Gathered:
    """`wanted` (C,) are the chunks whose moments are asked for though there be no alerts."""
    found = Gathered(
        [Moments.of(chunk) if wants else None for chunk, wants in zip(turn.chunks, wanted, strict=True)],
        [[] for _ in turn.chunks],
        [[] for _ in turn.chunks],
    )
    for part, classified in enumerate(judged):
        _add(found, turn, part, classified, severities)
    if len(judged) > 1:
        for number, sightings in enumerate(found.sightings):
            order = sorted(range(len(sightings)), key=lambda i: sightings[i].place)
            found.sightings[number] = [sightings[i] for i in order]
            found.places[number] = [found.places[number][i] for i in order]
    return found


def _add(
    found: Gathered, turn: Turn, part: int, classified: Classified, severities: Mapping[str, Severity]
) -> None:
    names, verdict = classified.detector.verdicts, classified.verdicts.verdict
    places = np.flatnonzero(np.array([name != NORMAL for name in names])[verdict])  # (M,)
    if not len(places):
        return
    events, at = classified.events, classified.step.applied[places]
    chunk = classified.origin[at]  # (M,) ascending
    begins = np.append(0, turn.ends)
    record = events.position[at] - begins[chunk]
    sightings = map(
        Sighting,
        record.tolist(),
        [events.device_id[i] for i in at.tolist()],
        [names[i] for i in verdict[places].tolist()],
        _seen(classified, places, _stream_us(found, turn, chunk, record), severities),
    )
    for number, sighting, place in zip(chunk.tolist(), sightings, places.tolist(), strict=True):
        found.sightings[number].append(sighting)
        found.places[number].append((part, place))


def _stream_us(found: Gathered, turn: Turn, chunk: Index, record: Index) -> Index:
    """(M,) the stream's time with each alert's record."""
    parts = []
    for number in np.unique(chunk).tolist():
        moments = found.moments[number] = found.moments[number] or Moments.of(turn.chunks[number])
        parts.append(moments.stream_us[record[chunk == number]])
    return np.concatenate(parts)


def _seen(
    classified: Classified, places: Index, stream_us: Index, severities: Mapping[str, Severity]
) -> map[Seen]:
    step, events, identity = classified.step, classified.events, classified.detector.identity
    at = step.applied[places]
    event_us = events.event_time_us[at]
    novelty = _rounded(classified.verdicts.novelty[places])
    score, severity = _scores(classified, places, novelty, severities)
    return map(
        Seen,
        events.offset[at].tolist(),
        event_us.tolist(),
        counted_time_us(event_us, events.kafka_us[at]).tolist(),
        stream_us.tolist(),
        score.tolist(),
        novelty.tolist(),
        severity.tolist(),
        step.fill[places].tolist(),
        step.number[places].tolist(),
        repeat(rounds_of(width_of(step.windows))),
        repeat(f"{identity.name}/{identity.version}"),
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
