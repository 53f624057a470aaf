"""Why Kafka does not answer or take something, and what it does not say, is one line that helps."""

from __future__ import annotations

import contextlib
import logging
import socket
import socketserver
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AclOperation

from streams.adapters.kafka import rights
from streams.adapters.kafka.heard import advice
from streams.adapters.kafka.rights import check_rights, needed_rights
from streams.adapters.kafka.topics import list_topics
from streams.embedded.certificates import Authority
from streams.embedded.kafka import Broker
from streams.errors import AccessDenied, BrokerUnavailable
from streams.settings import Settings

Handle = Callable[[Any], None]


@contextmanager
def listening(handle: Handle) -> Iterator[str]:
    """A server of one's own on a free port; its address."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                handle(self.request)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def said(servers: str, **settings: Any) -> str:
    with pytest.raises(BrokerUnavailable) as caught:
        list_topics(Settings(kafka_servers=servers, network_timeout_s=1, **settings), "ids")
    line = str(caught.value)
    print(line)
    assert f"{servers} (AUTODEEP_KAFKA_SERVERS)" in line
    assert "\n" not in line
    return line


def http(connection: Any) -> None:
    connection.recv(100)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    connection.recv(100)


def test_a_port_of_another_protocol_is_named_as_such() -> None:
    with listening(http) as servers:
        line = said(servers)
    assert "another protocol than Kafka's: its answer begins with b'HTTP'" in line


def test_plain_text_against_a_port_with_tls_is_taken_for_what_it_is_likely_to_be(tmp_path: Path) -> None:
    with listening(with_tls(tmp_path)) as servers:
        line = said(servers)
    assert "closes them without an answer" in line
    assert "wants TLS" in line
    assert "AUTODEEP_KAFKA_SECURITY is PLAINTEXT" in line


def with_tls(folder: Path) -> Handle:
    issued = Authority(folder).issue("kafka")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.chain_file, issued.key_file)

    def shake(connection: Any) -> None:
        with context.wrap_socket(connection, server_side=True) as shaken:
            shaken.recv(1)

    return shake


def test_tls_against_a_plain_port_is_named_as_such(mock_kafka: Broker) -> None:
    line = said(mock_kafka.bootstrap_servers.split(",")[0], kafka_security="SSL")
    assert "does not speak TLS" in line
    assert "AUTODEEP_KAFKA_SECURITY is SSL" in line


def cut(connection: Any) -> None:
    connection.recv(100)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset


def test_a_proxy_whose_broker_is_away_is_not_taken_for_a_port_without_tls_alone() -> None:
    with listening(cut) as servers:
        line = said(servers, kafka_security="SSL")
    assert "closes the connection before TLS is agreed on" in line
    assert "a proxy whose broker does not run" in line


def test_a_certificate_that_does_not_hold_is_named_with_its_setting(tmp_path: Path) -> None:
    with listening(with_tls(tmp_path)) as servers:
        line = said(servers, kafka_security="SSL")
    assert "certificate verify failed" in line
    assert "AUTODEEP_KAFKA_CA_FILE" in line


def test_a_log_in_at_a_port_without_is_named_with_the_mechanism(mock_kafka: Broker) -> None:
    line = said(
        mock_kafka.bootstrap_servers.split(",")[0],
        kafka_security="SASL_PLAINTEXT",
        kafka_username="me",
        kafka_password="x",
    )
    assert "refuses user 'me'" in line
    assert "AUTODEEP_KAFKA_SASL_MECHANISM" in line


def test_an_unknown_host_and_a_port_where_nobody_listens_are_named_as_such() -> None:
    assert "no such host is known here" in said("no-such-host.invalid:9092")
    assert "Connection refused; check that the brokers run" in said("127.0.0.1:1")


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, "user 'me' lacks WRITE on topic ids.x"),
        (KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "WRITE on transactional id ids.models"),
        (KafkaError.UNSUPPORTED_COMPRESSION_TYPE, "AUTODEEP_KAFKA_COMPRESSION=zstd"),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, "`autodeep topics create` makes topic ids.x, which is not there"),
        (KafkaError.NOT_ENOUGH_REPLICAS, "check that the brokers run"),
    ],
)
def test_what_the_broker_refuses_is_told_with_what_to_do(code: int, says: str) -> None:
    settings = Settings(kafka_security="SASL_SSL", kafka_username="me", kafka_compression="zstd")
    assert says in advice(KafkaError(code), settings, "ids.x")


class FakeAdmin:
    """A cluster with all topics; `may` is what it says that the user may do with each topic and group."""

    def __init__(self, may: Any) -> None:
        self._may = may
        names = dict.fromkeys(needed_rights(Settings()))
        self.client = self
        self.heard = SimpleNamespace(clear=lambda: None)
        self.cluster = SimpleNamespace(cluster_id="c", topics=names)

    def list_topics(self, timeout: float) -> Any:
        return self.cluster

    def describe_topics(self, topics: Any, **_: Any) -> dict[str, Future[Any]]:
        return {name: self._answer() for name in self.cluster.topics}

    def describe_consumer_groups(self, names: Any, **_: Any) -> dict[str, Future[Any]]:
        return {name: self._answer() for name in names}

    def _answer(self) -> Future[Any]:
        answer: Future[Any] = Future()
        if isinstance(self._may, int):
            answer.set_exception(KafkaException(KafkaError(self._may)))
        else:
            answer.set_result(SimpleNamespace(authorized_operations=self._may))
        return answer


@pytest.mark.parametrize(
    "unsaid", [None, (), KafkaError._UNSUPPORTED_FEATURE, KafkaError.UNSUPPORTED_VERSION]
)
def test_a_service_that_does_not_tell_rights_is_warned_of_once_and_refuses_nobody(
    unsaid: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rights, "Admin", lambda settings: FakeAdmin(unsaid))
    with caplog.at_level(logging.WARNING):
        check_rights(Settings(kafka_security="SASL_SSL", kafka_username="me"))
    [record] = caplog.records
    assert "does not say what user 'me' may do with topic ids.telemetry" in record.getMessage()
    assert "group autodeep-id" in record.getMessage()


def test_a_service_that_tells_rights_and_lacks_one_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    told = [AclOperation.DESCRIBE, AclOperation.READ]
    monkeypatch.setattr(rights, "Admin", lambda settings: FakeAdmin(told))
    with pytest.raises(AccessDenied, match=r"WRITE on topic ids\.dead-letters"):
        check_rights(Settings())
