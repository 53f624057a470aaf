"""A worker on Redis as it is deployed: fail-overs and moved slots change no verdict; groups keep apart."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from redis.crc import key_slot

from streams.adapters.store.models import open_store
from streams.codec.ingest.connections import encode_connections
from streams.core.kdd99 import KDD99
from streams.embedded.kafka import Broker
from streams.embedded.redis_cluster import RedisCluster
from streams.embedded.redis_sentinel import RedisSentinel
from streams.training.evaluate import evaluate_rows
from tests.path import DEADLINE_S, TestedPath, path
from tests.pipeline.test_dead_letters_path import good_rows
from tests.worker.test_worker_path import Verdicts

pytestmark = [pytest.mark.kafka, pytest.mark.redis]
PARTITIONS, DEVICES, EVENTS = 4, 40, 2000


def every_verdict_is_that_of_an_undisturbed_run(
    tested: TestedPath, disturb: Callable[[], None], logged: str
) -> None:
    rows, names = good_rows(EVENTS), [f"d{i % DEVICES:02d}" for i in range(EVENTS)]
    times = 1_700_000_000_000_000 + np.arange(EVENTS)
    values = encode_connections(KDD99, names, times, rows)
    half, verdicts = EVENTS // 2, Verdicts()
    tested.worker().wait_ready()

    def send(numbers: range) -> None:
        for partition in range(PARTITIONS):
            mine = [i for i in numbers if (i % DEVICES) % PARTITIONS == partition]
            tested.send([(names[i].encode(), values[i]) for i in mine], partition)

    with ThreadPoolExecutor(1) as beside:
        disturbed = beside.submit(disturb)
        for first in range(0, half, 100):
            send(range(first, first + 100))
        disturbed.result()
    send(range(half, EVENTS))
    tested.read([tested.topics.classified], lambda found: verdicts.take(found) >= EVENTS)
    assert logged in tested.logs()
    detector = open_store(tested.settings.model_store).load(tested.settings.model)
    order = np.argsort([i % DEVICES for i in range(EVENTS)], kind="stable")
    offline = evaluate_rows(detector, rows[order], DEVICES)
    for place, i in enumerate(order.tolist()):
        scores = offline.posterior[place].astype(np.float64).round(4).tolist()
        assert list(verdicts.by_time[int(times[i])].scores.values()) == scores


def test_while_a_primary_dies_and_sentinels_name_another(
    kafka: Broker, redis_sentinel: RedisSentinel, tmp_path: Path
) -> None:
    def fail_over() -> None:
        redis_sentinel.bring_back(redis_sentinel.kill_primary())

    with path(kafka.bootstrap_servers, redis_sentinel.url, tmp_path, PARTITIONS) as tested:
        every_verdict_is_that_of_an_undisturbed_run(tested, fail_over, "of the sentinels")


def test_while_the_slots_of_partitions_move_to_other_nodes(
    kafka: Broker, redis_cluster: RedisCluster, tmp_path: Path
) -> None:
    with path(kafka.bootstrap_servers, redis_cluster.url, tmp_path, PARTITIONS) as tested:

        def move() -> None:
            for partition in range(PARTITIONS):
                slot = key_slot(f"{{{tested.topics.telemetry}-{partition}}}".encode())
                owner = redis_cluster.owner(slot)
                redis_cluster.move_slot(slot, next(one for one in redis_cluster.servers if one is not owner))

        every_verdict_is_that_of_an_undisturbed_run(tested, move, "serving model")
        assert "autodeep_redis_evicts 0.0" in tested.workers[0].metrics()
        refused = tested.worker(group="another")
        deadline_s = time.monotonic() + DEADLINE_S
        while refused.exit_code is None:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        assert refused.exit_code == 2
        assert "AUTODEEP_GROUP=another: the windows" in refused.log_tail(1)
        assert tested.workers[0].exit_code is None
