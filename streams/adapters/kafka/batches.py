"""Kafka's record batches, opened with a bound: what a sender compressed may be a thousand times its size.

A broker's `max.message.bytes` limits a batch as it was sent, compressed; aiokafka decompresses it whole,
whatever comes out: 4 KB of zstd are 128 MiB of zeros. Here a batch of more than `LARGEST_BATCH_BYTES`, or one
whose records cannot be told apart, becomes one record that carries the batch as it came (`Unopened`), for a
dead letter. The fetch after so many bytes begins with the next batch, which keeps a poll small.

Written against aiokafka 0.14.0, pinned exactly, whose private parts it replaces: the decoders by name in its
two modules of batches, and the class by which its fetcher reads what came.
"""

from __future__ import annotations

import gzip
import io
import struct
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import cramjam
import numpy as np
from aiokafka import codec
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.legacy_records import LegacyRecordBatch
from aiokafka.record.memory_records import MemoryRecords

from streams.core.events import Header, Reason, Unopened

LARGEST_BATCH_BYTES: Final = 16 * 1024 * 1024
"""Decompressed. Producers end a batch at 1 MB or less unless they are told otherwise."""

_LENGTH: Final = struct.Struct(">i")
_LENGTH_AT: Final = 8  # after the base offset; the length counts what follows itself
_XERIAL_HEADER_BYTES: Final = 16


class _Opened(threading.local):
    decompressed_bytes = 0


_opened: Final = _Opened()


class BatchTooLarge(Exception):
    def __init__(self) -> None:
        super().__init__(f"it is larger than {LARGEST_BATCH_BYTES} bytes when decompressed")


_UNREADABLE: Final = (
    BatchTooLarge,
    CorruptRecordException,
    cramjam.DecompressionError,
    zlib.error,
    OSError,  # gzip's
    EOFError,
    struct.error,
    UnicodeDecodeError,
)


def _bounded(decode: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    def bounded(payload: Any) -> bytes:
        data = decode(payload)
        if len(data) > LARGEST_BATCH_BYTES:
            raise BatchTooLarge
        _opened.decompressed_bytes += len(data)
        return data

    return bounded


def _gzip(payload: Any) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(payload), mode="r") as file:
        return file.read(LARGEST_BATCH_BYTES + 1)


def _into(decompress_into: Callable[[Any, Any], int]) -> Callable[[Any], bytes]:
    """Into a buffer of the largest size, of which only the pages that are written to become real."""

    def decode(payload: Any) -> bytes:
        buffer = np.empty(LARGEST_BATCH_BYTES + 1, np.uint8)
        try:
            return buffer[: decompress_into(payload, buffer)].tobytes()
        except cramjam.DecompressionError as exc:
            if "whole buffer" in str(exc):
                raise BatchTooLarge from exc
            raise

    return decode


def _snappy(payload: Any) -> bytes:
    """Snappy says beforehand how long the result is, and reserves that much on its word."""
    data = memoryview(payload)
    blocks = [data]
    if codec._detect_xerial_stream(data):
        blocks, at = [], _XERIAL_HEADER_BYTES
        while at < len(data):
            (size,) = _LENGTH.unpack_from(data, at)
            if size < 0:
                raise CorruptRecordException("a block of negative size")
            blocks.append(data[at + 4 : at + 4 + size])
            at += 4 + size
    claimed_bytes = sum(cramjam.snappy.decompress_raw_len(block) for block in blocks)
    if claimed_bytes > LARGEST_BATCH_BYTES:
        raise BatchTooLarge
    return b"".join(bytes(cramjam.snappy.decompress_raw(block)) for block in blocks)


DECODERS: Final[dict[str, Callable[[Any], bytes]]] = {
    "gzip_decode": _bounded(_gzip),
    "snappy_decode": _bounded(_snappy),
    "lz4_decode": _bounded(_into(cramjam.lz4.decompress_into)),
    "zstd_decode": _bounded(_into(cramjam.zstd.decompress_into)),
}


def bound_batches() -> None:
    """From now on all of aiokafka's consumers in this process read batches with these bounds."""
    for batch in (DefaultRecordBatch, LegacyRecordBatch):
        module = sys.modules[batch.__module__]  # compiled, or in Python where that was not to be had
        for name in DECODERS.keys() & vars(module).keys():
            setattr(module, name, DECODERS[name])
    fetcher.MemoryRecords = BoundedRecords


@dataclass(frozen=True, slots=True)
class StandIn:
    """One record in place of what could not be opened, from this offset to the batch's end."""

    offset: int
    timestamp: int
    timestamp_type: int
    value: Unopened
    key: None = None
    headers: tuple[Header, ...] = ()
    checksum: None = None


class BoundedRecords:
    """The batches of one fetch of one partition, as aiokafka's fetcher asks for them."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._records = MemoryRecords(data)
        self._at = 0
        self._until_bytes = _opened.decompressed_bytes + LARGEST_BATCH_BYTES

    def size_in_bytes(self) -> int:
        return int(self._records.size_in_bytes())

    def has_next(self) -> bool:
        """No more where enough was opened: the rest is fetched again, from where this ended."""
        return _opened.decompressed_bytes < self._until_bytes and bool(self._records.has_next())

    def next_batch(self) -> Any:
        (length,) = _LENGTH.unpack_from(self._data, self._at + _LENGTH_AT)
        start, self._at = self._at, self._at + _LENGTH_AT + _LENGTH.size + length
        batch = self._records.next_batch()
        if not isinstance(batch, DefaultRecordBatch):
            return batch  # of Kafka before 0.11: it does not tell its offsets beforehand
        return BoundedBatch(batch, self._data[start : self._at])


class BoundedBatch:
    """A batch of aiokafka's; its records, or of those that cannot be read one that stands for them."""

    def __init__(self, batch: Any, data: bytes) -> None:
        self._batch = batch
        self._data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        offset = self._batch.base_offset
        try:
            for record in self._batch:
                yield record
                offset = record.offset + 1
        except _UNREADABLE as exc:
            reason = Reason.TOO_LARGE if isinstance(exc, BatchTooLarge) else Reason.UNDECODABLE
            value = Unopened(self._data, reason, f"the batch cannot be opened: {exc}")
            offset = min(offset, self._batch.next_offset - 1)
            yield StandIn(offset, self._batch.max_timestamp, self._batch.timestamp_type, value)
