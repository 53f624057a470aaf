"""Another topic's processor beside detection in the same workers: neither touches the other's state."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import Producer

from streams.codec.ingest.connections import encode_connections
from streams.core.kdd99 import KDD99
from streams.embedded.kafka import Broker
from streams.embedded.workers import WorkerProcess
from tests.conftest import MakeTopic
from tests.path import DEADLINE_S, path
from tests.pipeline.test_dead_letters_path import good_rows
from tests.toy_worker import marks, timers_at
from tests.worker.test_worker_path import Verdicts

DEVICES, EVENTS, TOYS = 40, 4000, 3000


def toy_records(seed: int) -> list[int]:
    """Timestamps of one partition's records: mostly going on, now and then back."""
    rng = np.random.default_rng(seed)
    return (1_700_000_000_000 + np.cumsum(rng.integers(-300, 500, TOYS))).tolist()


def expected(timestamps_ms: list[int]) -> set[tuple[int, int]]:
    """Every whole second of stream time at the offset that brought it, from the records alone."""
    timers = timers_at(-(2**63), timestamps_ms[0])
    return {mark for offset, at_ms in enumerate(timestamps_ms) for mark in marks(timers, offset, at_ms)}


def send_toys(servers: str, topic: str, partitions: list[list[int]], of: slice) -> None:
    producer = Producer({"bootstrap.servers": servers})
    for partition, timestamps_ms in enumerate(partitions):
        for at_ms in timestamps_ms[of]:
            producer.produce(topic, b"toy", partition=partition, timestamp=at_ms)
    assert producer.flush(DEADLINE_S) == 0


class Lines:
    """What the toys delivered: each partition's offsets and seconds; a repeat must say the same."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self.offsets: dict[int, set[int]] = {}
        self.seconds: dict[int, dict[int, int]] = {}  # of a partition: second -> offset

    def read(self) -> int:
        for text in self._out.read_text(encoding="utf-8").splitlines() if self._out.exists() else ():
            line = json.loads(text)
            self.offsets.setdefault(line["partition"], set()).update(line["offsets"])
            for offset, at_ms in line["seconds"]:
                seconds = self.seconds.setdefault(line["partition"], {})
                assert seconds.setdefault(at_ms, offset) == offset, "a second moved to another offset"
        return sum(map(len, self.offsets.values()))

    def wait_for(self, count: int) -> None:
        deadline_s = time.monotonic() + DEADLINE_S
        while self.read() < count:
            assert time.monotonic() < deadline_s, self.read()
            time.sleep(0.05)  # between two looks at a file; the deadline ends it


@pytest.mark.kafka
@pytest.mark.redis
def test_two_processors_share_workers_through_a_kill_and_rebalances(
    kafka: Broker, redis_url: str, tmp_path: Path, new_topic: MakeTopic
) -> None:
    """Windows are as without the toy, and stream time as without the kill: commits carry the watermark."""
    toy, out = new_topic(partitions=3), tmp_path / "toy.jsonl"
    partitions = [toy_records(seed) for seed in range(3)]
    names = [f"d{i % DEVICES:02d}" for i in range(EVENTS)]
    times = 1_700_000_000_000_000 + np.arange(EVENTS)
    values = encode_connections(KDD99, names, times, good_rows(EVENTS))
    lines, verdicts = Lines(out), Verdicts()
    with path(kafka.bootstrap_servers, redis_url, tmp_path, chunk_max_records="64") as tested:

        def worker() -> WorkerProcess:
            program, log = ("-m", "tests.toy_worker", toy, str(out)), tmp_path / f"worker-{time.time()}.log"
            started = WorkerProcess(tested.environment, log, program)
            tested.workers.append(tested.stack.enter_context(started))
            return started

        doomed, survivor = worker(), worker()
        doomed.wait_ready()
        survivor.wait_ready()
        send_toys(kafka.bootstrap_servers, toy, partitions, slice(0, TOYS // 2))
        for partition in range(4):
            mine = [i for i in range(EVENTS) if (i % DEVICES) % 4 == partition]
            tested.send([(names[i].encode(), values[i]) for i in mine], partition)
        lines.wait_for(TOYS // 2)
        doomed.signal(signal.SIGKILL)
        send_toys(kafka.bootstrap_servers, toy, partitions, slice(TOYS // 2, None))
        worker().wait_ready()  # and a rebalance more
        tested.read([tested.topics.classified], lambda messages: verdicts.take(messages) >= EVENTS)
        lines.wait_for(3 * TOYS)
        assert survivor.exit_code is None
    for number, timestamps_ms in enumerate(partitions):
        assert lines.offsets[number] == set(range(TOYS))
        assert {(offset, at_ms) for at_ms, offset in lines.seconds[number].items()} == expected(timestamps_ms)
    width = max(alert.window_width for alert in verdicts.by_time.values())
    for place in range(EVENTS):
        earlier = place // DEVICES
        assert verdicts.by_time[int(times[place])].window_fill == min(earlier + 1, width)
