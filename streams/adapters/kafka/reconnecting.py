"""How aiokafka's clients come back to brokers: with back-off, under new addresses, and one line each way.

Left to itself an aiokafka client connects again ten times a second in each of its tasks, with a line each
time; and it asks the configured servers once, at its start: where every broker has a new address since, it
never finds one again. Here an address that refused is left alone for a growing pause, the configured servers
are asked again once no known broker answers, and of an address one line says that it does not answer, and one
that it does again, whichever client notices.

Written against aiokafka 0.14.0, pinned exactly, whose private parts it replaces.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from aiokafka import client as clients
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.cluster import ClusterMetadata
from aiokafka.consumer import consumer as consumers
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.producer import producer as producers
from aiokafka.protocol.metadata import MetadataRequest

from streams.core.patience import FIRST_PAUSE_S

log: Final = logging.getLogger("autodeep")

LONGEST_PAUSE_S: Final = 2.0
"""As for librdkafka (client.py): a broker that is back is used soon after."""

Address = tuple[str, int]


class Addresses:
    """Which of them do not answer; for all threads and clients of a process."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._since_s: dict[Address, float] = {}
        self._pause_s: dict[Address, tuple[float, float]] = {}  # how long, until when

    def wait_s(self, address: Address) -> float:
        """How long to leave it alone yet."""
        _, until_s = self._pause_s.get(address, (0.0, 0.0))
        return max(until_s - self._clock_s(), 0.0)

    def failed(self, address: Address, problem: BaseException) -> None:
        now_s = self._clock_s()
        with self._lock:
            pause_s, until_s = self._pause_s.get(address, (FIRST_PAUSE_S / 2, now_s))
            if until_s <= now_s:  # several tasks try at once: that is one try
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                self._pause_s[address] = pause_s, now_s + pause_s
            is_new = address not in self._since_s
            self._since_s.setdefault(address, now_s)
        if is_new:
            said = str(problem) or type(problem).__name__
            log.warning("Kafka's broker at %s:%d does not answer (%s); trying again", *address, said)

    def answered(self, address: Address) -> None:
        with self._lock:
            self._pause_s.pop(address, None)
            since_s = self._since_s.pop(address, None)
        if since_s is not None:
            away_s = self._clock_s() - since_s
            log.warning("Kafka's broker at %s:%d answers again, after %.0f s", *address, away_s)


_addresses: Final = Addresses()
_connect: Final = clients.create_conn


async def _connected(host: str, port: int, **options: Any) -> Any:
    try:
        connection = await _connect(host, port, **options)
    except (OSError, TimeoutError, KafkaError) as exc:
        _addresses.failed((host, port), exc)
        raise
    except Exception as exc:  # of a token's source, say: what aiokafka does not know ends its tasks
        _addresses.failed((host, port), exc)
        raise KafkaConnectionError(f"{type(exc).__name__}: {exc}") from exc
    _addresses.answered((host, port))
    return connection


class ReturningClient(AIOKafkaClient):  # type: ignore[misc, unused-ignore]
    """A client that keeps the configured servers."""

    def __init__(self, *, bootstrap_servers: Any = "localhost", **options: Any) -> None:
        super().__init__(bootstrap_servers=bootstrap_servers, **options)
        configured = ClusterMetadata(bootstrap_servers=bootstrap_servers)
        # The cluster's own place for them, which no client fills: with it, they can be connected to by name.
        self.cluster._bootstrap_brokers = configured._bootstrap_brokers

    async def _get_conn(self, node_id: Any, **options: Any) -> Any:
        broker = self.cluster.broker_metadata(node_id)
        known = self._conns.get((node_id, options.get("group", ConnectionGroup.DEFAULT)))
        if broker is not None and (known is None or not known.connected()):
            await asyncio.sleep(_addresses.wait_s((broker.host, broker.port)))
        return await super()._get_conn(node_id, **options)

    async def _metadata_update(self, cluster_metadata: Any, topics: Any) -> bool:
        """From a broker that is known, or else from one of the configured servers."""
        if await super()._metadata_update(cluster_metadata, topics):
            return True
        for node_id in list(self.cluster._bootstrap_brokers):
            connection = await self._get_conn(node_id)
            if connection is None:
                continue
            try:
                metadata = await connection.send(MetadataRequest(list(topics) if topics else None))
            except (TimeoutError, KafkaError):
                continue
            if metadata.brokers:
                cluster_metadata.update_metadata(metadata)
                log.info("found Kafka's brokers again through the configured servers")
                return True
        return False


def return_to_brokers() -> None:
    """From now on all of aiokafka's clients in this process are like this."""
    clients.create_conn = _connected
    consumers.AIOKafkaClient = producers.AIOKafkaClient = ReturningClient
