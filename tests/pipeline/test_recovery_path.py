"""Redis loses every window while workers run: with a rebuild, all later verdicts have their whole windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import redis

from streams.adapters.store.models import open_store
from streams.codec.ingest.connections import encode_connections
from streams.core.kdd99 import KDD99
from streams.embedded.kafka import Broker
from streams.training.evaluate import evaluate_rows
from tests.path import path
from tests.pipeline.test_dead_letters_path import good_rows
from tests.worker.test_worker_path import Verdicts

pytestmark = [pytest.mark.kafka, pytest.mark.redis]


def lose_windows(redis_url: str, prefix: str) -> int:
    """All keys of ours at once, as a FLUSHALL would, on a Redis that may be somebody's."""
    with redis.Redis.from_url(redis_url) as client:
        return int(client.delete(*client.scan_iter(match=f"{prefix}:*", count=10_000)))


def test_after_a_loss_every_verdict_has_its_whole_window(
    kafka: Broker, redis_url: str, tmp_path: Path
) -> None:
    """A second worker joins after the loss, so that neither remembers a window."""
    events, devices = 3000, 60
    rows = good_rows(events)
    names = [f"d{i % devices:02d}" for i in range(events)]
    times = 1_700_000_000_000_000 + np.arange(events)
    values = encode_connections(KDD99, names, times, rows)
    settings = {"chunk_max_records": "64", "rebuild_windows_records": "100000"}
    with path(kafka.bootstrap_servers, redis_url, tmp_path, **settings) as tested:

        def send(numbers: range) -> None:
            for partition in range(4):
                mine = [i for i in numbers if (i % devices) % 4 == partition]
                tested.send([(names[i].encode(), values[i]) for i in mine], partition)

        verdicts = Verdicts()
        tested.worker().wait_ready()
        send(range(events // 2))
        classified = [tested.topics.classified]
        tested.read(classified, lambda messages: verdicts.take(messages) >= events // 2)
        assert lose_windows(redis_url, tested.topics.prefix) >= devices
        tested.worker().wait_ready()
        send(range(events // 2, events))
        verdicts.taken = 0
        tested.read(classified, lambda messages: verdicts.take(messages) >= events)
        workers = [worker.figures() for worker in tested.workers]
        log = tested.logs()
        detector = open_store(tested.settings.model_store).load(tested.settings.model)
    assert sum(int(str(worker["rebuilt_windows"])) for worker in workers) >= devices
    assert log.count("are missing or old: reading back offsets 0 to") >= 4
    print([line for line in log.splitlines() if "read" in line and "windows of" in line])
    order = np.argsort([i % devices for i in range(events)], kind="stable")
    offline = evaluate_rows(detector, rows[order], devices)
    for place, i in enumerate(order.tolist()):
        alert = verdicts.by_time[int(times[i])]
        assert alert.window_fill == min(i // devices + 1, detector.width)
        assert list(alert.scores.values()) == offline.posterior[place].astype(np.float64).round(4).tolist()
