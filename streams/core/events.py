"""The values that travel the path: a chunk of raw records, its events as columns, and what was rejected."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from streams.core.tables import Rows

NO_TOPIC_ID: Final = uuid.UUID(int=0)
"""Stands where a broker gives topics no id (librdkafka's mock cluster, Kafka before 2.8)."""

Header = tuple[str, bytes | None]


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


@dataclass(frozen=True, slots=True)
class Chunk:
    """The records of one partition from one poll: the unit of work and of acknowledgement."""

    source: Source
    records: Sequence[RawRecord]
    end_offset: int
    """The partition's high watermark when the chunk was read: one past its last offset."""


@dataclass(frozen=True, slots=True)
class Events:
    """The readable records of a chunk as columns, in the chunk's order."""

    position: npt.NDArray[np.int64]  # (N,) place of each event in the chunk's records
    offset: npt.NDArray[np.int64]  # (N,)
    event_time_us: npt.NDArray[np.int64]  # (N,) microseconds since the epoch
    device_id: list[str]  # N
    rows: Rows  # (N,)

    def __len__(self) -> int:
        return len(self.device_id)

    def only(self, mask: npt.NDArray[np.bool_]) -> Events:
        """Those of the mask (N,)."""
        kept = np.flatnonzero(mask)
        device_id = [self.device_id[i] for i in kept.tolist()]
        return Events(
            self.position[kept], self.offset[kept], self.event_time_us[kept], device_id, self.rows[kept]
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
    NOT_FINITE = "not_finite"
    NEGATIVE_NUMBER = "negative_number"
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
