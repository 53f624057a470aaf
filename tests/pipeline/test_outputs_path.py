"""A worker's alerts in every form at once: each is what its format asks for, and says the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Message

from streams.codec.ingest.connections import encode_connections
from streams.codec.output.alerts import decode_alert
from streams.core.kdd99 import KDD99
from streams.embedded.kafka import Broker
from tests.codec import ecs_fields
from tests.codec.test_incidents import TRACE
from tests.codec.test_projections import ocsf_problems
from tests.path import path
from tests.pipeline.test_dead_letters_path import good_rows

pytestmark = [pytest.mark.kafka, pytest.mark.redis]


def headers(message: Message) -> dict[str, bytes | None]:
    return dict(message.headers() or ())


def test_alerts_leave_in_json_with_headers_and_in_the_formats_asked_for_which_are_valid(
    kafka: Broker, redis_url: str, tmp_path: Path
) -> None:
    rows = good_rows(300)
    devices = [f"d{i % 4}" for i in range(len(rows))]
    values = encode_connections(KDD99, devices, 1_700_000_000_000_000 + np.arange(len(rows)), rows)
    sent = [(device.encode(), value) for device, value in zip(devices, values, strict=True)]
    asked = {"outputs": "ocsf, ecs", "severities": "dos=critical", "explain_share": "0.1"}
    with path(kafka.bootstrap_servers, redis_url, tmp_path, **asked) as tested:
        tested.worker()
        tested.send(sent, headers=[("traceparent", TRACE.encode())])
        verdicts = tested.read([tested.topics.classified], lambda found: len(found) >= len(sent))
        told = {one.alert_id: one for one in map(alert_of, verdicts) if one.verdict != "normal"}
        alerts, *documents = (
            tested.read(topics, lambda found: told.keys() <= ids_of(found))
            for topics in (
                tested.topics.all_alerts(),
                [tested.topics.output("ocsf")],
                [tested.topics.output("ecs")],
            )
        )
    assert len(told) > 50
    assert {one.alert_id: one for one in map(alert_of, alerts)} == told
    for found, problems in zip(documents, (ocsf_problems, ecs_fields.problems), strict=True):
        incidents = {one.incident_id for one in told.values()} - {None}
        assert {(message.key() or b"").decode() for message in found} - incidents == told.keys()
        assert [problems(read(message)) for message in found if problems(read(message))] == []
    of_alerts = [one for found in documents for one in found if (one.key() or b"").decode() in told]
    for message in (*alerts, *of_alerts):
        said = headers(message)
        alert = told[(said["ce_id"] or b"").decode()]
        assert (said["content-type"], said["traceparent"]) == (b"application/json", TRACE.encode())
        assert said["class"] == alert.verdict.encode()
        if alert.verdict == "dos":
            sure = alert.scores["dos"] >= 0.8
            assert said["severity"] == (b"critical" if sure else b"high")


def ids_of(found: list[Message]) -> set[str]:
    return {(headers(message)["ce_id"] or b"").decode() for message in found}


def alert_of(message: Message) -> Any:
    return decode_alert(message.value(), message.headers())


def read(message: Message) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(message.value() or b"")
    return found
