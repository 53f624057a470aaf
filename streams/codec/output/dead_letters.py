"""What could not be read, byte for byte, with headers that say why and where it came from.

Compressed, a record passes a broker's limit that it exceeds as it is. No topic need take it then: what is
beyond `LARGEST_BYTES`, or beyond what the topic of dead letters takes, is cut. The headers say so, and where
the whole of it lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from streams.codec.output.sizes import Shortened, fits, wire_bytes
from streams.core.alerts import record_id
from streams.core.events import Header, Message, RawRecord, Reason, Rejected, Source

PREFIX: Final = "autodeep."
LARGEST_BYTES: Final = 2_000_000
"""Key, value and headers; the topic of dead letters takes 2 MiB, compressed or not."""
CUT: Final = "dead_letter"
"""What letters that a topic did not take whole are counted by."""
_CUT_VALUE_BYTES: Final = 64 * 1024
_CUT_KEY_BYTES: Final = 1024
_PER_HEADER_BYTES: Final = 16  # lengths; more than the wire has
_FIRST_OF_OURS: Final = f"{PREFIX}reason"
_VALUE_BYTES, _KEY_BYTES, _HEADERS = (
    PREFIX + name for name in ("cut-value-bytes", "cut-key-bytes", "cut-headers")
)
"""How long the whole is of which the beginning is here, and how many headers are not."""


def dead_letter(source: Source, record: RawRecord, rejected: Rejected, topic: str, version: str) -> Message:
    """The record for `topic`: key, value and headers as they came, then ours (schemas/DeadLetter.avsc).

    Of a record that is too large come the beginnings of key and value, and ours alone of the headers.
    A record that already has such headers, because a dead letter was sent again, keeps them; the last of a
    name is the latest.
    """
    ours = _headers(source, record, rejected, version)
    letter = Message(topic, record.key, record.value, (*record.headers, *ours))
    return _cut(letter, _CUT_VALUE_BYTES, with_headers=False) if size(record) > LARGEST_BYTES else letter


def shorter(letter: Message, limit_bytes: int | None) -> Shortened | None:
    """The letter cut to what its topic takes, to half of it where nobody knows; None where it cannot be.

    Of the value there is as much as fits. The record's own headers, and of a long key the end, go where they
    would leave the value less than half of the room.
    """
    if limit_bytes is not None and fits(letter, limit_bytes):
        return None
    room = wire_bytes(letter) // 2 if limit_bytes is None else limit_bytes
    for with_headers in (True, False):
        bare = _cut(letter, 0, with_headers=with_headers)
        left = room - wire_bytes(bare)
        if left >= (room // 2 if with_headers else 0):
            cut = _cut(letter, left, with_headers=with_headers)
            return Shortened(cut, (CUT,)) if fits(cut, room) else None
    return None


def with_sizes(records: Sequence[RawRecord], rejected: Sequence[Rejected]) -> list[Rejected]:
    """The same with another reason where the record itself is too large for its dead letter."""
    return [_too_large(bad, records[bad.position]) for bad in rejected]


def _cut(letter: Message, value_bytes: int, *, with_headers: bool) -> Message:
    """With so much of the value; a letter that was cut before keeps saying how long the whole is."""
    first = _first_of_ours(letter.headers)
    theirs, ours = letter.headers[:first], letter.headers[first:]
    key, value = letter.key, letter.value
    if key is not None and len(key) > _CUT_KEY_BYTES:
        ours, key = _noted(ours, _KEY_BYTES, len(key)), key[:_CUT_KEY_BYTES]
    if value is not None and len(value) > value_bytes:
        ours, value = _noted(ours, _VALUE_BYTES, len(value)), bytes(value[:value_bytes])
    if theirs and not with_headers:
        ours, theirs = _noted(ours, _HEADERS, len(theirs)), ()
    return replace(letter, key=key, value=value, headers=(*theirs, *ours))


def _first_of_ours(headers: tuple[Header, ...]) -> int:
    """Where ours begin: a letter that was sent again has some of an earlier one before them."""
    return max(place for place, (name, _) in enumerate(headers) if name == _FIRST_OF_OURS)


def _noted(headers: tuple[Header, ...], name: str, count: int) -> tuple[Header, ...]:
    if any(known == name for known, _ in headers):
        return headers
    return (*headers, (name, str(count).encode()))


def _too_large(bad: Rejected, record: RawRecord) -> Rejected:
    found = size(record)
    if found <= LARGEST_BYTES:
        return bad
    detail = f"{found} bytes; the beginning is here, the whole at its offset; {bad.reason}: {bad.detail}"
    return Rejected(bad.position, Reason.TOO_LARGE, detail[:200])


def size(record: RawRecord) -> int:
    headers = sum(len(name) * 4 + len(value or b"") + _PER_HEADER_BYTES for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers


def _headers(source: Source, record: RawRecord, rejected: Rejected, version: str) -> tuple[Header, ...]:
    fields = {
        "reason": rejected.reason.value,
        "detail": rejected.detail,
        "topic": source.topic,
        "topic-id": str(source.topic_id),
        "partition": str(source.partition),
        "offset": str(record.offset),
        "timestamp-ms": str(record.timestamp),
        "id": record_id(source, record.offset),
        "version": version,
    }
    return tuple((PREFIX + name, text.encode()) for name, text in fields.items())
