"""Redis as it is deployed: servers that are demoted, restarted, failed over, and slots that move."""

from __future__ import annotations

import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, TypeVar

import numpy as np
import pytest
import redis
from redis.crc import key_slot

from bench.faults.proxy import Proxy
from streams.adapters.redis.windows import RedisWindows
from streams.core.events import Source
from streams.core.kdd99 import KDD99
from streams.core.patience import BackOff
from streams.core.windows import WindowLayout, Windows
from streams.embedded.redis import RedisServer
from streams.embedded.redis_cluster import RedisCluster
from streams.embedded.redis_sentinel import RedisSentinel
from streams.errors import SettingsError, WindowStoreUnavailable
from streams.pipeline.ports import Mark, Save, Saved

pytestmark = pytest.mark.redis
T = TypeVar("T")
LAYOUT = WindowLayout(KDD99)
SOURCE = Source("ids.telemetry", uuid.UUID(int=7), 3)
DEVICES = [f"device-{i}" for i in range(50)]


@contextmanager
def windows_at(url: str, timeout_s: float = 5) -> Iterator[RedisWindows]:
    with RedisWindows(LAYOUT, url, uuid.uuid4().hex, 3600, timeout_s) as windows:
        yield windows


def patiently(attempt: Callable[[], T]) -> T:
    """As a worker waits, for at most half a minute."""
    deadline_s = time.monotonic() + 30

    def wait(pause_s: float) -> bool:
        time.sleep(min(pause_s, 0.5))
        return time.monotonic() > deadline_s

    return BackOff(wait, lambda problem: None)(attempt)


def window(offset: int) -> Windows:
    made = LAYOUT.blank(len(DEVICES), SOURCE)
    made["head"]["offset"] = offset
    made["head"]["count"] = made["head"]["next"] = 1
    return made


def save(store: RedisWindows, offset: int) -> list[int]:
    """Every device's window, whole."""
    before, rows = np.full(len(DEVICES), -1), np.ones(len(DEVICES), np.int64)
    (answer,) = store.save([Save(SOURCE, DEVICES, before, window(offset), rows)])
    return sorted(set(answer.tolist()))


def offsets(store: RedisWindows, source: Source = SOURCE) -> set[int | None]:
    """The last offset of each device's window; None where there is none."""
    values = store.load([(source, DEVICES)])[0]
    return {
        None if value is None else int(np.frombuffer(value, LAYOUT.dtype)["head"]["offset"][0])
        for value in values
    }


def test_a_server_demoted_behind_its_name_is_left_for_the_one_that_took_its_place() -> None:
    """The connection to it stays: it refuses to write, and would go on to read what is old by now."""
    synced = ("--repl-diskless-sync-delay", "0")
    with (
        RedisServer(synced) as former,
        RedisServer(synced) as present,
        Proxy(former.port) as name,
        windows_at(f"redis://127.0.0.1:{name.port}/0") as store,
    ):
        assert save(store, 1) == [Saved.DONE]
        with redis.Redis(port=former.port) as client:
            client.replicaof("127.0.0.1", present.port)
        name.target_port = present.port
        with pytest.raises(WindowStoreUnavailable, match="ReadOnlyError"):
            store.load([(SOURCE, DEVICES)])
        assert offsets(store) == {None}, "the one that serves now has none"
        assert save(store, 2) == [Saved.DONE]
        assert offsets(store) == {2}


def test_a_failed_over_primary_is_found_by_the_sentinels(redis_sentinel: RedisSentinel) -> None:
    with windows_at(redis_sentinel.url) as store:
        store.ping()
        assert save(store, 1) == [Saved.DONE]
        with redis.Redis(port=redis_sentinel.primary.port) as client:
            assert client.wait(1, 5000) == 1  # replicas are written later
        killed = redis_sentinel.kill_primary()
        assert patiently(lambda: offsets(store)) == {1}
        assert patiently(lambda: save(store, 2)) == [Saved.DONE]
        redis_sentinel.bring_back(killed)
        redis_sentinel.fail_over()  # while the connection to the former one stays
        assert patiently(lambda: offsets(store)) == {2}
        assert patiently(lambda: save(store, 3)) == [Saved.DONE]
        assert f"127.0.0.1:{redis_sentinel.primary.port} at present" in store.address


