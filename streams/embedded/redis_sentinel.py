"""A Redis primary of our own, a replica, and the sentinels that watch them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import redis

from streams.embedded.process import ServerProcess
from streams.embedded.redis import RedisServer, find_redis
from streams.embedded.redis_asked import SYNCED_AT_ONCE, client_of, is_linked, role_of, wait_for
from streams.embedded.workers import free_port

PRIMARY: Final = "windows"
"""What the sentinels call their primary."""


class RedisSentinel:
    """A primary, one replica, and three sentinels of a quorum of two. A context manager.

    `arguments` are those of both servers. Raises WindowStoreUnavailable where they do not come together.
    """

    def __init__(self, arguments: Sequence[str] = (), down_after_ms: int = 1000) -> None:
        self._stack = ExitStack()
        self._down_after_ms = down_after_ms
        own = (*SYNCED_AT_ONCE, *arguments)
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
            with client_of(second.port) as client:
                client.replicaof("127.0.0.1", first.port)
            wait_for("the replica", lambda: is_linked(second.port))  # sentinels look for replicas seldom
            folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="autodeep-sentinel-")))
            for number in range(3):
                self._start_sentinel(folder / str(number), first.port)
            wait_for("a replica and the sentinels to be seen", self._is_whole)
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
        wait_for("a replica to be good enough", lambda: self._named_port() != former.port or self._begins())
        wait_for("a fail-over", lambda: self._named_port() != former.port)
        with client_of(former.port) as client:
            client.replicaof("127.0.0.1", self._named_port())
        wait_for("a fail-over", self._is_whole)

    def kill_primary(self) -> RedisServer:
        """A crash, which the sentinels notice; returns when another one serves."""
        server = self.primary
        server.kill()
        wait_for("another primary", lambda: self._named_port() != server.port)
        wait_for("another primary", lambda: role_of(self._named_port()) == "master")
        return server

    def bring_back(self, server: RedisServer) -> None:
        """One that was killed; it follows the primary before a sentinel takes it for one with the data."""
        server.start()
        with client_of(server.port) as client:
            client.replicaof("127.0.0.1", self._named_port())
        wait_for("the replica", self._is_whole)

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
        with client_of(self._ports[0]) as client:
            try:
                return bool(client.execute_command("SENTINEL", "FAILOVER", PRIMARY))
            except redis.ResponseError:  # one has just been, or the replica is not linked yet
                return False

    def _named_port(self) -> int:
        with client_of(self._ports[0]) as client:
            named = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", PRIMARY)
        return int(named[1])

    def _is_whole(self) -> bool:
        """Every sentinel knows the others and a replica, and the replica is linked to the primary."""
        for port in self._ports:
            with client_of(port) as client:
                state = client.sentinel_master(PRIMARY)
            if state["num-other-sentinels"] != len(self._ports) - 1 or not state["num-slaves"]:
                return False
        return all(
            role_of(server.port) == "master" if server is self.primary else is_linked(server.port)
            for server in self.servers
        )
