"""The parts that benches start: Apache Kafka, Redis, topics and workers, each one's log in a folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from streams.adapters.kafka.topics import TELEMETRY_PARTITIONS, create_topics, topic_specs
from streams.core.topics import Topics
from streams.embedded.kafka import ApacheKafka
from streams.embedded.redis import RedisServer
from streams.embedded.workers import WorkerProcess
from streams.settings import PREFIX, Settings


@dataclass(frozen=True, slots=True)
class Parts:
    settings: Settings
    environment: dict[str, str]
    logs: Path
    stack: ExitStack
    kafka: ApacheKafka
    telemetry_partitions: int

    @property
    def topics(self) -> Topics:
        return Topics(self.settings.topic_prefix)

    def worker(self, name: str) -> WorkerProcess:
        return self.stack.enter_context(WorkerProcess(self.environment, self.logs / f"{name}.log"))

    @contextmanager
    def apart(self, prefix: str) -> Iterator[Parts]:
        """The same servers with topics, group, and workers of their own, which end with the context."""
        own = {f"{PREFIX}TOPIC_PREFIX": prefix, f"{PREFIX}GROUP": prefix}
        environment = {**self.environment, **own}
        parsed = Settings.from_environment(environment)
        create_topics(parsed, topic_specs(Topics(prefix)))
        logs = self.logs / prefix
        logs.mkdir()
        with ExitStack() as stack:
            yield replace(self, settings=parsed, environment=environment, logs=logs, stack=stack)


@contextmanager
def started(broker: Mapping[str, str] | None = None, **settings: str) -> Iterator[Parts]:
    """Kafka and Redis of our own with topics made. `broker` adds properties, `settings` are by field name."""
    with ExitStack() as stack:
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="autodeep-bench-")))
        kafka = stack.enter_context(ApacheKafka(properties=broker))
        redis = stack.enter_context(RedisServer())
        environment = {
            f"{PREFIX}{name.upper()}": value
            for name, value in {
                "kafka_servers": kafka.bootstrap_servers,
                "redis_url": redis.url,
                **settings,
            }.items()
        }
        parsed = Settings.from_environment(environment)
        create_topics(parsed, topic_specs(Topics(parsed.topic_prefix)))
        yield Parts(parsed, environment, logs, stack, kafka, TELEMETRY_PARTITIONS)
