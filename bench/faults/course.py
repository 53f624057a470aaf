"""The course of a schedule: each fault at its moment, overlapping as drawn."""

from __future__ import annotations

import threading
import time
from typing import Self

from bench.faults.schedules import Fault
from bench.faults.stage import Stage
from bench.faults.strikes import strike


class Strikes:
    """The faults of a schedule, each in a thread of its own from its moment on. Overlapping is wanted.

    A context manager: on leaving it, what has not struck is called off, and what is striking is waited for,
    so that nothing starts a server that its owner is stopping.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._called_off = threading.Event()
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._called_off.set()
        for thread in self._threads:
            thread.join()

    def begin(self, faults: tuple[Fault, ...]) -> None:
        begun_s = time.monotonic()
        for fault in faults:
            thread = threading.Thread(target=self._at, args=(fault, begun_s + fault.at_s), name=str(fault))
            self._threads.append(thread)
            thread.start()

    def wait(self) -> None:
        """Return when all are over. Raises what went wrong with the first that failed."""
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def _at(self, fault: Fault, at_s: float) -> None:
        if self._called_off.wait(max(0.0, at_s - time.monotonic())):
            return
        try:
            strike(self._stage, fault)
        except BaseException as exc:
            self._errors.append(exc)
            raise
