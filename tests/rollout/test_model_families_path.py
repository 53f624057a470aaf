"""Families of models on real Kafka and Redis: an upgrade, a second family, and who cuts off whom."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

import pytest
from confluent_kafka import KafkaException, Producer

from streams.adapters.kafka.model_topics import DecisionLog, newest_states
from streams.adapters.kafka.publisher import KafkaPublisher
from streams.adapters.store.models import open_store
from streams.codec.models import (
    KEY_BEFORE_FAMILIES,
    ModelCommand,
    ModelRef,
    ModelState,
    ModelStatus,
    encode_command,
    encode_state,
)
from streams.core import events
from streams.core.kdd99 import KDD99
from streams.embedded.kafka import Broker
from streams.model.detector import Detector
from tests.path import DEADLINE_S, TestedPath, path
from tests.rollout.test_model_reload_path import all_serve, decision, model, publish

pytestmark = [pytest.mark.kafka, pytest.mark.redis]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two versions of kdd99, and a model of another name for the same events."""
    folder = tmp_path / "store"
    made = open_store(str(folder))
    for name, version in (("kdd99", "1"), ("kdd99", "2"), ("mine", "1")):
        made.save(Detector.random(KDD99, seed=int(version)), name, version, {}, "random")
    made.set_alias("kdd99", "champion", "1")
    return folder


def ref(store: Path, name: str) -> ModelRef:
    identity = open_store(str(store)).identify(name)
    return ModelRef(identity.name, identity.version, identity.digest)


def agree(log: DecisionLog, state: ModelState) -> None:
    log.agreed()
    log.write(state, status(state))


def status(state: ModelState) -> ModelStatus:
    ref, command_id = state.champion, str(uuid.uuid4())
    return ModelStatus(
        "decision",
        "test",
        command_id,
        state.revision,
        ref.name,
        ref.version,
        ref.digest,
        "promoted",
        "",
        0.0,
        1,
    )


def ask(tested: TestedPath, action: str, name: str, version: str = "") -> ModelStatus:
    command = ModelCommand(str(uuid.uuid4()), action, name, time.time_ns() // 1000, version=version)
    publish(tested, encode_command(command))
    return decision(tested, command.command_id)


def ended(tested: TestedPath, **settings: str) -> tuple[int, str]:
    """Exit code and last line of a worker that does not start."""
    worker = tested.worker(**settings)
    deadline_s = time.monotonic() + DEADLINE_S
    while worker.exit_code is None:
        assert time.monotonic() < deadline_s, worker.log_tail()
        time.sleep(0.05)
    return worker.exit_code, worker.log_tail().splitlines()[-1]


def test_a_worker_takes_up_what_was_agreed_on_before_there_were_families_and_serves_its_own_family_alone(
    kafka: Broker, redis_url: str, tmp_path: Path, store: Path
) -> None:
    one, two = ref(store, "kdd99/1"), ref(store, "kdd99/2")
    with path(
        kafka.bootstrap_servers, redis_url, tmp_path, model_store=str(store), model="kdd99@champion"
    ) as tested:
        old = ModelState(3, two, 1, previous=one)
        with KafkaPublisher(tested.settings) as publisher:
            publisher.publish(
                [events.Message(tested.topics.model_active, KEY_BEFORE_FAMILIES, encode_state(old))]
            )
        code, last = ended(tested, model="mine/1")
        assert (code, "kdd99/2 was agreed on, of another family" in last) == (2, True), last
        worker = tested.worker()
        worker.wait_ready()
        assert (model(worker)["digest"], model(worker)["revision"]) == (two.digest, 3)

        flows = ModelState(9, ModelRef("flows", "1", "ab"), 1)
        agree(DecisionLog(tested.settings, "flows"), flows)
        refused = ask(tested, "promote", "mine", "1")
        assert (refused.outcome, refused.revision) == ("refused", 3)
        assert "the family mine is not served here" in refused.detail
        back = ask(tested, "rollback", "kdd99")
        assert (back.outcome, back.revision, back.digest) == ("rolled_back", 4, one.digest)
        all_serve(tested, 4, 1)
        assert (model(worker)["digest"], model(worker)["problem"]) == (one.digest, None)

        written = tested.read([tested.topics.model_active], lambda found: len(found) >= 3)
        assert [message.key() for message in written] == [KEY_BEFORE_FAMILIES, b"flows", b"kdd99"]
        agreed = newest_states(tested.settings).by_family()
        assert {family: state.revision for family, state in agreed.items()} == {"kdd99": 4, "flows": 9}
        assert agreed["flows"] == flows


def test_an_agent_cuts_off_those_of_its_family_and_of_before_there_were_families_and_no_others(
    kafka: Broker, redis_url: str, tmp_path: Path
) -> None:
    with path(kafka.bootstrap_servers, redis_url, tmp_path) as tested:
        settings, topic = tested.settings, tested.topics.model_active
        before = Producer(
            {
                "bootstrap.servers": settings.kafka_servers,
                "transactional.id": f"{settings.topic_prefix}.models",
            }
        )
        before.init_transactions(DEADLINE_S)
        before.begin_transaction()
        before.produce(topic, encode_state(ModelState(1, ModelRef("kdd99", "1", "ab"), 1)), b"active")
        before.flush(DEADLINE_S)

        flows = DecisionLog(settings, "flows")
        flows.agreed()
        agree(DecisionLog(settings, "kdd99"), ModelState(1, ModelRef("kdd99", "2", "cd"), 1))
        state = ModelState(1, ModelRef("flows", "1", "ef"), 1)
        flows.write(state, status(state))  # nobody took over there
        with pytest.raises(KafkaException, match=r"(?i)fenced|epoch"):
            before.commit_transaction(DEADLINE_S)
        agreed = newest_states(settings).by_family()
        assert {family: state.champion.version for family, state in agreed.items()} == {
            "kdd99": "2",
            "flows": "1",
        }
