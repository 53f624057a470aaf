"""A worker on real Kafka and Redis, with topics of its own, for the tests that need the whole path."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from confluent_kafka import Message, Producer

from streams.adapters.kafka.reading import Reader
from streams.adapters.kafka.topics import create_topics, topic_specs
from streams.core.topics import Topics
from streams.embedded.workers import WorkerProcess
from streams.settings import PREFIX, Settings

DEADLINE_S = 60.0


@dataclass(frozen=True)
class TestedPath:
    __test__ = False  # no test, for all its name

    settings: Settings
    topics: Topics
    environment: Mapping[str, str]
    folder: Path
    stack: ExitStack
    workers: list[WorkerProcess]

    def worker(self, **settings: str) -> WorkerProcess:
        environment = {**self.environment, **named(settings)}
        log = self.folder / f"worker-{uuid4().hex[:6]}.log"
        self.workers.append(self.stack.enter_context(WorkerProcess(environment, log)))
        return self.workers[-1]

    def logs(self) -> str:
        return "\n".join(log.read_text() for log in self.folder.glob("worker-*.log"))

    def producer(self, compression: str = "none") -> Producer:
        return Producer(
            {
                "bootstrap.servers": self.settings.kafka_servers,
                "message.max.bytes": 64_000_000,
                "enable.idempotence": True,  # else a batch that is sent again may come after its successor
                "compression.type": compression,
            }
        )

    def send(
        self,
        records: Sequence[tuple[bytes | None, bytes | None]],
        partition: int = 0,
        compression: str = "none",
        producer: Producer | None = None,
        headers: Sequence[tuple[str, bytes]] = (("trace", b"\x00\xff"),),
    ) -> None:
        """`producer`: for who sends often, since to connect takes longer than to send."""
        producer = producer or self.producer(compression)
        failed: list[object] = []
        for key, value in records:
            producer.produce(
                self.topics.telemetry,
                key=key,
                value=value,
                partition=partition,
                headers=list(headers),
                on_delivery=lambda error, _: failed.append(error) if error else None,
            )
        assert producer.flush(DEADLINE_S) == 0
        assert not failed

    def read(self, topics: Sequence[str], enough: Callable[[list[Message]], bool]) -> list[Message]:
        """Everything on these topics, from the beginning, until there is enough of it."""
        found: list[Message] = []
        deadline_s = time.monotonic() + DEADLINE_S
        with Reader(self.settings, "reading", {"fetch.message.max.bytes": 4_000_000}) as reader:
            reader.assign(reader.places(topics))
            while not enough(found):
                late = time.monotonic() > deadline_s
                dead = self.workers and all(worker.exit_code is not None for worker in self.workers)
                if late or dead:
                    raise AssertionError(f"{len(found)} records so far\n{self.logs()}")
                found += reader.take()
        return found


def named(settings: Mapping[str, str]) -> dict[str, str]:
    """Settings by field name, as environment variables."""
    return {f"{PREFIX}{name.upper()}": value for name, value in settings.items()}


@contextmanager
def path(
    servers: str, redis_url: str, folder: Path, partitions: int = 4, /, **settings: str
) -> Iterator[TestedPath]:
    prefix = f"t{uuid4().hex[:8]}"
    environment = named(
        {
            "kafka_servers": servers,
            "redis_url": redis_url,
            "topic_prefix": prefix,
            "group": prefix,
            "publish_classified": "true",
            **settings,
        }
    )
    parsed = Settings.from_environment(environment)
    create_topics(parsed, topic_specs(Topics(prefix), partitions, parsed.output_names))
    with ExitStack() as stack:
        yield TestedPath(parsed, Topics(prefix), environment, folder, stack, [])
