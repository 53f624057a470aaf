"""Kafka with TLS, SCRAM and ACLs, Redis with TLS and an ACL user: with the least rights, and with less."""

from __future__ import annotations

import contextlib
import datetime
import re
import socketserver
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import redis
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from streams.adapters.kafka.publisher import KafkaPublisher
from streams.adapters.kafka.reading import Reader
from streams.adapters.kafka.rights import check_rights
from streams.adapters.kafka.topics import list_topics, wait_for_broker
from streams.adapters.kafka.worker_topic import read_figures
from streams.client.flow_topics import Tail, TopicTail
from streams.client.orders import order
from streams.codec.ingest.connections import encode_connections
from streams.codec.models import ModelCommand
from streams.codec.output.alerts import decode_alert
from streams.core.events import Message
from streams.core.kdd99 import KDD99
from streams.core.topics import Topics
from streams.core.workers import LEFT
from streams.doctor.examine import examine
from streams.doctor.findings import Level
from streams.embedded.certificates import Authority, Issued
from streams.embedded.kafka import ApacheKafka, Secured
from streams.embedded.redis import RedisServer
from streams.embedded.workers import WorkerProcess, free_port
from streams.errors import AccessDenied, BrokerUnavailable, Unavailable
from streams.settings import Settings
from tests.conftest import NO_KAFKA, NO_REDIS, absent
from tests.oidc import TokenEndpoint, token_endpoint
from tests.path import DEADLINE_S, TestedPath, named, path
from tests.pipeline.test_dead_letters_path import good_rows

pytestmark = [pytest.mark.kafka, pytest.mark.redis]

USER, PASSWORD, REDIS_PASSWORD = "worker", "kafka-5ecret", "redis-5ecret"
WRONG, KEY_PASSWORD = "wr0ng-passw0rd", "key-5ecret"
LEAST_REDIS = (
    "+ping +hello +mget +set +setrange +getrange +pexpire +evalsha "
    "+hget +hset +hdel +hmget +hscan +unlink +script|load +info"
)


@dataclass(frozen=True)
class SecuredParts:
    kafka: ApacheKafka
    authority: Authority
    redis_port: int
    admin: AdminClient

    def settings(self, **changed: str) -> dict[str, str]:
        return {
            "kafka_servers": self.kafka.secured_servers,
            "kafka_security": "SASL_SSL",
            "kafka_username": USER,
            "kafka_password": PASSWORD,
            "kafka_ca_file": str(self.authority.ca_file),
            "redis_url": self.redis_url(REDIS_PASSWORD),
            "redis_ca_file": str(self.authority.ca_file),
            **changed,
        }

    def with_certificate(self, name: str = USER, **changed: str) -> dict[str, str]:
        """Without a log-in: the certificate says who we are. Its key is locked."""
        issued = self.authority.issue(name, password=KEY_PASSWORD.encode())
        return self.settings(
            kafka_servers=self.kafka.certified_servers, kafka_security="SSL",
            kafka_certificate_file=str(issued.chain_file), kafka_key_file=str(issued.key_file),
            kafka_key_password=KEY_PASSWORD,
        ) | changed  # fmt: skip

    def with_tokens(self, provider: TokenEndpoint, **changed: str) -> dict[str, str]:
        return self.settings(
            kafka_sasl_mechanism="OAUTHBEARER", kafka_oauth_token_url=provider.url,
            kafka_oauth_client_id=provider.CLIENT, kafka_oauth_client_secret=provider.SECRET,
            kafka_oauth_scope="kafka", kafka_oauth_ca_file=str(self.authority.ca_file),
        ) | changed  # fmt: skip

    def redis_url(self, password: str) -> str:
        return f"rediss://{USER}:{password}@localhost:{self.redis_port}/0"

    @contextmanager
    def tested(self, folder: Path) -> Iterator[TestedPath]:
        """A path of its own topics, made over the plain listener; its workers come over the other."""
        with path(self.kafka.bootstrap_servers, "redis://unused", folder) as tested:
            yield tested

    def take(self, right: AclBinding) -> None:
        """Away, while workers run."""
        wanted = AclBindingFilter(
            right.restype, right.name, right.resource_pattern_type, right.principal, right.host,
            right.operation, right.permission_type,
        )  # fmt: skip
        for future in self.admin.delete_acls([wanted]).values():
            assert len(future.result(DEADLINE_S)) == 1

    def give(self, right: AclBinding) -> None:
        for future in self.admin.create_acls([right]).values():
            future.result(DEADLINE_S)

    def grant(self, tested: TestedPath, without: Sequence[AclBinding] = ()) -> None:
        for future in self.admin.create_acls(
            [acl for acl in least_rights(tested) if acl not in without]
        ).values():
            future.result(DEADLINE_S)


