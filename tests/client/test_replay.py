"""Replay: whose each row is, in which order rows go out, and that all of them arrive."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
import typer
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from streams.adapters.kafka.topics import touch_topics
from streams.cli.commands import app as command_line
from streams.cli.replay import replay
from streams.client.replaying import RUN, device_name, feed_of, interleaved, mix
from streams.codec.ingest.telemetry import TelemetryDecoder
from streams.core.events import Header
from streams.core.kdd99 import KDD99
from streams.core.topics import Topics
from streams.embedded.kafka import Broker
from streams.errors import BrokerUnavailable, DataError
from streams.settings import Settings


@dataclass(frozen=True)
class Record:
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int = 0
    headers: tuple[Header, ...] = ()


def test_devices_speak_in_turn_each_in_the_order_of_capture() -> None:
    # file:  0 1 2 | 3 4 | 5 6      three devices, segments of 2 or 3 rows
    row, device = interleaved(7, 3)
    assert row.tolist() == [0, 2, 4, 1, 3, 5, 6]
    assert device.tolist() == [0, 1, 2, 0, 1, 2, 2]


@given(st.integers(1, 60), st.integers(1, 60))
def test_every_row_goes_out_once_and_a_device_s_rows_are_one_segment(rows: int, devices: int) -> None:
    if devices > rows:
        with pytest.raises(DataError, match="cannot share"):
            interleaved(rows, devices)
        return
    row, device = interleaved(rows, devices)
    assert sorted(row.tolist()) == list(range(rows))
    for number in range(devices):
        mine = row[device == number]
        assert mine.tolist() == list(range(mine[0], mine[0] + len(mine)))


def test_event_times_lie_one_step_apart() -> None:
    feed = feed_of(np.zeros(5, KDD99.row), 2, start_us=100, step_us=7)
    assert feed.event_time_us.tolist() == [100, 107, 114, 121, 128]


@given(
    st.lists(st.booleans(), min_size=2, max_size=400).filter(lambda kinds: len(set(kinds)) == 2),
    st.integers(1, 40),
    st.integers(1, 90),
    st.sampled_from([0.0, 0.02, 0.5, 1.0]),
)
def test_a_mix_has_its_share_of_attacks_in_runs_of_one_kind(
    kinds: list[bool], devices: int, turns: int, share: float
) -> None:
    is_attack = np.array(kinds)
    row, device = mix(is_attack, devices * turns, devices, share, seed=3)
    runs = -(-turns // RUN) * devices
    attacked = 0
    for number in range(devices):
        mine = is_attack[row[device == number]]
        assert len(mine) == turns
        for start in range(0, turns, RUN):
            run = mine[start : start + RUN]
            assert len(set(run.tolist())) == 1
            attacked += int(run[0])
    assert attacked == round(share * runs)


def test_a_mixed_device_keeps_the_order_of_capture() -> None:
    is_attack = np.arange(20_000) >= 10_000
    row, device = mix(is_attack, 20 * 200, 20, 0.3, seed=1)
    for number in range(20):
        mine = row[device == number]
        assert (np.diff(mine) > 0).all()


def test_a_mix_is_drawn_by_its_seed() -> None:
    is_attack = np.arange(2000) % 3 == 0
    first, again, other = (mix(is_attack, 640, 10, 0.5, seed)[0].tolist() for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize(
    ("kinds", "devices", "share", "said"),
    [
        ([False, False], 1, 0.5, "no row of a kind"),
        ([False, True], 9, 0.5, "cannot share"),
        ([False, True], 1, 1.5, "0 to 1"),
    ],
)
def test_a_mix_that_cannot_be_is_refused(kinds: list[bool], devices: int, share: float, said: str) -> None:
    with pytest.raises(DataError, match=said):
        mix(np.array(kinds), 4 * RUN if devices == 1 else 8, devices, share, 1)


LINE = dict.fromkeys(KDD99.file_columns, "0") | dict(
    zip(KDD99.symbolic_names, ("tcp", "http", "SF"), strict=True)
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """60 rows whose src_bytes are their place; every fourth is an attack."""
    lines = [
        ",".join([*(LINE | {"src_bytes": str(i)}).values(), "neptune." if i % 4 == 0 else "normal."])
        for i in range(60)
    ]
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def settings(mock_kafka: Broker, monkeypatch: pytest.MonkeyPatch) -> Settings:
    prefix = f"t{uuid4().hex[:8]}"
    monkeypatch.setenv("AUTODEEP_KAFKA_SERVERS", "nowhere.invalid:1")
    monkeypatch.setenv("AUTODEEP_TOPIC_PREFIX", prefix)
    settings = Settings(kafka_servers=mock_kafka.bootstrap_servers, topic_prefix=prefix)
    touch_topics(settings, [Topics(prefix).telemetry])
    return settings


def read_back(settings: Settings, expected: int) -> dict[int, list[Record]]:
    """All telemetry by partition, in order, once there is as much as expected."""
    config = {"bootstrap.servers": settings.kafka_servers, "group.id": "t", "enable.auto.commit": False}
    consumer = Consumer(config)
    topic = Topics(settings.topic_prefix).telemetry
    found: dict[int, list[Record]] = {}
    deadline_s = time.monotonic() + 30
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
        while sum(map(len, found.values())) < expected:
            assert time.monotonic() < deadline_s, f"{found} so far"
            for message in consumer.consume(100, 0.2):
                assert message.error() is None
                record = Record(message.offset(), message.key(), message.value())
                found.setdefault(message.partition(), []).append(record)
    finally:
        consumer.close()
    return found


def run(*arguments: str) -> dict[str, object]:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(replay)
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_replay_delivers_every_row_to_its_device_in_order(settings: Settings, file: Path) -> None:
    said = run(str(file), "--devices", "7", "--kafka-servers", settings.kafka_servers, "--json")
    assert (said["events"], said["devices"]) == (60, 7)
    sent: dict[str, list[int]] = {}
    for records in read_back(settings, 60).values():
        events = TelemetryDecoder(KDD99).decode(records).events
        assert len(events) == len(records)
        for device_id, row in zip(events.device_id, events.rows, strict=True):
            sent.setdefault(device_id, []).append(int(row["numbers"][1]))
    starts = [k * 60 // 7 for k in range(8)]
    assert sent == {device_name(k): list(range(starts[k], starts[k + 1])) for k in range(7)}


def test_replay_says_which_lines_of_the_file_it_cannot_use(settings: Settings, file: Path) -> None:
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:20], "junk", *lines[20:], "1,tcp"]) + "\n")
    result = CliRunner().invoke(
        command_line, ["replay", str(file), "--kafka-servers", settings.kafka_servers, "--json"]
    )
    assert json.loads(result.stdout)["events"] == 60
    assert f"{file}: 2 of 62 lines cannot be used: missing value: 2 (first in line 21)\n" in result.stderr


def test_replay_sends_as_many_events_as_asked_with_the_share_of_attacks_asked_for(
    settings: Settings, file: Path
) -> None:
    arguments = ["--devices", "8", "--limit", "640", "--attack-share", "0.25"]
    said = run(str(file), *arguments, "--kafka-servers", settings.kafka_servers, "--json")
    assert said["events"] == 640
    records = [record for part in read_back(settings, 640).values() for record in part]
    places = TelemetryDecoder(KDD99).decode(records).events.rows["numbers"][:, 1]
    assert (places % 4 == 0).mean() == 0.25


def test_a_device_keeps_to_the_partition_that_java_clients_give_it(settings: Settings, file: Path) -> None:
    run(str(file), "--devices", "7", "--kafka-servers", settings.kafka_servers, "--json")
    for partition, records in read_back(settings, 60).items():
        assert {murmur2(record.key or b"") % 4 for record in records} == {partition}


def murmur2(key: bytes) -> int:
    """Java's org.apache.kafka.common.utils.Utils.murmur2, made positive as its partitioner does."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = 0x9747B28C ^ len(key)
    whole = len(key) // 4 * 4
    for i in range(0, whole, 4):
        k = int.from_bytes(key[i : i + 4], "little") * m & mask
        h = h * m & mask ^ (k ^ k >> 24) * m & mask
    rest = key[whole:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return (h ^ h >> 15) & 0x7FFFFFFF


def test_a_broker_that_is_not_there_is_told_in_one_line(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTODEEP_NETWORK_TIMEOUT_S", "0.5")
    with pytest.raises(BrokerUnavailable, match="AUTODEEP_KAFKA_SERVERS") as raised:
        run(str(file), "--kafka-servers", "127.0.0.1:1")
    assert "\n" not in str(raised.value)
