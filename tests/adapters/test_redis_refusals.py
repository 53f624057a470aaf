"""What a Redis that does not do what it is asked is said to lack: one line, whichever command met it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import numpy as np
import pytest
import redis

from streams.adapters.redis.windows import RedisWindows
from streams.core.events import Source
from streams.core.kdd99 import KDD99
from streams.core.windows import WindowLayout
from streams.embedded.redis import RedisServer
from streams.errors import AutodeepError, WindowStoreUnavailable
from streams.pipeline.ports import Save
from tests.conftest import NO_REDIS, absent

pytestmark = pytest.mark.redis
LAYOUT = WindowLayout(KDD99)
SOURCE = Source("ids.telemetry", uuid.UUID(int=7), 3)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    try:
        with RedisServer() as started:
            yield started
    except WindowStoreUnavailable as exc:
        absent(f"{NO_REDIS}{exc}")


@pytest.fixture
def windows(server: RedisServer) -> Iterator[RedisWindows]:
    """Of a device, saved once."""
    with RedisWindows(LAYOUT, server.url, "ids", 3600, 5) as windows:
        save(windows, 5)
        yield windows


def save(windows: RedisWindows, offset: int, based_on: int = -1) -> None:
    made = LAYOUT.blank(1, SOURCE)
    made["head"]["offset"], made["head"]["count"], made["head"]["next"] = offset, 1, 1
    windows.save([Save(SOURCE, ["a"], np.array([based_on]), made, np.array([1]))])


def problems(windows: RedisWindows) -> set[str]:
    """What a probe and a turn say of it."""
    found = set()
    for ask in (windows.ping, lambda: save(windows, 6), lambda: save(windows, 7, 5)):
        try:
            ask()
        except AutodeepError as exc:
            found.add(str(exc))
    return found


@pytest.mark.parametrize(
    ("setting", "value", "usual", "says"),
    [
        ("maxmemory", "1", "0", "raise its maxmemory, or lower AUTODEEP_WINDOW_TTL_DAYS"),
        (
            "min-replicas-to-write",
            "1",
            "0",
            "fewer replicas follow it than its min-replicas-to-write asks for",
        ),
    ],
)
def test_one_that_takes_no_writes_is_told_in_one_text_with_what_to_do(
    server: RedisServer, windows: RedisWindows, setting: str, value: str, usual: str, says: str
) -> None:
    known = redis.Redis.from_url(server.url)
    known.config_set(setting, value)
    try:
        (said,) = problems(windows)
    finally:
        known.config_set(setting, usual)
    assert said.endswith(says)
    assert "script" not in said


def test_a_replica_is_told_to_be_one(server: RedisServer, windows: RedisWindows) -> None:
    known = redis.Redis.from_url(server.url)
    known.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        (said,) = problems(windows)
    finally:
        known.execute_command("REPLICAOF", "NO", "ONE")
    assert said.endswith("the URL has to lead to the primary")


def test_a_key_of_another_program_is_told_to_be_one(server: RedisServer, windows: RedisWindows) -> None:
    known, key = redis.Redis.from_url(server.url), windows.key(SOURCE, "a")
    known.delete(key)
    known.hset(key, "a", "b")
    try:
        (said,) = problems(windows)
    finally:
        known.delete(key)
    assert "another program writes keys" in said


def test_a_log_in_that_is_wanted_since_is_told_in_one_text(
    server: RedisServer, windows: RedisWindows
) -> None:
    known = redis.Redis.from_url(server.url)
    known.config_set("requirepass", "x")
    try:
        known.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        (said,) = problems(windows)
    finally:
        known.config_set("requirepass", "")
    assert "check AUTODEEP_REDIS_URL (user and password)" in said
