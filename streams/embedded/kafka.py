"""Brokers of our own: Apache Kafka itself from its jars, and librdkafka's mock cluster.

Each is a context manager with `bootstrap_servers`. Apache Kafka is for what must be true; the mock cluster
needs nothing but confluent-kafka, keeps about 5 MB a partition and has no CreateTopics: for the
demonstration.
"""

from __future__ import annotations

import logging
import tempfile
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from streams.embedded.kafka_jars import find_java, kafka_jars
from streams.embedded.process import ServerProcess
from streams.embedded.workers import free_port
from streams.errors import BrokerUnavailable

_START_S: Final = 60.0
_STOP_S: Final = 5.0
_METADATA_S: Final = 2.0
_MUTE: Final = logging.Logger("librdkafka while a broker starts")  # it would tell of every refused connection
_MUTE.addHandler(logging.NullHandler())


class Broker(Protocol):
    """What has the addresses of Kafka's brokers: host:port, comma-separated."""

    @property
    def bootstrap_servers(self) -> str: ...


class MockKafka:
    """librdkafka's mock cluster: a listener inside this process, which other processes can reach too.

    Topics appear on first use, with 4 partitions.
    """

    def __init__(self, brokers: int = 1) -> None:
        self._brokers = brokers
        self.bootstrap_servers = ""

    def __enter__(self) -> Self:
        from confluent_kafka import Producer  # noqa: PLC0415  # a command that only asks for help does without

        self._keeper = Producer(
            {"bootstrap.servers": "none", "test.mock.num.brokers": self._brokers}, logger=_MUTE
        )
        brokers = self._keeper.list_topics(timeout=_START_S).brokers.values()
        self.bootstrap_servers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._keeper  # the cluster ends with the client that it was made for


@dataclass(frozen=True, slots=True)
class Secured:
    """Listeners with TLS, and an authorizer: who is not named may do nothing.

    One takes log-ins, by SCRAM-SHA-512 or with a token of OAUTHBEARER that nobody signed. With `authority`, a
    PEM file, another takes the certificates that it signed, and nobody else; the user is their common name.
    Whoever comes by the plain listener may do everything. `certificate` is a PEM file of key and chain,
    `users` are names and passwords.
    """

    certificate: Path
    users: Mapping[str, str]
    authority: Path | None = None


