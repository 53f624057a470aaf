"""Re-keying: records of sensors to flows of devices, keyed by device. A processor of the conveyor.

A sensor's writer sends without a key, so that a device's flows lie on any partition. This hop reads them,
asks whose each is, and writes one record for each device of ours in it. It keeps no state. It is at least
once: what it writes again has the same id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from streams.codec import device_flows
from streams.codec.ingest.flows.devices import Read
from streams.codec.output.dead_letters import dead_letter, with_sizes
from streams.codec.output.dead_letters import shorter as shorter_letter
from streams.codec.output.sizes import Shortened
from streams.core.alerts import part_ids
from streams.core.events import Chunk, Message, Partition, RawRecord, Rejected
from streams.core.flows import DeviceFlow
from streams.core.patience import Retry
from streams.core.stopwatch import Stopwatch
from streams.pipeline.conveyor import Begun
from streams.pipeline.ports import Publisher
from streams.pipeline.publishing import Part, publish


class FlowReader(Protocol):
    def read(self, records: Sequence[RawRecord]) -> Read: ...


@dataclass(frozen=True, slots=True)
class FlowReport:
    """What became of one turn."""

    topic: str
    records: int
    flows: Mapping[str, int]
    """Written, by direction."""
    foreign: int
    skipped: Mapping[str, int]
    dead_letters: Mapping[str, int]
    shortened: Mapping[str, int]
    cpu_ns: int = 0
    """Of both threads."""


@dataclass(frozen=True, slots=True)
class FlowTopics:
    """Where it reads and writes."""

    sensors: str
    flows: str
    dead_letters: str


@dataclass(frozen=True, slots=True, eq=False)
class Rekeyed:
    flows: Sequence[Message]
    letters: Sequence[Message]
    report: FlowReport


class Rekeying:
    """Of one topic of sensors."""

    keeps_time = False

    def __init__(
        self,
        topics: FlowTopics,
        reader: FlowReader,
        publisher: Publisher,
        patience: Retry,
        done: Callable[[FlowReport], None],
        version: str = "",
    ) -> None:
        self._topics = topics
        self._reader = reader
        self._publisher = publisher
        self._patience = patience
        self._done = done
        self._version = version

    @property
    def topic(self) -> str:
        return self._topics.sensors

    def begin(self, chunks: Sequence[Chunk]) -> Begun[Rekeyed]:
        """Raises Unavailable when the patience ends."""
        watch = Stopwatch()
        computed = self._compute(chunks)
        watch.lap("begin")
        report = replace(computed.report, cpu_ns=sum(watch.ns.values()))
        return Begun(chunks, replace(computed, report=report))

    def deliver(self, computed: Rekeyed) -> None:
        """Raises Unavailable when the patience ends."""
        watch, report = Stopwatch(), computed.report
        parts = [Part(computed.flows, _whole), Part(computed.letters, shorter_letter)]
        shortened = publish(parts, self._publisher, self._patience)
        watch.lap("deliver")
        cpu_ns = report.cpu_ns + sum(watch.ns.values())
        self._done(replace(report, shortened=shortened, cpu_ns=cpu_ns))

    def assigned(self, partitions: frozenset[Partition]) -> None:
        """Nothing is kept by partition."""

    def revoked(self, partitions: frozenset[Partition]) -> None:
        """Nothing is kept by partition."""

    def _compute(self, chunks: Sequence[Chunk]) -> Rekeyed:
        flows: list[DeviceFlow] = []
        letters: list[Message] = []
        skipped, dead, foreign = Counter[str](), Counter[str](), 0
        for chunk in chunks:
            read = self._read(chunk)
            flows += _named(chunk, read)
            rejected = with_sizes(chunk.records, read.rejected)
            letters += self._letters(chunk, rejected)
            dead.update(str(bad.reason) for bad in rejected)
            skipped.update(read.skipped)
            foreign += read.foreign
        report = FlowReport(
            topic=self.topic,
            records=sum(len(chunk.records) for chunk in chunks),
            flows=Counter(str(flow.direction) for flow in flows),
            foreign=foreign,
            skipped=skipped,
            dead_letters=dead,
            shortened={},
        )
        return Rekeyed(device_flows.messages(flows, self._topics.flows), letters, report)

    def _read(self, chunk: Chunk) -> Read:
        """A registry, and leases that are not known yet, are waited for."""
        return self._patience(lambda: self._reader.read(chunk.records))

    def _letters(self, chunk: Chunk, rejected: Sequence[Rejected]) -> list[Message]:
        topic = self._topics.dead_letters
        return [
            dead_letter(chunk.source, chunk.records[bad.position], bad, topic, self._version)
            for bad in rejected
        ]


def _named(chunk: Chunk, read: Read) -> list[DeviceFlow]:
    """The flows with their ids. Where a record has several flows, those after its first are numbered."""
    seen = Counter[tuple[int, str]]()
    parts = []
    for at, flow in read.flows:
        number = seen[at, flow.role]
        seen[at, flow.role] += 1
        parts.append((chunk.records[at].offset, f"{flow.role}/{number}" if number else str(flow.role)))
    ids = part_ids(chunk.source, parts)
    return [replace(flow, event_id=found) for found, (_, flow) in zip(ids, read.flows, strict=True)]


def _whole(message: Message, limit_bytes: int | None) -> Shortened | None:
    """Nothing of a flow can go."""
    return None
