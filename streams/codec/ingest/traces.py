"""The trace that a producer's header names, as part of the event's context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streams.core.events import Header, RawRecord
from streams.core.traces import TRACEPARENT, is_traceparent


def traces_of(records: Sequence[RawRecord]) -> Sequence[Mapping[str, str] | None] | None:
    """What each record's headers say; None where none says anything. Another form of text says nothing."""
    if not any([record.headers for record in records]):  # noqa: C419  # twice as quick as a generator
        return None
    found = [_trace(record.headers) if record.headers else None for record in records]
    return found if any(found) else None


def _trace(headers: Sequence[Header]) -> Mapping[str, str] | None:
    for name, value in reversed(headers):
        if name == TRACEPARENT and value is not None:
            text = value.decode("latin-1")
            return {TRACEPARENT: text} if is_traceparent(text) else None
    return None
