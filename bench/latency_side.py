"""The worker or the loop beside it, as `bench latency` sees it: its figures, its sender and its alerts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from bench.faults.committed import committed
from bench.latency_figures import Times
from bench.output import to_the_end
from bench.parts import Parts
from bench.pipeline import wait_for
from bench.steady import Mark, Phase, Sender
from streams.codec.output.alerts import decode_alert
from streams.embedded.workers import WorkerProcess

_COMMITTED_WITHIN_S: Final = 10.0


class Sending(Protocol):
    def mark(self) -> Mark: ...
    def stop(self) -> None: ...
    def finish(self) -> None: ...


class Side(Protocol):
    name: str
    sent: int
    """Records that it was sent so far; kept by who sends."""

    def figures(self) -> dict[str, Any]:
        """As they are now, and `at_s`, when that was. Raises Unavailable where it does not answer."""
        ...

    def all_done(self) -> dict[str, Any]:
        """The same, once it has worked on all that was sent. Raises Unavailable where it stands still."""
        ...

    def sending(self, pool: Path, phases: Sequence[Phase]) -> AbstractContextManager[Sending]: ...

    def alerts(self, since_us: int, until_us: int) -> tuple[Times, Times]:
        """When events sent in between (N,) were sent, and when their alerts were appended (N,)."""
        ...

    def uncommitted(self) -> int:
        """Records whose offsets are not committed, once the last commit had time to come."""
        ...


@dataclass(slots=True)
class KafkaSide:
    name: str
    parts: Parts
    process: WorkerProcess
    sent: int = 0

    def figures(self) -> dict[str, Any]:
        return wait_for(self.process, 1)

    def all_done(self) -> dict[str, Any]:
        return wait_for(self.process, self.sent)

    def sending(self, pool: Path, phases: Sequence[Phase]) -> Sender:
        return Sender(self.parts.environment, pool, phases)

    def alerts(self, since_us: int, until_us: int) -> tuple[Times, Times]:
        sent_us, appended_us = [], []
        for message in to_the_end(self.parts, self.parts.topics.all_alerts()):
            at_us = message.timestamp()[1] * 1000  # the broker's clock counts milliseconds
            if at_us < since_us:
                continue  # spares the decoding of all that came before
            time_us = decode_alert(message.value(), message.headers()).event_time_us
            if since_us <= time_us < until_us:
                sent_us.append(time_us)
                appended_us.append(at_us)
        return np.array(sent_us, np.int64), np.array(appended_us, np.int64)

    def uncommitted(self) -> int:
        settings, deadline_s = self.parts.settings, time.monotonic() + _COMMITTED_WITHIN_S
        while True:
            left = self.sent - sum(committed(settings, self.parts.topics.telemetry).values())
            if left <= 0 or time.monotonic() > deadline_s:
                return max(left, 0)
            time.sleep(0.2)
