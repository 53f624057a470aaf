"""A promote at exact offsets on real Kafka and Redis: workers come and go in the middle, and no offset is
judged by the wrong model; read again by others, the same offsets give the same alerts."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from confluent_kafka import ConsumerGroupState, Message, Producer
from confluent_kafka.admin import AdminClient

from streams.adapters.kafka.model_topics import newest_state
from streams.adapters.store.models import open_store
from streams.codec.ingest.connections import encode_connections
from streams.codec.models import ModelState, Switch
from streams.codec.output.alerts import decode_alert
from streams.core.alerts import Alert
from streams.core.kdd99 import KDD99
from streams.embedded.kafka import Broker
from streams.embedded.workers import WorkerProcess
from tests.kafka_reading import committed, read_all
from tests.path import path
from tests.rollout.test_model_reload_path import (
    DEVICES,
    START_US,
    Flow,
    all_serve,
    decision,
    model,
    order,
    statuses,
    store,
)

if TYPE_CHECKING:
    from tests.path import TestedPath

__all__ = ["store"]  # a fixture

DEADLINE_S = 200.0
PARTITIONS = 12  # with 4, Faust's assignor leaves one of three workers without any

pytestmark = [pytest.mark.kafka, pytest.mark.redis]


def eventually(what: Callable[[], bool], says: str, timeout_s: float = DEADLINE_S) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline_s, says
        time.sleep(0.05)


def prepared(tested: TestedPath, revision: int, workers: int) -> set[str]:
    """The names of the workers, once so many have told that they are prepared."""

    def told(found: object) -> set[str]:
        return {s.worker for s in found if s.outcome == "prepared" and s.revision == revision}  # type: ignore[attr-defined]

    return told(statuses(tested, lambda found: len(told(found)) >= workers))


def ready(worker: WorkerProcess) -> dict[str, object]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{worker.web_port}/health/ready") as answer:
            found = json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            found = json.load(refused)
    assert isinstance(found, dict)
    return found


def distinct(values: Sequence[bytes | None]) -> dict[str, Alert]:
    """Verdicts by id, without the time of detection; a repeat must say the same."""
    found: dict[str, Alert] = {}
    for value in values:
        alert = dataclasses.replace(decode_alert(value or b""), detected_at_us=0)
        assert found.setdefault(alert.alert_id, alert) == alert
    return found


def agreed(tested: TestedPath) -> ModelState:
    state = newest_state(tested.settings, "kdd99")
    assert state is not None
    return state


class Steady(Flow):
    """A flow on all partitions, which sends while others wait for it to have sent so much."""

    def _run(self) -> None:
        rng = np.random.default_rng(3)
        producer = Producer({"bootstrap.servers": self._tested.settings.kafka_servers})
        names = [f"d{i:02d}" for i in range(DEVICES)]
        while not self._stop.wait(0.02):
            rows = np.zeros(DEVICES, KDD99.row)
            rows["numbers"][:, KDD99.numeric_names.index("src_bytes")] = rng.integers(0, 3000, DEVICES)
            rows["codes"] = rng.integers(0, 4, (DEVICES, 3))
            values = encode_connections(KDD99, names, START_US + self.sent + np.arange(DEVICES), rows)
            for i, value in enumerate(values):
                producer.produce(self._tested.topics.telemetry, value, names[i].encode(), i % PARTITIONS)
            assert producer.flush(DEADLINE_S) == 0
            self.sent += DEVICES


class Slow:
    """A worker with a copy of the store of its own, in which one version's manifest can be held back."""

    def __init__(self, tested: TestedPath, store: Path) -> None:
        self.store = tested.folder / f"store-{uuid.uuid4().hex[:6]}"
        shutil.copytree(store, self.store)
        self.process = tested.worker(model_store=str(self.store))
        self._manifest = self.store / "kdd99" / "2" / "manifest.json"
        self._whole = self._manifest.read_bytes()

    def hold_back(self) -> None:
        """Who reads the manifest waits for somebody to write it."""
        self._manifest.unlink()
        os.mkfifo(self._manifest)

    def let_go(self) -> None:
        """The reading that waits fails, as a pipe is no file; the next one succeeds."""
        with self._manifest.open("wb"):  # returns because somebody reads it
            self._manifest.unlink()
            self._manifest.write_bytes(self._whole)


