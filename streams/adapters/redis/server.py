"""One Redis server: several commands in one round trip, on a bare connection.

The library's own pipeline costs more than the commands do, its pool and its packing as much: it makes our
connections, and those that nobody uses are kept here. All commands go with one call of the system.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import redis
from hiredis import pack_command
from redis.exceptions import NoScriptError

from streams.adapters.redis.address import Place, said

Words = tuple[Any, ...]
"""One command and its arguments."""

_ASKING: Final[Words] = ("ASKING",)


class Server:
    """For all threads. `script` is what a server is given that does not know it."""

    def __init__(self, place: Place, script: str) -> None:
        self.said = said(place)
        self._script = script
        kinds = {"connection_class": redis.Connection}
        self._pool = redis.ConnectionPool(**{**kinds, **place})
        self._unused: list[Any] = []
        self._lock = threading.Lock()

    def exchange(self, commands: Sequence[Words]) -> list[Any]:
        """The answers, errors of the server's among them. Raises redis.RedisError."""
        with self.sent(commands) as read:
            answers = read()
        return self.knowing_the_script(commands, answers)

    @contextmanager
    def sent(self, commands: Sequence[Words], *, asking: bool = False) -> Iterator[Callable[[], list[Any]]]:
        """They are on their way; call what comes for the answers, so that several servers work meanwhile.

        `asking`: of a slot that the server does not own yet.
        """
        connection = self._taken()
        is_read = False

        def read() -> list[Any]:
            nonlocal is_read
            answers = [_answer(connection) for _ in sending]
            is_read = True
            return answers[1::2] if asking else answers

        try:
            sending = [word for command in commands for word in (_ASKING, command)] if asking else commands
            connection.send_packed_command([b"".join(map(pack_command, sending))])
            yield read
        finally:
            if not is_read:  # answers that nobody read would be taken for those of the next commands
                connection.disconnect()
            with self._lock:
                self._unused.append(connection)

    def knowing_the_script(
        self, commands: Sequence[Words], answers: list[Any], *, asking: bool = False
    ) -> list[Any]:
        """It was restarted, or its scripts were flushed: it is given ours, and asked again what lacked it."""
        lacking = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if lacking:
            with self.sent([("SCRIPT", "LOAD", self._script)]) as read:
                raise_error(read())
            with self.sent([commands[i] for i in lacking], asking=asking) as read:
                for i, answer in zip(lacking, read(), strict=True):
                    answers[i] = answer
        return answers

    def drop(self) -> None:
        """Connections that nobody uses: the next one is made anew, and the name is resolved for it."""
        with self._lock:
            for connection in self._unused:
                connection.disconnect()

    def close(self) -> None:
        self.drop()

    def _taken(self) -> Any:
        """A connection, to be put back. One that the server closed meanwhile is connected again."""
        with self._lock:
            connection: Any = self._unused.pop() if self._unused else self._pool.make_connection()
        try:
            connection.connect()
            if _has_ended(connection):
                connection.disconnect()
                connection.connect()
        except BaseException:
            with self._lock:
                self._unused.append(connection)
            raise
        return connection


def raise_error(answers: Sequence[Any]) -> None:
    """The first that is one."""
    for answer in answers:
        if isinstance(answer, redis.ResponseError):
            raise answer


def _answer(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as exc:
        return exc


def _has_ended(connection: Any) -> bool:
    """Nothing was asked, so there is nothing to read but its end."""
    try:
        return bool(connection.can_read())
    except (redis.RedisError, OSError):
        return True
