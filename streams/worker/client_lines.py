"""What the client libraries write: each thing once for as long as it lasts.

A client that cannot reach a broker writes a line for each try and each of its tasks; what can be done about
it stands in the first. Our own lines pass as they are.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import Final

QUIET_S: Final = 60.0
"""A line is written again once nothing like it came for so long."""
_MOST_KEPT: Final = 1000
_NUMBERS: Final = re.compile(r"\d+")
_LIBRDKAFKA: Final = "autodeep.librdkafka"

_SAID_BY_US: Final = re.compile(
    "Unable connect to |NodeNotReadyError|KafkaConnectionError|Unable to (update|request) metadata"
    "|Connect to .* failed: |: Disconnected|brokers are down|Marking the coordinator dead"
)
"""Of a broker that does not answer, as `adapters/kafka/reconnecting.py` says of each address."""


class ClientLines(logging.Filter):
    """Lines that differ in numbers alone (a port, a count, a time) are alike."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock_s = clock_s
        self._last_s: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.split(".")[0] == "autodeep" and record.name != _LIBRDKAFKA:
            return True
        text = record.getMessage()
        if _SAID_BY_US.search(text):
            return False
        shape, now_s = (record.name, _NUMBERS.sub("#", text)), self._clock_s()
        last_s = self._last_s.pop(shape, -QUIET_S)
        if len(self._last_s) >= _MOST_KEPT:
            self._last_s.clear()
        self._last_s[shape] = now_s
        return now_s - last_s >= QUIET_S
