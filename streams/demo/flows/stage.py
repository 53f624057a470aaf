"""The parts that sensors' records go through, started and wired: broker, Redis, one worker, a sender."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from uuid import uuid4

from streams.adapters.kafka.telemetry import Sender
from streams.adapters.store.models import open_store
from streams.core.topics import Topics
from streams.demo.flows.account import Standing, standing_of
from streams.demo.stage import Reader, environment_of, make_topics
from streams.embedded.kafka import MockKafka
from streams.embedded.redis import RedisServer
from streams.embedded.workers import WorkerProcess
from streams.errors import Unavailable
from streams.settings import PREFIX, Settings


@dataclass(frozen=True, slots=True)
class Asked:
    """What is not given is started here, or as the settings have it."""

    kafka_servers: str = ""
    redis_url: str = ""
    home: str = ""
    """Networks of devices."""
    told: bool = True
    """Whether every verdict is published, normal ones too."""
    learns: bool = True
    """Whether devices are learnt about at first, as the settings have it. Not in what lasts minutes."""


@dataclass(frozen=True, slots=True)
class FlowStage:
    settings: Settings
    worker: WorkerProcess
    sender: Sender
    """To the topic of sensors."""
    reader: Reader
    model: str
    """Of flows: its name and version."""

    def standing(self) -> Standing:
        return standing_of(self.worker.figures())

    def check(self) -> None:
        """Raise Unavailable, with the end of its log, if the worker has ended."""
        code = self.worker.exit_code
        if code is not None:
            raise Unavailable(
                f"the worker ended with exit code {code}; the end of its log:\n{self.worker.log_tail()}"
            )


@contextmanager
def staged_flows(asked: Asked, names: Mapping[str, str] = MappingProxyType({})) -> Iterator[FlowStage]:
    """Everything up, and a worker that begins to read the topic of sensors: it is to be waited for.

    `names` are those of devices, by address.
    Topics on a given Kafka begin with a prefix of their own and stay. Raises Unavailable,
    SettingsError, and ModelRejected where the store has no model of flows.
    """
    model = _model()
    with ExitStack() as parts:
        folder = Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="autodeep-flows-")))
        redis = asked.redis_url or parts.enter_context(RedisServer()).url
        servers = asked.kafka_servers or parts.enter_context(MockKafka()).bootstrap_servers
        prefix = f"ids-demo-{uuid4().hex[:8]}" if asked.kafka_servers or asked.redis_url else "ids"
        environment = environment_of(servers, redis, prefix, embedded=not asked.kafka_servers)
        environment[f"{PREFIX}FLOW_TOPICS"] = Topics(prefix).sensors
        if asked.home:
            environment[f"{PREFIX}HOME_NETWORKS"] = asked.home
        if not asked.learns:
            environment.setdefault(f"{PREFIX}FLOW_LEARNING_S", "0")
        environment[f"{PREFIX}PUBLISH_CLASSIFIED"] = str(asked.told).lower()
        settings = Settings.from_environment(environment)
        make_topics(settings, embedded=not asked.kafka_servers)
        worker = parts.enter_context(WorkerProcess(environment, folder / "worker.log"))
        sender = Sender(settings, Topics(prefix).sensors)
        reader = Reader(settings, names)
        parts.callback(reader.close)
        reader.begin()
        yield FlowStage(settings, worker, sender, reader, model)


def _model() -> str:
    """Name and version. Raises ModelRejected where there is none: a worker would go on without it."""
    environment = environment_of("localhost:9092", "redis://localhost", "ids", embedded=True)
    settings = Settings.from_environment(environment)
    return "/".join(open_store(settings.model_store, settings.model_trust_key).resolve(settings.flow_model))
