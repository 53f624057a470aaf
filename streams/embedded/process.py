"""One server process of our own: its log in a file, stopped by its own id, nothing on the terminal."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from streams.errors import Unavailable


class ServerProcess:
    """A running program. Its process group is its own: Ctrl-C reaches us alone, and we stop it in order."""

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self._name = name
        self._log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, process_group=0
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait_until(self, ready: Callable[[], bool], timeout_s: float, error: type[Unavailable]) -> None:
        """Return once `ready` says so; raises `error`, with the log's end, if the process ends or is late."""
        deadline_s = time.monotonic() + timeout_s
        while not ready():
            if not self.running:
                raise error(
                    f"{self._name} ended with exit code {self._process.returncode}:\n{self.log_tail()}"
                )
            if time.monotonic() > deadline_s:
                raise error(f"{self._name} did not answer within {timeout_s:.0f} s:\n{self.log_tail()}")
            time.sleep(0.05)

    def log_tail(self, lines: int = 15) -> str:
        return "\n".join(self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])

    def terminate(self) -> None:
        """Ask it to stop, without waiting."""
        if self.running:
            self._process.terminate()

    def kill(self) -> None:
        """A crash: SIGKILL, and wait until it is gone."""
        self._process.kill()
        self._process.wait()

    def join(self, timeout_s: float) -> int:
        """Wait for it to end by itself, killed when late; its exit code."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.wait()

    def stop(self, timeout_s: float = 10.0) -> None:
        """SIGTERM, and SIGKILL after a time."""
        self.terminate()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
