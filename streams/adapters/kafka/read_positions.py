"""Where reading stands in each partition, looked at once a second; in the thread of the consumer.

A position is beyond the last record wherever the offsets after it hold nothing to be read: the end of a
transaction, or records of one that was aborted. And it is known where there was no record at all.

Of a transaction that is open, and of what came after it began, nobody who reads committed records sees
anything: the partition stands at its last stable offset, which is said once it has done so for a while.

Written against aiokafka 0.14.0, pinned exactly, whose private parts it reads.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

from faust.types import TP

from streams.adapters.kafka.deliveries import Committable
from streams.core.timers import NO_WATERMARK

log: Final = logging.getLogger("autodeep")

LOOK_S: Final = 1.0
OPEN_S: Final = 30.0
"""Transactions of everyday last milliseconds; a producer's time-out for them is a minute by default."""


class ReadPositions:
    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._looked_s = -LOOK_S
        self._assignment: Any = None
        self._known: dict[TP, int] = {}
        self._open_since_s: dict[TP, tuple[int, float]] = {}  # the last stable offset, and since when
        self._said: set[TP] = set()

    def changed(
        self, consumer: Any, topic_ids: Mapping[str, uuid.UUID], watermarks_ms: Mapping[TP, int]
    ) -> Mapping[TP, Committable]:
        """Those that have changed since the last look; empty where that was just now."""
        now_s = self._clock_s()
        subscription = consumer._subscription.subscription
        assignment = None if subscription is None else subscription.assignment
        if assignment is None or (assignment is self._assignment and now_s < self._looked_s + LOOK_S):
            return {}
        if assignment is not self._assignment:
            self._assignment, self._known, self._open_since_s = assignment, {}, {}
        self._looked_s = now_s
        found = {}
        for place in assignment.tps:
            tp, state = TP(*place), assignment.state_value(place)
            if state.timestamp is None or not state.has_valid_position or tp.topic not in topic_ids:
                continue  # no broker has answered with this position yet
            self._look_for_open(tp, state, now_s)
            if self._known.get(tp) != state.position:
                self._known[tp] = state.position
                kept_ms = watermarks_ms.get(tp, NO_WATERMARK)
                found[tp] = Committable(
                    state.position, topic_ids[tp.topic], None if kept_ms == NO_WATERMARK else kept_ms
                )
        return found

    def _look_for_open(self, tp: TP, state: Any, now_s: float) -> None:
        stable, end = state.lso, state.highwater
        is_held = stable is not None and stable < end and state.position >= stable
        if not is_held:
            self._open_since_s.pop(tp, None)
            if tp in self._said:
                self._said.discard(tp)
                log.info("%s-%d: the transaction that held it has ended", tp.topic, tp.partition)
            return
        at, since_s = self._open_since_s.get(tp, (-1, 0.0))
        if at != stable:
            self._open_since_s[tp] = stable, now_s
        elif now_s >= since_s + OPEN_S and tp not in self._said:
            self._said.add(tp)
            log.warning(
                "%s-%d: held at offset %d for %.0f s by a transaction that its producer neither commits nor "
                "aborts; offsets up to %d wait until it does, or its transaction.timeout.ms has passed",
                tp.topic, tp.partition, stable, now_s - since_s, end - 1,
            )  # fmt: skip
