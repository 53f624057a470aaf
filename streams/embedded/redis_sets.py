"""Several Redis servers of our own that belong together: a primary with sentinels, and a cluster."""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import redis

from streams.embedded.process import ServerProcess
from streams.embedded.redis import RedisServer, find_redis
from streams.embedded.workers import free_port
from streams.errors import WindowStoreUnavailable

PRIMARY: Final = "windows"
"""What the sentinels call their primary."""

_SETTLE_S: Final = 30.0
_SLOTS: Final = 16384
_BUS: Final = 10_000
_HIGHEST_PORT: Final = 65_535
_KEYS_AT_ONCE: Final = 100
_SYNCED_AT_ONCE: Final = ("--repl-diskless-sync-delay", "0")


class RedisSentinel:
    """A primary, one replica, and three sentinels of a quorum of two. A context manager.

    `arguments` are those of both servers. Raises WindowStoreUnavailable where they do not come together.
    """

    def __init__(self, arguments: Sequence[str] = (), down_after_ms: int = 1000) -> None:
        self._stack = ExitStack()
        self._down_after_ms = down_after_ms
        own = (*_SYNCED_AT_ONCE, *arguments)
        self.servers = (RedisServer(own), RedisServer(own))
        self._sentinels: list[ServerProcess] = []
        self._ports: list[int] = []

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{port}" for port in self._ports)
        return f"redis+sentinel://{hosts}/{PRIMARY}/0"

    @property
    def primary(self) -> RedisServer:
        """Whom the sentinels call so now."""
        port = self._named_port()
        return next(server for server in self.servers if server.port == port)

    def __enter__(self) -> Self:
        with self._stack:
            first, second = (self._stack.enter_context(server) for server in self.servers)
            with _client(second.port) as client:
                client.replicaof("127.0.0.1", first.port)
            _wait("the replica", lambda: _is_linked(second.port))  # sentinels look for replicas seldom
            folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="autodeep-sentinel-")))
            for number in range(3):
                self._start_sentinel(folder / str(number), first.port)
            _wait("a replica and the sentinels to be seen", self._is_whole)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def fail_over(self) -> None:
        """The replica becomes the primary, and the primary its replica.

        Sentinels let the former primary go on for some seconds, and what is written there is lost. Here it
        ends as soon as they name the other one.
        """
        former = self.primary
        _wait("a replica to be good enough", self._begins)
        _wait("a fail-over", lambda: self._named_port() != former.port)
        with _client(former.port) as client:
            client.replicaof("127.0.0.1", self._named_port())
        _wait("a fail-over", self._is_whole)

    def kill_primary(self) -> RedisServer:
        """A crash, which the sentinels notice; returns when another one serves."""
        server = self.primary
        server.kill()
        _wait("another primary", lambda: self._named_port() != server.port)
        _wait("another primary", lambda: _role(self._named_port()) == "master")
        return server

    def bring_back(self, server: RedisServer) -> None:
        """One that was killed; it follows the primary before a sentinel takes it for one with the data."""
        server.start()
        with _client(server.port) as client:
            client.replicaof("127.0.0.1", self._named_port())
        _wait("the replica", self._is_whole)

    def _start_sentinel(self, folder: Path, primary_port: int) -> None:
        folder.mkdir()
        port, config = free_port(), folder / "sentinel.conf"
        config.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor {PRIMARY} 127.0.0.1 {primary_port} 2\n"
            f"sentinel down-after-milliseconds {PRIMARY} {self._down_after_ms}\n"
            f"sentinel failover-timeout {PRIMARY} 1000\n",
            encoding="ascii",
        )
        command = [find_redis(), str(config), "--sentinel"]
        process = ServerProcess("Redis Sentinel", command, folder / "sentinel.log")
        self._stack.callback(process.stop)
        self._sentinels.append(process)
        self._ports.append(port)

    def _begins(self) -> bool:
        with _client(self._ports[0]) as client:
            try:
                return bool(client.execute_command("SENTINEL", "FAILOVER", PRIMARY))
            except redis.ResponseError:  # one has just been, or the replica is not linked yet
                return False

    def _named_port(self) -> int:
        with _client(self._ports[0]) as client:
            named = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", PRIMARY)
        return int(named[1])

    def _is_whole(self) -> bool:
        """Every sentinel knows the others and a replica, and the replica is linked to the primary."""
        for port in self._ports:
            with _client(port) as client:
                state = client.sentinel_master(PRIMARY)
            if state["num-other-sentinels"] != len(self._ports) - 1 or not state["num-slaves"]:
                return False
        return all(
            _role(server.port) == "master" if server is self.primary else _is_linked(server.port)
            for server in self.servers
        )


