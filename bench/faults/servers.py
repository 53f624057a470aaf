"""What one schedule runs on: Kafka, Redis, a proxy before each, topics, and a store of two alike models."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bench.faults.proxy import Proxy
from bench.faults.schedules import Cut
from bench.model_orders import alike
from streams.adapters.kafka.topics import create_topics, topic_specs
from streams.core.topics import Topics
from streams.embedded.kafka import ApacheKafka
from streams.embedded.redis import RedisServer
from streams.settings import PREFIX, Settings

PARTITIONS: Final = 4
HEAP_MIB: Final = 256
VERSIONS: Final = ("1", "2")
_BROKER: Final = {
    "log.message.timestamp.type": "LogAppendTime",  # stalls and recoveries are read off these
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
}
_APPEND_ONLY: Final = ("--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction")


@dataclass(frozen=True, slots=True)
class Servers:
    """`settings` lead straight to the servers, for the bench; `environment` through the proxies, for workers.

    What strikes a server holds its lock, so that one strike at a time does.
    """

    settings: Settings
    environment: dict[str, str]
    logs: Path
    kafka: ApacheKafka
    redis: RedisServer
    kafka_proxies: tuple[Proxy, ...]
    """One before each node as Kafka names it, then one before each as workers are configured."""
    redis_proxy: Proxy
    digests: dict[str, str]  # of each version
    kafka_lock: threading.Lock
    redis_lock: threading.Lock
    topic_lock: threading.Lock
    kafka_cut_lock: threading.Lock
    redis_cut_lock: threading.Lock

    @property
    def topics(self) -> Topics:
        return Topics(self.settings.topic_prefix)

    def cut_kafka(self, manner: Cut | None) -> None:
        for proxy in self.kafka_proxies:
            proxy.cut(manner)


@contextmanager
def serving(nodes: int, *, rebuild: bool = False) -> Iterator[Servers]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="autodeep-bench-")))
        digests = dict(zip(VERSIONS, alike(str(folder / "store"), len(VERSIONS)), strict=True))
        fronts = tuple(stack.enter_context(Proxy()) for _ in range(nodes))
        doors = tuple(stack.enter_context(Proxy()) for _ in range(nodes))
        ports = [front.port for front in fronts]
        kafka = stack.enter_context(ApacheKafka(nodes, _BROKER, heap_mib=HEAP_MIB, fronts=ports))
        for front, door, port in zip(fronts, doors, kafka.behind_ports, strict=True):
            front.target_port = door.target_port = port
        redis = stack.enter_context(RedisServer(_APPEND_ONLY))
        before_redis = stack.enter_context(Proxy(redis.port))
        environment = _environment(doors, before_redis, folder / "store", rebuild)
        direct = replace(
            Settings.from_environment(environment),
            kafka_servers=kafka.bootstrap_servers,
            redis_url=redis.url,
        )
        create_topics(direct, topic_specs(Topics(direct.topic_prefix), PARTITIONS))
        logs = folder / "logs"
        logs.mkdir()
        locks = [threading.Lock() for _ in range(5)]
        yield Servers(
            direct, environment, logs, kafka, redis, (*fronts, *doors), before_redis, digests, *locks
        )


def _environment(doors: Sequence[Proxy], before_redis: Proxy, store: Path, rebuild: bool) -> dict[str, str]:
    settings = {
        "kafka_servers": ",".join(f"127.0.0.1:{door.port}" for door in doors),
        "redis_url": f"redis://127.0.0.1:{before_redis.port}/0",
        "publish_classified": "true",
        "model_store": str(store),
        "network_timeout_s": "5",
        "model_latency_ratio": "10",  # the models are alike, and this machine is busy
        "window_cache_mib": "16",
        "chunk_max_records": "512",
        "incident_quiet_s": "5",  # some end within a schedule
        "incident_reopen_s": "10",
        "rebuild_windows_records": "1000000" if rebuild else "0",  # more than a schedule has
    }
    return {f"{PREFIX}{name.upper()}": value for name, value in settings.items()}