def owners(tested: TestedPath, workers: Sequence[Slow]) -> dict[Slow, set[str]]:
    """The topics of which each member of the stable group owns partitions; others are left out."""
    admin = AdminClient({"bootstrap.servers": tested.settings.kafka_servers})
    group = tested.settings.group
    described = admin.describe_consumer_groups([group])[group].result()
    if described.state != ConsumerGroupState.STABLE:
        return {}
    return {
        worker: {place.topic for place in member.assignment.topic_partitions}
        for member in described.members
        for worker in workers
        if f"-{worker.process.pid}-" in member.client_id
    }


def agent_and_others(tested: TestedPath, workers: Sequence[Slow]) -> tuple[Slow, list[Slow]]:
    """The worker that decides, and the others, once all own telemetry."""
    commands, telemetry = tested.topics.model_commands, tested.topics.telemetry

    def all_own() -> bool:
        found = owners(tested, workers)
        return len(found) == len(workers) and all(telemetry in topics for topics in found.values())

    eventually(all_own, "every worker owns telemetry partitions")
    (agent,) = [worker for worker, topics in owners(tested, workers).items() if commands in topics]
    return agent, [worker for worker in workers if worker is not agent]


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four workers on a busy machine take their time."""
    monkeypatch.setattr("tests.path.DEADLINE_S", DEADLINE_S)


@contextmanager
def fleet(
    kafka: Broker, redis_url: str, folder: Path, store: Path
) -> Iterator[tuple[TestedPath, list[Slow], Flow]]:
    """Three workers and a flow of events, all of them at work."""
    settings = {"model_latency_ratio": "100", "model_switch_timeout_s": "150"}
    with path(
        kafka.bootstrap_servers, redis_url, folder, PARTITIONS, model_store=str(store), **settings
    ) as tested:
        workers = [Slow(tested, store) for _ in range(3)]
        for worker in workers:
            worker.process.wait_ready(DEADLINE_S)
        all_serve(tested, 0, 3)
        flow = Steady(tested)
        with flow.running():
            flows_on(flow)
            yield tested, workers, flow


def flows_on(flow: Flow) -> None:
    beyond = flow.sent + 20 * DEVICES
    eventually(lambda: flow.sent > beyond, "events flow")


def test_a_switch_with_a_rebalance_in_its_middle_is_exact_and_repeatable(
    kafka: Broker, redis_url: str, tmp_path: Path, store: Path
) -> None:
    """One of three cannot finish loading; a fourth joins, another leaves, then that one is killed."""
    old = open_store(str(store)).identify("kdd99/1").digest
    new = open_store(str(store)).identify("kdd99/2").digest
    with fleet(kafka, redis_url, tmp_path, store) as (tested, workers, flow):
        agent, (doomed, other) = agent_and_others(tested, workers)
        doomed.hold_back()
        command = order(tested, "promote", "2", digest=new, at_offsets={})
        prepared(tested, 1, 2)
        assert "holding for kdd99/2" in str(ready(other.process)["why_not"])
        fourth = Slow(tested, store)
        prepared(tested, 1, 3)
        eventually(lambda: len(owners(tested, [*workers, fourth])) == 4, "the fourth is a member")
        assert other.process.stop() == 0, "a stop does not wait for what is held"
        assert agreed(tested).preparing is not None
        doomed.process.signal(signal.SIGKILL)
        told = decision(tested, command)
        assert (told.outcome, told.digest) == ("promoted", new), told
        left = [worker.process for worker in (agent, fourth)]
        all_serve(tested, told.revision, 2)
        flows_on(flow)
        state = agreed(tested)
        assert (state.champion.digest, state.preparing, len(state.switches)) == (new, None, 2)
        assert [worker.exit_code for worker in left] == [None] * 2
        assert [model(worker)["digest"] for worker in left] == [new] * 2
        for worker in left:
            eventually(lambda worker=worker: ready(worker)["ready"] is True, "it is ready again")  # type: ignore[misc]
        flow.end()
        judged = verdicts_by_the_rule(tested, state.switches[1], (old, new), flow.sent)
        for worker in left:
            worker.stop()
        replayed(tested, redis_url, judged)


def test_a_worker_that_cannot_load_ends_it_and_an_agent_killed_in_its_middle_does_not(
    kafka: Broker, redis_url: str, tmp_path: Path, store: Path
) -> None:
    """The first command is refused and the old champion goes on; the second is ended by the next agent."""
    old = open_store(str(store)).identify("kdd99/1").digest
    new = open_store(str(store)).identify("kdd99/2").digest
    with fleet(kafka, redis_url, tmp_path, store) as (tested, workers, flow):
        agent, (slow, other) = agent_and_others(tested, workers)
        tensors = slow.store / "kdd99" / "2" / "model.safetensors"
        whole = tensors.read_bytes()
        tensors.write_bytes(whole[:-100])
        refused = decision(tested, order(tested, "promote", "2", digest=new, at_offsets={}))
        assert (refused.outcome, refused.revision) == ("refused", 2)
        assert "could not load it" in refused.detail
        assert "model.safetensors" in refused.detail
        all_serve(tested, 2, 3)
        assert (agreed(tested).champion.digest, agreed(tested).preparing) == (old, None)
        assert [model(worker.process)["digest"] for worker in workers] == [old] * 3
        flows_on(flow)

        tensors.write_bytes(whole)
        slow.hold_back()
        command = order(tested, "promote", "2", digest=new, at_offsets={})
        prepared(tested, 3, 2)
        agent.process.signal(signal.SIGKILL)
        slow.let_go()
        prepared(tested, 3, 3)
        told = decision(tested, command)
        assert (told.outcome, told.digest, told.revision) == ("promoted", new, 4), told
        all_serve(tested, 4, 2)
        flows_on(flow)
        state = agreed(tested)
        assert (state.revision, state.champion.digest, state.preparing) == (4, new, None)
        assert [model(worker.process)["digest"] for worker in (slow, other)] == [new] * 2
        flow.end()
        verdicts_by_the_rule(tested, state.switches[1], (old, new), flow.sent)
        assert (slow.process.exit_code, other.process.exit_code) == (None, None)


def verdicts_by_the_rule(
    tested: TestedPath, switch: Switch, digests: tuple[str, str], count: int
) -> dict[str, Alert]:
    """Every event's verdict; below the offsets of the switch the old model's, from them on the new one's."""

    def by_id(messages: list[Message]) -> dict[str, Alert]:
        return distinct([message.value() for message in messages])

    def are_all(messages: list[Message]) -> bool:
        return len(messages) >= count and len(by_id(messages)) >= count

    found = by_id(tested.read([tested.topics.classified], are_all))
    assert len(found) == count
    judged = {(a.offset >= switch.from_offsets[str(a.partition)], a.model_digest) for a in found.values()}
    assert judged == {(False, digests[0]), (True, digests[1])}
    return found


def replayed(tested: TestedPath, redis_url: str, before: dict[str, Alert]) -> None:
    """A fresh group with a Redis of its own reads all from the beginning, and says the same."""
    servers, classified = tested.settings.kafka_servers, tested.topics.classified
    once = len(read_all(servers, classified))
    worker = tested.worker(group=f"{tested.settings.group}-again", redis_url=redis_url.replace("/0", "/7"))
    worker.wait_ready(DEADLINE_S)

    def is_done() -> bool:
        places = committed(servers, f"{tested.settings.group}-again", tested.topics.telemetry)
        return all(done == end for done, end in places.values())

    eventually(is_done, "all is read again")
    values = [message.value for message in read_all(servers, classified)]
    assert len(values) >= once + len(before), "every event was judged again"
    assert distinct(values) == before
