"""Says in the log that event times are probably wrong: a line for each reason, and not often."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from streams.core.skew import OddTimes, Skew

AGAIN_S: Final = 600.0
"""After a line about a reason the next one comes no sooner; it tells how many events there were meanwhile."""
_SHOWN: Final = 60


class OddTimesLog:
    def __init__(self, say: Callable[[str], None], clock_s: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock_s = clock_s
        self._said_s: dict[str, float] = {}
        self._counts: Counter[str] = Counter()

    def note(self, skew: Skew) -> None:
        for odd in skew.odd:
            self._counts[odd.why] += odd.count
            now_s = self._clock_s()
            if now_s - self._said_s.get(odd.why, -AGAIN_S) >= AGAIN_S:
                self._said_s[odd.why] = now_s
                self._say(_line(odd, self._counts.pop(odd.why)))


def _line(odd: OddTimes, count: int) -> str:
    return (
        f"{odd.why} in {count} events, one of them {odd.event_time_us} of device "
        f"{odd.device_id[:_SHOWN]!a}, where Kafka's timestamp is {odd.kafka_us} in microseconds; "
        "AUTODEEP_MAX_CLOCK_SKEW_S makes dead letters of such events"
    )
