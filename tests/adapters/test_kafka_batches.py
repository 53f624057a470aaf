"""Batches as hostile producers can make them: bombs, and records that end nowhere. The rest goes on."""

from __future__ import annotations

import gzip
import resource
import struct
import time
import tracemalloc
import uuid
from typing import Any

import pytest
from aiokafka import codec
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.adapters.kafka.batches import LARGEST_BATCH_BYTES, BoundedBatch, bound_batches
from streams.codec.ingest.telemetry import TelemetryDecoder
from streams.codec.output.dead_letters import LARGEST_BYTES, dead_letter, with_sizes
from streams.core.events import Reason, Rejected, Source, Unopened
from streams.core.kdd99 import KDD99
from tests.codec_samples import Raw

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
ENCODERS: dict[str, Any] = {
    "gzip": gzip.compress,
    "snappy": codec.snappy_encode,
    "lz4": codec.lz4_encode,
    "zstd": codec.zstd_encode,
}
HEADER_BYTES = 61
GIB = 1 << 30


@pytest.fixture(autouse=True, scope="module")
def _bounded() -> None:
    bound_batches()


def plain(values: list[bytes], offset: int = 0) -> bytes:
    """A batch of these values, uncompressed, beginning at an offset."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 30,
    )
    for place, value in enumerate(values):
        builder.append(place, 1000 + place, b"key", value, [("name", b"header")])
    return struct.pack(">q", offset) + bytes(builder.build())[8:]


def sealed(batch: bytes, payload: bytes, compression: str) -> bytes:
    """The batch's header over another payload, its length and CRC as a broker wants them."""
    checked = bytearray(batch[21:HEADER_BYTES] + payload)
    checked[1] = CODECS[compression]
    crc = struct.pack(">I", calc_crc32c(bytes(checked)))
    return batch[:8] + struct.pack(">i", 9 + len(checked)) + batch[12:17] + crc + bytes(checked)


def compressed(values: list[bytes], compression: str, offset: int = 0) -> bytes:
    batch = plain(values, offset)
    return sealed(batch, ENCODERS[compression](batch[HEADER_BYTES:]), compression)


def read(*batches: bytes, at: int = 0) -> list[Any]:
    """As aiokafka's fetcher reads a fetch."""
    tp = TopicPartition("ids.telemetry", 0)
    records = fetcher.MemoryRecords(b"".join(batches))
    return list(fetcher.PartitionRecords(tp, records, [], at, None, None, True, 0))


