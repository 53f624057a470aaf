"""Whether a flow's times can be: against when it was received.

A flow is received after its end: soon, or up to an hour later where files are shipped whole. What is far from
that comes of a clock that is wrong; then the time of arrival stands in its place, and the flow says so.

    NetFlow: the start alone can be wrong, by 2^32 ms of the exporter's uptime
    a collector: its own time of arrival may be stuck at its start, so that flows seem to lie ahead; then
    the flow is right. Kafka's timestamp is better, where there is one.
"""

from __future__ import annotations

import dataclasses
from typing import Final

from streams.core.flows import Flow, Quality

BEHIND_US: Final = 2 * 3_600_000_000
AHEAD_US: Final = 600_000_000
LONGEST_HALF_US: Final = 86_400_000_000
"""An exporter cuts flows by its active time-out, of hours at most."""
_WRAP_US: Final = (1 << 32) * 1_000
"""32 bits of milliseconds: what a wrong uptime is off by."""


def settled(flow: Flow, kafka_us: int | None, collected_us: int | None = None) -> Flow:
    """The flow with times that can be; `kafka_us` and `collected_us`: when Kafka and a collector had it."""
    received_us = kafka_us or collected_us
    if received_us and _is_far(flow.end_us - received_us, bool(kafka_us)):
        length_us = flow.end_us - flow.start_us
        length_us = length_us if length_us <= LONGEST_HALF_US else 0
        return _moved(flow, received_us - length_us, received_us)
    if flow.half and flow.end_us - flow.start_us > LONGEST_HALF_US:
        return _moved(flow, flow.end_us, flow.end_us)
    return flow


def _is_far(ahead_us: int, is_kafkas: bool) -> bool:
    if ahead_us < -BEHIND_US:
        return True
    return ahead_us > AHEAD_US if is_kafkas else abs(ahead_us - _WRAP_US) < BEHIND_US


def _moved(flow: Flow, start_us: int, end_us: int) -> Flow:
    quality = flow.quality | Quality.CLOCK_SKEW
    return dataclasses.replace(flow, start_us=start_us, end_us=end_us, quality=quality)
