"""The parts of a demonstration, started and wired: broker, Redis, topics, one worker, a sender, a reader."""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Final
from uuid import uuid4

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition

from streams.adapters.kafka.client import LOG, client_config, where
from streams.adapters.kafka.telemetry import TelemetrySender
from streams.adapters.kafka.topics import create_topics, topic_specs, touch_topics
from streams.codec.output.alerts import decode_alert
from streams.codec.output.incidents import decode_incident
from streams.core.alerts import Alert
from streams.core.kdd99 import KDD99
from streams.core.topics import Topics
from streams.demo.change import Promotion, versions
from streams.demo.play import Polled
from streams.demo.rows import RowSender
from streams.demo.simulator import Simulation
from streams.embedded.kafka import MockKafka
from streams.embedded.redis import RedisServer
from streams.embedded.workers import WorkerProcess
from streams.errors import BrokerUnavailable, Unavailable
from streams.settings import PREFIX, RESERVED, Settings

_BATCH: Final = 1000
_NO_ERROR_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Stage:
    settings: Settings
    worker: WorkerProcess
    sender: RowSender
    reader: Reader
    promotion: Promotion

    def check(self) -> None:
        """Raise Unavailable, with the end of its log, if the worker has ended."""
        code = self.worker.exit_code
        if code is not None:
            raise Unavailable(
                f"the worker ended with exit code {code} during the demonstration; the end of its log:\n"
                f"{self.worker.log_tail()}"
            )


class Reader:
    """Reads all output topics from their beginning. `names` are those of devices, by their ids."""

    def __init__(self, settings: Settings, names: Mapping[str, str] = MappingProxyType({})) -> None:
        self._names = names
        self._topics = Topics(settings.topic_prefix)
        self._settings = settings
        config = {
            **client_config(settings),
            "group.id": f"{settings.topic_prefix}-demo",  # asked for by librdkafka; nothing is joined
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 50,
        }
        self._consumer = Consumer(config, logger=LOG)
        self._trouble_since_s: float | None = None

    def begin(self) -> None:
        """Take up all partitions. Raises BrokerUnavailable."""
        try:
            known = self._consumer.list_topics(timeout=self._settings.network_timeout_s).topics
        except KafkaException as exc:
            raise BrokerUnavailable(f"Kafka at {where(self._settings)}: {exc.args[0].str()}") from exc
        topics = self._topics
        wanted = (topics.classified, *topics.all_alerts(), topics.dead_letters, topics.incidents)
        self._consumer.assign(
            [
                TopicPartition(topic, partition, OFFSET_BEGINNING)
                for topic in wanted
                for partition in known[topic].partitions
            ]
        )

    def poll(self, wait_s: float) -> Polled:
        """What has come, within `wait_s`. Raises BrokerUnavailable where it has been away for long."""
        verdicts, alerts, incidents, dead_letters = [], [], [], 0
        for message in self._consumer.consume(_BATCH, wait_s):
            error = message.error()
            if error is not None:
                self._endure(error.str())
            elif message.topic() == self._topics.dead_letters:
                dead_letters += 1
            elif message.topic() == self._topics.incidents:
                incidents.append(decode_incident(message.value(), message.headers()))
            elif message.topic() == self._topics.classified:
                verdicts.append(self._alert(message))
            else:
                alerts.append(self._alert(message))
        if verdicts or alerts:
            self._trouble_since_s = None
        return Polled(tuple(verdicts), tuple(alerts), dead_letters, tuple(incidents))

    def _alert(self, message: Message) -> Alert:
        alert = decode_alert(message.value(), message.headers())
        name = self._names.get(alert.device_id)
        return alert if name is None else replace(alert, device_id=name)

    def close(self) -> None:
        self._consumer.close()

    def _endure(self, problem: str) -> None:
        """librdkafka tries again by itself; not for ever."""
        now_s = time.monotonic()
        self._trouble_since_s = self._trouble_since_s or now_s
        if now_s - self._trouble_since_s > _NO_ERROR_S:
            raise BrokerUnavailable(f"reading from Kafka at {where(self._settings)}: {problem}")


@contextmanager
def staged(simulation: Simulation, kafka_servers: str = "", redis_url: str = "") -> Iterator[Stage]:
    """Everything up and the worker classifying. What is not given is started here, and stopped at the end.

    Topics on a given Kafka begin with a prefix of their own and stay. Raises Unavailable and SettingsError.
    """
    with ExitStack() as parts:
        folder = Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="autodeep-demo-")))
        redis = redis_url or parts.enter_context(RedisServer()).url
        servers = kafka_servers or parts.enter_context(MockKafka()).bootstrap_servers
        prefix = f"ids-demo-{uuid4().hex[:8]}" if kafka_servers or redis_url else "ids"
        environment = environment_of(servers, redis, prefix, embedded=not kafka_servers)
        which = versions(Settings.from_environment(environment))
        environment[f"{PREFIX}MODEL"] = which.first
        settings = Settings.from_environment(environment)
        make_topics(settings, embedded=not kafka_servers)
        worker = parts.enter_context(WorkerProcess(environment, folder / "worker.log"))
        sender = RowSender(TelemetrySender(settings, KDD99), simulation)
        reader = Reader(settings)
        parts.callback(reader.close)
        reader.begin()
        worker.wait_ready()
        yield Stage(settings, worker, sender, reader, Promotion(settings, which))


def environment_of(servers: str, redis: str, prefix: str, *, embedded: bool) -> dict[str, str]:
    """The user's own settings, with those that the demonstration needs to be its own."""
    ours = {
        "KAFKA_SERVERS": servers,
        "REDIS_URL": redis,
        "TOPIC_PREFIX": prefix,
        "GROUP": prefix,
        "SCHEMA_REGISTRY_URL": "",
        "WRITER_SCHEMAS": "",
        "ALERT_FORMAT": "auto",
        "PUBLISH_CLASSIFIED": "true",
        "WINDOW_TTL_DAYS": "0.05",
        "MODEL_LATENCY_RATIO": "10",  # on a shared machine a moment's delay says nothing of a model
    }
    if embedded:
        ours["KAFKA_SECURITY"] = "PLAINTEXT"
        ours["FETCH_MAX_WAIT_MS"] = "20"  # the mock cluster answers no sooner when something arrives
    return {**_inherited(os.environ, tuple(ours)), **{PREFIX + name: text for name, text in ours.items()}}


def _inherited(environment: Mapping[str, str], replaced: tuple[str, ...]) -> dict[str, str]:
    own = {PREFIX + name + end for name in (*replaced, "WEB_PORT", "WEB_BIND") for end in ("", "_FILE")}
    return {
        name: text
        for name, text in environment.items()
        if name.startswith(PREFIX) and not name.startswith(RESERVED) and name not in own
    }


def make_topics(settings: Settings, *, embedded: bool) -> None:
    specs = topic_specs(Topics(settings.topic_prefix), outputs=settings.output_names)
    if embedded:
        touch_topics(settings, [spec.name for spec in specs])
    else:
        create_topics(settings, specs)


def quiet() -> None:
    """Nothing of librdkafka's on a terminal with a live view in it."""
    LOG.setLevel(logging.CRITICAL)


def stopped_in_order() -> None:
    """Let SIGTERM and a closed terminal, too, stop Redis and the worker: they would run on without us."""

    def leave(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)  # once is enough
        raise SystemExit(128 + number)

    for told in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(told, leave)
