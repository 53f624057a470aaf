"""Whether Redis evicts is said once, with what to do, and shown to Prometheus."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import redis

from streams.adapters.redis.evictions import Evictions, read_evictions
from streams.adapters.redis.windows import RedisWindows
from streams.core.events import Source
from streams.core.kdd99 import KDD99
from streams.core.windows import WindowLayout
from streams.embedded.redis import RedisServer
from streams.pipeline.ports import Save
from streams.worker.health import Health
from streams.worker.redis_watch import RedisWatch
from tests.worker.test_metrics import scraped

LAYOUT = WindowLayout(KDD99)
SOURCE = Source("ids.telemetry", uuid.UUID(int=7), 3)


@contextmanager
def watched(url: str, group: str = "ours") -> Iterator[tuple[RedisWatch, Health, RedisWindows]]:
    health = Health()
    with RedisWindows(LAYOUT, url, "ids", 3600, 5) as store:
        yield RedisWatch(store, group, health), health, store


def save(store: RedisWindows, first: int, count: int) -> None:
    made = LAYOUT.blank(count, SOURCE)
    devices = [f"device-{first + i}" for i in range(count)]
    store.save([Save(SOURCE, devices, np.full(count, -1), made, np.ones(count, np.int64))])


@pytest.mark.redis
def test_a_redis_that_evicts_is_said_once_and_counted(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """`redis_url` only says that one can be started."""
    arguments = ("--maxmemory", "4mb", "--maxmemory-policy", "volatile-lru")
    with RedisServer(arguments) as server, watched(server.url) as (watch, health, store):
        watch.look()
        watch.look()
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        assert "volatile-lru" in caplog.text
        assert "set maxmemory-policy to noeviction" in caplog.text
        for first in range(0, 4000, 500):
            save(store, first, 500)
        watch.look()
        watch.look()
        assert len(caplog.records) == 2
        evicted = scraped(health)["autodeep_redis_evicted_keys_total", ""]
        assert f"has evicted {evicted:.0f} keys" in caplog.text
        assert evicted > 0
        assert scraped(health)["autodeep_redis_evicts", ""] == 1


@pytest.mark.redis
def test_a_redis_that_does_not_evict_is_no_line(any_redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    with watched(any_redis_url) as (watch, health, _):
        watch.look()
    assert not caplog.records
    assert scraped(health)["autodeep_redis_evicts", ""] == 0


@pytest.mark.redis
def test_a_redis_that_does_not_say_is_not_known(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """As managed services refuse INFO, and users without that right are refused."""
    with redis.Redis.from_url(redis_url) as client:
        client.execute_command("ACL", "SETUSER", "silent", "on", ">secret", "~*", "+@all", "-info")
    with watched(redis_url.replace("redis://", "redis://silent:secret@")) as (watch, health, store):
        watch.look()
        assert store.evictions() == Evictions(None, None)
    assert "does not say whether it evicts" in caplog.text
    assert not [name for name, _ in scraped(health) if name.startswith("autodeep_redis")]


def test_of_several_servers_one_that_evicts_counts() -> None:
    def told(policy: str, count: int) -> list[bytes]:
        return [b"maxmemory_policy:%s\r\n" % policy.encode(), b"evicted_keys:%d\r\n" % count]

    assert read_evictions([told("noeviction", 0), told("allkeys-lru", 7)]) == Evictions("allkeys-lru", 7)
    assert read_evictions([told("noeviction", 1), told("noeviction", 2)]) == Evictions("noeviction", 3)
    assert read_evictions([told("noeviction", 1), [ValueError(), ValueError()]]) == Evictions(None, None)
