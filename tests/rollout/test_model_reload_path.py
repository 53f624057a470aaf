"""Models change on real Kafka and Redis while events flow: nothing lost, no third model, all agree."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from confluent_kafka import Message

from streams.adapters.kafka.model_topics import DecisionLog, newest_state
from streams.adapters.kafka.publisher import KafkaPublisher
from streams.adapters.kafka.topics import create_topics, topic_specs
from streams.adapters.store.models import open_store
from streams.codec.ingest.connections import encode_connections
from streams.codec.models import (
    Agreed,
    ModelCommand,
    ModelRef,
    ModelState,
    ModelStatus,
    decode_status,
    encode_command,
)
from streams.codec.output.alerts import decode_alert
from streams.core import events
from streams.core.alerts import Alert
from streams.core.kdd99 import KDD99
from streams.core.topics import Topics
from streams.embedded.kafka import Broker
from streams.embedded.workers import WorkerProcess
from streams.errors import BrokerUnavailable
from streams.model.detector import Detector
from tests.path import DEADLINE_S, path

if TYPE_CHECKING:
    from tests.path import TestedPath

pytestmark = [pytest.mark.kafka, pytest.mark.redis]

DEVICES = 40
START_US = 1_700_000_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The shipped model, another of the same classes, and one that was cut short."""
    folder = tmp_path / "store"
    made = open_store(str(folder))
    made.save(open_store().load("kdd99@champion"), "kdd99", "1", {}, "the shipped one")
    made.save(Detector.random(KDD99, seed=5), "kdd99", "2", {}, "random")
    made.set_alias("kdd99", "champion", "1")
    shutil.copytree(folder / "kdd99" / "2", folder / "kdd99" / "3")
    manifest = folder / "kdd99" / "3" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"version": "2"', '"version": "3"'))
    tensors = folder / "kdd99" / "3" / "model.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-100])
    return folder


