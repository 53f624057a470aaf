"""Messages that their topics do not take, through Kafka and Redis and a worker process: the real path."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import Message
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from streams.codec.ingest.connections import encode_connections
from streams.codec.output.alerts import AlertOutput, decode_alert
from streams.codec.output.sizes import wire_bytes
from streams.core import events
from streams.core.alerts import Alert
from streams.core.kdd99 import KDD99
from streams.core.topics import Topics
from streams.embedded.kafka import Broker
from streams.embedded.workers import WorkerProcess
from tests.path import DEADLINE_S, TestedPath, path
from tests.pipeline.test_dead_letters_path import good_rows, header

pytestmark = [pytest.mark.kafka, pytest.mark.redis]

KAFKAS_DEFAULT = 1_048_588


def limit(tested: TestedPath, topic: str, limit_bytes: int) -> None:
    admin = AdminClient({"bootstrap.servers": tested.settings.kafka_servers})
    entry = ConfigEntry("max.message.bytes", str(limit_bytes), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin.incremental_alter_configs([resource])[resource].result(DEADLINE_S)


def shortened(worker: WorkerProcess, part: str, count: int) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while worker.figures()["shortened"].get(part, 0) < count:
        assert time.monotonic() < deadline_s, worker.figures()
        time.sleep(0.05)
    assert f'autodeep_shortened_total{{part="{part}"}} {float(count)}' in worker.metrics()


def test_a_dead_letter_larger_than_its_topic_takes_is_cut_and_counted_and_stops_nobody(
    kafka: Broker, redis_url: str, tmp_path: Path
) -> None:
    """With Kafka's default from the start, and with a limit that is lowered while the worker runs."""
    bad = [np.random.default_rng(1).bytes(size) for size in (1_048_400, 300_000)]
    with path(kafka.bootstrap_servers, redis_url, tmp_path) as tested:
        limit(tested, tested.topics.dead_letters, KAFKAS_DEFAULT)
        tested.send([(b"d0", bad[0])])
        worker = tested.worker()
        [letter] = tested.read([tested.topics.dead_letters], lambda found: len(found) >= 1)
        assert len(letter.value()) > KAFKAS_DEFAULT - 2_000
        limit(tested, tested.topics.dead_letters, 100_000)
        tested.send([(b"d0", bad[1])] + [(b"d0", b"small %d" % i) for i in range(400)])
        letters = tested.read([tested.topics.dead_letters], lambda found: len(found) >= 402)
        shortened(worker, "dead_letter", 2)
    assert (
        f"topic {tested.topics.dead_letters} takes messages of at most {KAFKAS_DEFAULT} bytes"
        in tested.logs()
    )
    assert f"topic {tested.topics.dead_letters} takes at most 100000 bytes a message" in tested.logs()
    first = {int(header(letter, "offset")): letter for letter in reversed(letters)}
    assert first.keys() == set(range(402))
    for offset, whole in enumerate(bad):
        cut = first[offset]
        assert whole.startswith(cut.value())
        assert header(cut, "cut-value-bytes") == str(len(whole))
        assert header(cut, "reason") == "unknown_framing"
        assert (cut.key(), (cut.headers() or [])[0]) == (b"d0", ("trace", b"\x00\xff"))
    assert first[401].value() == b"small 399"


def test_an_alert_larger_than_its_topic_takes_goes_without_its_explanation(
    kafka: Broker, redis_url: str, tmp_path: Path
) -> None:
    rows = good_rows(400)
    devices = [f"d{i % 4}" for i in range(len(rows))]
    values = encode_connections(KDD99, devices, 1_700_000_000_000_000 + np.arange(len(rows)), rows)
    sent = [(device.encode(), value) for device, value in zip(devices, values, strict=True)]
    explained = {"explain_share": "1.0", "kafka_compression": "none"}
    with path(kafka.bootstrap_servers, redis_url, tmp_path, **explained) as tested:
        topics = tested.topics.all_alerts()
        worker = tested.worker()
        tested.send(sent[:200])
        before = tested.read([tested.topics.classified], lambda found: len(found) >= 200)
        room = max(wire_bytes(without_explanation(one)) for one in before)
        for name in topics:
            limit(tested, name, room)
        tested.send(sent[200:])
        verdicts = tested.read([tested.topics.classified], lambda found: offsets(found) == set(range(400)))
        alarming = {one.offset for one in map(alert_of, verdicts) if one.verdict != "normal"}
        alerts = tested.read(topics, lambda found: offsets(found) >= alarming)
        shortened(worker, "explanation", len([offset for offset in alarming if offset >= 200]))
        assert worker.exit_code is None
    found = {one.offset: one for one in map(alert_of, alerts)}
    assert all(alert.explanation is not None for offset, alert in found.items() if offset < 200)
    assert [alert.explanation for offset, alert in found.items() if offset >= 200] == [None] * len(
        [offset for offset in alarming if offset >= 200]
    )
    assert f"takes at most {room} bytes a message" in tested.logs()


def alert_of(message: Message) -> Alert:
    return decode_alert(message.value(), message.headers())


def offsets(messages: list[Message]) -> set[int]:
    return {alert_of(message).offset for message in messages}


def without_explanation(message: Message) -> events.Message:
    alert = replace(alert_of(message), explanation=None)
    return AlertOutput(Topics(), "json", publish_classified=True).messages([alert])[-1]