def least_rights(tested: TestedPath) -> list[AclBinding]:
    """docs/operating.md lists these, and only these."""
    topics, prefix = tested.topics, tested.settings.topic_prefix
    read, write = AclOperation.READ, AclOperation.WRITE
    return [
        allowed(ResourceType.TOPIC, topics.telemetry, read),
        allowed(ResourceType.TOPIC, topics.model_commands, read),
        *(allowed(ResourceType.TOPIC, name, write) for name in written(topics)),
        allowed(ResourceType.TOPIC, topics.model_active, read),
        allowed(ResourceType.TOPIC, topics.model_active, write),
        allowed(ResourceType.TOPIC, topics.model_status, read),
        allowed(ResourceType.TOPIC, topics.model_status, write),
        allowed(ResourceType.GROUP, tested.settings.group, read),
        allowed(ResourceType.TRANSACTIONAL_ID, f"{prefix}.models", write, ResourcePatternType.PREFIXED),
    ]


def written(topics: Topics) -> tuple[str, ...]:
    outputs = (topics.dead_letters, topics.incidents, topics.classified, topics.disagreements)
    return (*topics.all_alerts(), *outputs, topics.workers)


def allowed(
    kind: ResourceType,
    name: str,
    operation: AclOperation,
    pattern: ResourcePatternType = ResourcePatternType.LITERAL,
) -> AclBinding:
    return AclBinding(kind, name, pattern, f"User:{USER}", "*", operation, AclPermissionType.ALLOW)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredParts]:
    authority = Authority(tmp_path_factory.mktemp("certificates"))
    with ExitStack() as stack:
        try:
            users = {USER: PASSWORD}
            issued = authority.issue("kafka")
            listeners = Secured(issued.both_file, users, authority.ca_file)
            kafka = stack.enter_context(ApacheKafka(secured=listeners))
        except Unavailable as exc:
            absent(f"{NO_KAFKA}{exc}")
        port = stack.enter_context(redis_with_tls(authority, "redis", LEAST_REDIS))
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
        yield SecuredParts(kafka, authority, port, admin)


@contextmanager
def redis_with_tls(authority: Authority, name: str, commands: str) -> Iterator[int]:
    """A Redis with TLS, and a user of just these commands; its port."""
    port, issued = free_port(), authority.issue(name)
    arguments = (
        "--tls-port", str(port), "--tls-cert-file", str(issued.chain_file), "--tls-key-file",
        str(issued.key_file), "--tls-ca-cert-file", str(authority.ca_file), "--tls-auth-clients", "no",
    )  # fmt: skip
    with ExitStack() as stack:
        try:
            server = stack.enter_context(RedisServer(arguments))
        except Unavailable as exc:
            absent(f"{NO_REDIS}{exc}")
        with redis.Redis.from_url(server.url) as client:
            client.acl_setuser(
                USER, enabled=True, passwords=[f"+{REDIS_PASSWORD}"], keys=["*:w:*", "*:i:*"],
                commands=commands.split(), reset=True,
            )  # fmt: skip
        yield port


def ended(tested: TestedPath, settings: Mapping[str, str]) -> tuple[int | None, str]:
    """Exit code and log of a worker that cannot start."""
    worker = tested.worker(**{"start_timeout_s": "5", "network_timeout_s": "3", **settings})
    deadline_s = time.monotonic() + DEADLINE_S
    while worker.exit_code is None:
        assert time.monotonic() < deadline_s, worker.log_tail()
        time.sleep(0.05)
    log = worker.log_tail(60)
    for secret in (PASSWORD, REDIS_PASSWORD, WRONG, KEY_PASSWORD, TokenEndpoint.SECRET):
        assert secret not in log
    assert "Traceback" not in log
    print(worker.exit_code, log.splitlines()[-1])
    return worker.exit_code, log