def test_a_demoted_primary_is_left_though_no_error_came_of_it(redis_sentinel: RedisSentinel) -> None:
    """It was cut off from the sentinels, and goes on for those who do not ask them."""
    with windows_at(redis_sentinel.url) as store:
        assert save(store, 1) == [Saved.DONE]
        former = redis_sentinel.primary.port
        redis_sentinel.fail_over()
        assert f":{former} at present" in store.address
        store.evictions()
        assert f":{redis_sentinel.primary.port} at present" in store.address


def test_windows_are_loaded_and_saved_while_their_slot_moves(redis_cluster: RedisCluster) -> None:
    with windows_at(redis_cluster.url) as store:
        save(store, 1)
        store.put_mark(SOURCE, Mark(0, 1))
        slot = key_slot(store.mark_key(SOURCE).encode())
        source = redis_cluster.owner(slot)
        target = next(server for server in redis_cluster.servers if server is not source)
        with redis_cluster.moving(slot, target) as move:
            assert offsets(store) == {1}, "all keys are where they were"
            while move(1000):
                pass
            assert offsets(store) == {1}, "ASK: all keys are there"
            assert save(store, 2) == [Saved.DONE]
            assert store.mark(SOURCE) == Mark(0, 1)
        assert redis_cluster.owner(slot) is target
        assert offsets(store) == {2}, "MOVED"
        assert save(store, 3) == [Saved.DONE]


def test_a_slot_that_is_half_moved_is_waited_for(redis_cluster: RedisCluster) -> None:
    with windows_at(redis_cluster.url) as store:
        save(store, 1)
        slot = key_slot(store.mark_key(SOURCE).encode())
        source = redis_cluster.owner(slot)
        target = next(server for server in redis_cluster.servers if server is not source)
        with redis_cluster.moving(slot, target) as move:
            move(20)
            with pytest.raises(WindowStoreUnavailable, match="TryAgain"):
                store.load([(SOURCE, DEVICES)])
            with pytest.raises(WindowStoreUnavailable, match="TryAgain"):
                save(store, 2)
        assert offsets(store) == {1}
        assert save(store, 2) == [Saved.DONE]


def test_a_node_of_a_cluster_that_dies_or_is_demoted_is_left_for_its_replica(redis_url: str) -> None:
    """`redis_url` only says that one can be started."""
    with RedisCluster(replicas=True) as cluster, windows_at(cluster.url) as store:
        save(store, 1)
        slot = key_slot(store.mark_key(SOURCE).encode())
        former = cluster.owner(slot)
        which = cluster.servers.index(former)
        cluster.fail_over(which)
        assert patiently(lambda: offsets(store)) == {1}
        assert patiently(lambda: save(store, 2)) == [Saved.DONE]
        with redis.Redis(port=cluster.owner(slot).port) as client:
            assert client.wait(1, 5000) == 1  # replicas are written later
        cluster.servers[which + 3].kill()
        assert patiently(lambda: offsets(store)) == {2}
        assert patiently(lambda: save(store, 3)) == [Saved.DONE]
        assert cluster.owner(slot) is former


def test_partitions_of_several_nodes_are_one_load_and_one_save(redis_cluster: RedisCluster) -> None:
    sources = [Source("ids.telemetry", uuid.UUID(int=7), number) for number in range(24)]
    with windows_at(redis_cluster.url) as store:
        slots = [key_slot(store.mark_key(source).encode()) for source in sources]
        assert len({redis_cluster.owner(slot).port for slot in slots}) == 3
        made = [LAYOUT.blank(1, source) for source in sources]
        for number, one in enumerate(made):
            one["head"]["offset"] = number
        rows = np.ones(1, np.int64)
        saves = [
            Save(source, ["a"], np.array([-1]), one, rows) for source, one in zip(sources, made, strict=True)
        ]
        assert [answer.tolist() for answer in store.save(saves)] == [[Saved.DONE]] * 24
        loaded = store.load([(source, ["a"]) for source in sources])
        assert loaded == [[one.tobytes()] for one in made]


