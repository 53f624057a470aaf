"""What could not be read, byte for byte, with headers that say why and where it came from."""

from __future__ import annotations

from streams.core.alerts import record_id
from streams.core.events import Header, Message, RawRecord, Rejected, Source

PREFIX = "autodeep."


def dead_letter(source: Source, record: RawRecord, rejected: Rejected, topic: str, version: str) -> Message:
    """The record for `topic`: key, value and headers as they came, then ours (schemas/DeadLetter.avsc).

    A record that already has such headers, because a dead letter was sent again, keeps them; the last of a
    name is the latest.
    """
    return Message(
        topic, record.key, record.value, (*record.headers, *_headers(source, record, rejected, version))
    )


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