def test_a_worker_with_the_least_rights_classifies_everything_and_follows_models(
    secured: SecuredParts, tmp_path: Path
) -> None:
    rows = good_rows(200)
    devices = [f"d{i % 8}" for i in range(len(rows))]
    values = encode_connections(KDD99, devices, 1_700_000_000_000_000 + np.arange(len(rows)), rows)
    with secured.tested(tmp_path) as tested:
        secured.grant(tested)
        tested.send([(device.encode(), value) for device, value in zip(devices, values, strict=True)])
        worker = tested.worker(**secured.settings())
        verdicts = tested.read([tested.topics.classified], lambda found: len(found) >= len(rows))
        decided = order(tested.settings, nonsense(), wait_s=DEADLINE_S)  # read, decided, written
        found = examine(of_worker(tested, secured.settings()), 0.0, lambda name: None)
        assert worker.stop() == 0
        assert [one.role for one in read_figures(tested.settings).figures.values()] == [LEFT]
        tested.send([(device.encode(), value) for device, value in zip(devices, values, strict=True)])
        rebuilding = tested.worker(
            **secured.settings(rebuild_windows_records="1000")
        )  # nobody marked anything
        tested.read([tested.topics.classified], lambda found: len(found) >= 2 * len(rows))
        assert rebuilding.stop() == 0
    assert "reading back offsets 0 to 199" in tested.logs()
    assert [one for one in found if one.level is Level.BROKEN] == []
    assert (decided.outcome, decided.kind) == ("refused", "decision")
    assert {decode_alert(message.value()).offset for message in verdicts} == set(range(len(rows)))
    assert "away" not in tested.logs()
    for secret in (PASSWORD, REDIS_PASSWORD):
        assert secret not in tested.logs()


def test_an_operator_with_the_rights_that_strimzi_is_given_checks_a_deployment(
    secured: SecuredParts, tmp_path: Path
) -> None:
    """Sends, reads what comes of it, and sees where the group stands: nothing is refused."""
    from streams.adapters.kafka.strimzi import rights_by_user
    from streams.client.checking import check, flood

    kinds = {
        "topic": ResourceType.TOPIC,
        "group": ResourceType.GROUP,
        "transactionalId": ResourceType.TRANSACTIONAL_ID,
    }
    with secured.tested(tmp_path) as tested:
        for right in rights_by_user(tested.settings)["autodeep-operator"]:
            for operation in right.operations:
                secured.give(allowed(kinds[right.kind], right.name, operation))
        settings = Settings.from_environment({**tested.environment, **named(secured.settings())})

        def checks() -> str:
            with pytest.raises(Unavailable) as caught:
                check(settings, flood(3), 1.0)
            return str(caught.value)

        comes_to_say(checks, r"came on 0\. .* has committed nothing")
        without = allowed(ResourceType.TOPIC, tested.topics.dead_letters, AclOperation.READ)
        secured.take(without)
        comes_to_say(checks, f"READ on topic {tested.topics.dead_letters}")


