"""The public reader of alerts: on librdkafka's mock cluster, and on Apache Kafka."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.adapters.kafka.publisher import KafkaPublisher
from streams.adapters.kafka.topics import create_topics, topic_specs, touch_topics
from streams.cli.alerts import json_line
from streams.client.alerts import Repeats, read_alerts, starting_ms
from streams.codec.output.alerts import AlertFormat, AlertOutput, encode_alert
from streams.core.alerts import Alert
from streams.core.events import Message
from streams.core.topics import Topics
from streams.embedded.kafka import Broker, MockKafka
from streams.errors import BrokerUnavailable, SettingsError
from streams.settings import Settings
from tests.codec.test_codec_alerts import RICH

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def alert(offset: int, verdict: str = "dos", device_id: str = "cam-1") -> Alert:
    return Alert(
        alert_id=str(uuid.uuid5(uuid.NAMESPACE_OID, str(offset))),
        device_id=device_id,
        event_time_us=1_700_000_000_000_000 + offset,
        detected_at_us=1_700_000_000_100_000,
        verdict=verdict,
        closest=verdict,
        scores={"normal": 0.1, verdict: 0.9},
        novelty=0.5,
        window_fill=3,
        window_width=16,
        topic="ids.telemetry",
        topic_id=str(uuid.UUID(int=7)),
        partition=2,
        offset=offset,
        model_name="kdd99",
        model_version="1",
        model_digest="ab" * 32,
    )


@dataclass
class Stage:
    """A broker with alert topics under a prefix of the test's own."""

    settings: Settings

    def publish(self, *alerts: Alert, fmt: AlertFormat = "json", schema_id: int | None = None) -> None:
        topics = Topics(self.settings.topic_prefix)
        with KafkaPublisher(self.settings) as publisher:
            publisher.publish(AlertOutput(topics, fmt, schema_id).messages(alerts))

    def publish_as_before_there_were_headers(self, *alerts: Alert) -> None:
        """Version 0.1.0: no headers, and in JSON times as integers."""
        flat = [json.dumps(dataclasses.asdict(alert)).encode() for alert in alerts]
        self.raw(*flat, *map(encode_alert, alerts))

    def raw(self, *values: bytes | None) -> None:
        topic = Topics(self.settings.topic_prefix).alerts("dos")
        with KafkaPublisher(self.settings) as publisher:
            publisher.publish([Message(topic, b"cam-1", value) for value in values])


@pytest.fixture(params=["mock", pytest.param("kafka", marks=pytest.mark.kafka)])
def stage(request: pytest.FixtureRequest) -> Stage:
    return stage_on(request.getfixturevalue("mock_kafka" if request.param == "mock" else "kafka"))


@pytest.fixture
def kafka_stage(kafka: Broker) -> Stage:
    """For what the mock cluster lacks: an index of times, quick groups."""
    return stage_on(kafka)


def stage_on(broker: Broker) -> Stage:
    prefix = f"t{uuid.uuid4().hex[:10]}"
    settings = Settings(kafka_servers=broker.bootstrap_servers, topic_prefix=prefix, network_timeout_s=10)
    topics = Topics(prefix)
    if isinstance(broker, MockKafka):
        touch_topics(settings, topics.all_alerts())
    else:
        wanted = set(topics.all_alerts())
        create_topics(settings, [spec for spec in topic_specs(topics) if spec.name in wanted])
    return Stage(settings)


def offsets(alerts: Iterator[Alert]) -> list[int]:
    return sorted(found.offset for found in alerts)


def test_what_was_published_comes_back_whole_whatever_its_form(stage: Stage) -> None:
    told = [alert(1), alert(2, "novel", "böser\x1b[31m"), alert(3), alert(4)]
    stage.publish(told[0], fmt="avro")
    stage.publish(told[1], fmt="json")
    stage.publish(told[2], fmt="avro", schema_id=7)
    stage.publish_as_before_there_were_headers(told[3])
    found = list(read_alerts(stage.settings, since="beginning", follow=False))
    assert sorted(found, key=lambda one: one.offset) == told


