"""`autodeep models`: each command on a store of its own; promote and rollback with an agent that answers."""

from __future__ import annotations

import dataclasses
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner, Result

from streams.adapters.kafka.model_topics import newest_state
from streams.adapters.kafka.publisher import KafkaPublisher
from streams.adapters.kafka.topics import touch_topics
from streams.adapters.store.models import open_store
from streams.cli.commands import app
from streams.codec import models
from streams.codec.models import ModelCommand, ModelRef, ModelState, ModelStatus
from streams.core.events import Message
from streams.core.kdd99 import KDD99
from streams.core.topics import Topics
from streams.embedded.kafka import Broker
from streams.errors import BrokerUnavailable, ModelRejected, SettingsError, Unavailable
from streams.model.detector import Detector
from streams.settings import Settings

DEADLINE_S = 20.0


@pytest.fixture
def root(tmp_path: Path) -> str:
    """A store with toy/1, its champion, and toy/2."""
    store = open_store(str(tmp_path / "store"))
    store.save(Detector.random(KDD99, seed=1), "toy", "1", {"training": {"plan": {"seed": 1}}}, "# One\n")
    store.save(Detector.random(KDD99, seed=2), "toy", "2", {"training": {"plan": {"seed": 2}}}, "# Two\n")
    store.set_alias("toy", "champion", "1")
    return store.url


@pytest.fixture
def settings(mock_kafka: Broker, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A broker in this process, under a prefix of the test's own, for the commands too."""
    found = Settings(kafka_servers=mock_kafka.bootstrap_servers, topic_prefix=f"m{uuid.uuid4().hex[:8]}")
    monkeypatch.setenv("AUTODEEP_KAFKA_SERVERS", found.kafka_servers)
    monkeypatch.setenv("AUTODEEP_TOPIC_PREFIX", found.topic_prefix)
    topics = Topics(found.topic_prefix)
    touch_topics(found, [topics.model_commands, topics.model_status, topics.model_active])
    return found


@pytest.fixture
def no_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTODEEP_KAFKA_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("AUTODEEP_NETWORK_TIMEOUT_S", "0.3")


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["models", *words])


def test_list_says_which_versions_are_champion_and_retired(root: str, no_kafka: None) -> None:
    assert run("retire", "toy/2", "--store", root, "--json").exit_code == 0
    found = json.loads(run("list", "--store", root, "--json").stdout)["models"]
    assert [(one["version"], one["aliases"], one["retired"]) for one in found] == [
        ("1", ["champion"], False),
        ("2", [], True),
    ]


def test_list_shows_odd_manifests_and_files_as_problems_of_their_lines(root: str) -> None:
    """The other lines stay as they are; a terminal obeys nothing of what is printed."""
    manifest = json.loads(Path(root, "toy", "1", "manifest.json").read_text())
    odd = {
        "3": {**manifest, "version": "3", "metrics": ["none"]},
        "4": {**manifest, "version": "4", "metrics": {"test": {"all_rows": {"accuracy": "\x1b[2J"}}}},
        "5": {**manifest, "version": "5", "classes": 7, "name": "[/bold]"},
    }
    for version, said in odd.items():
        folder = Path(root, "toy", version)
        folder.mkdir()
        (folder / "manifest.json").write_text(json.dumps(said))
    Path(root, "other", "1").mkdir(parents=True)
    Path(root, "other", "aliases.json").write_text("[/red]\x1b")
    result = run("list", "--store", root)
    assert result.exit_code == 0
    lines = {line.split()[0]: line for line in result.stdout.splitlines()}
    assert [name for name in lines if "/" in name] == [
        "other/1",
        *(f"toy/{number}" for number in range(1, 6)),
    ]
    assert all("figures are odd" in lines[f"toy/{version}"] for version in odd)
    assert "odd" not in lines["toy/1"]
    assert all(line.isprintable() for line in lines.values())
    assert len(json.loads(run("list", "--store", root, "--json").stdout)["models"]) == 6


def test_diff_shows_what_the_plans_have_otherwise(root: str) -> None:
    found = json.loads(run("diff", "toy@champion", "toy/2", "--store", root, "--json").stdout)
    assert found["differences"] == {"plan": {"training.plan.seed": {"a": 1, "b": 2}}}
    assert "training.plan.seed" in run("diff", "toy/1", "toy/2", "--store", root).stdout
    assert "nothing but" in run("diff", "toy/1", "toy/1", "--store", root).stdout


