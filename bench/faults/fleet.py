"""The workers of a schedule, and the supervisor that replaces those that ended."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from streams.embedded.workers import WORKER, WorkerProcess
from streams.errors import Unavailable

_WATCH_S: Final = 0.1
_START_S: Final = 180.0
_STOP_S: Final = 40.0


@dataclass(frozen=True, slots=True)
class Ended:
    """A worker that nobody ended; `at_us` by the wall clock."""

    at_us: int
    pid: int
    exit_code: int
    log_tail: str


class Fleet:
    """A context manager; leaving it stops all. Whom somebody has `taken` nobody else strikes meanwhile."""

    def __init__(self, environment: Mapping[str, str], logs: Path) -> None:
        self.ended: list[Ended] = []
        self._environment = environment
        self._logs = logs
        self._workers: list[WorkerProcess] = []
        self._taken: set[int] = set()
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._started = 0
        self._watching = threading.Thread(target=self._watch, name="supervisor")

    def __enter__(self) -> Self:
        self._watching.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop all, in order; nobody is replaced any more."""
        self._over.set()
        self._watching.join()
        with ThreadPoolExecutor(max(len(self._workers), 1)) as pool:
            list(pool.map(lambda worker: worker.stop(_STOP_S), self._workers))

    @property
    def workers(self) -> list[WorkerProcess]:
        with self._lock:
            return list(self._workers)

    def add(self, program: Sequence[str] = WORKER) -> WorkerProcess:
        with self._lock:
            self._started += 1
            log = self._logs / f"worker-{self._started}.log"
            self._workers.append(WorkerProcess(self._environment, log, program))
            return self._workers[-1]

    def start(self, count: int, partitions: int) -> None:
        """Return once all are up and share the partitions; with few of them one may be left without."""
        for _ in range(count):
            self.add()
        deadline_s = time.monotonic() + _START_S
        while True:
            shares = [worker.figures().get("partitions") for worker in self.workers]
            held = sum(len(numbers) for share in shares for numbers in (share or {}).values())
            if None not in shares and held == partitions:
                return
            if time.monotonic() > deadline_s:
                raise Unavailable(f"the workers share {shares} after {_START_S:g} s:\n{self.log_tails()}")
            time.sleep(_WATCH_S)

    def log_tails(self) -> str:
        tails = []
        for log in sorted(self._logs.iterdir()):
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-25:]
            tails.append("\n".join((f"--- {log.name}", *lines)))
        return "\n".join(tails)

    @contextmanager
    def taken(self, which: int) -> Iterator[WorkerProcess | None]:
        """A running worker that is nobody else's now; None where there is none."""
        with self._lock:
            free = [worker for worker in self._workers if worker.pid not in self._taken]
            chosen = free[which % len(free)] if free else None
            if chosen is not None:
                self._taken.add(chosen.pid)
        try:
            yield chosen
        finally:
            with self._lock:
                if chosen is not None:
                    self._taken.discard(chosen.pid)

    @contextmanager
    def still(self) -> Iterator[None]:
        """Nobody is struck, and no worker starts or is replaced meanwhile; waits for whom somebody has."""
        while True:
            with self._lock:
                if not self._taken:
                    yield
                    return
            time.sleep(_WATCH_S)

    def end(
        self,
        worker: WorkerProcess,
        number: signal.Signals,
        replaced_after_s: float,
        by: Sequence[str] = WORKER,
    ) -> None:
        """End a taken worker; another one is started after a while, as a supervisor would."""
        worker.signal(number)
        if number is signal.SIGKILL:
            worker.stop()
        time.sleep(replaced_after_s)
        if number is not signal.SIGKILL:
            worker.stop(_STOP_S)
        with self._lock:
            self._workers.remove(worker)
            self.add(by)

    def _watch(self) -> None:
        while not self._over.wait(_WATCH_S):
            with self._lock:
                for worker in [one for one in self._workers if one.pid not in self._taken]:
                    if worker.exit_code is not None:
                        self._replace(worker, worker.exit_code)

    def _replace(self, worker: WorkerProcess, exit_code: int) -> None:
        ended = Ended(time.time_ns() // 1000, worker.pid, exit_code, worker.log_tail(30))
        self.ended.append(ended)
        print(f"a worker ended with exit code {exit_code}:\n{ended.log_tail}", file=sys.stderr)
        self._workers.remove(worker)
        self.add()
