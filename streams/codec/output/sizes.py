"""How large a message is on the wire, and what becomes of one that its topic does not take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from streams.core.alerts import Alert
from streams.core.events import Message
from streams.core.incidents import Incident

_BATCH_BYTES: Final = 61
_RECORD_BYTES: Final = 36
_HEADER_BYTES: Final = 10
"""What the format adds at most: to a batch, a record and a header (lengths, counts and deltas as varints)."""

Told = TypeVar("Told", Alert, Incident)


@dataclass(frozen=True, slots=True)
class Shortened:
    """A message that takes less room, and by what: `without` are the words that it is counted by."""

    message: Message
    without: tuple[str, ...]


def wire_bytes(message: Message) -> int:
    """At most so many bytes in a batch of its own, uncompressed: what a topic's limit is held against."""
    headers = sum(len(name.encode()) + len(value or b"") + _HEADER_BYTES for name, value in message.headers)
    return _BATCH_BYTES + _RECORD_BYTES + len(message.key or b"") + len(message.value or b"") + headers


def fits(message: Message, limit_bytes: int | None) -> bool:
    """Whether a topic with this limit takes it; one that nobody knows is tried."""
    return limit_bytes is None or wire_bytes(message) <= limit_bytes


def less(
    message: Message, told: Told, written: Callable[[Told], bytes], limit_bytes: int | None
) -> Shortened | None:
    """Without the explanation, and if that is not enough, without the context; None where nothing is left."""
    plain = replace(told, explanation=None)
    without = []
    for fewer, name in ((plain, "explanation"), (replace(plain, context=None), "context")):
        if getattr(told, name) is None:
            continue
        without.append(name)
        shorter = replace(message, value=written(fewer))
        if fits(shorter, limit_bytes):
            return Shortened(shorter, tuple(without))
    return None
