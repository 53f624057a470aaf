"""What one schedule runs on: Kafka, Redis, proxies before them, topics, and a store of two alike models."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bench.faults.access import Access, access_of, give, least_rights
from bench.faults.proxy import Proxy
from bench.faults.schedules import Cut
from bench.faults.setups import RedisForm, SetUp
from bench.model_orders import alike
from streams.adapters.kafka.topics import create_topics, topic_specs
from streams.adapters.store.models import open_store
from streams.core.flow.table import FLOW
from streams.core.topics import Topics
from streams.embedded.kafka import ApacheKafka
from streams.embedded.redis import RedisServer
from streams.embedded.redis_cluster import RedisCluster
from streams.embedded.redis_sentinel import RedisSentinel
from streams.model.detector import Detector
from streams.settings import PREFIX, Settings

PARTITIONS: Final = 4
HEAP_MIB: Final = 256
VERSIONS: Final = ("1", "2")
FLOW_MODEL: Final = "flows/2"
_BROKER: Final = {
    "log.message.timestamp.type": "LogAppendTime",  # stalls and recoveries are read off these
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
}
_SENSORS: Final = {"flow_topics": Topics().sensors, "flow_model": FLOW_MODEL}
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
    redis: RedisServer | RedisSentinel | RedisCluster
    kafka_proxies: tuple[Proxy, ...]
    """One before each node as Kafka names it, then one before each as workers are configured."""
    redis_proxy: Proxy | None
    """None before several servers: they name each other by their own addresses."""
    access: Access | None
    """None where Kafka does not ask who the workers are."""
    digests: dict[str, str]  # of each version
    kafka_lock: threading.Lock
    redis_lock: threading.Lock
    topic_lock: threading.Lock
    kafka_cut_lock: threading.Lock
    redis_cut_lock: threading.Lock

    @property
    def topics(self) -> Topics:
        return Topics(self.settings.topic_prefix)

    @property
    def redis_ports(self) -> list[int]:
        """Of the servers that hold the windows now."""
        if isinstance(self.redis, RedisCluster):
            return [server.port for server in self.redis.primaries]
        server = self.redis if isinstance(self.redis, RedisServer) else self.redis.primary
        return [server.port]

    def cut_kafka(self, manner: Cut | None) -> None:
        for proxy in self.kafka_proxies:
            proxy.cut(manner)


@contextmanager
def serving(setup: SetUp, *, rebuild: bool = False, sensors: bool = False) -> Iterator[Servers]:
    """`sensors`: workers read the topic of sensors and judge flows, too."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="autodeep-bench-")))
        digests = dict(zip(VERSIONS, alike(str(folder / "store"), len(VERSIONS)), strict=True))
        fronts = tuple(stack.enter_context(Proxy()) for _ in range(setup.nodes))
        doors = tuple(stack.enter_context(Proxy()) for _ in range(setup.nodes))
        access = access_of(setup.kafka, folder / "certificates")
        kafka = stack.enter_context(
            ApacheKafka(
                setup.nodes,
                _BROKER,
                heap_mib=HEAP_MIB,
                secured=access.secured if access else None,
                fronts=[front.port for front in fronts],
            )
        )
        for front, door, port in zip(fronts, doors, kafka.behind_ports, strict=True):
            front.target_port = door.target_port = port
        redis = _redis(setup.redis)
        stack.enter_context(redis)
        before_redis = stack.enter_context(Proxy(redis.port)) if isinstance(redis, RedisServer) else None
        if sensors:
            name, version = FLOW_MODEL.split("/")
            open_store(str(folder / "store")).save(Detector.random(FLOW, seed=1), name, version, {}, "random")
        common = {**_common(folder / "store", rebuild), **(_SENSORS if sensors else {})}
        direct = Settings.from_environment(_environment(common))
        direct = replace(direct, kafka_servers=kafka.bootstrap_servers, redis_url=redis.url)
        environment = _environment(
            {
                **common,
                "kafka_servers": ",".join(f"localhost:{door.port}" for door in doors),
                "redis_url": f"redis://127.0.0.1:{before_redis.port}/0" if before_redis else redis.url,
                **(access.settings() if access else {}),
            }
        )
        create_topics(direct, topic_specs(Topics(direct.topic_prefix), PARTITIONS))
        if access:
            give(direct, least_rights(direct))
        logs = folder / "logs"
        logs.mkdir()
        proxies, locks = (*fronts, *doors), [threading.Lock() for _ in range(5)]
        yield Servers(direct, environment, logs, kafka, redis, proxies, before_redis, access, digests, *locks)


def _redis(form: RedisForm) -> RedisServer | RedisSentinel | RedisCluster:
    if form is RedisForm.SENTINEL:
        return RedisSentinel(_APPEND_ONLY)
    if form is RedisForm.CLUSTER:
        return RedisCluster(_APPEND_ONLY, replicas=True)
    return RedisServer(_APPEND_ONLY)


def _common(store: Path, rebuild: bool) -> dict[str, str]:
    """Of the bench and of the workers."""
    return {
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


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    return {f"{PREFIX}{name.upper()}": value for name, value in settings.items()}
