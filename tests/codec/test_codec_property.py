"""Whatever bytes stand in one record, its neighbours decode as if it were not there."""

from __future__ import annotations

import resource
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.codec.avro import columns, framing
from streams.codec.avro.datum import Unreadable
from streams.codec.avro.schemas import Schema
from streams.codec.ingest.telemetry import TelemetryDecoder
from streams.core.events import RawRecord, Rejected
from streams.core.kdd99 import KDD99
from tests.codec_samples import CURRENT, Raw, fields, good, seen, single, writer

OPTIONAL = writer(
    change={"serror_rate": ["null", "float"], "hot": "int"},
    extra=[
        {"name": "note", "type": ["null", "string"]},
        {"name": "mark", "type": "boolean"},
        {"name": "blob", "type": "bytes"},
        {"name": "code", "type": {"type": "fixed", "name": "Code", "size": 2}},
        {"name": "d", "type": "double"},
    ],
)
NESTED = writer(
    extra=[
        {"name": "m", "type": {"type": "map", "values": ["null", "long", "string"]}},
        {
            "name": "a",
            "type": {"type": "array", "items": {"type": "enum", "name": "E", "symbols": ["A", "B"]}},
        },
    ]
)
WRITERS = {"current": CURRENT, "optional": OPTIONAL, "nested": NESTED}
EXTRAS: dict[str, dict[str, Any]] = {
    "current": {},
    "optional": {"note": "n", "mark": True, "blob": b"xyz", "code": b"ab", "d": 1.5},
    "nested": {"m": {"k": 3, "l": None}, "a": ["A", "B"]},
}
DECODER = TelemetryDecoder(KDD99, WRITERS.values())
NEIGHBOURS = good(4)
CLEAN = seen(DECODER.decode(NEIGHBOURS))


def valid(name: str) -> bytes:
    return single({**fields("camera-1"), **EXTRAS[name]}, WRITERS[name])


def header(schema: Schema) -> bytes:
    return framing.single_object_header(schema.fingerprint)


@st.composite
def values(draw: st.DrawFn, name: str) -> bytes | None:
    """Arbitrary bytes, arbitrary datums behind a good header, and a valid record mutated, cut or extended."""
    whole = valid(name)
    start = len(header(WRITERS[name]))
    at = draw(st.integers(start, len(whole) - 1))
    mutated = bytearray(whole)
    for place in draw(st.lists(st.integers(start, len(whole) - 1), min_size=1, max_size=4)):
        mutated[place] = draw(st.integers(0, 255))
    return draw(
        st.one_of(
            st.none() | st.binary(max_size=40),
            st.binary(max_size=200).map(lambda tail: whole[:start] + tail),
            st.integers(0, len(whole)).map(lambda end: whole[:end]),
            st.binary(min_size=1, max_size=300).map(lambda tail: whole + tail),
            st.integers(1, 3).map(lambda times: whole + whole[start:] * times),
            st.binary(max_size=12).map(lambda some: whole[:at] + some + whole[at + len(some) :]),
            st.binary(max_size=12).map(lambda some: whole[:at] + some + whole[at:]),
            st.just(bytes(mutated)),
        )
    )


def told(rejected: tuple[Rejected, ...], position: int) -> list[tuple[str, str]]:
    return [(one.reason, one.detail) for one in rejected if one.position == position]


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_neighbours_decode_as_if_the_record_were_not_there(name: str, data: st.DataObject) -> None:
    """And the record itself comes out the same in company of others of its writer, and alone."""
    place = data.draw(st.integers(0, 4))
    stranger = Raw(99, b"camera-1", data.draw(values(name)))
    partner = Raw(98, b"camera-1", valid(name))
    records: list[RawRecord] = [*NEIGHBOURS[:place], partner, stranger, partner, *NEIGHBOURS[place:]]
    decoded = DECODER.decode(records)
    here = place + 1
    ours = [what for at, what in sorted(seen(decoded).items()) if at not in (place, here, place + 2)]
    assert ours == list(CLEAN.values())
    alone = DECODER.decode([stranger])
    assert seen(decoded).get(here) == seen(alone).get(0)
    assert told(decoded.rejected, here) == told(alone.rejected, 0)
    assert seen(decoded)[place] == seen(decoded)[place + 2]


@pytest.mark.parametrize("name", ["current", "optional"])
@settings(max_examples=600, deadline=None)
@given(data=st.data())
def test_the_batch_and_the_single_reader_agree_on_what_is_good_and_on_its_values(
    name: str, data: st.DataObject
) -> None:
    plan = columns.resolve(WRITERS[name], CURRENT)
    datum = (data.draw(values(name)) or b"")[10:]
    batch = columns.read_batch(plan, [datum])
    try:
        read, end = plan.read(datum, 0)
    except Unreadable:
        assert batch is None
        return
    assert (batch is not None) == (end == len(datum))
    if batch is not None:
        singly = columns.from_values(plan, [read])
        for column in plan.columns:
            mine, theirs = singly[column.name], batch[column.name]
            assert mine.equals(theirs, check_dtypes=True)  # NaN equals NaN here


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_chunking_changes_nothing(data: st.DataObject) -> None:
    records = [
        Raw(
            at,
            b"camera-1",
            data.draw(values(data.draw(st.sampled_from(sorted(WRITERS)))) | st.just(valid("current"))),
        )
        for at in range(6)
    ]
    cut = data.draw(st.integers(0, 6))
    whole = DECODER.decode(records)
    first, second = DECODER.decode(records[:cut]), DECODER.decode(records[cut:])
    assert seen(whole) == {**seen(first), **{at + cut: what for at, what in seen(second).items()}}
    assert [one.detail for one in whole.rejected] == [
        one.detail for one in (*first.rejected, *second.rejected)
    ]


@pytest.mark.parametrize("name", WRITERS)
def test_hostile_lengths_at_every_place_take_neither_memory_nor_time(name: str) -> None:
    whole = valid(name)
    huge = [claimed(2**power) for power in (31, 40, 60, 62)] + [claimed(-(2**62))]
    hostile = [whole[:at] + length + whole[at:] for at in range(10, len(whole)) for length in huge]
    records = [Raw(at, b"camera-1", value) for at, value in enumerate(hostile)]
    before_kib, before_s = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    decoded = DECODER.decode([*NEIGHBOURS, *records])
    assert len(decoded.rejected) > len(hostile) // 2
    assert [what for at, what in seen(decoded).items() if at < len(NEIGHBOURS)] == list(CLEAN.values())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 64 * 1024
    assert time.process_time() - before_s < 10


def claimed(length: int) -> bytes:
    """A zig-zag varint."""
    left = (length << 1) ^ (length >> 63)
    digits = [left >> 7 * place & 0x7F for place in range(max(1, -(-left.bit_length() // 7)))]
    return bytes([*(digit | 0x80 for digit in digits[:-1]), digits[-1]])
