"""A flood of device ids: what is let in is bounded, what is not is a dead letter, and nobody else notices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.codec.output.alerts import AlertOutput
from streams.core.events import Reason
from streams.core.kdd99 import KDD99
from streams.core.newcomers import BURST_S, Bucket, admit, full
from streams.core.windows import WindowLayout
from streams.pipeline.alerting import Rules
from streams.pipeline.cache import WindowCache
from streams.pipeline.describing import Intake
from streams.pipeline.detection import Ports
from tests.fakes import Always, patient
from tests.pipeline.test_pipeline import (
    DETECTOR,
    SOURCE,
    TOPICS,
    PlainDecoder,
    Record,
    Worker,
    World,
    chunks_of,
    feed,
)

LAYOUT = WindowLayout(KDD99)

PER_S = 2
BURST = PER_S * BURST_S

arrivals = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 500)), min_size=1, max_size=150)
"""(device, milliseconds since the arrival before)"""


def in_time(gaps: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    times_ms = np.cumsum([gap for _, gap in gaps]).tolist()
    return [(device, time_ms) for (device, _), time_ms in zip(gaps, times_ms, strict=True)]


def everybody() -> np.ndarray:
    return np.ones(61, bool)


@given(arrivals)
def test_never_more_are_let_in_than_the_burst_and_what_the_time_earned(gaps: list[tuple[int, int]]) -> None:
    """In any stretch of records, not only from the first."""
    asked = in_time(gaps)
    _, admitted = admit(full(PER_S, 0), PER_S, asked, everybody())
    entered: dict[Any, Any] = {}
    for place, (device, time_ms) in enumerate(asked):
        if admitted[place]:
            entered.setdefault(device, time_ms)
    times_ms = sorted(entered.values())
    for first in range(len(times_ms)):
        for last in range(first, len(times_ms)):
            allowed = BURST + PER_S * (times_ms[last] - times_ms[first]) / 1000
            assert last - first + 1 <= allowed


@given(arrivals)
def test_who_was_let_in_stays_in_and_nobody_is_refused_while_there_is_room(
    gaps: list[tuple[int, int]],
) -> None:
    asked = in_time(gaps)
    _, admitted = admit(full(PER_S, 0), PER_S, asked, everybody())
    inside: set[int] = set()
    for place, (device, _) in enumerate(asked):
        assert admitted[place] or device not in inside
        if admitted[place]:
            inside.add(device)
    assert len(inside) >= min(BURST, len({device for device, _ in asked}))


@given(arrivals, st.integers(0, 150))
def test_the_same_records_are_let_in_however_they_are_cut(gaps: list[tuple[int, int]], cut: int) -> None:
    asked, is_new = in_time(gaps), everybody()
    whole = admit(full(PER_S, 0), PER_S, asked, is_new)
    bucket, first = admit(full(PER_S, 0), PER_S, asked[:cut], is_new)
    is_new[[device for (device, _), inside in zip(asked[:cut], first, strict=True) if inside]] = False
    bucket, second = admit(bucket, PER_S, asked[cut:], is_new)
    assert (bucket, [*first, *second]) == (whole[0], list(whole[1]))


@given(st.lists(st.integers(-(2**62), 2**62), max_size=30), st.integers(0, 2**41))
def test_no_timestamps_keep_new_devices_out_for_good(forged_ms: list[int], now_ms: int) -> None:
    """Producers may set them where the topic has CreateTime. The level stays within the bucket, too."""
    bucket, _ = admit(Bucket(0, now_ms), PER_S, list(enumerate(forged_ms)), everybody())
    assert 0 <= bucket.level <= full(PER_S, 0).level
    honest = [(30 + second, now_ms + 1000 * second) for second in range(1, 13)]
    _, admitted = admit(bucket, PER_S, honest, everybody())
    assert admitted.sum() >= 1
    assert admitted[-1]


def test_known_devices_take_nothing_from_the_bucket() -> None:
    bucket, admitted = admit(full(PER_S, 0), PER_S, [(7, 0)] * 100, np.zeros(8, bool))
    assert (bucket, admitted.all()) == (full(PER_S, 0), True)


def worker(world: World, per_s: int, cache_bytes: int = 1 << 18) -> Worker:
    ports = Ports(Intake(TOPICS.telemetry, PlainDecoder()), world.store, world.publisher, patient, lambda: 5)  # type: ignore[arg-type]
    outputs = [AlertOutput(TOPICS, publish_classified=True)]
    rules = Rules(TOPICS, 10**9, outputs, publish_classified=True, new_devices_per_s=per_s)
    return Worker(ports, rules, WindowCache(LAYOUT, cache_bytes, DETECTOR.latent_size), Always(DETECTOR))


def flood(known: int, made_up: int) -> list[Record]:
    """One event of each known device, then more of theirs among ids that come once; all within a second."""
    names = [f"d{i}" for i in range(known)]
    for i in range(made_up):
        names += [f"x{i}", *([f"d{i % known}"] if i % 7 == 0 else [])]
    return [
        Record(
            offset, f"{name} {offset * 37 % 101}".encode(), name.encode(), offset // 20, (("from", b"me"),)
        )
        for offset, name in enumerate(names)
    ]


def test_a_flood_beyond_the_limit_becomes_dead_letters_and_known_devices_are_judged_as_without_it() -> None:
    records = flood(known=10, made_up=400)
    world, alone = World(), World()
    reports = feed(worker(world, per_s=2), records, 32)
    feed(worker(alone, per_s=0), [record for record in records if record.value.startswith(b"d")], 32)

    let_in = {device for _, _, device in world.store.values}
    assert {f"d{i}" for i in range(10)} <= let_in
    assert len(let_in) == BURST == sum(report.new_devices for report in reports)
    mine = {key: alert for key, alert in world.verdicts().items() if alert.device_id.startswith("d")}
    assert mine == alone.verdicts()
    letters = world.publisher.topics[TOPICS.dead_letters]
    refused = [record for record in records if record.value.split()[0].decode() not in let_in]
    assert [(one.key, one.value, one.headers[:1]) for one in letters] == [
        (record.key, record.value, record.headers) for record in refused
    ]
    assert {dict(one.headers)["autodeep.reason"] for one in letters} == {b"new_device_limit"}
    assert sum(report.dead_letters[Reason.NEW_DEVICE_LIMIT] for report in reports) == len(refused)
    assert len(world.verdicts()) + len(letters) == len(records)


def test_the_cache_stays_bounded_in_a_flood_and_refused_ids_drive_nobody_out() -> None:
    records = flood(known=10, made_up=400)
    for per_s in (0, 2):
        pipeline = worker(World(), per_s, cache_bytes=200_000)
        capacity = pipeline.cache_figures.capacity
        assert 32 <= capacity < 50
        for chunk in chunks_of(records, 32):
            pipeline.process(chunk)
            assert pipeline.cache_figures.devices <= capacity
        figures = pipeline.cache_figures
        assert (figures.devices == capacity) == (per_s == 0)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=80), st.integers(1, 40))
def test_the_chunking_changes_neither_verdicts_nor_who_is_let_in(devices: list[int], size: int) -> None:
    records = [Record(at, f"d{d} {at % 101}".encode(), timestamp=90 * at) for at, d in enumerate(devices)]
    cut, whole = World(), World()
    feed(worker(cut, per_s=1), records, size)
    feed(worker(whole, per_s=1), records, len(records))
    assert cut.verdicts() == whole.verdicts()
    assert cut.letters() == whole.letters()
    assert len(cut.verdicts()) + len(cut.letters()) == len(records)


def test_a_device_that_was_refused_is_let_in_when_the_time_has_earned_it_a_place() -> None:
    world = World()
    pipeline = worker(world, per_s=1)
    names = [f"x{i}" for i in range(BURST_S)] + ["late", "late", "late"]
    times_ms = [0] * BURST_S + [500, 999, 1000]
    records = [
        Record(i, f"{name} 1".encode(), None, ms)
        for i, (name, ms) in enumerate(zip(names, times_ms, strict=True))
    ]
    feed(pipeline, records, 4)
    assert [len(world.letters()), len(world.verdicts())] == [2, BURST_S + 1]
    pipeline.revoked(frozenset({SOURCE.place}))  # its next owner begins with a full bucket
    more = [replace(records[0], offset=100 + i, value=f"y{i} 1".encode()) for i in range(BURST_S)]
    feed(pipeline, more, 4)
    assert len(world.letters()) == 2


def test_windows_from_the_store_go_to_their_devices_where_others_of_the_chunk_are_refused() -> None:
    records = flood(known=10, made_up=200)
    known = [record for record in records if record.value.startswith(b"d")]
    world, alone = World(), World()
    pipeline = worker(world, per_s=1)
    for chunk in chunks_of(records, 32):
        pipeline.process(chunk)
        pipeline._cache.drop(SOURCE.place, [f"d{i}" for i in range(10)])  # the next event loads it again
    feed(worker(alone, per_s=0), known, 32)
    mine = {key: alert for key, alert in world.verdicts().items() if alert.device_id.startswith("d")}
    assert mine == alone.verdicts()