class ApacheKafka:
    """Apache Kafka in KRaft mode on free ports of localhost: 1 node, or 3 whose leaders can be killed.

    `properties` are added to every node's server.properties. `fronts` are ports of localhost, one a node,
    that a second listener is advertised by: whoever listens there hands on to `behind_ports`. It is a plain
    one, or that of `secured`: the one that takes certificates where there is one, else the one with log-ins.
    Nodes are counted from 0 in `kill` and `restart`. Raises BrokerUnavailable, with what to install or the
    end of the node's log.
    """

    def __init__(
        self,
        nodes: int = 1,
        properties: Mapping[str, str] | None = None,
        heap_mib: int = 512,
        secured: Secured | None = None,
        fronts: Sequence[int] = (),
    ) -> None:
        if nodes not in {1, 3}:
            raise ValueError("1 node or 3: two would need both for every vote")
        if fronts and len(fronts) != nodes:
            raise ValueError("one front a node")
        self._count = nodes
        self._properties = dict(properties or {})
        self._heap_mib = heap_mib
        self._ports = [(free_port(), free_port()) for _ in range(nodes)]
        self._secured = secured
        self._secured_ports = [free_port() for _ in range(nodes)] if secured else []
        self._certified_ports = [free_port() for _ in range(nodes)] if secured and secured.authority else []
        self._fronts = tuple(fronts)
        self.behind_ports = self._certified_ports or self._secured_ports or [free_port() for _ in fronts]
        self._processes: dict[int, ServerProcess] = {}

    @property
    def nodes(self) -> int:
        return self._count

    @property
    def fronted_servers(self) -> str:
        """The addresses of the fronts."""
        return ",".join(f"127.0.0.1:{port}" for port in self._fronts)

    @property
    def secured_servers(self) -> str:
        """The addresses of the listeners with TLS and log-in."""
        return ",".join(f"localhost:{port}" for port in self._secured_ports)

    @property
    def certified_servers(self) -> str:
        """The addresses of the listeners that take certificates."""
        return ",".join(f"localhost:{port}" for port in self._certified_ports)

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(f"127.0.0.1:{port}" for port, _ in self._ports)

    def __enter__(self) -> Self:
        self._java, self._jars = find_java(), kafka_jars()
        self._temporary = tempfile.TemporaryDirectory(prefix="autodeep-kafka-", ignore_cleanup_errors=True)
        self._folder = Path(self._temporary.name)
        try:
            self._format()
            for node in range(self._count):
                self._start(node)
            self._wait_ready(range(self._count))
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.stop(_STOP_S)
        self._temporary.cleanup()

    def advertise(self, node: int, front: int) -> None:
        """Another front of a node that does not run; `restart` makes it known."""
        self._fronts = (*self._fronts[:node], front, *self._fronts[node + 1 :])
        self._config(node).write_text(self._server_properties(node), encoding="utf-8")

    def kill(self, node: int = 0) -> None:
        """A crash of the broker: SIGKILL."""
        self._processes[node].kill()

    def stop(self, node: int = 0) -> None:
        """An orderly stop: SIGTERM, and SIGKILL after half a minute."""
        self._processes[node].stop(30.0)

    def restart(self, node: int = 0) -> None:
        """Start a node that was killed or stopped, on the same data and ports, and wait until it answers."""
        self._start(node)
        self._wait_ready([node])

    def move(self, node: int = 0) -> None:
        """Start a node that was killed or stopped under another port, as a broker does at a new address."""
        self._ports[node] = free_port(), self._ports[node][1]
        self._config(node).write_text(self._server_properties(node), encoding="utf-8")
        self.restart(node)

    def _format(self) -> None:
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if cluster.startswith("-"):  # the tool would take it for an option
            cluster = "A" + cluster[1:]
        tools = []
        for node in range(self._count):
            self._config(node).write_text(self._server_properties(node), encoding="utf-8")
            tool = ["kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self._config(node))]
            for name, password in self._secured.users.items() if self._secured else ():
                tool += ["--add-scram", f"SCRAM-SHA-512=[name={name},password={password}]"]
            tools.append(ServerProcess("Kafka's StorageTool", self._command(*tool), self._log(node)))
        for tool_process in tools:
            code = tool_process.join(_START_S)
            if code != 0:
                raise BrokerUnavailable(f"Kafka's log folder was not formatted:\n{tool_process.log_tail()}")

    def _start(self, node: int) -> None:
        command = self._command("kafka.Kafka", str(self._config(node)))
        self._processes[node] = ServerProcess(f"Kafka node {node}", command, self._log(node))

    def _wait_ready(self, nodes: Iterable[int]) -> None:
        for node in nodes:
            self._processes[node].wait_until(partial(self._answers, node), _START_S, BrokerUnavailable)

    def _answers(self, node: int) -> bool:
        """Whether a node answers, and knows of all the nodes that run."""
        from confluent_kafka import KafkaException  # noqa: PLC0415
        from confluent_kafka.admin import AdminClient  # noqa: PLC0415

        client = AdminClient({"bootstrap.servers": f"127.0.0.1:{self._ports[node][0]}"}, logger=_MUTE)
        try:
            known = client.list_topics(timeout=_METADATA_S).brokers
        except KafkaException:
            return False
        return len(known) >= sum(process.running for process in self._processes.values())

    def _command(self, *arguments: str) -> list[str]:
        return [self._java, f"-Xmx{self._heap_mib}m", "-cp", f"{self._jars}/*", *arguments]

    def _config(self, node: int) -> Path:
        return self._folder / f"node-{node}.properties"

    def _log(self, node: int) -> Path:
        return self._folder / f"node-{node}.log"

    def _server_properties(self, node: int) -> str:
        port, controller_port = self._ports[node]
        voters = ",".join(f"{i + 1}@127.0.0.1:{voter}" for i, (_, voter) in enumerate(self._ports))
        in_sync = "1" if self._count == 1 else "2"
        lines = {
            "process.roles": "broker,controller",
            "node.id": str(node + 1),
            "controller.quorum.voters": voters,
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": str(self._folder / f"node-{node}"),
            "offsets.topic.replication.factor": str(self._count),
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": str(self._count),
            "transaction.state.log.min.isr": in_sync,
            "group.initial.rebalance.delay.ms": "0",
            "auto.create.topics.enable": "false",
            # Retention goes by the records' own times, and a capture's may be years old.
            "log.retention.ms": "-1",
            # A node that was killed may come back after its old session has ended: 3 s instead of 9.
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
            **(self._secured_properties(node, self._secured) if self._secured else {}),
            **(self._fronted_properties(node) if self._fronts and not self._secured else {}),
            **self._properties,
        }
        return "".join(f"{name}={value}\n" for name, value in lines.items())

    def _fronted_properties(self, node: int) -> dict[str, str]:
        port, controller_port = self._ports[node]
        plain = f"PLAINTEXT://127.0.0.1:{port}"
        behind = f"FRONTED://127.0.0.1:{self.behind_ports[node]}"
        return {
            "listeners": f"{plain},{behind},CONTROLLER://127.0.0.1:{controller_port}",
            "advertised.listeners": f"{plain},FRONTED://127.0.0.1:{self._fronts[node]}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,FRONTED:PLAINTEXT",
        }

    def _secured_properties(self, node: int, secured: Secured) -> dict[str, str]:
        port, controller_port = self._ports[node]
        open_to = [f"PLAINTEXT://127.0.0.1:{port}", f"SASL_SSL://localhost:{self._secured_ports[node]}"]
        if self._certified_ports:
            open_to.append(f"CERTIFIED://localhost:{self._certified_ports[node]}")
        known_as = open_to
        if self._fronts:  # the last one is behind it
            known_as = [*open_to[:-1], f"{open_to[-1].rpartition(':')[0]}:{self._fronts[node]}"]
        modules = "org.apache.kafka.common.security"
        scram = f"{modules}.scram.ScramLoginModule required;"
        tokens = (
            f'{modules}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";'
        )
        return {
            "listeners": ",".join([*open_to, f"CONTROLLER://127.0.0.1:{controller_port}"]),
            "advertised.listeners": ",".join(known_as),
            "listener.security.protocol.map": (
                "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL,CERTIFIED:SSL"
            ),
            "sasl.enabled.mechanisms": "SCRAM-SHA-512,OAUTHBEARER",
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": scram,
            "listener.name.sasl_ssl.oauthbearer.sasl.jaas.config": tokens,
            "listener.name.certified.ssl.client.auth": "required",
            "listener.name.certified.ssl.truststore.type": "PEM",
            "listener.name.certified.ssl.truststore.location": str(secured.authority),
            "listener.name.certified.ssl.principal.mapping.rules": "RULE:^CN=(.*?)$/$1/",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(secured.certificate),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }
