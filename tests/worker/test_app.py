"""How a worker's parts are put together, as far as that needs no Kafka."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from faust.types import TP

from streams.core.events import Chunk, Partition, Source
from streams.core.kdd99 import KDD99
from streams.model.detector import Detector
from streams.pipeline.conveyor import Begun, Conveyor
from streams.rollout.admission import Admission
from streams.settings import Settings
from streams.worker.app import create_app
from streams.worker.health import Health

SOURCE = Source("ids.telemetry", uuid.UUID(int=7), 3)
RECORDS: Any = (SimpleNamespace(offset=5), SimpleNamespace(offset=6))
CHUNK = Chunk(SOURCE, RECORDS, 9)


class Processor:
    keeps_time = False

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.assigned_to: frozenset[Partition] = frozenset()

    def begin(self, chunks: Sequence[Chunk]) -> Begun[int]:
        raise AssertionError("nothing begins in these tests")

    def deliver(self, computed: int) -> None:
        raise AssertionError("nothing begins in these tests")

    def assigned(self, partitions: frozenset[Partition]) -> None:
        self.assigned_to = partitions

    def revoked(self, partitions: frozenset[Partition]) -> None:
        self.revoked_of = partitions


class Parts:
    """A worker's app with a consumer that notes what it is told."""

    def __init__(self) -> None:
        self.health, self.admission = Health(), Admission(Detector.random(KDD99, seed=1))
        self.processors = [Processor("ids.telemetry"), Processor("ids.models.commands")]
        self.app, self.stop = create_app(
            Settings(web_port=6066),
            self.health,
            self.admission,
            self.processors[:1],
            unwatched=self.processors[1:],
        )
        self.given_up: list[tuple[Source, int]] = []
        self.app._consumer = SimpleNamespace(
            give_up=lambda source, first: self.given_up.append((source, first)), hold=lambda places: None
        )

    @property
    def watched(self) -> Conveyor[Any]:
        (belt,) = self.health._belts
        assert isinstance(belt, Conveyor)
        return belt


def test_a_stop_gives_up_what_waits_for_its_turn_and_begins_nothing_more() -> None:
    """Faust waits for it otherwise, until the stop's deadline ends the process."""
    parts = Parts()
    parts.watched.put([CHUNK])
    parts.stop()
    assert parts.given_up == [(SOURCE, 5)]
    parts.watched.put([CHUNK])
    assert parts.given_up == [(SOURCE, 5)] * 2
    assert not parts.admission.admit([CHUNK]).chunks


def test_each_conveyor_hears_of_its_own_topic_and_a_rebalance_gives_up_what_waits() -> None:
    async def life() -> None:
        parts = Parts()
        parts.app.loop = asyncio.get_running_loop()
        assigned = {TP("ids.telemetry", 3), TP("ids.telemetry", 4), TP("ids.models.commands", 0)}
        await parts.app.on_partitions_assigned.send(assigned)
        telemetry = frozenset({("ids.telemetry", 3), ("ids.telemetry", 4)})
        assert [one.assigned_to for one in parts.processors] == [telemetry, {("ids.models.commands", 0)}]
        assert parts.health.partitions == telemetry
        assert parts.admission.admit([CHUNK]).chunks == (CHUNK,)
        parts.watched.put([CHUNK])
        parts.app.sensors.on_rebalance_start(parts.app)
        assert not parts.admission.admit([CHUNK]).chunks, "from that moment on"
        await asyncio.sleep(0)
        assert parts.given_up == [(SOURCE, 5)]
        await parts.app.on_partitions_revoked.send(assigned)
        assert parts.health.partitions == frozenset()
        assert [one.revoked_of for one in parts.processors] == [telemetry, {("ids.models.commands", 0)}]
        await parts.app.on_partitions_assigned.send(set())
        assert parts.admission.admit([CHUNK]).chunks == (CHUNK,)

    asyncio.run(life())
