"""Parity: what the stream says of every row, against offline evaluation of the same windows.

The rows of a labelled file are sent as N devices, one contiguous segment each; workers classify them through
Kafka and Redis and publish every verdict. Offline, the same model reads the same segments, by code that
shares nothing with the stream's windows. Verdict, closest class, scores, novelty and window fill must be
equal, and every row that is not normal must stand on its class's alert topic, and no other row.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.feed import START_US, STEP_US, send
from bench.output import to_the_end, until_stalled
from bench.parts import Parts, started
from streams.adapters.store.models import open_store
from streams.client.replaying import feed_of, interleaved
from streams.codec.ingest.kdd import read_rows, segment_starts
from streams.codec.output.alerts import decode_alert
from streams.core.alerts import Alert
from streams.core.kdd99 import KDD99
from streams.core.topics import NORMAL, Topics
from streams.training.evaluate import evaluate_rows


@dataclass(frozen=True, slots=True)
class Said:
    """One row's verdict, as far as it must agree."""

    verdict: str
    closest: str
    scores: tuple[float, ...]
    novelty: float
    window_fill: int

    @classmethod
    def by(cls, alert: Alert) -> Said:
        scores = tuple(alert.scores.values())
        return cls(alert.verdict, alert.closest, scores, alert.novelty, alert.window_fill)


@dataclass(slots=True)
class Found:
    """What the output topics hold, by place in the feed."""

    verdicts: dict[int, Said] = field(default_factory=dict)
    alerts: dict[int, str] = field(default_factory=dict)  # the topic it stands on
    repeats: int = 0
    differing: int = 0


def measure(data: Path, devices: int, workers: int, limit: int) -> dict[str, Any]:
    """Run it, and count where stream and evaluation differ."""
    rows = read_rows(data, KDD99).rows
    rows = rows[:limit] if limit else rows
    began_s = time.monotonic()
    with started(publish_classified="true") as parts:
        expected = offline(parts, rows, devices)
        running = [parts.worker(f"worker-{i}") for i in range(workers)]
        for worker in running:
            worker.wait_ready()
        send(parts.settings, feed_of(rows, devices, START_US, STEP_US))
        found = collect(parts, len(rows))
        shares = [worker.figures().get("classified", 0) for worker in running]
    order, _ = interleaved(len(rows), devices)
    return {
        "rows": len(rows),
        "verdicts": len(found.verdicts),
        **compare([expected[i] for i in order.tolist()], found, parts.topics),
        "repeats": found.repeats,
        "differing_repeats": found.differing,
        "devices": devices,
        "workers": shares,
        "seconds": round(time.monotonic() - began_s, 1),
    }


def offline(parts: Parts, rows: Any, devices: int) -> list[Said]:
    """What the model says of each row, in the file's order."""
    detector = open_store(parts.settings.model_store).load(parts.settings.model)
    verdicts = evaluate_rows(detector, rows, devices)
    starts = segment_starts(len(rows), devices)
    at = np.arange(len(rows))
    fill = np.minimum(at - starts[np.searchsorted(starts, at, side="right") - 1] + 1, detector.width)
    columns = zip(
        verdicts.verdict.tolist(),
        verdicts.closest.tolist(),
        verdicts.posterior.astype(np.float64).round(4).tolist(),
        verdicts.novelty.astype(np.float64).round(4).tolist(),
        fill.tolist(),
        strict=True,
    )
    return [
        Said(detector.verdicts[verdict], detector.classes[closest], tuple(scores), novelty, n)
        for verdict, closest, scores, novelty, n in columns
    ]


def collect(parts: Parts, events: int) -> Found:
    """Read the output until every event has its verdict, or nothing comes any more; then to the end."""
    found, topics = Found(), parts.topics
    for message in until_stalled(parts, [topics.classified], lambda: len(found.verdicts) >= events):
        alert = decode_alert(message.value(), message.headers())
        place, said = (alert.event_time_us - START_US) // STEP_US, Said.by(alert)
        if place in found.verdicts:
            found.repeats += 1
            found.differing += found.verdicts[place] != said
        found.verdicts[place] = said
    for message in to_the_end(parts, topics.all_alerts()):
        alert = decode_alert(message.value(), message.headers())
        found.alerts[(alert.event_time_us - START_US) // STEP_US] = str(message.topic())
    return found


def compare(expected: list[Said], found: Found, topics: Topics) -> dict[str, int]:
    """`mismatches`, `missing` and `extra` of what was found against one Said an event."""
    mismatches = missing = extra = 0
    for place, said in enumerate(expected):
        told = found.verdicts.get(place)
        missing += told is None
        mismatches += told is not None and told != said
        topic = found.alerts.get(place)
        if said.verdict == NORMAL:
            extra += topic is not None
        else:
            missing += topic is None
            mismatches += topic is not None and topic != topics.alerts(said.verdict)
    beyond = set(range(len(expected)))
    extra += len(found.verdicts.keys() - beyond) + len(found.alerts.keys() - beyond)
    return {"mismatches": mismatches, "missing": missing, "extra": extra}
