"""From verdicts to alerts: each says what its own event said, and carries its event's context."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from streams.core.alerts import CANARY, Alert, record_id
from streams.core.events import Events, Source
from streams.core.kdd99 import KDD99
from streams.core.windows import WindowLayout, advance
from streams.model.classified import Classified, alerts_of
from streams.model.detector import Detector, Verdicts

LAYOUT = WindowLayout(KDD99)
SOURCE = Source("ids.telemetry", uuid.UUID(int=7), 3)
DETECTOR = Detector.random(KDD99, seed=1)
CLASSES = len(DETECTOR.classes)
Context = Sequence[Mapping[str, str] | None] | None


def events_of(count: int, context: Context = None) -> Events:
    """Event i has offset 10 + i and the device `d<i>`."""
    offsets = np.arange(10, 10 + count)
    devices = [f"d{i}" for i in range(count)]
    return Events(np.arange(count), offsets, offsets * 1000, devices, np.zeros(count, KDD99.row), context)


def alerts(events: Events, wanted: Sequence[int]) -> list[Alert]:
    count = len(events)
    step = advance(LAYOUT.blank(count, SOURCE), np.arange(count), events, 10**9)
    verdicts = Verdicts(
        verdict=np.full(count, CLASSES, np.int64),
        closest=np.ones(count, np.int64),
        posterior=np.full((count, CLASSES), 1 / 3, np.float32),
        novelty=np.full(count, 1.23456, np.float32),
    )
    return alerts_of(
        Classified([SOURCE], np.zeros(len(events), np.int64), events, step, DETECTOR, verdicts, CANARY),
        wanted,
        now_us=5,
    )


def test_an_alert_says_what_its_event_and_its_model_say() -> None:
    (alert,) = alerts(events_of(3), [2])
    identity = DETECTOR.identity
    assert alert == Alert(
        alert_id=record_id(SOURCE, 12),
        device_id="d2",
        event_time_us=12_000,
        detected_at_us=5,
        verdict="novel",
        closest=DETECTOR.classes[1],
        scores=dict.fromkeys(DETECTOR.classes, 0.3333),
        novelty=1.2346,
        window_fill=1,
        window_width=DETECTOR.width,
        topic="ids.telemetry",
        topic_id=str(SOURCE.topic_id),
        partition=3,
        offset=12,
        model_name=identity.name,
        model_version=identity.version,
        model_digest=identity.digest,
        model_role=CANARY,
    )


def test_an_alert_carries_its_own_events_context_also_where_events_before_it_were_left_out() -> None:
    events = events_of(5, [{"sensor": f"s{i}"} if i % 2 else None for i in range(5)])
    mask: npt.NDArray[np.bool_] = np.array([False, True, False, True, True])
    kept = events.only(mask)
    assert kept.context == [{"sensor": "s1"}, {"sensor": "s3"}, None]
    told = alerts(kept, [1, 2])
    assert [(alert.device_id, alert.context) for alert in told] == [("d3", {"sensor": "s3"}), ("d4", None)]


def test_events_without_context_give_alerts_without_it() -> None:
    events = events_of(3)
    assert events.only(np.ones(3, np.bool_)).context is None
    assert [alert.context for alert in alerts(events, [0, 1, 2])] == [None] * 3