def zstd_bomb(size: int) -> bytes:
    """Blocks of 4 bytes, each of which says: 128 KiB of zeros."""
    block = 1 << 17
    more, last = (struct.pack("<I", block << 3 | 1 << 1 | end)[:3] + b"\0" for end in (0, 1))
    return b"\x28\xb5\x2f\xfd\x00\x58" + more * (size // block - 1) + last


BOMBS = {
    "gzip": gzip.compress(bytes(1 << 20)) * 1024,
    "zstd": zstd_bomb(GIB),
    "lz4": codec.lz4_encode(bytes(LARGEST_BATCH_BYTES + 1)),
    "snappy": b"\xff\xff\xff\xff\x0f" + bytes(10),  # claims 4 GiB
}


@pytest.mark.parametrize("compression", ENCODERS)
def test_good_batches_are_read_as_aiokafka_reads_them(compression: str) -> None:
    first, second = compressed([b"a", b"b" * 100_000], compression), compressed([b"c"], compression, 2)
    found = read(first, second)
    assert [(one.offset, one.key, one.value, one.headers) for one in found] == [
        (at, b"key", value, (("name", b"header"),)) for at, value in enumerate([b"a", b"b" * 100_000, b"c"])
    ]
    assert [type(one.value) for one in found] == [bytes] * 3
    assert [one.offset for one in read(first, second, at=1)] == [1, 2]
    alone = MemoryRecords(first)
    assert [one.timestamp for one in alone.next_batch()] == [one.timestamp for one in found[:2]]


@pytest.mark.parametrize("compression", BOMBS)
def test_a_bomb_becomes_one_record_with_its_bytes_and_takes_little_memory(compression: str) -> None:
    bomb = sealed(plain([b"x"] * 3, 1), BOMBS[compression], compression)
    assert len(bomb) < 1_300_000
    good = [compressed([b"before"], compression, 0), compressed([b"after"], compression, 4)]
    before_kib, before_s = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    found = read(good[0], bomb, good[1])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 128 * 1024
    assert time.process_time() - before_s < 10
    assert [(one.offset, one.value) for one in found] == [(0, b"before"), (1, bomb), (4, b"after")]
    decoded = TelemetryDecoder(KDD99).decode(found)
    assert [one.reason for one in decoded.rejected if one.position == 1] == [Reason.TOO_LARGE]
    assert f"larger than {LARGEST_BATCH_BYTES} bytes" in decoded.rejected[1].detail


def test_a_bomb_at_the_bound_is_still_read() -> None:
    size = LARGEST_BATCH_BYTES - 100
    [record] = read(compressed([bytes(size)], "zstd"))
    assert len(record.value) == size


def test_a_fetch_ends_after_so_many_bytes_and_goes_on_where_it_ended() -> None:
    """Many batches below the bound would otherwise fill the memory from one fetch."""
    third = LARGEST_BATCH_BYTES // 3 + 1
    batches = [compressed([bytes(third)], "zstd", offset) for offset in range(7)]
    seen: list[int] = []
    while len(seen) < 7:
        found = [one.offset for one in read(*batches[len(seen) :], at=len(seen))]
        assert len(found) <= 3
        assert found == list(range(len(seen), len(seen) + len(found)))
        seen += found
    assert len(seen) == 7


def test_a_header_that_is_no_text_costs_the_rest_of_its_batch_and_no_other() -> None:
    """aiokafka raises there, which would end one worker after the other at the same offset."""
    payload = plain([b"a", b"b", b"c"])[HEADER_BYTES:]
    second = payload.index(b"name", payload.index(b"name") + 1)
    hostile = sealed(
        plain([b"a", b"b", b"c"]), payload[:second] + b"\xff\xfe\xfd\xfc" + payload[second + 4 :], "none"
    )
    with pytest.raises(UnicodeDecodeError):
        list(MemoryRecords(hostile).next_batch())
    found = read(hostile, plain([b"next"], 3))
    assert [(one.offset, bytes(one.value)) for one in found] == [(0, b"a"), (1, hostile), (3, b"next")]
    assert isinstance(found[1].value, Unopened)
    assert found[1].value.reason is Reason.UNDECODABLE
    assert [one.offset for one in read(hostile, plain([b"next"], 3), at=2)] == [3]  # committed past it


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(CODECS)), st.data())
def test_whatever_stands_in_a_batch_it_is_read_or_kept_whole(compression: str, data: st.DataObject) -> None:
    """Each mutation has the CRC that a broker would have found right."""
    values = [b"value-%d" % i * 20 for i in range(4)]
    good = plain(values, 7)
    payload = good[HEADER_BYTES:]
    if data.draw(st.booleans(), label="mutate before compression"):
        payload = mutated(payload, data)
    if compression != "none":
        payload = ENCODERS[compression](payload)
    hostile = sealed(good, mutated(payload, data), compression)
    tracemalloc.start()
    found = read(hostile, plain([b"next"], 11), at=7)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 3 * LARGEST_BATCH_BYTES
    assert (found[-1].offset, found[-1].value) == (11, b"next")
    assert all(bytes(one.value) == hostile for one in found if isinstance(one.value, Unopened))
    if [one.value for one in found[:-1]] != values and not any(isinstance(o.value, Unopened) for o in found):
        assert len(found) - 1 <= 4  # a value or key changed, and the lengths still hold


def mutated(payload: bytes, data: st.DataObject) -> bytes:
    out = bytearray(payload)
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(out)))
        cut = data.draw(st.integers(0, 4))
        out[at : at + cut] = data.draw(st.binary(max_size=8))
    return bytes(out)


def test_only_what_is_expected_is_caught() -> None:
    class Broken:
        base_offset, next_offset = 0, 1

        def __iter__(self) -> Any:
            raise MemoryError

    with pytest.raises(MemoryError):
        list(BoundedBatch(Broken(), b""))


SOURCE = Source("ids.telemetry", uuid.UUID(int=7), 3)


def test_a_record_too_large_for_its_dead_letter_is_cut_and_says_so() -> None:
    """3 MB of zeros pass a broker's limit of 1 MB when compressed; the letters' topic need not take them."""
    bad = Rejected(0, Reason.TRUNCATED, "cut short")
    large = Raw(5, b"k" * 5000, bytes(3_000_000), 0, (("h" * 100_000, b"x"),))
    [sized] = with_sizes([large], [bad])
    letter = dead_letter(SOURCE, large, sized, "ids.dead-letters", "1")
    assert sized.reason is Reason.TOO_LARGE
    assert "truncated: cut short" in sized.detail
    assert (letter.key, letter.value) == (b"k" * 1024, bytes(65_536))
    assert all(name.startswith("autodeep.") for name, _ in letter.headers)
    small = Raw(5, b"k", bytes(LARGEST_BYTES - 100), 0, (("h", b"x"),))
    assert with_sizes([small], [bad]) == [bad]
    kept = dead_letter(SOURCE, small, bad, "ids.dead-letters", "1")
    assert (kept.value, kept.headers[0]) == (small.value, ("h", b"x"))
