"""A worker with a second processor beside detection, run as a process: python -m tests.toy_worker TOPIC FILE.

The toy counts its topic's records by partition, and marks each whole second of stream time. Of what it
delivers it writes one line a turn, before the acknowledgement, as an alert would be.
"""

from __future__ import annotations

import json
import logging.config
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from streams.adapters.store.models import open_store
from streams.core.events import Chunk, Partition
from streams.core.timers import NO_WATERMARK, Timers
from streams.pipeline.conveyor import Begun
from streams.pipeline.reports import Watchers
from streams.rollout.admission import Admission
from streams.settings import Settings
from streams.worker.app import create_app
from streams.worker.health import Health
from streams.worker.pages import add_pages
from streams.worker.path import Judging, build_detection, connect
from streams.worker.process import WorkerShell, log_config
from streams.worker.served import LAYOUT, Served

SECOND_MS = 1000


def marks(timers: Timers, offset: int, timestamp_ms: int) -> list[tuple[int, int]]:
    """(offset, second) of each whole second that this record brings, from the partition's first one on."""
    found = []
    while fired := timers.advance(offset, timestamp_ms):
        for one in fired:
            found.append((one.offset, one.at_ms))
            timers.ask("second", one.at_ms + SECOND_MS)
    return found


def timers_at(watermark_ms: int, first_ms: int) -> Timers:
    """What a partition's state is, from its watermark alone; `first_ms` where it has none yet."""
    timers = Timers(watermark_ms)
    from_ms = first_ms if watermark_ms == NO_WATERMARK else watermark_ms
    timers.ask("second", (from_ms // SECOND_MS + 1) * SECOND_MS)
    return timers


class Toy:
    keeps_time = True

    def __init__(self, topic: str, out: Path) -> None:
        self.topic = topic
        self._lines = out.open("a", encoding="utf-8", buffering=1)
        self._timers: dict[Partition, Timers] = {}

    def begin(self, chunks: Sequence[Chunk]) -> Begun[list[dict[str, Any]]]:
        return Begun(chunks, [self._of(chunk) for chunk in chunks])

    def deliver(self, computed: list[dict[str, Any]]) -> None:
        for line in computed:
            self._lines.write(json.dumps(line) + "\n")

    def assigned(self, partitions: frozenset[Partition]) -> None:
        self._mine(partitions)

    def revoked(self, partitions: frozenset[Partition]) -> None:
        self._mine(partitions)
        for place in partitions:
            self._timers.pop(place, None)

    def _of(self, chunk: Chunk) -> dict[str, Any]:
        place = chunk.source.place
        if place not in self._timers:
            self._timers[place] = timers_at(chunk.watermark_ms, chunk.records[0].timestamp)
        seconds = [
            mark
            for record in chunk.records
            for mark in marks(self._timers[place], record.offset, record.timestamp)
        ]
        offsets = [record.offset for record in chunk.records]
        return {"partition": place[1], "offsets": offsets, "seconds": seconds}

    def _mine(self, partitions: frozenset[Partition]) -> None:
        assert {topic for topic, _ in partitions} <= {self.topic}


def main(topic: str, out: str) -> None:
    settings = Settings.from_environment(os.environ)
    logging.config.dictConfig(log_config("INFO"))
    detector = open_store(settings.model_store).load(settings.model)
    admission, health = Admission(detector), Health()
    with ExitStack() as parts:
        ground = connect(settings, LAYOUT, health, parts)
        judging = Judging(admission, Watchers(done=health.totals.add))
        detection = build_detection(ground, ground.telemetry(LAYOUT), judging, parts)
        app, stop_intake = create_app(settings, health, admission, [detection, Toy(topic, Path(out))])
        add_pages(app, health, [Served(detection, admission, None)])
        WorkerShell(app, health, stop_intake, 10.0, "INFO").execute_from_commandline()


if __name__ == "__main__":
    main(*sys.argv[1:])