class Flow:
    """Events of `DEVICES` devices on 4 partitions, some each 100 ms, until told to end."""

    def __init__(self, tested: TestedPath) -> None:
        self._tested = tested
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent = 0

    def _run(self) -> None:
        rng, producer = np.random.default_rng(3), self._tested.producer()
        while not self._stop.wait(0.1):
            rows = np.zeros(DEVICES, KDD99.row)
            rows["numbers"][:, KDD99.numeric_names.index("src_bytes")] = rng.integers(0, 3000, DEVICES)
            rows["codes"] = rng.integers(0, 4, (DEVICES, 3))
            names = [f"d{i:02d}" for i in range(DEVICES)]
            values = encode_connections(KDD99, names, START_US + self.sent + np.arange(DEVICES), rows)
            for partition in range(4):
                mine = [i for i in range(DEVICES) if i % 4 == partition]
                records = [(names[i].encode(), values[i]) for i in mine]
                self._tested.send(records, partition, producer=producer)
            self.sent += DEVICES

    @contextmanager
    def running(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self.end()

    def reach(self, events: int) -> None:
        """Return once so many were sent."""
        deadline_s = time.monotonic() + DEADLINE_S
        while self.sent < events:
            assert time.monotonic() < deadline_s, f"{self.sent} of {events} were sent"
            time.sleep(0.05)

    def end(self) -> None:
        self._stop.set()
        self._thread.join()


def order(tested: TestedPath, action: str, version: str = "", **fields: object) -> str:
    """Publish a command; its id."""
    command = ModelCommand(
        command_id=str(uuid.uuid4()),
        action=action,
        name="kdd99" if version else "",
        version=version,
        issued_at_us=time.time_ns() // 1000,
        **fields,  # type: ignore[arg-type]
    )
    publish(tested, encode_command(command))
    return command.command_id


def publish(tested: TestedPath, value: bytes) -> None:
    with KafkaPublisher(tested.settings) as publisher:
        publisher.publish([events.Message(tested.topics.model_commands, b"", value)])


def statuses(tested: TestedPath, enough: Callable[[list[ModelStatus]], bool]) -> list[ModelStatus]:
    def read(messages: list[Message]) -> list[ModelStatus]:
        return [decode_status(message.value()) for message in messages]

    return read(tested.read([tested.topics.model_status], lambda found: enough(read(found))))


def decision(tested: TestedPath, command_id: str) -> ModelStatus:
    def mine(found: list[ModelStatus]) -> list[ModelStatus]:
        return [s for s in found if s.is_final and s.command_id == command_id]

    found = mine(statuses(tested, lambda found: bool(mine(found))))
    assert len(found) == 1, "a command is answered once"
    return found[0]


def all_serve(tested: TestedPath, revision: int, workers: int) -> None:
    """Return once so many workers have told that they serve this revision."""

    def serving(found: list[ModelStatus]) -> set[str]:
        return {s.worker for s in found if s.outcome == "serving" and s.revision == revision}

    statuses(tested, lambda found: len(serving(found)) >= workers)


def verdicts(tested: TestedPath, count: int) -> dict[int, Alert]:
    """The verdict of each event, by its time; a repeat of one model says the same."""

    def distinct(messages: list[Message]) -> dict[int, Alert]:
        found: dict[int, Alert] = {}
        for message in messages:
            alert = decode_alert(message.value())
            before = found.setdefault(alert.event_time_us, alert)
            assert (before.model_digest, before.scores) == (alert.model_digest, alert.scores)
        return found

    return distinct(tested.read([tested.topics.classified], lambda found: len(distinct(found)) >= count))


def model(worker: WorkerProcess) -> dict[str, object]:
    figures = worker.figures()["model"]
    assert isinstance(figures, dict)
    return figures


def refusals(tested: TestedPath) -> None:
    """Commands that change nothing, while revision 1 with kdd99/2 is agreed."""
    again = decision(tested, order(tested, "promote", "2"))
    assert (again.outcome, again.revision) == ("promoted", 1)
    broken = decision(tested, order(tested, "promote", "3"))
    assert (broken.outcome, broken.revision) == ("refused", 1)
    assert "kdd99/3/model.safetensors" in broken.detail
    publish(tested, b"no Avro")
    unknown = decision(tested, order(tested, "retire", "1"))
    assert (unknown.outcome, "'retire'" in unknown.detail) == ("refused", True)
    unreadable = [s for s in statuses(tested, lambda s: len(s) >= 5) if s.outcome == "refused"]
    assert any("model" in s.detail and s.command_id == "" for s in unreadable)


def test_promote_and_roll_back_while_events_flow(
    kafka: Broker, redis_url: str, tmp_path: Path, store: Path
) -> None:
    """Two workers; each event is judged by the old or the new model, by the new alone once all serve it."""
    old = open_store(str(store)).identify("kdd99/1").digest
    new = open_store(str(store)).identify("kdd99/2").digest
    with path(
        kafka.bootstrap_servers, redis_url, tmp_path, model_store=str(store), model_latency_ratio="100"
    ) as tested:
        workers = [tested.worker(), tested.worker()]
        for worker in workers:
            worker.wait_ready()
        flow = Flow(tested)
        with flow.running():
            all_serve(tested, 0, 2)
            promoted = decision(tested, order(tested, "promote", "2", digest=new))
            assert (promoted.outcome, promoted.revision, promoted.digest) == ("promoted", 1, new), promoted
            all_serve(tested, 1, 2)
            switched = flow.sent + DEVICES
            refusals(tested)
            assert [model(worker)["digest"] for worker in workers] == [new, new]
            flow.reach(switched + 10 * DEVICES)
            until = flow.sent

            workers[1].stop()  # the model agent's, or not: its partition goes on elsewhere
            late = tested.worker()
            late.wait_ready()
            assert (model(late)["digest"], model(late)["revision"]) == (new, 1)
            rolled_back = decision(tested, order(tested, "rollback"))
            assert (rolled_back.outcome, rolled_back.digest) == ("rolled_back", old)
            all_serve(tested, 2, 2)
            back = flow.sent + DEVICES
            flow.reach(back + 10 * DEVICES)
        found = verdicts(tested, flow.sent)
        digests = [found[START_US + i].model_digest for i in range(flow.sent)]
        assert len(found) == flow.sent
        assert set(digests) == {old, new}
        assert set(digests[switched:until]) == {new}
        assert set(digests[back:]) == {old}
        state = newest_state(tested.settings, "kdd99")
        assert state is not None
        assert (state.revision, state.champion.digest) == (2, old)
        assert (workers[0].exit_code, late.exit_code) == (None, None)


def test_an_agent_that_was_cut_off_can_write_no_decision_any_more(
    kafka: Broker, redis_url: str, tmp_path: Path
) -> None:
    """It had read the state, then another took over and decided: it is refused, and asks again."""

    def decided(command_id: str, revision: int) -> tuple[ModelState, ModelStatus]:
        ref = ModelRef("kdd99", command_id, "0" * 64)
        status = ModelStatus(
            "decision", "x", command_id, revision, ref.name, ref.version, ref.digest, "promoted", "", 0.0, 1
        )
        return ModelState(revision, ref, 1, command_id=command_id), status

    with path(kafka.bootstrap_servers, redis_url, tmp_path) as tested:
        before, after = (DecisionLog(tested.settings, "kdd99") for _ in range(2))
        assert before.agreed() == Agreed()
        assert after.agreed() == Agreed()
        after.write(*decided("b", 1))
        with pytest.raises(BrokerUnavailable):
            before.write(*decided("a", 1))
        now = before.agreed()
        assert now.state is not None
        assert (now.state.revision, now.state.champion.version, now.decided) == (1, "b", {"b"})
        before.write(*decided("a", 2))
        assert newest_state(tested.settings, "kdd99") == decided("a", 2)[0]


def test_a_worker_that_cannot_load_the_agreed_model_keeps_the_old_one_says_so_and_tries_again(
    kafka: Broker, redis_url: str, tmp_path: Path, store: Path
) -> None:
    with path(kafka.bootstrap_servers, redis_url, tmp_path, model_store=str(store)) as tested:
        worker = tested.worker()
        worker.wait_ready()
        old = model(worker)["digest"]
        elsewhere = tmp_path / "elsewhere"
        (store / "kdd99" / "2").rename(elsewhere)
        digest = hashlib.sha256((elsewhere / "manifest.json").read_bytes()).hexdigest()
        decide(tested, ModelState(1, ModelRef("kdd99", "2", digest), 1, command_id="c"))
        failed = statuses(tested, lambda found: any(s.outcome == "load_failed" for s in found))[-1]
        assert (failed.revision, failed.version, "kdd99/2" in failed.detail) == (1, "2", True)
        assert (model(worker)["digest"], model(worker)["problem"]) == (old, failed.detail)
        with urllib.request.urlopen(f"http://127.0.0.1:{worker.web_port}/health/ready") as answer:
            assert json.load(answer) == {
                "ready": True,
                "why_not": None,
                "role": "active",
                "detail": failed.detail,
            }
        elsewhere.rename(store / "kdd99" / "2")
        all_serve(tested, 1, 1)
        assert (model(worker)["digest"], model(worker)["problem"]) == (digest, None)


def decide(tested: TestedPath, state: ModelState) -> None:
    """Agree on a state, whatever an agent would say."""
    ref = state.champion
    log = DecisionLog(tested.settings, "kdd99")
    log.agreed()
    log.write(
        state,
        ModelStatus(
            "decision",
            "test",
            state.command_id,
            state.revision,
            ref.name,
            ref.version,
            ref.digest,
            "promoted",
            "",
            0.0,
            1,
        ),
    )


def test_without_the_topics_of_models_a_worker_says_so_and_serves_the_model_of_its_settings(
    kafka: Broker, redis_url: str, tmp_path: Path
) -> None:
    with path(kafka.bootstrap_servers, redis_url, tmp_path) as tested:
        topics = Topics(f"{tested.settings.topic_prefix}-old")
        specs = [spec for spec in topic_specs(topics) if ".models." not in spec.name]
        create_topics(tested.settings, specs)
        worker = tested.worker(topic_prefix=topics.prefix, group=topics.prefix)
        worker.wait_ready()
        assert f"Kafka has no topic {topics.model_commands}" in tested.logs()
        assert model(worker)["version"] == open_store().resolve("kdd99@champion")[1]
