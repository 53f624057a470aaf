"""Parity of flows: what the stream says of sensors' records, against the same rules in memory.

Zeek records go without keys to a topic of sensors; workers give each flow to its devices and judge it. In
memory, the records of the sensors' topic are read as they lie there and must be what stands on ids.flows; the
flows of each partition of that, taken in with turns of another size and without a store, must have the
verdicts that stand on ids.classified, and every verdict that is not normal stands on its class's topic.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from bench.flow_feed import FlowLoad, send_records, zeek_records
from bench.flows_offline import Lying, by_partition, said_of
from bench.output import to_the_end, until_stalled
from bench.parity import Said
from bench.parts import Parts, started
from streams.adapters.kafka.topics import TopicSpec, create_topics, topic_id
from streams.adapters.store.models import open_store, shipped
from streams.client.homes import dialect_of, home_of
from streams.codec.ingest.flows.decoder import FlowDecoder
from streams.codec.ingest.flows.devices import DeviceFlowReader
from streams.codec.output.alerts import decode_alert
from streams.core.events import Chunk, Message, Source
from streams.core.flow.table import FLOW
from streams.core.kdd99 import KDD99
from streams.core.topics import NORMAL, Topics
from streams.model.detector import Detector
from streams.pipeline.rekeying import FlowTopics, Rekeying
from streams.settings import Settings

SENSORS: Final = "bench.sensors"
SENSOR_PARTITIONS: Final = 6
FAMILY: Final = "flows"


@contextmanager
def with_flows(folder: Path, **settings: str) -> Iterator[Parts]:
    """Servers, a topic of sensors, and a model of flows: the shipped one, or one with random weights."""
    store = {} if open_store(shipped()).holds(FAMILY) else _random_store(folder)
    with started(
        {"log.message.timestamp.type": "LogAppendTime"}, flow_topics=SENSORS, **store, **settings
    ) as parts:
        create_topics(parts.settings, [TopicSpec(SENSORS, SENSOR_PARTITIONS, ())])
        yield parts


def _random_store(folder: Path) -> dict[str, str]:
    store = open_store(str(folder))
    store.save(Detector.random(KDD99, seed=1), "kdd99", "1", {}, "random")
    store.save(Detector.random(FLOW, seed=1), FAMILY, "1", {}, "random")
    return {"model_store": str(folder), "model": "kdd99/1", "flow_model": f"{FAMILY}/1"}


def measure(data: Path, records: int, workers: int, folder: Path) -> dict[str, Any]:
    began_s = time.monotonic()
    with ExitStack() as stack:
        parts = stack.enter_context(with_flows(folder, publish_classified="true"))
        running = [parts.worker(f"worker-{number}") for number in range(workers)]
        for worker in running:
            worker.wait_ready()
        sent = zeek_records(data, FlowLoad(records))
        send_records(parts.settings.kafka_servers, SENSORS, sent)
        flows, rekeyed = _rekeyed(parts, len(sent))
        expected = _expected(parts, flows)
        assert expected, "no record was of a device"
        found, repeats, differing = _verdicts(parts, len(expected))
        duplicates = 0
        for worker in running:
            duplicates += int(worker.figures()["duplicates"])
            worker.stop()
        alerts = _alerts(parts)
    wanted = {at: said.verdict for at, said in expected.items() if said.verdict != NORMAL}
    return {
        "records": len(sent),
        "flows_of_devices": sum(map(len, flows.values())),
        **rekeyed,
        "duplicates": duplicates,
        "verdicts": len(found),
        "mismatches": sum(found[at] != said for at, said in expected.items() if at in found)
        + sum(alerts[at] != verdict for at, verdict in wanted.items() if at in alerts),
        "missing": len(expected.keys() - found.keys()) + len(wanted.keys() - alerts.keys()),
        "extra": len(found.keys() - expected.keys()) + len(alerts.keys() - wanted.keys()),
        "repeats": repeats,
        "differing_repeats": differing,
        "seconds": round(time.monotonic() - began_s, 1),
    }


def rekeyed_in_memory(
    settings: Settings, sensors: str, records: Mapping[int, Sequence[Lying]]
) -> list[Message]:
    """What the hop makes of the records of each partition of a topic of sensors."""
    topics = Topics(settings.topic_prefix)
    hop = Rekeying(
        FlowTopics(sensors, topics.flows, topics.dead_letters),
        DeviceFlowReader(FlowDecoder(dialect_of(settings)), home_of(settings)),
        Nobody(),
        lambda attempt: attempt(),
        lambda report: None,
    )
    life, told = topic_id(settings, sensors), list[Message]()
    for number, those in records.items():
        computed = hop.begin([Chunk(Source(sensors, life, number), those, len(those))]).computed
        assert computed is not None
        told += computed.flows
    return told


def _rekeyed(parts: Parts, sent: int) -> tuple[dict[int, list[Lying]], dict[str, int]]:
    """What lies on ids.flows, and how it differs from what the sensors' records are in memory."""
    lying = by_partition(to_the_end(parts, [SENSORS]))
    assert sum(map(len, lying.values())) == sent
    wanted = {(one.key, one.value) for one in rekeyed_in_memory(parts.settings, SENSORS, lying)}
    found: set[tuple[bytes | None, bytes | None]] = set()
    for message in until_stalled(parts, [parts.topics.flows], lambda: wanted <= found):
        found.add((message.key(), message.value()))
    lacks = {"flows_missing": len(wanted - found), "flows_extra": len(found - wanted)}
    return by_partition(to_the_end(parts, [parts.topics.flows])), lacks


class Nobody:
    """Publishes nothing."""

    def publish(self, messages: object) -> None:
        raise AssertionError("nothing is to be published")


def _expected(parts: Parts, flows: dict[int, list[Lying]]) -> dict[str, Said]:
    detector = open_store(parts.settings.model_store).load(parts.settings.flow_model)
    life = topic_id(parts.settings, parts.topics.flows)
    said: dict[str, Said] = {}
    for number, records in flows.items():
        said |= said_of(Source(parts.topics.flows, life, number), records, lambda offset: detector)
    return said


def _verdicts(parts: Parts, count: int) -> tuple[dict[str, Said], int, int]:
    found: dict[str, Said] = {}
    repeats = differing = 0
    for message in until_stalled(parts, [parts.topics.classified], lambda: len(found) >= count):
        alert = decode_alert(message.value(), message.headers())
        said = Said.by(alert)
        if alert.alert_id in found:
            repeats += 1
            differing += found[alert.alert_id] != said
        found[alert.alert_id] = said
    return found, repeats, differing


def _alerts(parts: Parts) -> dict[str, str]:
    """By id, the class whose topic an alert stands on."""
    topics = parts.topics.all_alerts()
    alerts = to_the_end(parts, topics)
    return {
        decode_alert(one.value(), one.headers()).alert_id: str(one.topic()).rpartition(".")[2]
        for one in alerts
    }
