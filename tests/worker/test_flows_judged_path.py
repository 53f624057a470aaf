"""Sensors' records without keys to verdicts on real Kafka and Redis, through a kill and a switch of model."""

from __future__ import annotations

import signal
import time
import uuid
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import pytest
from confluent_kafka import Message, Producer

from bench.flows_offline import by_partition, said_of
from bench.output import to_the_end
from bench.parity import Said
from streams.adapters.kafka.profile_topic import change_profile, read_profiles
from streams.adapters.kafka.topics import topic_id
from streams.adapters.store.models import open_store
from streams.codec.models import ModelCommand, encode_command
from streams.codec.output.alerts import decode_alert
from streams.core.alerts import Alert
from streams.core.events import Source
from streams.core.kdd99 import KDD99
from streams.core.profile.values import CLASSES, UNNAMED, Key, Known, Profile, Word
from streams.embedded.kafka import Broker
from streams.model.detector import Detector
from streams.pipeline.sites import Sites
from tests.conftest import MakeTopic
from tests.flow_model import save_flow_model
from tests.path import DEADLINE_S, TestedPath, path
from tests.rollout.test_model_reload_path import decision, publish
from tests.worker.test_flows_path import zeek

CONNECTIONS = 800
LEARNING_S = 5
WORD = Word("ann", "ours", 1)
FLOWS = CONNECTIONS + CONNECTIONS // 10
"""Each tenth connection is of two devices of ours."""


def by_id(found: Iterable[Message]) -> dict[str, Said]:
    """Each verdict once; a repeat must say the same."""
    said: dict[str, Said] = {}
    for message in found:
        alert = decode_alert(message.value(), message.headers())
        assert said.setdefault(alert.alert_id, Said.by(alert)) == Said.by(alert)
    return said


def promote(tested: TestedPath, version: str) -> dict[str, int]:
    """At exact offsets; the answer's offsets."""
    asked_us = time.time_ns() // 1000
    command = ModelCommand(str(uuid.uuid4()), "promote", "flows", asked_us, version=version, at_offsets={})
    publish(tested, encode_command(command))
    told = decision(tested, command.command_id)
    assert (told.outcome, told.name, told.version) == ("promoted", "flows", version), told
    places = told.detail.removeprefix("from offsets ").split()
    return {number: int(offset) for number, offset in (place.split(":") for place in places)}


@pytest.mark.kafka
@pytest.mark.redis
def test_flows_are_judged_as_in_memory_through_a_kill_and_a_switch_at_exact_offsets(
    kafka: Broker, redis_url: str, tmp_path: Path, new_topic: MakeTopic
) -> None:
    sensors, store = new_topic(partitions=3), tmp_path / "store"
    made = open_store(str(store))
    made.save(Detector.random(KDD99, seed=1), "kdd99", "1", {}, "random")
    for version in ("1", "2"):
        save_flow_model(store, version, seed=int(version))
    settings = {
        "flow_topics": sensors,
        "flow_model": "flows/1",
        "model_store": str(store),
        "model": "kdd99/1",
        "chunk_max_records": "64",
        "flow_learning_s": str(LEARNING_S),
        "model_latency_ratio": "1000",
    }
    with path(kafka.bootstrap_servers, redis_url, tmp_path, **settings) as tested:
        producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})

        def send(first: int, end: int) -> None:
            """The odd ones twice."""
            for number in range(first, end):
                for _ in range(number % 2 + 1):
                    producer.produce(sensors, zeek(number), partition=number % 3)
            assert producer.flush(DEADLINE_S) == 0

        accept(tested, 1)
        doomed, survivor = tested.worker(), tested.worker()
        doomed.wait_ready()
        survivor.wait_ready()
        send(0, CONNECTIONS // 2)
        classified = [tested.topics.classified]
        tested.read(classified, lambda found: len(by_id(found)) >= 60)
        doomed.signal(signal.SIGKILL)
        tested.read(classified, lambda found: len(by_id(found)) >= FLOWS // 2)
        accept(tested, 2)
        starts = promote(tested, "2")
        send(CONNECTIONS // 2, CONNECTIONS)
        found = by_id(tested.read(classified, lambda found: len(by_id(found)) >= FLOWS))
        assert survivor.figures()["models"][tested.topics.flows]["version"] == "2"
        assert found == in_memory(tested, store, starts)

        revisions = {one.profile_revision for one in alerts(tested)}
        assert revisions & {1, 2}
        assert survivor.figures()["held_back"]["accepted"] > 0


def accept(tested: TestedPath, revision: int) -> None:
    """That what devices call at home is their own; of the second revision also what they call outside."""
    keys = [
        Key(f"192.168.7.{device}", peer, "originator", "tcp", 443)
        for device in range(256)
        for peer in ("private", "public")[:revision]
    ]
    known = tuple(Known(key, CLASSES, "accepted", WORD) for key in keys)
    change_profile(tested.settings, UNNAMED, lambda now: Profile(UNNAMED, revision, known=known))


def alerts(tested: TestedPath) -> list[Alert]:
    found = to_the_end(tested, [tested.topics.classified])
    return [decode_alert(one.value(), one.headers()) for one in found]


def in_memory(tested: TestedPath, store: Path, starts: dict[str, int]) -> dict[str, Said]:
    """The same records by the same model, all of a partition's at once."""
    topic = tested.topics.flows
    first, second = (open_store(str(store)).load(f"flows/{version}") for version in ("1", "2"))
    lying = by_partition(to_the_end(tested, [topic]))
    life = topic_id(tested.settings, topic)
    said: dict[str, Said] = {}
    agreed = read_profiles(tested.settings)
    sites = Sites(lambda: agreed, learning_ms=LEARNING_S * 1000)
    for number, records in lying.items():
        judge = partial(_judge, first, second, starts[str(number)])
        said |= said_of(Source(topic, life, number), records, judge, sites)
    return said


def _judge(first: Detector, second: Detector, start: int, offset: int) -> Detector:
    return second if offset >= start else first


@pytest.mark.kafka
@pytest.mark.redis
def test_without_a_model_of_flows_they_go_to_their_devices_and_one_line_says_so(
    kafka: Broker, redis_url: str, tmp_path: Path, new_topic: MakeTopic
) -> None:
    sensors, store = new_topic(partitions=1), tmp_path / "store"
    open_store(str(store)).save(Detector.random(KDD99, seed=1), "kdd99", "1", {}, "random")
    with path(
        kafka.bootstrap_servers,
        redis_url,
        tmp_path,
        flow_topics=sensors,
        model_store=str(store),
        model="kdd99/1",
    ) as tested:
        worker = tested.worker()
        worker.wait_ready()
        producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
        producer.produce(sensors, zeek(1))
        assert producer.flush(DEADLINE_S) == 0
        tested.read([tested.topics.flows], bool)
        assert worker.figures()["models"].keys() == {tested.topics.telemetry}
    assert tested.logs().count("are not judged: the model store has no model 'flows'") == 1
