"""Leases on real Kafka: imported, listed, and followed by whoever keys flows."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewPartitions
from typer.testing import CliRunner

from streams.adapters.kafka import device_topic
from streams.adapters.kafka.device_topic import DeviceFollower, read_devices
from streams.adapters.kafka.topics import create_topics, topic_specs
from streams.cli.commands import app
from streams.codec.devices import encode_leases, key_of
from streams.core.leases import FOREVER, SETTLED_US, Lease
from streams.core.topics import Topics
from streams.embedded.kafka import Broker
from streams.errors import BrokerUnavailable
from streams.settings import Settings

DEADLINE_S = 30.0
CAMERA = "02:00:00:00:00:0a"


def until(is_so: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def is_fresh(follower: DeviceFollower) -> bool:
    try:
        follower.check_fresh()
    except BrokerUnavailable:
        return False
    return True


@pytest.fixture
def settings(kafka: Broker, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """With a topic of devices of its own."""
    prefix = f"d{uuid.uuid4().hex[:8]}"
    monkeypatch.setenv("AUTODEEP_KAFKA_SERVERS", kafka.bootstrap_servers)
    monkeypatch.setenv("AUTODEEP_TOPIC_PREFIX", prefix)
    found = Settings(kafka_servers=kafka.bootstrap_servers, topic_prefix=prefix)
    topic = Topics(prefix).devices
    create_topics(found, [spec for spec in topic_specs(Topics(prefix)) if spec.name == topic])
    return found


@pytest.mark.kafka
def test_leases_are_imported_listed_and_followed(settings: Settings, tmp_path: Path) -> None:
    run, file = CliRunner(), tmp_path / "leases"
    end_s = int(time.time()) + 3_600
    file.write_text(f"{end_s} {CAMERA} 192.168.1.20 camera *\n{end_s} {CAMERA} 203.0.113.9 camera *\n")
    follower = DeviceFollower(settings)
    with pytest.raises(BrokerUnavailable, match="is not read to its end yet"):
        follower.check_fresh()
    thread = threading.Thread(target=follower.follow)
    thread.start()
    try:
        producer = Producer({"bootstrap.servers": settings.kafka_servers})
        producer.produce(Topics(settings.topic_prefix).devices, b"no lease", b"nobody")
        assert producer.flush(DEADLINE_S) == 0
        assert "would be told anew" in run.invoke(app, ["devices", "import", str(file), "--dry-run"]).stdout
        told = run.invoke(app, ["devices", "import", str(file), "--site", "house"])
        assert told.exit_code == 5
        assert "1 lease in 2 rows; of 1 addresses 1 told anew" in told.stdout
        assert (
            "refused: 1, the first in line 2, which has an address outside the home networks" in told.stdout
        )
        again = run.invoke(app, ["devices", "import", str(file), "--site", "house"])
        assert "of 1 addresses 0 told anew" in again.stdout
        shown = [
            json.loads(line) for line in run.invoke(app, ["devices", "list", "--json"]).stdout.splitlines()
        ]
        assert [(one["site"], one["address"], one["name"]) for one in shown] == [
            ("house", "192.168.1.20", CAMERA)
        ]
        assert "192.168.1.20" in run.invoke(app, ["devices", "list"]).stdout
        known = read_devices(settings).of("house", "192.168.1.20")
        until(lambda: follower.devices.of("house", "192.168.1.20") == known)
        follower.check_fresh()
        naming = follower.naming(time.time_ns() // 1_000 + SETTLED_US)
        assert naming is not None
        assert naming("house", "192.168.1.20", "", time.time_ns() // 1_000) == CAMERA
    finally:
        follower.stop()
        thread.join(DEADLINE_S)


@pytest.mark.kafka
def test_partitions_that_are_added_are_followed_too(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_topic, "_CHECK_S", 0.05)
    follower, topic = DeviceFollower(settings), Topics(settings.topic_prefix).devices
    key, lease = key_of("house", "192.168.1.21"), Lease(0, FOREVER, CAMERA, "", 0)
    thread = threading.Thread(target=follower.follow)
    thread.start()
    try:
        until(lambda: is_fresh(follower))
        config: Any = {"bootstrap.servers": settings.kafka_servers}
        admin = AdminClient(config)
        admin.create_partitions([NewPartitions(topic, 2)])[topic].result(DEADLINE_S)
        until(lambda: len(admin.list_topics(topic).topics[topic].partitions) == 2)
        producer = Producer(config)
        producer.produce(topic, encode_leases("house", "192.168.1.21", (lease,)), key, partition=1)
        assert producer.flush(DEADLINE_S) == 0
        until(lambda: bool(follower.devices.of("house", "192.168.1.21")))
    finally:
        follower.stop()
        thread.join(DEADLINE_S)


@pytest.mark.kafka
def test_what_is_not_there_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTODEEP_TOPIC_PREFIX", "absent")
    found = CliRunner().invoke(app, ["devices", "list"])
    assert "no topic absent.devices; `autodeep topics create` makes it" in str(found.exception)
    assert "--names ip: expected mac or hostname" in str(
        CliRunner().invoke(app, ["devices", "import", "/dev/null", "--names", "ip"]).exception
    )
