"""Workers that judge flows, on fakes: what outlives a worker, and records of ids.flows as they lie there."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from streams.codec import device_flows
from streams.codec.ingest.device_flows import DeviceFlowDecoder
from streams.codec.output.alerts import AlertOutput, decode_alert
from streams.core.alerts import Alert
from streams.core.events import Chunk, Header, Source
from streams.core.flow.columns import DIRECTIONS, ROLES, Protocol
from streams.core.flow.keeping import WINDOWS
from streams.core.flow.records import Record
from streams.core.flows import DeviceFlow, Quality, State
from streams.core.incident_rules import IncidentRules
from streams.core.topics import Topics
from streams.model.detector import Detector
from streams.pipeline.alerting import Rules
from streams.pipeline.cache import WindowCache
from streams.pipeline.describing import Intake, as_flows
from streams.pipeline.detection import Detection, Ports
from streams.pipeline.recovery import Recovery
from streams.pipeline.reports import Report, Watchers
from tests.fakes import Always, FakeWindows, patient
from tests.fakes_kafka import FakeKafkaPublisher
from tests.flow_model import flow_detector

TOPICS = Topics()
OUTPUT = (*TOPICS.all_alerts(), TOPICS.classified, TOPICS.dead_letters, TOPICS.incidents)
_PROTOCOLS = {Protocol.OTHER: "47", Protocol.TCP: "tcp", Protocol.UDP: "udp", Protocol.ICMP: "icmp"}
_PEERS = ("198.51.100.{}", "192.168.9.{}", "224.0.0.{}")


@functools.cache
def detector() -> Detector:
    return flow_detector()


def source(partition: int = 0) -> Source:
    return Source(TOPICS.flows, uuid.UUID(int=9), partition)


@dataclass(frozen=True)
class Stored:
    """A record of ids.flows."""

    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int
    headers: Sequence[Header] = field(default=())


def device_flow(one: Record, event_id: str = "") -> DeviceFlow:
    """A flow that says in words what the record says in numbers."""

    def known(value: int) -> int | None:
        return None if value < 0 else value

    return DeviceFlow(
        device=f"10.0.0.{one.device + 1}",
        direction=DIRECTIONS[one.direction],
        role=ROLES[one.role],
        peer=_PEERS[one.peer_kind].format(one.peer % 200 + 1),
        protocol=_PROTOCOLS[Protocol(one.protocol)],
        device_port=one.device_port,
        peer_port=one.peer_port,
        service=f"s{one.service}" if one.service else "",
        state=State(one.state),
        start_us=one.start_us,
        end_us=one.end_us,
        packets_out=known(one.packets_out),
        packets_in=known(one.packets_in),
        ip_bytes_out=known(one.ip_bytes_out),
        ip_bytes_in=known(one.ip_bytes_in),
        payload_bytes_out=known(one.payload_bytes_out),
        payload_bytes_in=known(one.payload_bytes_in),
        flow_id=f"C{one.identity}",
        quality=Quality(one.quality),
        final=one.final,
        half=one.half,
        tcp_flags=known(one.tcp_flags),
        sensor="edge",
        event_id=event_id,
    )


def stored(flows: Sequence[DeviceFlow], lag_ms: int = 40) -> list[Stored]:
    """The records of one partition, in order."""
    return [
        Stored(offset, flow.device.encode(), value, flow.end_us // 1000 + lag_ms)
        for offset, (flow, value) in enumerate(zip(flows, device_flows.encode(flows), strict=True))
    ]


class Judge(Detection):
    """One whose turns a test begins and delivers by itself."""

    def process(self, *chunks: Chunk) -> Report:
        reports: list[Report] = []
        self._watchers = Watchers(done=reports.append)
        computed = self.begin(chunks).computed
        assert computed is not None
        self.deliver(computed)
        return reports[0]


@dataclass
class FlowWorld:
    """What outlives a worker: the store and the broker."""

    store: FakeWindows = field(default_factory=FakeWindows)
    publisher: FakeKafkaPublisher = field(default_factory=lambda: FakeKafkaPublisher(OUTPUT))
    incidents: IncidentRules | None = None

    def worker(
        self,
        patience: Callable[..., object] = patient,
        recovery: Recovery | None = None,
        cache_bytes: int = 1 << 22,
    ) -> Judge:
        intake = Intake(TOPICS.flows, DeviceFlowDecoder(), as_flows)
        ports = Ports(intake, self.store, self.publisher, patience, lambda: 5, recovery)  # type: ignore[arg-type]
        outputs = [AlertOutput(TOPICS, publish_classified=True)]
        rules = Rules(TOPICS, 3_600_000_000, outputs, publish_classified=True, incidents=self.incidents)
        cache = WindowCache(WINDOWS, cache_bytes, detector().latent_size)
        return Judge(ports, rules, cache, Always(detector()))

    def feed(self, records: Sequence[Stored], size: int, first: int = 0) -> list[Report]:
        """One worker, turns of so many records of one partition."""
        worker = self.worker()
        return [worker.process(chunk) for chunk in chunks_of(records, size, first)]

    def verdicts(self) -> dict[str, Alert]:
        """Distinct verdicts by id; a repeat must say the same."""
        found: dict[str, Alert] = {}
        for message in self.publisher.topics[TOPICS.classified]:
            alert = replace(decode_alert(message.value), incident_id=None)
            assert found.setdefault(alert.alert_id, alert) == alert
        return found

    def windows(self) -> dict[tuple[str, int, str], bytes]:
        """Headers, and what stands beside the rows."""
        return {
            key: WINDOWS.unpack([value], source())["head"].tobytes()
            + WINDOWS.unpack([value], source())["beside"].tobytes()
            for key, value in self.store.values.items()
        }


def chunks_of(records: Sequence[Stored], size: int, first: int = 0, partition: int = 0) -> list[Chunk]:
    return [
        Chunk(source(partition), records[i : i + size], len(records))
        for i in range(first, len(records), size)
    ]
