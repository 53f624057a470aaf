"""What could not be read, byte for byte, with headers that say why and where it came from.

Compressed, a record passes a broker's limit that it exceeds as it is. No topic need take it then: what is
beyond `LARGEST_BYTES` is cut, and the headers say where the whole of it lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from streams.core.alerts import record_id
from streams.core.events import Header, Message, RawRecord, Reason, Rejected, Source

PREFIX: Final = "autodeep."
LARGEST_BYTES: Final = 2_000_000
"""Key, value and headers; the topic of dead letters takes 2 MiB, compressed or not."""
_CUT_VALUE_BYTES: Final = 64 * 1024
_CUT_KEY_BYTES: Final = 1024
_PER_HEADER_BYTES: Final = 16  # lengths; more than the wire has


def dead_letter(source: Source, record: RawRecord, rejected: Rejected, topic: str, version: str) -> Message:
    """The record for `topic`: key, value and headers as they came, then ours (schemas/DeadLetter.avsc).

    Of a record that is too large come the beginnings of key and value, and ours alone of the headers.
    A record that already has such headers, because a dead letter was sent again, keeps them; the last of a
    name is the latest.
    """
    ours = _headers(source, record, rejected, version)
    if size(record) > LARGEST_BYTES:
        key, value = record.key, record.value
        return Message(topic, key and key[:_CUT_KEY_BYTES], value and bytes(value[:_CUT_VALUE_BYTES]), ours)
    return Message(topic, record.key, record.value, (*record.headers, *ours))


def with_sizes(records: Sequence[RawRecord], rejected: Sequence[Rejected]) -> list[Rejected]:
    """The same with another reason where the record itself is too large for its dead letter."""
    return [_too_large(bad, records[bad.position]) for bad in rejected]


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
