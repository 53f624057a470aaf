"""The values that travel the path: a chunk of raw records, its events as columns, and what was rejected."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from streams.core.clocks import Times
from streams.core.tables import Rows
from streams.core.timers import NO_WATERMARK, watermark_after

NO_TOPIC_ID: Final = uuid.UUID(int=0)
"""Stands where a broker gives topics no id (librdkafka's mock cluster, Kafka before 2.8)."""

ORDINAL_SHIFT: Final = 56
"""An event's place: its offset, which is smaller than 2^56, and above that its ordinal."""

Header = tuple[str, bytes | None]

Partition = tuple[str, int]
"""Topic and partition: what state in memory is kept by."""


class RawRecord(Protocol):
    """What the path needs of a consumed record; aiokafka's ConsumerRecord has this shape."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...  # milliseconds since the epoch, as Kafka has it
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[Header]: ...


@dataclass(frozen=True, slots=True)
class Source:
    """One life of one partition. A topic deleted and made again has another id, and begins at offset 0."""

    topic: str
    topic_id: uuid.UUID
    partition: int

    @property
    def place(self) -> Partition:
        """Whichever life it is."""
        return self.topic, self.partition


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive records of one partition, at least one."""

    source: Source
    records: Sequence[RawRecord]
    end_offset: int
    """The partition's high watermark when the chunk was read: one past its last offset."""
    watermark_ms: int = NO_WATERMARK
    """The largest Kafka timestamp of the partition's records before the chunk (`core/timers.py`)."""

    @property
    def first_offset(self) -> int:
        return self.records[0].offset

    @property
    def last_offset(self) -> int:
        return self.records[-1].offset

    @property
    def lag_records(self) -> int:
        """Offsets of the partition beyond this chunk when it was read."""
        return self.end_offset - self.last_offset - 1

    def cut(self, count: int) -> tuple[Chunk, Chunk | None]:
        """The first `count` records (at least 1), and the rest: None where nothing is left."""
        if count >= len(self.records):
            return self, None
        head = replace(self, records=self.records[:count])
        return head, replace(self, records=self.records[count:], watermark_ms=head.watermark_after_ms)

    def joined(self, later: Chunk) -> Chunk:
        """With the chunk that was read next of the same life of the partition."""
        return replace(self, records=[*self.records, *later.records], end_offset=later.end_offset)

    @property
    def watermark_after_ms(self) -> int:
        return watermark_after(self.watermark_ms, (record.timestamp for record in self.records))


@dataclass(frozen=True, slots=True)
class Events:
    """The readable records of a chunk as columns, in the chunk's order."""

    position: npt.NDArray[np.int64]  # (N,) place of each event in the chunk's records
    offset: npt.NDArray[np.int64]  # (N,)
    event_time_us: npt.NDArray[np.int64]  # (N,) microseconds since the epoch
    device_id: list[str]  # N
    rows: Rows  # (N,)
    context: Sequence[Mapping[str, str] | None] | None = None  # N; None where no event has any
    """What each event carries beside its features, for whoever reads its alert. No model sees it."""
    timestamp_us: Times | None = None  # (N,) of Kafka, 1970 to 9999; None where no Kafka has seen the events
    ordinal: npt.NDArray[np.int64] | None = (
        None  # (N,) which of its record's events each is; None: the only one
    )

    @property
    def place(self) -> npt.NDArray[np.int64]:
        """(N,) offset and ordinal in one number: what its alert's id is made of."""
        return self.offset if self.ordinal is None else self.offset + (self.ordinal << ORDINAL_SHIFT)

    @property
    def kafka_us(self) -> Times:
        """(N,) Kafka's timestamps; without them the event times themselves."""
        return self.event_time_us if self.timestamp_us is None else self.timestamp_us

    def __len__(self) -> int:
        return len(self.device_id)

    def only(self, mask: npt.NDArray[np.bool_]) -> Events:
        """Those of the mask (N,)."""
        kept = np.flatnonzero(mask)
        places = kept.tolist()
        return Events(
            position=self.position[kept],
            offset=self.offset[kept],
            event_time_us=self.event_time_us[kept],
            device_id=[self.device_id[i] for i in places],
            rows=self.rows[kept],
            context=None if self.context is None else [self.context[i] for i in places],
            timestamp_us=None if self.timestamp_us is None else self.timestamp_us[kept],
            ordinal=None if self.ordinal is None else self.ordinal[kept],
        )


class Reason(StrEnum):
    """Why a record became a dead letter. Wire values: consumers count by them."""

    EMPTY_VALUE = "empty_value"
    UNKNOWN_FRAMING = "unknown_framing"
    UNKNOWN_SCHEMA = "unknown_schema"
    TRUNCATED = "truncated"
    TRAILING_BYTES = "trailing_bytes"
    UNDECODABLE = "undecodable"
    SCHEMA_MISMATCH = "schema_mismatch"
    KEY_MISSING = "key_missing"
    KEY_NOT_DEVICE_ID = "key_not_device_id"
    BAD_DEVICE_ID = "bad_device_id"
    BAD_EVENT_TIME = "bad_event_time"
    CLOCK_SKEW = "clock_skew"
    NOT_FINITE = "not_finite"
    NEGATIVE_NUMBER = "negative_number"
    BAD_NUMBER = "bad_number"
    BAD_PORT = "bad_port"
    BAD_ADDRESS = "bad_address"
    AGGREGATED = "aggregated"
    """Sums over flows, not flows."""
    TOO_LARGE = "too_large"
    NEW_DEVICE_LIMIT = "new_device_limit"


class Unopened(bytes):
    """The value of a record that stands for others that cannot be told apart: their bytes as they came."""

    reason: Reason
    detail: str

    def __new__(cls, data: bytes, reason: Reason, detail: str) -> Unopened:
        value = super().__new__(cls, data)
        value.reason, value.detail = reason, detail
        return value


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that cannot be classified: which one, and a reason that an operator understands."""

    position: int
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Decoded:
    events: Events
    rejected: tuple[Rejected, ...]


@dataclass(frozen=True, slots=True)
class Message:
    """A record to be published."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...] = ()
