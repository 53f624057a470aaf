"""Flows are judged once each, whatever the turns, crashes and repeats; on fakes that obey the laws."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import zip_longest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.codec.ingest.device_flows import DeviceFlowDecoder
from streams.codec.output.incidents import decode_incident
from streams.core.alerts import Alert, event_ids
from streams.core.events import ORDINAL_SHIFT, Chunk, RawRecord, Source
from streams.core.flow.columns import UNKNOWN, from_values
from streams.core.flow.keeping import WINDOWS
from streams.core.flow.passing import pass_turn
from streams.core.flow.records import Record
from streams.core.flow.state import blank
from streams.core.incident_rules import IncidentRules
from streams.pipeline.describing import Intake, as_flows
from streams.pipeline.recovery import Recovery, RecoveryParts
from tests.belt import Died, conveyed
from tests.core.flow.drawn import START_US, drawn, record
from tests.flow_world import TOPICS, FlowWorld, Stored, chunks_of, detector, device_flow, source, stored
from tests.pipeline.test_pipeline import Killed

SEEDS = st.integers(0, 2**32)
SECOND_US = 1_000_000


def lying(seed: int, count: int = 40, devices: int = 2) -> list[Stored]:
    return stored([device_flow(one) for one in drawn(seed, count, devices)])


def at_once(records: Sequence[Stored]) -> FlowWorld:
    world = FlowWorld()
    world.feed(records, max(len(records), 1))
    return world


@settings(max_examples=4, deadline=None)
@given(SEEDS, st.integers(1, 15))
def test_turns_change_neither_verdicts_nor_what_is_kept(seed: int, size: int) -> None:
    records, world = lying(seed), FlowWorld()
    whole = at_once(records)
    reports = world.feed(records, size)
    assert world.verdicts() == whole.verdicts()
    assert world.windows() == whole.windows()
    assert sum(one.classified for one in reports) == len(world.verdicts())


@settings(max_examples=4, deadline=None)
@given(SEEDS)
def test_the_stream_says_what_the_model_says_of_the_rows_in_order(seed: int) -> None:
    """By a plain loop over one device's rows: the last W of them, the flow itself last."""
    flows = [device_flow(one) for one in drawn(seed, 30, 1)]
    world = at_once(stored(flows))
    columns, _ = from_values(flows)
    passed = pass_turn(blank(1), np.zeros(1, np.int64), columns, columns.end_us)
    rows, model = passed.step.rows, detector()
    index = np.arange(len(rows))[:, None] - np.arange(model.width)[::-1]
    said = model.classify(model.encode(rows), np.maximum(index, 0), index >= 0)
    places = passed.step.record + (passed.ordinal << ORDINAL_SHIFT)
    ids = event_ids(source(), places.tolist())
    alerts = world.verdicts()
    idle = {one.window_fill for one in alerts.values() if one.window_fill == 1}
    assert alerts.keys() == set(ids)
    if len(idle) <= 1 and all(
        alerts[at].window_fill == min(place + 1, model.width) for place, at in enumerate(ids)
    ):  # no gap of an hour began a window anew
        for place, at in enumerate(ids):
            assert alerts[at].verdict == model.verdicts[said.verdict[place]]
            scores = said.posterior[place].astype(np.float64).round(4).tolist()
            assert list(alerts[at].scores.values()) == scores


@settings(max_examples=5, deadline=None)
@given(SEEDS, st.integers(1, 12), st.data())
def test_killed_at_any_point_is_one_delivery(seed: int, size: int, data: st.DataObject) -> None:
    partitions = [lying(seed + number, 25) for number in range(2)]
    world, acknowledged = FlowWorld(), dict[Source, int]()
    for _ in range(data.draw(st.integers(1, 3), label="crashes")):
        calls_left = data.draw(st.integers(0, 10), label="calls until the crash")
        after_call = data.draw(st.booleans(), label="the crash comes after the call")

        def dying(attempt: Callable[[], object], after_call: bool = after_call) -> object:
            nonlocal calls_left
            calls_left -= 1
            if calls_left >= 0:
                return attempt()
            if after_call:
                attempt()
            raise Killed

        try:
            told = conveyed(world.worker(dying), fetched(partitions, size, acknowledged), 30, partial(int, 1))
        except Died as died:
            told = died.told
        acknowledged.update(told.through)
    conveyed(world.worker(), fetched(partitions, size, acknowledged), 30)
    whole = FlowWorld()
    for chunk in fetched(partitions, 1000, {}):
        whole.worker().process(chunk)
    assert world.verdicts() == whole.verdicts()
    assert world.windows() == whole.windows()


def fetched(partitions: Sequence[Sequence[Stored]], size: int, after: dict[Source, int]) -> list[Chunk]:
    found = [
        chunks_of(records, size, after.get(source(number), -1) + 1, number)
        for number, records in enumerate(partitions)
    ]
    return [chunk for row in zip_longest(*found) for chunk in row if chunk is not None]


def content(alert: Alert) -> tuple[object, ...]:
    scores = tuple(alert.scores.items())
    return alert.device_id, alert.event_time_us, alert.verdict, scores, alert.novelty, alert.window_fill