@pytest.mark.parametrize("kind", ["single", "sentinel", "cluster"])
def test_scripts_that_were_flushed_are_loaded_again(request: pytest.FixtureRequest, kind: str) -> None:
    fixture = request.getfixturevalue("redis_url" if kind == "single" else f"redis_{kind}")
    url = fixture if kind == "single" else fixture.url
    urls = [url] if kind == "single" else [server.url for server in fixture.servers]
    with windows_at(url) as store:
        save(store, 1)
        for one in urls:
            with redis.Redis.from_url(one) as client:
                client.script_flush()
        assert save(store, 2) == [Saved.DONE]
        assert offsets(store) == {2}


@pytest.mark.parametrize(
    "says",
    [
        "READONLY You can't write against a read only replica.",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "CLUSTERDOWN The cluster is down",
        "LOADING Redis is loading the dataset in memory",
        "NOREPLICAS Not enough good replicas to write.",
        "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
    ],
)
def test_a_server_that_refuses_to_serve_is_connected_to_anew(says: str) -> None:
    """Whoever stands behind its name by then."""
    with scripted(says) as (port, connections), windows_at(f"redis://127.0.0.1:{port}/0?protocol=2") as store:
        for number in (1, 2, 3):
            with pytest.raises(WindowStoreUnavailable):
                store.mark(SOURCE)
            assert next(connections) == number


@contextmanager
def scripted(says: str) -> Iterator[tuple[int, Iterator[int]]]:
    """A server that answers everything so; and how many connections it had, when asked."""
    made = count()
    taken = [next(made)]

    def serve(connection: socket.socket) -> None:
        with connection:
            while received := connection.recv(65_536):
                commands = received.count(b"\r\n*") + received.startswith(b"*")
                connection.sendall(f"-{says}\r\n".encode() * commands)

    def accept(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            taken[0] = next(made)
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1], (taken[0] for _ in count())


@pytest.mark.parametrize("kind", ["single", "sentinel", "cluster"])
def test_one_group_has_the_windows_of_a_prefix_until_its_claim_is_deleted(
    request: pytest.FixtureRequest, kind: str
) -> None:
    fixture: Any = request.getfixturevalue("redis_url" if kind == "single" else f"redis_{kind}")
    with windows_at(fixture if kind == "single" else fixture.url) as store:
        store.claim("ours")
        store.claim("ours")
        with pytest.raises(SettingsError, match=r"AUTODEEP_GROUP=theirs: .*group 'ours'.*delete the key"):
            store.claim("theirs")


def test_no_sentinel_and_no_primary_of_the_name_are_said(redis_sentinel: RedisSentinel) -> None:
    with (
        windows_at(redis_sentinel.url.replace("/windows", "/other")) as store,
        pytest.raises(WindowStoreUnavailable, match=r"primary 'other'.*REDIS_URL.*no sentinel knows"),
    ):
        store.ping()
    with (
        windows_at("redis+sentinel://127.0.0.1:1,127.0.0.1:2/windows", 1) as store,
        pytest.raises(WindowStoreUnavailable, match=r"1:1, 127\.0\.0\.1:2.*: sentinel 127\.0\.0\.1:2"),
    ):
        store.ping()


def test_a_node_of_a_cluster_by_itself_is_said_to_be_one(redis_cluster: RedisCluster) -> None:
    owner = redis_cluster.owner(key_slot(b"{ids.telemetry-3}"))
    other = next(server for server in redis_cluster.servers if server is not owner)
    with (
        windows_at(other.url) as store,
        pytest.raises(WindowStoreUnavailable, match=r"use redis\+cluster://"),
    ):
        store.mark(SOURCE)