def test_a_version_is_signed_added_elsewhere_and_verified_with_the_key(root: str, tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    private, public = tmp_path / "key.pem", tmp_path / "pub.pem"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    other, trust = str(tmp_path / "other"), ("--trust-key", str(public))
    assert isinstance(run("add", f"{root}/toy/2", "--store", other, *trust).exception, ModelRejected)
    assert run("sign", "toy/2", "--key", str(private), "--store", root).exit_code == 0
    assert json.loads(run("add", f"{root}/toy/2", "--store", other, *trust, "--json").stdout)["added"]
    verified = json.loads(run("verify", "toy/2", "--store", other, *trust, "--json").stdout)
    assert (verified["ok"], verified["signature_checked"]) == (True, True)
    assert isinstance(run("verify", "toy/1", "--store", root, *trust).exception, ModelRejected)


def test_an_alias_is_moved(root: str) -> None:
    assert run("alias", "toy/2", "champion", "--store", root).stdout == "toy@champion is toy/2\n"
    assert open_store(root).resolve("toy@champion") == ("toy", "2")


def test_retiring_without_kafka_says_that_it_was_not_asked(root: str, no_kafka: None) -> None:
    result = run("retire", "toy/2", "--store", root, "--json")
    assert json.loads(result.stdout) == {"retired": "toy/2", "kafka_asked": False}
    assert "not known which model serves" in result.stderr


def test_what_serves_by_kafka_is_not_retired(root: str, settings: Settings) -> None:
    publish(settings, Topics(settings.topic_prefix).model_active, models.encode_state(state(1, "2")))
    result = run("retire", "toy/2", "--store", root)
    assert isinstance(result.exception, ModelRejected)
    assert "serves now" in str(result.exception)
    assert open_store(root).retired("toy") == frozenset()


def test_active_shows_each_family_with_its_champion_and_challenger(settings: Settings) -> None:
    agree(settings, toy_and_flows())
    families = json.loads(run("active", "--json").stdout)["families"]
    assert [(one["family"], one["revision"], one["champion"]["version"]) for one in families] == [
        ("flows", 7, "4"),
        ("toy", 2, "2"),
    ]
    lines = run("active").stdout.splitlines()
    assert [line.split() for line in lines] == [
        ["family", "revision", "champion", "before", "challenger", "preparing"],
        ["flows", "7", "flows/4", "flows/5", "(shadow)"],
        ["toy", "2", "toy/2", "toy/1", "toy/3", "(canary)"],
    ]


def test_a_report_with_several_challengers_asks_which_family_is_meant(settings: Settings) -> None:
    agree(settings, toy_and_flows())
    result = run("report")
    assert isinstance(result.exception, SettingsError)
    assert "name one of flows, toy" in str(result.exception)
    assert json.loads(run("report", "flows", "--json").stdout)["challenger"]["name"] == "flows"
    assert isinstance(run("report", "another").exception, ModelRejected)


def toy_and_flows() -> list[ModelState]:
    """Both with a challenger."""
    toy = dataclasses.replace(
        state(2, "2"), previous=ModelRef("toy", "1", ""), challenger=ModelRef("toy", "3", "cd"),
        challenger_role="canary", canary_share=0.1,
    )  # fmt: skip
    flows = ModelState(7, ModelRef("flows", "4", "ef"), 1)
    return [
        toy,
        dataclasses.replace(flows, challenger=ModelRef("flows", "5", "01"), challenger_role="shadow"),
    ]


def agree(settings: Settings, states: list[ModelState]) -> None:
    topic = Topics(settings.topic_prefix).model_active
    with KafkaPublisher(settings) as publisher:
        publisher.publish([Message(topic, one.family.encode(), models.encode_state(one)) for one in states])


def state(revision: int, version: str) -> ModelState:
    return ModelState(revision, ModelRef("toy", version, "ab"), 1)


def publish(settings: Settings, topic: str, *values: bytes) -> None:
    with KafkaPublisher(settings) as publisher:
        publisher.publish([Message(topic, models.KEY_BEFORE_FAMILIES, value) for value in values])


def test_the_highest_revision_serves_whatever_comes_after_it(settings: Settings) -> None:
    topic = Topics(settings.topic_prefix).model_active
    assert newest_state(settings, "toy") is None
    publish(settings, topic, models.encode_state(state(2, "2")), models.encode_state(state(1, "1")), b"noise")
    found = newest_state(settings, "toy")
    assert found is not None
    assert (found.revision, found.champion.version) == (2, "2")


def test_kafka_that_does_not_answer_is_said(no_kafka: None, root: str) -> None:
    for words in (("rollback",), ("promote", "toy/2", "--store", root)):
        result = run(*words)
        assert isinstance(result.exception, BrokerUnavailable), result.exception


Answer = Callable[[ModelCommand], list[bytes]]


def decision(command: ModelCommand, outcome: str, detail: str = "") -> bytes:
    fields = {
        "kind": "decision", "worker": "w", "command_id": command.command_id, "revision": 3,
        "name": command.name or "toy", "version": command.version or "1", "digest": "ab",
        "outcome": outcome, "detail": detail, "load_s": 0.1, "at_us": 1,
    }  # fmt: skip
    return json.dumps(fields).encode()


@contextmanager
def agent(settings: Settings, answer: Answer) -> Iterator[list[ModelCommand]]:
    """Reads commands and publishes what `answer` says to each; the commands that came."""
    from confluent_kafka import Consumer, TopicPartition

    topics, seen, stop = Topics(settings.topic_prefix), [], threading.Event()
    consumer = Consumer({"bootstrap.servers": settings.kafka_servers, "group.id": "agent"})
    partitions = consumer.list_topics(topics.model_commands, timeout=DEADLINE_S).topics[topics.model_commands]
    consumer.assign([TopicPartition(topics.model_commands, n, 0) for n in partitions.partitions])

    def serve() -> None:
        while not stop.is_set():
            record = consumer.poll(0.1)
            if record is not None and record.error() is None:
                command = models.decode_command(record.value())
                seen.append(command)
                publish(settings, topics.model_status, *answer(command))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join(DEADLINE_S)
        consumer.close()


def test_promote_sends_what_it_saw_and_prints_the_decision_about_it(root: str, settings: Settings) -> None:
    """Noise, a worker's status and another command's decision come first, and are passed over."""

    def answer(command: ModelCommand) -> list[bytes]:
        status = models.decode_status(decision(command, "promoted", "all checks passed"))
        other = ModelCommand("another", "promote", "toy", 1)
        worker = ModelStatus("worker", "w", status.command_id, 3, "toy", "2", "ab", "serving", "", 0.1, 1)
        return [
            b"noise", models.encode_status(worker), decision(other, "refused"), models.encode_status(status)
        ]  # fmt: skip

    with agent(settings, answer) as seen:
        result = run("promote", "toy/2", "--store", root, "--force", "--wait", str(DEADLINE_S), "--json")
    assert result.exit_code == 0, result.exception
    printed = json.loads(result.stdout)
    (command,) = seen
    assert (printed["outcome"], printed["command_id"]) == ("promoted", command.command_id)
    assert (command.action, command.name, command.version, command.force) == ("promote", "toy", "2", True)
    assert command.digest == open_store(root).load("toy/2").identity.digest


def test_a_switch_at_exact_offsets_is_asked_for_and_its_offsets_are_printed(
    root: str, settings: Settings
) -> None:
    """That it is being prepared is told first, and is not yet the answer."""

    def answer(command: ModelCommand) -> list[bytes]:
        says = "from offsets 0:123 1:456"
        return [decision(command, "preparing"), decision(command, "promoted", says)]

    with agent(settings, answer) as seen:
        result = run("promote", "toy/2", "--store", root, "--at-offset", "now", "--wait", str(DEADLINE_S))
    assert result.exit_code == 0, result.exception
    assert result.stdout == ("promoted toy/2 from offsets 0:123 1:456 (revision 3, manifest sha256 ab)\n")
    assert [command.at_offsets for command in seen] == [{}]


def test_other_offsets_than_those_of_now_cannot_be_asked_for(root: str, no_kafka: None) -> None:
    result = run("promote", "toy/2", "--store", root, "--at-offset", "0:5")
    assert isinstance(result.exception, SettingsError)
    assert (result.exception.exit_code, "only now" in str(result.exception)) == (2, True)


def test_a_refusal_is_printed_and_ends_with_exit_code_3(root: str, settings: Settings) -> None:
    says = "latency: measured 2.00 x, allowed 1.2 x"
    with agent(settings, lambda command: [decision(command, "refused", says)]):
        result = run("promote", "toy/2", "--store", root, "--wait", str(DEADLINE_S), "--json")
    assert json.loads(result.stdout)["detail"] == says
    assert isinstance(result.exception, ModelRejected)
    assert result.exception.exit_code == 3
    assert str(result.exception) == f"toy/2: refused: {says}"


def test_rollback_names_the_version_that_serves_again(settings: Settings) -> None:
    with agent(settings, lambda command: [decision(command, "rolled_back")]) as seen:
        result = run("rollback", "--wait", str(DEADLINE_S))
        assert run("dismiss", "toy", "--wait", str(DEADLINE_S)).exit_code == 0
        assert run("rollback", "toy", "--wait", str(DEADLINE_S)).exit_code == 0
    assert result.exit_code == 0, result.exception
    assert result.stdout.startswith("rolled back to toy/1 (revision 3")
    found = [(command.action, command.name) for command in seen]
    assert found == [("rollback", ""), ("dismiss", "toy"), ("rollback", "toy")]


def test_where_nobody_decides_the_command_says_that_no_agent_runs(settings: Settings) -> None:
    result = run("rollback", "--wait", "0.3")
    assert isinstance(result.exception, Unavailable)
    assert result.exception.exit_code == 69
    assert "no model agent seems to run" in str(result.exception)


def test_what_must_not_be_promoted_is_not_even_asked_for(root: str, no_kafka: None) -> None:
    run("retire", "toy/2", "--store", root)
    for ref, says in (("toy/2", "retired"), ("toy/9", "missing"), ("toy@nobody", "no alias")):
        result = run("promote", ref, "--store", root)
        assert isinstance(result.exception, ModelRejected), result.exception
        assert says in str(result.exception)