def test_a_repeat_comes_once(stage: Stage) -> None:
    stage.publish(alert(1), alert(2), alert(1))
    stage.publish(alert(2), alert(3))
    assert offsets(read_alerts(stage.settings, since="beginning", follow=False)) == [1, 2, 3]


def test_only_the_classes_wanted_come(stage: Stage) -> None:
    stage.publish(alert(1, "dos"), alert(2, "probe"), alert(3, "r2l"))
    found = read_alerts(stage.settings, classes=["dos", "r2l"], since="beginning", follow=False)
    assert offsets(found) == [1, 3]


def test_without_since_only_what_is_published_from_now_on_comes(stage: Stage) -> None:
    stage.publish(alert(1))
    reading = read_alerts(stage.settings, idle_s=20)
    stage.publish(alert(2))
    assert next(reading).offset == 2
    reading.close()  # type: ignore[attr-defined]


def test_an_end_comes_after_silence(stage: Stage) -> None:
    stage.publish(alert(1))
    assert offsets(read_alerts(stage.settings, since="beginning", idle_s=1.5)) == [1]


def test_what_is_no_alert_is_passed_over(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.publish(alert(1))
    stage.raw(None, b"", b"\x00", b"{", b"garbage")
    stage.publish(alert(2))
    assert offsets(read_alerts(stage.settings, since="beginning", follow=False)) == [1, 2]
    assert len([record for record in caplog.records if record.name == "autodeep.alerts"]) == 5


@pytest.mark.kafka
def test_since_a_time_begins_with_what_was_published_then(kafka_stage: Stage) -> None:
    stage = kafka_stage
    stage.publish(alert(1))
    time.sleep(0.05)  # Kafka's clock has milliseconds: the two must not fall into one
    between = datetime.now(UTC)
    stage.publish(alert(2))
    assert offsets(read_alerts(stage.settings, since=between, follow=False)) == [2]
    assert offsets(read_alerts(stage.settings, since="10m", follow=False)) == [1, 2]
    assert offsets(read_alerts(stage.settings, since=datetime.now(UTC), follow=False)) == []


@pytest.mark.kafka
def test_a_group_goes_on_where_it_left_off(kafka_stage: Stage) -> None:
    stage = kafka_stage
    group = uuid.uuid4().hex
    stage.publish(alert(1), alert(2))
    assert offsets(read_alerts(stage.settings, since="beginning", group=group, follow=False)) == [1, 2]
    stage.publish(alert(3))
    assert offsets(read_alerts(stage.settings, since="beginning", group=group, follow=False)) == [3]


def test_a_class_without_topic_is_told(stage: Stage) -> None:
    with pytest.raises(SettingsError, match=r"alerts\.ddos.*autodeep topics create"):
        read_alerts(stage.settings, classes=["ddos"])


def test_a_broker_that_is_not_there_is_named() -> None:
    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1 \(AUTODEEP_KAFKA_SERVERS\)"):
        read_alerts(Settings(kafka_servers="127.0.0.1:1", network_timeout_s=0.3))


@pytest.mark.parametrize(
    ("since", "moment"),
    [
        ("90s", NOW - timedelta(seconds=90)),
        ("1.5h", NOW - timedelta(minutes=90)),
        ("2d", NOW - timedelta(days=2)),
        ("2026-01-31T11:00", NOW - timedelta(hours=1)),
        ("2026-01-31T13:00+01:00", NOW),
        (timedelta(minutes=1), NOW - timedelta(minutes=1)),
        (NOW, NOW),
    ],
)
def test_since_is_a_duration_or_a_time(since: str, moment: datetime) -> None:
    assert starting_ms(since, NOW) == moment.timestamp() * 1000


@pytest.mark.parametrize("since", ["", "yesterday", "10", "10x", "-5m", "2026-13-01"])
def test_a_since_that_cannot_be_is_told_with_what_could(since: str) -> None:
    with pytest.raises(SettingsError, match="10m, 2h"):
        starting_ms(since, NOW)


@given(ids=st.lists(st.integers(0, 30)), most=st.integers(1, 10))
def test_repeats_are_known_among_the_latest_ids_and_memory_is_bounded(ids: list[int], most: int) -> None:
    repeats, latest = Repeats(most), list[int]()
    for one in ids:
        assert repeats.seen(str(one)) == (one in latest)
        latest = [*(other for other in latest if other != one), one][-most:]
        assert len(repeats) == len(latest)


def tail(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "AUTODEEP_KAFKA_SERVERS": settings.kafka_servers,
        "AUTODEEP_TOPIC_PREFIX": settings.topic_prefix,
    }
    command = [sys.executable, "-m", "streams", "alerts", "tail", "--since", "beginning", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_tail_prints_json_lines(stage: Stage) -> None:
    stage.publish(alert(1), alert(2, "r2l"), alert(3))
    done = tail(stage.settings, "--json", "--class", "dos", "--no-follow")
    assert (done.returncode, done.stderr) == (0, "")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(found, key=lambda one: one["offset"]) == [
        json.loads(encode_alert(alert(n), "json")) for n in (1, 3)
    ]


def test_tail_for_people_ends_by_count_and_prints_no_control_characters(stage: Stage) -> None:
    odd = "\x1b[2J\n\x9b1m"
    stage.publish(
        *(
            dataclasses.replace(alert(i, device_id=f"cam{odd}"), model_name=odd, model_version=odd)
            for i in range(5)
        )
    )
    done = tail(stage.settings, "--max", "2")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 2
    assert all(line.isprintable() for line in done.stdout.splitlines())
    (line,) = tail(stage.settings, "--max", "1", "--json").stdout.splitlines()
    assert line.isascii()
    assert json.loads(line)["device_id"] == f"cam{odd}"
    assert "ids.telemetry-2@" in done.stdout


def test_a_device_with_a_very_long_name_takes_no_more_than_its_line(stage: Stage) -> None:
    stage.publish(alert(1, device_id="cam" * 80))
    (line,) = tail(stage.settings, "--no-follow").stdout.splitlines()
    assert "camcam" in line
    assert len(line) < 200
    (line,) = tail(stage.settings, "--no-follow", "--json").stdout.splitlines()
    assert json.loads(line)["device_id"] == "cam" * 80


def test_tail_ends_quietly_when_its_pipe_is_closed_and_on_ctrl_c(stage: Stage) -> None:
    import signal

    stage.publish(*(alert(i) for i in range(2000)))
    environment = {
        **os.environ,
        "AUTODEEP_KAFKA_SERVERS": stage.settings.kafka_servers,
        "AUTODEEP_TOPIC_PREFIX": stage.settings.topic_prefix,
    }
    command = [sys.executable, "-m", "streams", "alerts", "tail", "--since", "beginning", "--json"]
    for how, code in (("pipe", 0), ("ctrl-c", 130)):
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline().startswith(b"{")
            if how == "pipe":
                process.stdout.close()
            else:
                process.send_signal(signal.SIGINT)
                process.stdout.read()
            assert process.stderr.read() == b""
            assert process.wait(20) == code


def test_an_alert_whose_numbers_json_lacks_is_a_line_of_json_all_the_same() -> None:
    odd = dataclasses.replace(RICH, novelty=math.inf, scores={"dos": math.nan, "normal": 0.5})
    read = json.loads(json_line(AlertOutput(Topics(), "json"), odd), parse_constant=pytest.fail)
    assert (read["novelty"], read["scores"]) == (None, {"dos": None, "normal": 0.5})
    line = json_line(AlertOutput(Topics(), "json"), RICH)
    assert json.loads(line)["explanation"] == json.loads(encode_alert(RICH, "json"))["explanation"]
