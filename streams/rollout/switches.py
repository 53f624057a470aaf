"""Which model classifies which offsets: pure rules over the agreed list of switches."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from streams.codec.models import ModelRef, Switch
from streams.core.events import Chunk, Source

KEPT: Final = 16
"""Switches that a state remembers; before the oldest one its own model counts."""


def model_at(switches: Sequence[Switch], source: Source, offset: int) -> ModelRef | None:
    """The last entry that has begun; before all of them the oldest. None where there is no list."""
    for switch in reversed(switches):
        if _start(switch, source) <= offset:
            return switch.model
    return switches[0].model if switches else None


def leading_part(switches: Sequence[Switch], chunk: Chunk) -> Chunk:
    """The chunk up to where the model changes next."""
    starts = [_start(switch, chunk.source) for switch in switches]
    within = [start for start in starts if chunk.first_offset < start <= chunk.last_offset]
    if not within:
        return chunk
    count = bisect_left(chunk.records, min(within), key=lambda record: record.offset)
    return chunk.cut(max(count, 1))[0]


def appended(switches: Sequence[Switch], before: ModelRef, latest: Switch) -> tuple[Switch, ...]:
    """The list after one more switch; a new list begins with the champion before, from the beginning."""
    return (*(switches or (Switch(before, {}, ""),)), latest)[-KEPT:]


def _start(switch: Switch, source: Source) -> int:
    """The first offset; the beginning for a partition added later, or of a topic made anew."""
    if switch.topic_id != str(source.topic_id):
        return 0
    return switch.from_offsets.get(str(source.partition), 0)
