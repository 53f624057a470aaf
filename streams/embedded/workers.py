"""A worker as a process of its own, for the demonstration, the tests and the benches."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, cast

from streams.errors import Unavailable
from streams.settings import PREFIX

WORKER: Final = ("-m", "streams", "worker")
_ANSWER_S = 2.0


class WorkerProcess:
    """`autodeep worker` with the given settings, its log in a file. Leaving the context stops it.

    `program` is what Python runs: another one is a worker with something wrong, for the benches.
    """

    def __init__(self, settings: Mapping[str, str], log: Path, program: Sequence[str] = WORKER) -> None:
        self.web_port = free_port()
        self._log = log
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        environment = {**inherited, f"{PREFIX}WEB_PORT": str(self.web_port), **settings}
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, *program],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def log_tail(self, lines: int = 15) -> str:
        return "\n".join(self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Return once it classifies; raises Unavailable, with the log's end, if it ends or takes too long."""
        deadline_s = time.monotonic() + timeout_s
        while self._get("/health/ready")[0] != http.client.OK:
            if self.exit_code is not None:
                raise Unavailable(f"the worker ended with exit code {self.exit_code}:\n{self.log_tail()}")
            if time.monotonic() > deadline_s:
                raise Unavailable(f"the worker was not ready after {timeout_s:.0f} s:\n{self.log_tail()}")
            time.sleep(0.05)

    def ready(self) -> dict[str, Any]:
        """What its page of readiness says; empty when it does not answer."""
        _, body = self._get("/health/ready")
        return cast("dict[str, Any]", json.loads(body)) if body else {}

    def figures(self) -> dict[str, Any]:
        """Its figures (`Worker.figures`); empty when it does not answer."""
        status, body = self._get("/stats")
        return cast("dict[str, Any]", json.loads(body)) if status == http.client.OK else {}

    def metrics(self) -> str:
        """What it tells Prometheus; empty when it does not answer."""
        status, body = self._get("/metrics")
        return body.decode() if status == http.client.OK else ""

    def signal(self, number: signal.Signals) -> None:
        if self.exit_code is None:
            self._process.send_signal(number)

    def stop(self, timeout_s: float = 20.0) -> int:
        """SIGTERM, then SIGKILL after a time; its exit code."""
        self.signal(signal.SIGTERM)
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.web_port, timeout=_ANSWER_S)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()


def free_port() -> int:
    """A TCP port of localhost that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
