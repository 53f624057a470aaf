"""Sensors' records without keys to flows of devices on real Kafka, through a worker that is killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from confluent_kafka import Message, Producer

from streams.adapters.kafka.device_topic import tell_leases
from streams.codec import device_flows
from streams.core.flows import DeviceFlow, Direction
from streams.core.leases import FOREVER, Lease
from streams.embedded.kafka import Broker
from tests.conftest import MakeTopic
from tests.flow_samples import data
from tests.path import DEADLINE_S, path

CONNECTIONS, DEVICES = 1200, 12
LEASED = Lease(0, FOREVER, "02:00:00:00:00:0a", "02:00:00:00:00:0a")


def zeek(number: int) -> bytes:
    """A connection of a device to the Internet; each tenth goes to another device of ours."""
    peer = f"192.168.7.{number % 5 + 100}" if number % 10 == 0 else f"198.51.100.{number % 200 + 1}"
    return json.dumps(
        {
            "ts": 1_700_000_000 + number / 10,
            "uid": f"C{number}",
            "id.orig_h": f"192.168.7.{number % DEVICES + 2}",
            "id.orig_p": 40_000 + number,
            "id.resp_h": peer,
            "id.resp_p": 443,
            "proto": "tcp",
            "conn_state": "SF",
            "missed_bytes": 0,
            "history": "ShADadFf",
            "orig_pkts": 3,
            "orig_ip_bytes": 200,
            "resp_pkts": 4,
            "resp_ip_bytes": 300,
        }
    ).encode()


def by_id(found: Iterable[Message]) -> dict[str, DeviceFlow]:
    """Each flow once; a repeat must say the same, and the key names its device."""
    flows: dict[str, DeviceFlow] = {}
    for message in found:
        flow = device_flows.decode(message.value())
        assert message.key() == flow.device.encode()
        assert flows.setdefault(flow.event_id, flow) == flow
    return flows


def enough(count: int) -> Callable[[list[Message]], bool]:
    return lambda found: len(by_id(found)) >= count


@pytest.mark.kafka
@pytest.mark.redis
def test_flows_reach_their_devices_once_each_through_a_kill_and_from_a_capture(
    kafka: Broker, redis_url: str, tmp_path: Path, new_topic: MakeTopic
) -> None:
    """A topic that is not there yet when the workers start, and has 200 partitions then."""
    sensors = f"zeek-{uuid.uuid4().hex[:8]}"
    internal = CONNECTIONS // 10
    with path(
        kafka.bootstrap_servers, redis_url, tmp_path, flow_topics=sensors, chunk_max_records="64"
    ) as tested:
        producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})

        def send(values: Iterable[bytes]) -> None:
            for number, value in enumerate(values):
                producer.produce(sensors, value, partition=number % 200)
            assert producer.flush(DEADLINE_S) == 0

        tell_leases(tested.settings, [("", "192.168.7.2", (LEASED,))])
        doomed, survivor = tested.worker(), tested.worker()
        doomed.wait_ready()
        survivor.wait_ready()
        assert f"AUTODEEP_FLOW_TOPICS names {sensors}, which Kafka" in tested.logs()
        new_topic(partitions=200, name=sensors)
        send(zeek(number) for number in range(CONNECTIONS // 2))
        tested.read([tested.topics.flows], enough(100))
        doomed.signal(signal.SIGKILL)
        other_log = json.dumps({"ts": 1.0, "uid": "C", "id.orig_h": "10.0.0.1", "query": "example.org"})
        send([other_log.encode(), b"\xff no record"])
        send(zeek(number) for number in range(CONNECTIONS // 2, CONNECTIONS))
        flows = by_id(tested.read([tested.topics.flows], enough(CONNECTIONS + internal)))
        assert len(flows) == CONNECTIONS + internal
        assert sum(flow.direction is Direction.INTERNAL for flow in flows.values()) == 2 * internal
        assert {flow.flow_id for flow in flows.values()} == {f"C{number}" for number in range(CONNECTIONS)}
        devices = [flow.device for flow in flows.values()]
        assert devices.count(LEASED.name) == CONNECTIONS // DEVICES
        assert "192.168.7.2" not in devices
        (letter,) = tested.read([tested.topics.dead_letters], bool)
        assert letter.value() == b"\xff no record"

        capture = data("lab/pcap/mirai_out.pcap.gz")
        sensor = [sys.executable, "-m", "streams", "sensor", "--pcap", str(capture), "--topic", sensors]
        subprocess.run(sensor, env=dict(tested.environment), check=True, timeout=DEADLINE_S)
        found = by_id(tested.read([tested.topics.flows], enough(CONNECTIONS + internal + 120)))
        scanned = [flow for flow in found.values() if flow.device == "192.168.50.11"]
        assert len(scanned) == 120
        assert {flow.peer_port for flow in scanned} == {23, 2323}