def comes_to_say(ask: Callable[[], str], pattern: str) -> None:
    """Brokers hear of a right that was given or taken some time after it was answered."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not re.search(pattern, said := ask()):
        assert time.monotonic() < deadline_s, said


@pytest.mark.parametrize("how", ["certificate", "tokens"])
def test_a_worker_shows_a_certificate_or_a_token_with_both_clients(
    secured: SecuredParts, tmp_path: Path, how: str
) -> None:
    """Tokens live for seconds: both clients fetch others while it runs.

    It may not tell the fleet of itself either, which it says once and goes on.
    """
    rows = good_rows(40)
    values = encode_connections(KDD99, ["d0"] * 40, 1_700_000_000_000_000 + np.arange(40), rows)
    with secured.tested(tmp_path) as tested, token_endpoint(secured.authority, USER) as provider:
        fleet = tested.topics.workers
        secured.grant(tested, without=[allowed(ResourceType.TOPIC, fleet, AclOperation.WRITE)])
        ways = {"certificate": secured.with_certificate, "tokens": lambda: secured.with_tokens(provider)}
        worker = tested.worker(**ways[how]())
        for number, value in enumerate(values[:2] if how == "certificate" else values):
            tested.send([(b"d0", value)])
            tested.read([tested.topics.classified], partial(_more_than, number))
            if number and provider.given > 8:
                break
        assert 'autodeep_fleet_reports_total{outcome="failed"} 1.0' in worker.metrics()
        assert worker.stop() == 0
    assert tested.logs().count("does not see this worker") == 1
    assert f"WRITE on {fleet}" in tested.logs() or f"no topic {fleet}" in tested.logs()
    assert provider.given > 8 if how == "tokens" else not provider.given
    assert "away" not in tested.logs()
    assert TokenEndpoint.SECRET not in tested.logs()


def test_a_publisher_shows_the_certificate_that_was_renewed_and_a_missing_right_is_named(
    secured: SecuredParts, tmp_path: Path
) -> None:
    """The renewed one is of somebody who may not write: so it is seen that it is the one shown."""
    with secured.tested(tmp_path) as tested:
        secured.grant(tested)
        settings = of_worker(tested, secured.with_certificate(network_timeout_s="5"))
        topic = tested.topics.dead_letters
        with KafkaPublisher(settings) as publisher:
            in_time(lambda: publisher.publish([Message(topic, b"", b"first")]))  # what was granted shows soon
            other = secured.authority.issue("somebody", password=KEY_PASSWORD.encode())
            other.key_file.replace(settings.kafka_key_file)
            other.chain_file.replace(settings.kafka_certificate_file)
            for again in (b"second", b"third"):  # librdkafka refuses the next ones by itself
                with pytest.raises(BrokerUnavailable, match=rf"lacks WRITE on topic {topic}"):
                    publisher.publish([Message(topic, b"", again)])


def test_a_worker_without_the_certificate_that_is_asked_for_ends_with_one_line(
    secured: SecuredParts, tmp_path: Path
) -> None:
    with secured.tested(tmp_path) as tested:
        code, log = ended(tested, secured.with_certificate(kafka_certificate_file="", kafka_key_file=""))
    assert code == 77
    assert "AUTODEEP_KAFKA_CERTIFICATE_FILE" in log.splitlines()[-1]


def test_a_token_that_is_refused_is_one_line(secured: SecuredParts, tmp_path: Path) -> None:
    with secured.tested(tmp_path) as tested, token_endpoint(secured.authority, USER) as provider:
        code, log = ended(tested, secured.with_tokens(provider, kafka_oauth_client_secret=WRONG))
    assert code == 77
    assert "AUTODEEP_KAFKA_OAUTH" in log.splitlines()[-1]


def of_worker(tested: TestedPath, settings: Mapping[str, str]) -> Settings:
    return Settings.from_environment({**tested.environment, **named(settings)})


def in_time(publish: Callable[[], None]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while True:
        try:
            return publish()
        except BrokerUnavailable:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)


def test_a_right_that_is_taken_away_is_named_and_waited_for_and_reading_goes_on_once_it_is_back(
    secured: SecuredParts, tmp_path: Path
) -> None:
    rows = good_rows(10)
    values = encode_connections(KDD99, ["d"] * len(rows), 1_700_000_000_000_000 + np.arange(len(rows)), rows)
    with secured.tested(tmp_path) as tested:
        telemetry, commands, group = (
            tested.topics.telemetry, tested.topics.model_commands, tested.settings.group,
        )  # fmt: skip
        secured.grant(tested)
        worker = tested.worker(**secured.settings())
        worker.wait_ready()
        sent = 0
        for kind, name in (("topic", telemetry), ("topic", commands), ("group", group)):
            right = allowed(getattr(ResourceType, kind.upper()), name, AclOperation.READ)
            said = f"READ on {kind} {name} is missing for user '{USER}'"
            secured.take(right)
            until(tested, partial(_says, worker, said))
            assert said in tested.logs()
            if name == telemetry:  # so long that the group is rebalanced without it
                until(tested, lambda: f"partitions of {telemetry}: none" in tested.logs())
                until(tested, partial(_says, worker, said))
            secured.give(right)
            until(tested, lambda: worker.ready()["ready"])
            tested.send([(b"d", value) for value in values])
            sent += len(values)
            tested.read([tested.topics.classified], partial(_more_than, sent - 1))
        assert worker.stop() == 0
    assert "Traceback" not in tested.logs()


def until(tested: TestedPath, condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, tested.logs()
        assert all(worker.exit_code is None for worker in tested.workers), tested.logs()
        time.sleep(0.05)


def nonsense() -> ModelCommand:
    return ModelCommand(str(uuid.uuid4()), "promote", "kdd99", time.time_ns() // 1000, version="none")


def test_a_wrong_kafka_password_is_one_line(secured: SecuredParts, tmp_path: Path) -> None:
    with secured.tested(tmp_path) as tested:
        code, log = ended(tested, secured.settings(kafka_password=WRONG))
    assert code == 77
    assert f"refuses user '{USER}'" in log.splitlines()[-1]
    assert "AUTODEEP_KAFKA_PASSWORD" in log.splitlines()[-1]


def test_a_mechanism_that_the_brokers_do_not_offer_is_told_with_those_that_they_do(
    secured: SecuredParts,
) -> None:
    wrong = secured.settings(kafka_sasl_mechanism="PLAIN", network_timeout_s="2")
    with pytest.raises(BrokerUnavailable) as caught:
        list_topics(Settings.from_environment(named(wrong)), "ids")
    assert "AUTODEEP_KAFKA_SASL_MECHANISM" in str(caught.value)
    assert "SCRAM-SHA-512" in str(caught.value)


def test_a_wrong_redis_password_is_one_line(secured: SecuredParts, tmp_path: Path) -> None:
    with secured.tested(tmp_path) as tested:
        code, log = ended(tested, secured.settings(redis_url=secured.redis_url(WRONG)))
    assert code == 77
    assert "AUTODEEP_REDIS_URL" in log.splitlines()[-1]
    assert "invalid username-password" in log.splitlines()[-1]


@pytest.mark.parametrize(
    ("lacking", "says"),
    [
        (lambda t: allowed(ResourceType.TOPIC, t.topics.telemetry, AclOperation.READ), "READ on topic"),
        (
            lambda t: allowed(ResourceType.TOPIC, t.topics.alerts("dos"), AclOperation.WRITE),
            "WRITE on topic",
        ),
        (lambda t: allowed(ResourceType.TOPIC, t.topics.model_status, AclOperation.READ), "READ on topic"),
        (
            lambda t: allowed(ResourceType.TOPIC, t.topics.model_commands, AclOperation.READ),
            "models.commands",
        ),
        (lambda t: allowed(ResourceType.GROUP, t.settings.group, AclOperation.READ), "READ on group"),
    ],
)
def test_a_missing_right_is_one_line_that_names_it(
    secured: SecuredParts, tmp_path: Path, lacking: object, says: str
) -> None:
    with secured.tested(tmp_path) as tested:
        secured.grant(tested, without=[lacking(tested)])  # type: ignore[operator]
        code, log = ended(tested, secured.settings())
    assert code == 77
    assert says in log.splitlines()[-1]


def test_who_shows_a_certificate_is_told_what_is_missing_as_one_with_a_log_in_is(
    secured: SecuredParts, tmp_path: Path
) -> None:
    with secured.tested(tmp_path) as tested:
        mine = secured.with_certificate("nobody", network_timeout_s="5")
        settings = Settings.from_environment({**tested.environment, **named(mine)})
        topic = tested.topics.telemetry
        with (
            Reader(settings, "reading") as reader,
            pytest.raises(BrokerUnavailable, match=f"READ on topic {topic} is missing for this user"),
        ):
            reader.places([topic])
        with pytest.raises(BrokerUnavailable, match=f"READ on topic {topic} is missing for this user"):
            TopicTail(settings, topic, Tail())
        wait_for_broker(settings, lambda attempt: attempt(), [topic])
        with pytest.raises(AccessDenied, match=f"READ on topic {topic}"):
            check_rights(settings)


def test_a_redis_user_without_a_command_is_one_line(secured: SecuredParts, tmp_path: Path) -> None:
    fewer = LEAST_REDIS.replace("+setrange ", "")
    with secured.tested(tmp_path) as tested, redis_with_tls(secured.authority, "less", fewer) as port:
        url = f"rediss://{USER}:{REDIS_PASSWORD}@localhost:{port}/0"
        code, log = ended(tested, secured.settings(redis_url=url))
    assert code == 77
    assert "setrange" in log.splitlines()[-1]


@pytest.mark.parametrize("which", ["kafka", "redis"])
def test_an_expired_certificate_is_one_line(secured: SecuredParts, tmp_path: Path, which: str) -> None:
    expired = secured.authority.issue(f"expired-{which}", valid_for=-datetime.timedelta(hours=1))
    with secured.tested(tmp_path) as tested, tls_server(expired) as port:
        changed = {
            "kafka": {"kafka_servers": f"localhost:{port}"},
            "redis": {"redis_url": f"rediss://{USER}:{REDIS_PASSWORD}@localhost:{port}/0"},
        }
        code, log = ended(tested, secured.settings(**changed[which]))
    assert code == 77
    assert "certificate" in log.splitlines()[-1]
    assert f"AUTODEEP_{which.upper()}_CA_FILE" in log.splitlines()[-1]


@contextmanager
def tls_server(issued: Issued) -> Iterator[int]:
    """A server that shakes hands with that certificate, and no more; its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.chain_file, issued.key_file)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError), context.wrap_socket(self.request, server_side=True) as shaken:
                shaken.recv(1)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def _more_than(least: int, found: list[Message]) -> bool:
    return len(found) > least


def _says(worker: WorkerProcess, problem: str) -> bool:
    """Whether its page of readiness names that."""
    return problem in (worker.ready().get("why_not") or "")
