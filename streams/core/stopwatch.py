"""What a thread's work costs, stage by stage."""

from __future__ import annotations

import time


class Stopwatch:
    """CPU time of this thread, stage by stage; what librdkafka's threads do is not in it."""

    def __init__(self) -> None:
        self.ns: dict[str, int] = {}
        self._last = time.thread_time_ns()

    def lap(self, stage: str) -> None:
        now = time.thread_time_ns()
        self.ns[stage] = now - self._last
        self._last = now
