"""A Redis Cluster of our own."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, Final, Self

import redis

from streams.embedded.redis import RedisServer
from streams.embedded.redis_asked import SYNCED_AT_ONCE, client_of, is_linked, role_of, wait_for
from streams.embedded.workers import free_port
from streams.errors import WindowStoreUnavailable

_SLOTS: Final = 16384
_BUS: Final = 10_000
_HIGHEST_PORT: Final = 65_535
_KEYS_AT_ONCE: Final = 100


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
            own = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000", *SYNCED_AT_ONCE)
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

    @property
    def primaries(self) -> list[RedisServer]:
        """Those that own slots."""
        ports = {port for _, _, (_, port, *_), *_ in self._shards()}
        return [server for server in self.servers if server.port in ports]

    @contextmanager
    def moving(self, slot: int, target: RedisServer) -> Iterator[Callable[[int], int]]:
        """The slot is on its way: call what comes to move at most so many keys, which says how many it did.

        At the end the rest goes, and the slot is the target's.
        """
        source = self.owner(slot)
        with client_of(source.port) as sender, client_of(target.port) as receiver:
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
        replica = self._of_role("slave", which)
        with client_of(replica.port) as client:
            client.execute_command("CLUSTER", "FAILOVER")
        wait_for("a fail-over", lambda: role_of(replica.port) == "master")

    def kill_primary(self, which: int) -> RedisServer:
        """A crash of that shard's; returns when its replica serves."""
        primary, replica = self._of_role("master", which), self._of_role("slave", which)
        primary.kill()
        wait_for("another primary", lambda: role_of(replica.port) == "master")
        wait_for("the cluster to be whole", lambda: _is_ok(replica.port))
        return primary

    def bring_back(self, server: RedisServer) -> None:
        """One that was killed; it follows whoever took over."""
        server.start()
        wait_for("the replica", lambda: is_linked(server.port))
        self.wait_whole()

    def wait_whole(self) -> None:
        """Until every node says that all slots are served."""
        wait_for("the cluster to be whole", lambda: all(_is_ok(server.port) for server in self.servers))

    def _join(self) -> None:
        """Each primary gets a third of the slots, every node meets the first, replicas follow primaries."""
        bounds = [number * _SLOTS // 3 for number in range(4)]
        for number, server in enumerate(self.servers):
            with client_of(server.port) as client:
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
                if number < 3:
                    slots = range(bounds[number], bounds[number + 1])
                    client.execute_command("CLUSTER", "ADDSLOTS", *slots)
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", self.servers[0].port)
        self.wait_whole()
        for number, server in enumerate(self.servers[3:]):
            with client_of(self.servers[number].port) as primary, client_of(server.port) as client:
                client.execute_command("CLUSTER", "REPLICATE", _node_id(primary))
        wait_for("replicas", lambda: all(is_linked(server.port) for server in self.servers[3:]))
        if self.servers[3:]:  # who does not know them would not vote for them
            wait_for("replicas to be known", lambda: all(_sees_replicas(one.port) for one in self.servers))

    def _of_role(self, role: str, which: int) -> RedisServer:
        pair = (self.servers[which], self.servers[which + 3])
        return next(server for server in pair if role_of(server.port) == role)

    def _shards(self) -> list[Any]:
        for server in self.servers:
            try:
                with client_of(server.port) as client:
                    return list(client.execute_command("CLUSTER", "SLOTS"))
            except redis.ConnectionError:
                continue
        raise WindowStoreUnavailable("no node of the cluster answers")


def _is_ok(port: int) -> bool:
    with client_of(port) as client:
        state = client.execute_command("CLUSTER INFO")
    return bool(state["cluster_state"] == "ok" and int(state["cluster_known_nodes"]) >= 3)


def _sees_replicas(port: int) -> bool:
    """One of each primary."""
    with client_of(port) as client:
        return all(len(nodes) == 2 for _, _, *nodes in client.execute_command("CLUSTER", "SLOTS"))


def _node_id(client: Any) -> str:
    return str(client.execute_command("CLUSTER", "MYID").decode())


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
