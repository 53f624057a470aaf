"""A Redis Cluster: each command goes to the node that owns its key's slot, those of a node together.

MOVED          the slot's owner is another: it is asked instead, and remembered
ASK            the slot is being moved, and these keys are over there: asked there this once
TRYAGAIN       the slot is being moved, and some keys are here, some there: raised, and tried again later
anything else  raised; the cluster is asked anew who owns what
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

import redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import AskError, ClusterDownError, ClusterError, MovedError

from streams.adapters.redis.address import PORT, Address, Place, said
from streams.adapters.redis.links import Call
from streams.adapters.redis.server import Server, Words, raise_error

Node = tuple[str, int]
"""Host and port."""

_MOST_ROUNDS: Final = 5


@dataclass(frozen=True, slots=True)
class _Sending:
    """One of the calls, by its number, and where it goes."""

    number: int
    node: Node
    asking: bool = False


class Cluster:
    """For all threads. Its primaries alone are asked."""

    def __init__(self, address: Address, script: str) -> None:
        self._seeds = [_node(place) for place in address.places]
        self._place = address.places[0]
        self._script = script
        self._servers: dict[Node, Server] = {}
        self._owners: list[Node | None] = []
        """Of each slot; empty where it is not known."""
        self._known: list[Node] = []
        """Every node that the cluster named last, replicas too: any of them can say who owns what."""
        self._lock = threading.RLock()
        self.said = f"the cluster of {', '.join(sorted(map(said, address.places)))}"

    def exchange(self, calls: Sequence[Call]) -> list[Any]:
        answers: list[Any] = [None] * len(calls)
        try:
            owners = self._asked_owners()
            left = [_Sending(i, _owner(owners, call.key)) for i, call in enumerate(calls)]
            for _ in range(_MOST_ROUNDS):
                left = list(self._round(calls, left, answers))
                if not left:
                    return answers
            raise ClusterError(f"sent on {_MOST_ROUNDS} times: its nodes do not agree on who owns what")
        except redis.RedisError:
            self._forget()
            raise

    def each(self, commands: Sequence[Words]) -> list[list[Any]]:
        try:
            nodes = {node for node in self._asked_owners() if node is not None}
            return [self._server(node).exchange(commands) for node in sorted(nodes)]
        except redis.RedisError:
            self._forget()
            raise

    def close(self) -> None:
        for server in self._servers.values():
            server.close()

    def _round(
        self, calls: Sequence[Call], sendings: Sequence[_Sending], answers: list[Any]
    ) -> Iterator[_Sending]:
        """Sends all, then reads all; gives those that go elsewhere."""
        groups: dict[tuple[Node, bool], list[_Sending]] = defaultdict(list)
        for sending in sendings:
            groups[sending.node, sending.asking].append(sending)
        with ExitStack() as stack:
            under_way = []
            for (node, asking), group in groups.items():
                server, words = self._server(node), [calls[one.number].words for one in group]
                under_way.append((server, words, stack.enter_context(server.sent(words, asking=asking))))
            read = [(server, words, answer()) for server, words, answer in under_way]
        for ((node, asking), group), (server, words, got) in zip(groups.items(), read, strict=True):
            known = server.knowing_the_script(words, got, asking=asking)
            for sending, answer in zip(group, known, strict=True):
                if isinstance(answer, AskError):
                    yield self._sent_on(sending.number, node, answer)
                else:
                    raise_error([answer])
                    answers[sending.number] = answer

    def _sent_on(self, number: int, node: Node, answer: AskError) -> _Sending:
        """A host left out is the one that was asked."""
        target = (answer.host or node[0], answer.port)
        if not isinstance(answer, MovedError):
            return _Sending(number, target, asking=True)
        with self._lock:
            if self._owners:
                self._owners[answer.slot_id] = target
        return _Sending(number, target)

    def _server(self, node: Node) -> Server:
        with self._lock:
            if node not in self._servers:
                self._servers[node] = Server({**self._place, "host": node[0], "port": node[1]}, self._script)
            return self._servers[node]

    def _forget(self) -> None:
        """Who owns what, and every connection that nobody uses."""
        with self._lock:
            self._owners = []
            self._seeds.append(self._seeds.pop(0))  # the one that was asked may be out of date
            for server in self._servers.values():
                server.drop()

    def _asked_owners(self) -> list[Node | None]:
        with self._lock:
            if not self._owners:
                self._owners = self._ask()
            return self._owners

    def _ask(self) -> list[Node | None]:
        problem: redis.RedisError = ClusterDownError("no node")
        for node in dict.fromkeys([*self._seeds, *self._known]):
            server = self._server(node)
            try:
                (shards,) = server.exchange([("CLUSTER", "SLOTS")])
                raise_error([shards])
            except redis.RedisError as exc:
                exc.args = (f"node {server.said}: {exc}",)
                server.drop()
                problem = exc
            else:
                return self._owners_in(shards, node)
        raise problem

    def _owners_in(self, shards: Sequence[Any], asked: Node) -> list[Node | None]:
        """Each of the shards: first and last slot, its primary, its replicas."""
        owners: list[Node | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        known: list[Node] = []
        for first, last, *nodes in shards:
            named = [((host or b"").decode().strip("?") or asked[0], int(port)) for host, port, *_ in nodes]
            owners[first : last + 1] = [named[0]] * (last + 1 - first)
            known += named
        self._known = known
        for node in set(self._servers) - {*known, *self._seeds}:
            self._servers.pop(node).drop()
        return owners


def _node(place: Place) -> Node:
    return str(place.get("host", "localhost")), int(place.get("port", PORT))


def _owner(owners: Sequence[Node | None], key: str) -> Node:
    slot = key_slot(key.encode())
    owner = owners[slot]
    if owner is None:
        raise ClusterDownError(f"no node owns slot {slot}")
    return owner
