"""Devices whose clocks and buffers disagree with Kafka, on the real path: their windows, and what is said."""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message

from streams.codec.ingest.connections import encode_connections
from streams.codec.output.alerts import decode_alert
from streams.core.kdd99 import KDD99
from streams.core.windows import WIDTH
from streams.embedded.kafka import Broker
from streams.embedded.workers import WorkerProcess
from tests.path import DEADLINE_S, path
from tests.pipeline.test_dead_letters_path import good_rows

EVENTS = WIDTH + 4
S, H = 1_000_000, 3_600_000_000


def clocks(now_us: int) -> dict[str, list[int]]:
    """Each device's event times, in the order of sending."""
    turns = range(EVENTS)
    return {
        "buffered": [now_us + i if i % 2 else now_us - 2 * H + i for i in turns],
        "jumping": [now_us - 1000 * H + i * (H + S) for i in turns],
        "ahead": [now_us + (i + 2) * (H + S) for i in turns],
        "milliseconds": [now_us // 1000 + i for i in turns],
    }


def counted(worker: WorkerProcess, records: int) -> dict[str, Any]:
    """A worker's figures once they tell of so many records: those of a turn come after its messages."""
    deadline_s = time.monotonic() + DEADLINE_S
    while (figures := worker.figures()).get("records", 0) < records:
        assert time.monotonic() < deadline_s, figures
        time.sleep(0.05)
    return figures


@pytest.mark.kafka
@pytest.mark.redis
def test_no_clock_and_no_buffer_costs_a_device_its_history_and_wrong_times_are_said(
    kafka: Broker, redis_url: str, tmp_path: Path
) -> None:
    limit = {"max_clock_skew_s": str(10_000 * 3600)}
    with path(kafka.bootstrap_servers, redis_url, tmp_path, **limit) as tested:
        worker = tested.worker()
        worker.wait_ready()
        rows = good_rows(EVENTS)
        sent = clocks(time.time_ns() // 1000)
        for device, times_us in sent.items():
            values = encode_connections(KDD99, [device] * EVENTS, times_us, rows)
            tested.send([(device.encode(), value) for value in values])
        width, fills = 0, defaultdict[str, list[int]](list)

        def all_of_them(found: list[Message]) -> bool:
            return len(found) >= len(sent) * EVENTS

        topics = [tested.topics.classified, tested.topics.dead_letters]
        for message in tested.read(topics, all_of_them):
            if message.topic() == tested.topics.classified:
                alert = decode_alert(message.value())
                fills[alert.device_id].append(alert.window_fill)
                width = alert.window_width
            else:
                assert dict(message.headers())["autodeep.reason"] == b"clock_skew"
                assert b"looks like milliseconds" in dict(message.headers())["autodeep.detail"]
                assert message.key() == b"milliseconds"
        figures = counted(worker, len(sent) * EVENTS)
        metrics, log = worker.metrics(), tested.logs()
    whole = [min(i + 1, width) for i in range(EVENTS)]
    assert fills == dict.fromkeys(("buffered", "jumping", "ahead"), whole)
    assert (figures["window_resets"], figures["dead_letters"]) == (0, {"clock_skew": EVENTS})
    assert (
        f'autodeep_event_time_skew_seconds_bucket{{direction="behind",le="3600.0"}} {EVENTS // 2}' in metrics
    )
    assert "more than an hour ahead of Kafka's timestamp" in log
    assert log.count("AUTODEEP_MAX_CLOCK_SKEW_S") == 1
