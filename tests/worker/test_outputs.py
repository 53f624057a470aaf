"""Which form alerts and incidents leave in, by the settings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from streams.codec.avro.schemas import Schema
from streams.core.severity import BY_CLASS
from streams.settings import Settings
from streams.worker.path import outputs_of
from tests.codec.test_codec_alerts import ALERT
from tests.codec.test_incidents import INCIDENT

JSON, SINGLE, FRAMED = (
    b"application/json",
    b"application/avro; framing=single-object",
    b"application/avro; framing=confluent",
)


class Registry:
    """Gives ids from 7 on."""

    def __init__(self) -> None:
        self.subjects: list[str] = []

    def register(self, subjects: Iterable[str], schema: Schema) -> int:
        self.subjects += subjects
        return 7 + len(self.subjects)


@pytest.mark.parametrize(
    ("asked", "without", "with_one"),
    [
        ("auto", JSON, FRAMED),
        ("json", JSON, JSON),
        ("avro", SINGLE, FRAMED),
        ("single-object", SINGLE, SINGLE),
    ],
)
def test_json_is_the_default_without_a_registry_and_avro_in_its_framing_with_one(
    asked: Any, without: bytes, with_one: bytes
) -> None:
    registry: Any = Registry()
    for given, content_type in ((None, without), (registry, with_one)):
        [output] = outputs_of(Settings(alert_format=asked), given, BY_CLASS)
        for message in (*output.messages([ALERT]), *output.incident_messages([INCIDENT])):
            assert dict(message.headers)["content-type"] == content_type
    registered = {"ids.alerts.dos-value", "ids.classified-value", "ids.incidents-value"}
    assert registered.issubset(registry.subjects) is (with_one == FRAMED)


def test_further_formats_come_beside_our_own() -> None:
    outputs = outputs_of(Settings(outputs="ecs,pagerduty"), None, BY_CLASS)
    topics = [message.topic for output in outputs for message in output.incident_messages([INCIDENT])]
    assert topics == ["ids.incidents", "ids.ecs", "ids.pagerduty"]
