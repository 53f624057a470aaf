"""Incidents in Redis: two hashes a partition, written by the script that saves the partition's windows.

`ids:i:{ids.telemetry-7}`      by device the packed standings; without a name the head: life, and up to where
`ids:i:{ids.telemetry-7}:why`  by class and device what drove the worst alert

The same hash tag as the windows', so that they share their slot and their step. A save goes on from the
offset that the head has reached; where data were lost all are written again, some at a time, the head last.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from itertools import islice
from typing import Any, Final

from streams.adapters.redis.links import Call
from streams.core.events import Source
from streams.core.incident_rules import LAYOUT
from streams.errors import WindowStoreUnavailable
from streams.pipeline.ports import IncidentSave

_AT_ONCE: Final = 1000
_HEAD: Final = struct.Struct("<B16sq")


class How(StrEnum):
    """What a save does with what stands there."""

    ON = "on"
    """Goes on from it, and moves the head."""
    ANEW = "anew"
    """All of it goes, the head too."""
    MORE = "more"
    """Adds, where there is no head."""


def incident_keys(prefix: str, source: Source) -> tuple[str, str]:
    states = f"{prefix}:i:{{{source.topic}-{source.partition}}}"
    return states, f"{states}:why"


def arguments(source: Source, save: IncidentSave, how: How = How.ON) -> list[Any]:
    """As the script has them, behind the windows'."""
    head = _HEAD.pack(LAYOUT, source.topic_id.bytes, save.through)
    return [head, save.follows, how.value, *_fields(save.changed), *_fields(save.reasons)]


def pieces(save: IncidentSave) -> Iterator[tuple[IncidentSave, How]]:
    """What comes before a save of all: it then goes on from nothing."""
    left = iter(save.changed.items())
    how = How.ANEW
    while some := dict(islice(left, _AT_ONCE)):
        yield replace(save, changed=some, reasons={}), how
        how = How.MORE
    if how is How.ANEW:
        yield replace(save, changed={}, reasons={}), how


def read(
    keys: tuple[str, str], source: Source, ask: Callable[[Sequence[Call]], list[Any]]
) -> tuple[int, Iterator[tuple[str, bytes]]]:
    """How far they are kept, and they.

    Raises WindowStoreUnavailable, also where somebody writes meanwhile: a worker that had it before.
    """
    states, _ = keys
    look = [look_at_head(keys)]
    (head,) = ask(look)
    through = through_of(head, source)

    def scan() -> Iterator[tuple[str, bytes]]:
        cursor: Any = 0
        while True:
            ((cursor, found),) = ask([Call(states, ("HSCAN", states, cursor, "COUNT", _AT_ONCE))])
            for field, value in zip(found[::2], found[1::2], strict=True):
                if field:
                    yield field.decode(), value
            if not int(cursor):
                break
        if ask(look) != [head]:
            raise WindowStoreUnavailable(f"{states} changed while it was read")

    return through, scan() if through >= 0 else iter(())


def look_at_head(keys: tuple[str, str]) -> Call:
    states, _ = keys
    return Call(states, ("HGET", states, ""))


def through_of(head: bytes | None, source: Source) -> int:
    """Up to which offset they are kept; -1 where none are, or none of this life of the partition."""
    if head is None or len(head) != _HEAD.size:
        return -1
    layout, life, through = _HEAD.unpack(head)
    return int(through) if (layout, life) == (LAYOUT, source.topic_id.bytes) else -1


def _fields(changes: Mapping[str, bytes | None]) -> list[Any]:
    return [len(changes), *(part for key, value in changes.items() for part in (key, value or b""))]