@settings(max_examples=4, deadline=None)
@given(SEEDS, st.integers(1, 15))
def test_repeats_of_hop_and_sensor_change_no_verdict(seed: int, size: int) -> None:
    """Each flow up to three times, under new names, as a hop and two sensors would tell of it."""
    records = [one for one in drawn(seed, 25, 2) if one.final]
    flows = [device_flow(one) for one in records]
    again = [replace(one, flow_id=f"{one.flow_id}-{n}") for one in flows for n in range(seed % 3 + 1)]
    world, once = FlowWorld(), at_once(stored(flows))
    reports = world.feed(stored(again), size)
    assert list(map(content, world.verdicts().values())) == list(map(content, once.verdicts().values()))
    assert sum(one.duplicates for one in reports) >= len(again) - len(flows)


def half(seconds: float, port: int) -> Record:
    at_us = START_US + int(seconds * SECOND_US)
    sent = {"packets_in": UNKNOWN, "ip_bytes_in": UNKNOWN, "state": 0, "half": True}
    return record(start_us=at_us, end_us=at_us, peer_port=port, **sent)


def waiting_then_let_go() -> list[Stored]:
    halves = [half(number / 10, 1000 + number) for number in range(5)]
    late = record(start_us=START_US + 30 * SECOND_US, end_us=START_US + 30 * SECOND_US)
    return stored([device_flow(one) for one in (*halves, late)])


def test_a_record_that_makes_no_row_moves_the_devices_offset_on() -> None:
    world = FlowWorld()
    (report,) = world.feed(waiting_then_let_go()[:3], 3)
    assert (report.records, report.classified, report.repeats) == (3, 0, 0)
    (value,) = world.store.values.values()
    assert WINDOWS.unpack([value], source())["head"]["offset"].tolist() == [2]
    (again,) = world.feed(waiting_then_let_go()[:3], 3)
    assert again.repeats == 3


def test_what_one_record_lets_go_has_ids_of_its_own_and_says_only_what_is_known_of_it() -> None:
    world = at_once(waiting_then_let_go())
    alerts = list(world.verdicts().values())
    assert {one.offset for one in alerts} == {5}
    assert [one.alert_id for one in alerts] == event_ids(
        source(), [5 + (n << ORDINAL_SHIFT) for n in range(6)]
    )
    assert [one.event_time_us - START_US for one in alerts] == [
        0,
        100_000,
        200_000,
        300_000,
        400_000,
        30 * SECOND_US,
    ]
    let_go, own = alerts[1].context, alerts[5].context
    assert let_go == {"src_port": "40000", "dst_port": "1001", "protocol": "tcp"}
    assert own is not None
    assert (own["src_address"], own["dst_address"], own["sensor"]) == ("10.0.0.1", "198.51.100.78", "edge")


def test_incidents_name_alerts_that_are_there() -> None:
    """Also where one record lets many flows go."""
    world = FlowWorld(incidents=IncidentRules())
    for seed in range(3):
        world.feed(lying(seed, 60), 13)
    world.feed(waiting_then_let_go(), 4)
    incidents = [decode_incident(one.value) for one in world.publisher.topics[TOPICS.incidents]]
    known = world.verdicts().keys()
    assert len(incidents) > 3
    for one in incidents:
        assert {one.first_alert_id, one.worst_alert_id, one.last_alert_id} <= known


def test_what_is_no_flow_of_its_key_is_a_dead_letter_and_costs_only_itself() -> None:
    records = stored([device_flow(one) for one in drawn(5, 12, 1)])
    bad = [replace(records[3], key=b"10.0.0.9"), replace(records[7], value=(records[7].value or b"")[:40])]
    for one in bad:
        records[one.offset] = one
    world = FlowWorld()
    reports = world.feed(records, 5)
    letters = {key: n for one in reports for key, n in one.dead_letters.items()}
    assert letters == {"key_not_device_id": 1, "truncated": 1}
    offsets = {alert.offset for alert in world.verdicts().values()}
    assert not offsets & {3, 7}
    assert len(world.publisher.topics[TOPICS.dead_letters]) == 2


@dataclass
class History:
    records: Sequence[Stored]

    def first_offset(self, source: Source) -> int:
        return 0

    def read(self, source: Source, first: int, end: int) -> Generator[Sequence[RawRecord], None, None]:
        for start in range(first, end, 7):
            yield self.records[start : min(start + 7, end)]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_windows_that_the_store_lost_are_rebuilt_with_what_stands_beside_them(seed: int) -> None:
    records, world = lying(seed, 60), FlowWorld()
    intake = Intake(TOPICS.flows, DeviceFlowDecoder(), as_flows)
    parts = RecoveryParts(WINDOWS, world.store, History(records), intake, lambda line: None, lambda: None)

    def worker_from(first: int, end: int) -> None:
        worker = world.worker(recovery=Recovery(parts, 10**6, 3_600_000_000))
        for chunk in chunks_of(records[:end], 9, first):
            worker.process(chunk)

    worker_from(0, 36)
    world.store.values.clear()
    world.store.marks.clear()
    worker_from(36, 60)
    whole = at_once(records)
    assert world.verdicts() == whole.verdicts()
    assert world.windows() == whole.windows()
