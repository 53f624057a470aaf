"""How commands come to the server that serves them: the one there is, or the primary that sentinels name.

What is refused or not answered leaves no connection behind, whatever the error says: a server may have been
demoted (READONLY), lose its primary (MASTERDOWN) or its cluster (CLUSTERDOWN), or be starting (LOADING),
while another one stands behind its name by now. The next attempt finds out where to go.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import redis

from streams.adapters.redis.address import Address, Place, said
from streams.adapters.redis.server import Server, Words, raise_error


@dataclass(frozen=True, slots=True)
class Call:
    key: str
    """Any of its keys: they all share a slot of Redis Cluster."""
    words: Words


class Link(Protocol):
    """For all threads. Raises redis.RedisError; every call may be repeated."""

    @property
    def said(self) -> str:
        """Where that is, for a person."""
        ...

    def exchange(self, calls: Sequence[Call]) -> list[Any]:
        """The answers; the first one that is an error is raised. One round trip where nothing is amiss."""
        ...

    def each(self, commands: Sequence[Words]) -> list[list[Any]]:
        """The answers of every server that serves; an answer that is an error is among them."""
        ...

    def close(self) -> None: ...


class OneServer:
    def __init__(self, place: Place, script: str) -> None:
        self._server = Server(place, script)

    @property
    def said(self) -> str:
        return self._server.said

    def exchange(self, calls: Sequence[Call]) -> list[Any]:
        return answers_of(self._server, calls)

    def each(self, commands: Sequence[Words]) -> list[list[Any]]:
        return [self._server.exchange(commands)]

    def close(self) -> None:
        self._server.close()


class Sentinels:
    """Whoever they call the primary. They are asked before a connection is made, and with each look."""

    def __init__(self, address: Address, script: str) -> None:
        self._sentinels = list(address.places)
        self._name = address.primary
        self._of_primary = address.of_primary or {}
        self._script = script
        self._primary: Server | None = None
        self._lock = threading.Lock()

    @property
    def said(self) -> str:
        primary, sentinels = self._primary, ", ".join(sorted(map(said, self._sentinels)))
        now = f" ({primary.said} at present)" if primary is not None else ""
        return f"the primary {self._name!r}{now} of the sentinels {sentinels}"

    def exchange(self, calls: Sequence[Call]) -> list[Any]:
        primary = self._found()
        try:
            return answers_of(primary, calls)
        except redis.RedisError:
            self._forget(primary)
            raise

    def each(self, commands: Sequence[Words]) -> list[list[Any]]:
        """Sentinels may name another by now, though the former one goes on without having heard of it."""
        with self._lock:
            named = self._ask()
            if self._primary is not None and self._primary.said != named.said:
                self._primary.drop()
                self._primary = None
            self._primary = self._primary or named
            primary = self._primary
        return [primary.exchange(commands)]

    def close(self) -> None:
        if self._primary is not None:
            self._primary.close()

    def _found(self) -> Server:
        with self._lock:
            self._primary = self._primary or self._ask()
            return self._primary

    def _forget(self, primary: Server) -> None:
        with self._lock:
            if self._primary is primary:
                self._primary = None
                self._sentinels.append(self._sentinels.pop(0))  # the one that named it may be out of date

    def _ask(self) -> Server:
        problem: redis.RedisError = redis.ConnectionError("no sentinel knows a primary of that name")
        for place in self._sentinels:
            sentinel = Server(place, self._script)
            try:
                (answer,) = sentinel.exchange([("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._name)])
                raise_error([answer])
            except redis.RedisError as exc:
                exc.args = (f"sentinel {sentinel.said}: {exc}",)
                problem = exc
            else:
                if answer is not None:
                    host, port = (part.decode() for part in answer)
                    return Server({**self._of_primary, "host": host, "port": int(port)}, self._script)
            finally:
                sentinel.close()
        raise problem


def answers_of(server: Server, calls: Sequence[Call]) -> list[Any]:
    try:
        answers = server.exchange([call.words for call in calls])
        raise_error(answers)
    except redis.RedisError:
        server.drop()
        raise
    return answers
