"""Faults of Redis, in each form in which it is deployed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import redis
from redis.crc import key_slot

from bench.faults.schedules import Fault
from bench.faults.servers import PARTITIONS, Servers
from bench.faults.stage import Stage, now_us
from streams.embedded.redis import RedisServer
from streams.embedded.redis_asked import client_of, has_all_of
from streams.embedded.redis_cluster import RedisCluster
from streams.embedded.redis_sentinel import RedisSentinel

_FILLER: Final = "bench:filler:"
_FILLER_BYTES: Final = 65_536
_PAUSED_MS: Final = 20_000
_KEYS_AT_ONCE: Final = 3
_MOVE_PAUSE_S: Final = 0.1


def restarted(stage: Stage, fault: Fault) -> int:
    server = stage.servers.redis
    if not isinstance(server, RedisServer):
        return 0
    with stage.servers.redis_lock:
        server.kill()
        time.sleep(fault.for_s)
        server.start()
        return now_us()


def lost(stage: Stage, fault: Fault) -> int:
    server = stage.servers.redis
    if not isinstance(server, RedisServer):
        return 0
    with stage.servers.redis_lock:
        before_us = now_us()
        server.kill()
        stage.diary.losses.append((before_us, now_us()))
        server.wipe()
        time.sleep(fault.for_s)
        server.start()
        return now_us()


def cut(stage: Stage, fault: Fault) -> int:
    proxy = stage.servers.redis_proxy
    if proxy is None:
        return 0
    with stage.servers.redis_cut_lock:
        proxy.cut(fault.manner)
        time.sleep(fault.for_s)
        proxy.cut(None)
        return now_us()


def full(stage: Stage, fault: Fault) -> int:
    """Strangers' keys fill it to its limit; later they go, and the limit with them."""
    server = stage.servers.redis
    if not isinstance(server, RedisServer):
        return 0
    with stage.servers.redis_lock, redis.Redis.from_url(server.url) as client:
        client.config_set("maxmemory", int(client.info("memory")["used_memory"]) + 8 * _FILLER_BYTES)
        filler: list[str] = []
        try:
            while True:
                filler.append(f"{_FILLER}{len(filler)}")
                client.set(filler[-1], b"x" * _FILLER_BYTES)
        except redis.exceptions.OutOfMemoryError:
            time.sleep(fault.for_s)
        client.delete(*filler)
        client.config_set("maxmemory", 0)
        return now_us()


def failed_over(stage: Stage, fault: Fault) -> int:
    """A replica takes over: from a primary that crashes and comes back, or from one that hands over."""
    servers = stage.servers
    with servers.redis_lock:
        if isinstance(servers.redis, RedisSentinel):
            _of_sentinels(servers, servers.redis, fault)
        elif isinstance(servers.redis, RedisCluster):
            _of_cluster(servers, servers.redis, fault)
        else:
            return 0
        return now_us()


def _of_sentinels(servers: Servers, redis_: RedisSentinel, fault: Fault) -> None:
    primary = redis_.primary
    replica = next(one for one in redis_.servers if one is not primary)
    with _as_promised(servers, primary, replica):
        if fault.which % 2:
            redis_.fail_over()
            return
        redis_.kill_primary()
    time.sleep(fault.for_s)
    redis_.bring_back(primary)


def _of_cluster(servers: Servers, cluster: RedisCluster, fault: Fault) -> None:
    """Of the shard that has a partition's windows."""
    primary = cluster.owner(_slot(servers, fault.which % PARTITIONS))
    shard = cluster.servers.index(primary) % 3
    if fault.which % 2:
        cluster.fail_over(shard)
        return
    replica = next(one for one in cluster.servers[shard::3] if one is not primary)
    with _as_promised(servers, primary, replica):
        cluster.kill_primary(shard)
    time.sleep(fault.for_s)
    cluster.bring_back(primary)


@contextmanager
def _as_promised(servers: Servers, primary: RedisServer, replica: RedisServer) -> Iterator[None]:
    """The replica has all: what it lacks is lost, and only workers that rebuild windows find that out."""
    if servers.settings.rebuild_windows_records:
        yield
        return
    with client_of(primary.port) as client:
        client.execute_command("CLIENT", "PAUSE", _PAUSED_MS, "WRITE")
        has_all_of(replica.port, primary.port)
        yield
        with suppress(redis.ConnectionError):
            client.execute_command("CLIENT", "UNPAUSE")


def slots_moved(stage: Stage, fault: Fault) -> int:
    """The slot of each partition, some keys at a time. 0 where there was no window yet."""
    servers, cluster = stage.servers, stage.servers.redis
    if not isinstance(cluster, RedisCluster):
        return 0
    with servers.redis_lock:
        moved = 0
        for partition in range(PARTITIONS):
            slot = _slot(servers, partition)
            owner = cluster.owner(slot)
            others = [one for one in cluster.primaries if one is not owner]
            with cluster.moving(slot, others[fault.which % len(others)]) as move:
                end_s = time.monotonic() + fault.for_s / PARTITIONS
                while time.monotonic() < end_s:
                    moved += move(_KEYS_AT_ONCE)
                    time.sleep(_MOVE_PAUSE_S)
        return now_us() if moved else 0


def _slot(servers: Servers, partition: int) -> int:
    return key_slot(f"{{{servers.topics.telemetry}-{partition}}}".encode())
