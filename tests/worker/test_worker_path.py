"""A worker as operators meet it: what it says when something is missing, and that a kill loses nothing."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import Message

from streams.adapters.store.models import open_store, shipped
from streams.codec.ingest.connections import encode_connections
from streams.codec.output.alerts import decode_alert
from streams.core.alerts import Alert, in_share
from streams.core.kdd99 import KDD99
from streams.core.topics import NORMAL
from streams.embedded.kafka import ApacheKafka, Broker
from streams.embedded.workers import WorkerProcess
from streams.training.evaluate import evaluate_rows
from tests.path import DEADLINE_S, named, path

NOWHERE = "127.0.0.1:1"


def ended(folder: Path, settings: Mapping[str, str]) -> tuple[int | None, str]:
    """Exit code and log of a worker that cannot start."""
    with WorkerProcess(named({"start_timeout_s": "1", **settings}), folder / "worker.log") as worker:
        deadline_s = time.monotonic() + DEADLINE_S
        while worker.exit_code is None:
            assert time.monotonic() < deadline_s, worker.log_tail()
            time.sleep(0.05)
        return worker.exit_code, worker.log_tail(40)


def test_a_redis_that_is_not_there_is_named_waited_for_and_given_up(tmp_path: Path) -> None:
    code, log = ended(tmp_path, {"redis_url": f"redis://{NOWHERE}/0"})
    assert code == 69
    assert log.count("trying again") == 1, "one line a state"
    assert f"Redis at {NOWHERE} (AUTODEEP_REDIS_URL)" in log.splitlines()[-1]
    assert "Traceback" not in log


@pytest.mark.redis
def test_a_kafka_that_is_not_there_is_named_waited_for_and_given_up(tmp_path: Path, redis_url: str) -> None:
    code, log = ended(
        tmp_path, {"redis_url": redis_url, "kafka_servers": NOWHERE, "network_timeout_s": "0.5"}
    )
    assert code == 69
    assert f"{NOWHERE} (AUTODEEP_KAFKA_SERVERS)" in log.splitlines()[-1]
    assert "Traceback" not in log


def test_a_broken_model_folder_is_refused_by_the_name_of_its_file(tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(shipped(), store)
    name, version = open_store().resolve("kdd99@champion")
    tensors = store / name / version / "model.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-100])
    code, log = ended(tmp_path, {"model_store": str(store)})
    assert code == 3
    assert f"{name}/{version}/model.safetensors" in log
    assert "Traceback" not in log


def test_a_wrong_setting_is_one_line(tmp_path: Path) -> None:
    code, log = ended(tmp_path, {"window_idle_s": "soon"})
    assert (code, len(log.splitlines())) == (2, 1)
    assert "AUTODEEP_WINDOW_IDLE_S: 'soon'" in log


@pytest.mark.kafka
@pytest.mark.redis
def test_a_stop_while_kafka_is_gone_has_a_deadline(kafka: Broker, redis_url: str, tmp_path: Path) -> None:
    """Faust waits for the broker without end; the worker does not."""
    with ApacheKafka() as gone, path(gone.bootstrap_servers, redis_url, tmp_path) as tested:
        worker = tested.worker(stop_timeout_s="3")
        worker.wait_ready()
        gone.kill()
        worker.signal(signal.SIGTERM)
        deadline_s = time.monotonic() + 20
        while worker.exit_code is None:
            assert time.monotonic() < deadline_s, worker.log_tail()
            time.sleep(0.05)
    assert worker.exit_code in (0, 70)


@dataclass
class Verdicts:
    """Distinct verdicts by event time; a repeat must say the same."""

    by_time: dict[int, Alert] = field(default_factory=dict)
    taken: int = 0

    def take(self, messages: list[Message]) -> int:
        for message in messages[self.taken :]:
            alert = decode_alert(message.value())
            before = self.by_time.setdefault(alert.event_time_us, alert)
            assert (before.scores, before.window_fill) == (alert.scores, alert.window_fill)
            assert before.explanation == alert.explanation
        self.taken = len(messages)
        return len(self.by_time)


@pytest.mark.kafka
@pytest.mark.redis
def test_a_worker_killed_in_mid_stream_loses_nothing_and_applies_nothing_twice(
    kafka: Broker, redis_url: str, tmp_path: Path
) -> None:
    """Two workers; one is killed while events flow. Every event has the verdict of an undisturbed run."""
    events, devices = 6000, 60
    rows = np.zeros(events, KDD99.row)
    rng = np.random.default_rng(3)
    rows["numbers"][:, KDD99.numeric_names.index("src_bytes")] = rng.integers(0, 3000, events)
    rows["numbers"][:, KDD99.numeric_names.index("count")] = rng.integers(0, 511, events)
    rows["codes"] = rng.integers(0, 4, (events, 3))
    names = [f"d{i % devices:02d}" for i in range(events)]
    times = 1_700_000_000_000_000 + np.arange(events)
    values = encode_connections(KDD99, names, times, rows)
    asked = {"chunk_max_records": "64", "explain_share": "0.2"}
    with path(kafka.bootstrap_servers, redis_url, tmp_path, **asked) as tested:
        doomed, survivor = tested.worker(), tested.worker()
        doomed.wait_ready()
        survivor.wait_ready()
        for partition in range(4):
            mine = [i for i in range(events) if (i % devices) % 4 == partition]
            tested.send([(names[i].encode(), values[i]) for i in mine], partition)
        tested.read([tested.topics.classified], lambda found: len(found) >= 500)
        doomed.signal(signal.SIGKILL)
        verdicts = Verdicts()
        tested.read([tested.topics.classified], lambda messages: verdicts.take(messages) >= events)
        assert survivor.exit_code is None
        detector = open_store(tested.settings.model_store).load(tested.settings.model)
    order = np.argsort([i % devices for i in range(events)], kind="stable")
    offline = evaluate_rows(detector, rows[order], devices)
    for place, i in enumerate(order.tolist()):
        scores = offline.posterior[place].astype(np.float64).round(4).tolist()
        assert list(verdicts.by_time[int(times[i])].scores.values()) == scores
    for alert in verdicts.by_time.values():
        explained = alert.verdict != NORMAL and in_share(alert.alert_id, 0.2)
        assert (alert.explanation is not None) == explained
    assert any(alert.explanation for alert in verdicts.by_time.values())
