"""Re-keying: records of sensors to flows of devices, keyed by device. A processor of the conveyor.

A sensor's writer sends without a key, so that a device's flows lie on any partition. This hop reads them,
asks whose each is, and writes one record for each device of ours in it. It keeps no state. It is at least
once: what it writes again has the same id.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Protocol

from streams.codec import device_flows
from streams.codec.ingest.flows.devices import Read
from streams.codec.output.dead_letters import dead_letter, with_sizes
from streams.codec.output.dead_letters import shorter as shorter_letter
from streams.codec.output.sizes import Shortened
from streams.core.alerts import part_ids
from streams.core.events import Chunk, Message, Partition, RawRecord, Rejected
from streams.core.flows import Role
from streams.core.patience import Retry
from streams.core.stopwatch import Stopwatch
from streams.pipeline.conveyor import Begun
from streams.pipeline.ports import Publisher
from streams.pipeline.publishing import Part, publish


class FlowReader(Protocol):
    def why_not(self) -> str | None: ...

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
        why_not = self._reader.why_not()
        if why_not is not None:
            return Begun((), None, {chunk.source.place: why_not for chunk in chunks})
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
        """All partitions' records are read at once: reading few costs as much as reading many."""
        records = [record for chunk in chunks for record in chunk.records]
        ends = list(accumulate(len(chunk.records) for chunk in chunks))
        read = self._read(records)
        flows = [flow for _, flow in read.flows]
        rejected = with_sizes(records, read.rejected)
        report = FlowReport(
            topic=self.topic,
            records=len(records),
            flows=Counter(str(flow.direction) for flow in flows),
            foreign=read.foreign,
            skipped=read.skipped,
            dead_letters=Counter(str(bad.reason) for bad in rejected),
            shortened={},
        )
        ids = _event_ids(chunks, ends, records, read)
        messages = device_flows.messages(flows, self._topics.flows, ids)
        return Rekeyed(messages, self._letters(chunks, ends, records, rejected), report)

    def _read(self, records: Sequence[RawRecord]) -> Read:
        """A registry, and leases that are not known yet, are waited for."""
        return self._patience(lambda: self._reader.read(records))

    def _letters(
        self,
        chunks: Sequence[Chunk],
        ends: Sequence[int],
        records: Sequence[RawRecord],
        rejected: Sequence[Rejected],
    ) -> list[Message]:
        topic = self._topics.dead_letters
        return [
            dead_letter(
                chunks[bisect_right(ends, bad.position)].source,
                records[bad.position],
                bad,
                topic,
                self._version,
            )
            for bad in rejected
        ]


def _event_ids(
    chunks: Sequence[Chunk], ends: Sequence[int], records: Sequence[RawRecord], read: Read
) -> list[str]:
    """Of the flows, by the chunks that end at these places. Where a record has several flows of a role, those
    after its first are numbered."""
    before: dict[tuple[int, str], int] = {}
    parts: list[list[tuple[int, str]]] = [[] for _ in chunks]
    for at, flow in read.flows:
        role = "originator" if flow.role is Role.ORIGINATOR else "target"
        earlier = before[at, role] = before.get((at, role), -1) + 1
        parts[bisect_right(ends, at)].append((records[at].offset, f"{role}/{earlier}" if earlier else role))
    return [one for chunk, of in zip(chunks, parts, strict=True) for one in part_ids(chunk.source, of)]


def _whole(message: Message, limit_bytes: int | None) -> Shortened | None:
    """Nothing of a flow can go."""
    return None