class RedisCluster:
    """Three primaries that share the slots, and a replica of each where asked for. A context manager."""

    def __init__(self, arguments: Sequence[str] = (), *, replicas: bool = False) -> None:
        self._arguments = arguments
        self._count = 6 if replicas else 3
        self._stack = ExitStack()
        self.servers: list[RedisServer] = []
        """The three, then the replicas, each at the place of its primary."""

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in self.servers[:3])

    def __enter__(self) -> Self:
        with self._stack:
            own = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000", *_SYNCED_AT_ONCE)
            for _ in range(self._count):
                server = RedisServer((*own, *self._arguments), port=port_with_bus())
                self.servers.append(self._stack.enter_context(server))
            self._join()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def owner(self, slot: int) -> RedisServer:
        for first, last, (_, port, *_), *_ in self._shards():
            if first <= slot <= last:
                return next(server for server in self.servers if server.port == port)
        raise WindowStoreUnavailable(f"no node of the cluster owns slot {slot}")

    @contextmanager
    def moving(self, slot: int, target: RedisServer) -> Iterator[Callable[[int], int]]:
        """The slot is on its way: call what comes to move at most so many keys, which says how many it did.

        At the end the rest goes, and the slot is the target's.
        """
        source = self.owner(slot)
        with _client(source.port) as sender, _client(target.port) as receiver:
            receiver.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", _node_id(sender))
            sender.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", _node_id(receiver))

            def move(most: int) -> int:
                keys = sender.execute_command("CLUSTER", "GETKEYSINSLOT", slot, most)
                if keys:
                    sender.execute_command(
                        "MIGRATE", "127.0.0.1", target.port, "", 0, 10_000, "REPLACE", "KEYS", *keys
                    )
                return len(keys)

            try:
                yield move
            finally:
                while move(_KEYS_AT_ONCE):
                    pass
                for client in (receiver, sender):
                    client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", _node_id(receiver))

    def move_slot(self, slot: int, target: RedisServer) -> None:
        with self.moving(slot, target):
            pass

    def fail_over(self, which: int) -> None:
        """The replica of that shard becomes its primary, and the primary its replica; needs `replicas`."""
        pair = (self.servers[which], self.servers[which + 3])
        replica = next(server for server in pair if _role(server.port) == "slave")
        with _client(replica.port) as client:
            client.execute_command("CLUSTER", "FAILOVER")
        _wait("a fail-over", lambda: _role(replica.port) == "master")

    def wait_whole(self) -> None:
        """Until every node says that all slots are served."""
        _wait("the cluster to be whole", lambda: all(_is_ok(server.port) for server in self.servers))

    def _join(self) -> None:
        """Each primary gets a third of the slots, every node meets the first, replicas follow primaries."""
        bounds = [number * _SLOTS // 3 for number in range(4)]
        for number, server in enumerate(self.servers):
            with _client(server.port) as client:
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
                if number < 3:
                    slots = range(bounds[number], bounds[number + 1])
                    client.execute_command("CLUSTER", "ADDSLOTS", *slots)
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", self.servers[0].port)
        self.wait_whole()
        for number, server in enumerate(self.servers[3:]):
            with _client(self.servers[number].port) as primary, _client(server.port) as client:
                client.execute_command("CLUSTER", "REPLICATE", _node_id(primary))
        _wait("replicas", lambda: all(_is_linked(server.port) for server in self.servers[3:]))

    def _shards(self) -> list[Any]:
        for server in self.servers:
            try:
                with _client(server.port) as client:
                    return list(client.execute_command("CLUSTER", "SLOTS"))
            except redis.ConnectionError:
                continue
        raise WindowStoreUnavailable("no node of the cluster answers")


def _client(port: int) -> Any:
    """Commands as the library has them; its types say less than a test needs."""
    return redis.Redis(host="127.0.0.1", port=port, socket_timeout=10)


def _role(port: int) -> str:
    try:
        with _client(port) as client:
            return str(client.info("replication")["role"])
    except redis.ConnectionError:
        return ""


def _is_linked(port: int) -> bool:
    with _client(port) as client:
        return bool(client.info("replication").get("master_link_status") == "up")


def _is_ok(port: int) -> bool:
    with _client(port) as client:
        state = client.execute_command("CLUSTER INFO")
    return bool(state["cluster_state"] == "ok" and int(state["cluster_known_nodes"]) >= 3)


def _node_id(client: Any) -> str:
    return str(client.execute_command("CLUSTER", "MYID").decode())


def _wait(what: str, true: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + _SETTLE_S
    while not true():
        if time.monotonic() > deadline_s:
            raise WindowStoreUnavailable(f"Redis: waited {_SETTLE_S:.0f} s for {what}")
        time.sleep(0.05)


def port_with_bus() -> int:
    """A free port whose cluster bus, 10,000 above, is free too."""
    while True:
        port = free_port()
        if port + _BUS > _HIGHEST_PORT:
            port -= _BUS
        try:
            with socket.create_server(("127.0.0.1", port)), socket.create_server(("127.0.0.1", port + _BUS)):
                return port
        except OSError:
            continue
