"""Sequence windows: what each event sees of its device's past. Timelines are drawn, nothing waits.

Devices are letters, numbers are their events: `a1 b1 a2` is a chunk of three events of two devices.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.clocks import AHEAD_US
from streams.core.events import NO_TOPIC_ID, Events, Source
from streams.core.kdd99 import KDD99
from streams.core.windows import WIDTH, WindowLayout, Windows, advance, in_order, of_this_topic
from tests.toy_table import TOY, rows_of, tables

LAYOUT = WindowLayout(KDD99)

SOURCE = Source("ids.telemetry", uuid.UUID(int=7), 3)
IDLE_US = 1_000


def events_of(
    devices: list[int], times_us: list[int], first_offset: int, kafka_us: list[int] | None = None
) -> Events:
    """Events whose first number is their own offset, so that a row says which event it is.

    Without Kafka's timestamps both clocks agree.
    """
    n = len(devices)
    rows = np.zeros(n, KDD99.row)
    rows["numbers"][:, 0] = np.arange(first_offset, first_offset + n)
    return Events(
        np.arange(n),
        np.arange(first_offset, first_offset + n),
        np.array(times_us, np.int64),
        [""] * n,
        rows,
        timestamp_us=None if kafka_us is None else np.array(kafka_us, np.int64),
    )


def seen(windows: Windows, devices: list[int], events: Events) -> tuple[list[list[int]], Windows]:
    """The offsets that each applied event's window holds, oldest first, and the windows afterwards."""
    step = advance(windows, np.array(devices, np.int64), events, IDLE_US)
    tape = np.concatenate([windows["rows"].reshape(-1), events.rows[step.applied]])
    views = [
        tape[index][valid]["numbers"][:, 0].astype(int).tolist()
        for index, valid in zip(step.index, step.valid, strict=True)
    ]
    assert step.fill.tolist() == [len(view) for view in views]
    return views, step.windows


@dataclass
class Naive:
    """The rules in their plainest form: a list per device, and the times of all of its events so far."""

    rows: list[int]
    times_us: list[tuple[int, int]]

    def apply(self, offset: int, time_us: int, kafka_us: int) -> list[int]:
        if self.rows:
            latest_us = max(min(time, kafka + AHEAD_US) for time, kafka in self.times_us)
            latest_kafka_us = max(kafka for _, kafka in self.times_us)
            if time_us - latest_us > IDLE_US and kafka_us - latest_kafka_us > IDLE_US:
                self.rows, self.times_us = [], []
        self.rows = [*self.rows, offset][-WIDTH:]
        self.times_us.append((time_us, kafka_us))
        return self.rows


gaps = st.sampled_from([1, 5, -3, IDLE_US, IDLE_US + 1, -5 * IDLE_US, 2 * AHEAD_US])
steps = st.lists(st.tuples(st.integers(0, 3), gaps, gaps), max_size=60)
START_US = 1_000 * AHEAD_US


def timeline(steps: list[tuple[int, int, int]]) -> tuple[list[int], list[int], list[int]]:
    """Devices, event times, and Kafka's timestamps."""
    times = np.cumsum([gap for _, gap, _ in steps], dtype=np.int64) + START_US
    kafka = np.cumsum([gap for _, _, gap in steps], dtype=np.int64) + START_US
    return [device for device, _, _ in steps], times.tolist(), kafka.tolist()


@settings(deadline=None)
@given(steps, st.lists(st.integers(0, 60), max_size=5))
def test_every_event_sees_what_a_plain_recomputation_sees(
    drawn: list[tuple[int, int, int]], cuts: list[int]
) -> None:
    devices, times, kafka = timeline(drawn)
    windows, naive = LAYOUT.blank(4, SOURCE), [Naive([], []) for _ in range(4)]
    cuts = sorted({0, *(cut for cut in cuts if cut < len(devices)), len(devices)})
    for first, end in pairwise(cuts):
        part = slice(first, end)
        views, windows = seen(
            windows, devices[part], events_of(devices[part], times[part], first, kafka[part])
        )
        expected = [naive[devices[i]].apply(i, times[i], kafka[i]) for i in range(first, end)]
        assert views == expected
        assert [rows["numbers"][:, 0].astype(int).tolist() for rows in in_order(windows)] == [
            device.rows for device in naive
        ]


@settings(deadline=None)
@given(steps, st.data())
def test_chunking_changes_nothing(drawn: list[tuple[int, int, int]], data: st.DataObject) -> None:
    devices, times, kafka = timeline(drawn)
    whole, after_whole = seen(LAYOUT.blank(4, SOURCE), devices, events_of(devices, times, 0, kafka))
    cut = data.draw(st.integers(0, len(drawn)))
    blank = LAYOUT.blank(4, SOURCE)
    first, middle = seen(blank, devices[:cut], events_of(devices[:cut], times[:cut], 0, kafka[:cut]))
    second, after = seen(middle, devices[cut:], events_of(devices[cut:], times[cut:], cut, kafka[cut:]))
    assert first + second == whole
    assert [w.tobytes() for w in after] == [w.tobytes() for w in after_whole]


def test_events_at_or_before_the_stored_offset_are_not_applied_again() -> None:
    # a chunk a0 a1 a2 was saved; after a crash a1 a2 a3 are read
    _, windows = seen(LAYOUT.blank(1, SOURCE), [0, 0, 0], events_of([0] * 3, [1, 2, 3], 0))
    views, after = seen(windows, [0, 0, 0], events_of([0] * 3, [2, 3, 4], 1))
    assert views == [[0, 1, 2, 3]]
    assert after["head"]["offset"].tolist() == [3]


def test_a_gap_of_exactly_the_idle_time_keeps_the_window_and_one_more_ends_it() -> None:
    views, _ = seen(LAYOUT.blank(1, SOURCE), [0] * 3, events_of([0] * 3, [0, IDLE_US, 2 * IDLE_US + 1], 0))
    assert views == [[0], [0, 1], [2]]


def test_time_running_backwards_is_no_gap() -> None:
    views, _ = seen(LAYOUT.blank(1, SOURCE), [0] * 2, events_of([0] * 2, [10 * IDLE_US, 0], 0))
    assert views == [[0], [0, 1]]


def test_late_events_join_and_start_no_window_anew() -> None:
    """A sensor that sends what it buffered between what happens now."""
    times = [100 * IDLE_US, 10, 100 * IDLE_US + 1, 20, 100 * IDLE_US + 2]
    events = events_of([0] * 5, times, 0)
    assert seen(LAYOUT.blank(1, SOURCE), [0] * 5, events)[0][-1] == [0, 1, 2, 3, 4]
    assert advance(LAYOUT.blank(1, SOURCE), np.zeros(5, np.int64), events, IDLE_US).resets == 0


def test_a_gap_is_measured_from_the_latest_event_and_not_from_a_late_one() -> None:
    times = [100 * IDLE_US, 10, 101 * IDLE_US + 1]
    views, _ = seen(LAYOUT.blank(1, SOURCE), [0] * 3, events_of([0] * 3, times, 0))
    assert views == [[0], [0, 1], [2]]


def test_a_clock_that_jumps_with_each_event_empties_no_window() -> None:
    times = [START_US + i * (IDLE_US + 1) for i in range(5)]
    kafka = [START_US + i for i in range(5)]
    views, _ = seen(LAYOUT.blank(1, SOURCE), [0] * 5, events_of([0] * 5, times, 0, kafka))
    assert views[-1] == [0, 1, 2, 3, 4]


def test_what_was_buffered_through_an_outage_goes_on_where_it_was() -> None:
    """Kafka heard nothing for long; by the device's own clock nothing was missed."""
    kafka = [START_US, START_US + 10 * IDLE_US, START_US + 10 * IDLE_US + 1]
    views, _ = seen(LAYOUT.blank(1, SOURCE), [0] * 3, events_of([0] * 3, [1, 2, 3], 0, kafka))
    assert views[-1] == [0, 1, 2]


def test_one_event_of_the_far_future_hides_no_later_gap() -> None:
    later = 2 * AHEAD_US
    times, kafka = [START_US, 10**17, START_US + later], [START_US, START_US + 1, START_US + later]
    events = events_of([0] * 3, times, 0, kafka)
    assert seen(LAYOUT.blank(1, SOURCE), [0] * 3, events)[0] == [[0], [0, 1], [2]]
    assert advance(LAYOUT.blank(1, SOURCE), np.zeros(3, np.int64), events, IDLE_US).resets == 1


def test_a_window_stored_before_kafkas_timestamps_were_is_read_with_its_event_time() -> None:
    _, windows = seen(LAYOUT.blank(1, SOURCE), [0] * 3, events_of([0] * 3, [7, 8, 9], 0))
    former = windows[0].tobytes()[:-8]
    read = LAYOUT.unpack([former], SOURCE)
    assert read["kafka_time_us"].tolist() == [9]
    assert read[0].tobytes() == windows[0].tobytes()


def test_a_packed_window_reads_back_and_another_layout_counts_as_none() -> None:
    _, windows = seen(LAYOUT.blank(1, SOURCE), [0] * 20, events_of([0] * 20, list(range(20)), 0))
    value = windows[0].tobytes()
    other_layout = bytes([99]) + value[1:]
    other_table = value[:4] + b"\xff\xff\xff\xff" + value[8:]
    read = LAYOUT.unpack([value, None, other_layout, other_table, value[:-1], b""], SOURCE)
    assert read[0].tobytes() == value
    assert read["head"]["count"].tolist() == [WIDTH, 0, 0, 0, 0, 0]
    assert read["head"]["offset"].tolist() == [19, -1, -1, -1, -1, -1]


@pytest.mark.parametrize(
    ("stored", "read", "end_offset", "same"),
    [
        (SOURCE, SOURCE, 0, True),
        (SOURCE, replace(SOURCE, topic_id=uuid.UUID(int=8)), 1000, False),
        (SOURCE, replace(SOURCE, partition=4), 1000, False),
        (replace(SOURCE, topic_id=NO_TOPIC_ID), replace(SOURCE, topic_id=NO_TOPIC_ID), 10, True),
        # no ids, and an offset that this life of the partition has not reached
        (replace(SOURCE, topic_id=NO_TOPIC_ID), replace(SOURCE, topic_id=NO_TOPIC_ID), 9, False),
    ],
)
def test_a_window_of_another_life_of_the_topic_is_told_apart(
    stored: Source, read: Source, end_offset: int, same: bool
) -> None:
    windows = LAYOUT.blank(1, stored)
    windows["head"]["offset"] = 9
    assert of_this_topic(windows, read, end_offset).tolist() == [same]


def test_a_window_of_kdd99_is_packed_as_those_that_are_stored() -> None:
    rows = np.zeros(3, KDD99.row)
    rows["numbers"] = np.arange(3 * 38, dtype=np.float32).reshape(3, 38) / 4
    rows["codes"] = [[1, 2, 3], [2, 70, 11], [0, 0, 0]]
    offset, time_us = np.arange(40, 43), np.array([5, 6, 7], np.int64) * 10**6
    events = Events(np.arange(3), offset, time_us, ["a"] * 3, rows)
    step = advance(LAYOUT.blank(1, SOURCE), np.zeros(3, np.int64), events, 10**9)
    packed = step.windows.tobytes()
    assert len(packed) == 2552  # within one 2,560-byte allocation of Redis, its string header included
    assert packed[:48].hex() == (
        "01001000ec2fc2b2"  # layout, pad, width, table
        "00000000000000000000000000000007"  # topic id
        "03000000030003002a00000000000000c0cf6a0000000000"  # partition, next, count, offset, time
    )
    assert packed[48 : 48 + 3 * 156] == rows.tobytes()
    assert not any(packed[48 + 3 * 156 : 48 + 16 * 156])
    assert packed[48 + 16 * 156 :].hex() == "c0cf6a0000000000"  # Kafka's time


@settings(deadline=None)
@given(st.data())
def test_windows_of_any_table_and_width_hold_what_was_applied(data: st.DataObject) -> None:
    table, width = data.draw(tables()), data.draw(st.integers(1, 5))
    layout, held = WindowLayout(table, width), b""
    windows, offset = layout.blank(1, SOURCE), 0
    for _ in range(data.draw(st.integers(1, 4))):
        rows = data.draw(rows_of(table))[0]
        count = len(rows)
        places, times_us = np.arange(offset, offset + count), np.arange(offset, offset + count)
        events = Events(np.arange(count), places, times_us, ["a"] * count, rows)
        step = advance(windows, np.zeros(count, np.int64), events, IDLE_US)
        tape = np.concatenate([windows["rows"].reshape(-1), rows])
        for row, index, valid in zip(rows, step.index, step.valid, strict=True):
            held = (held + row.tobytes())[-width * table.row.itemsize :]
            assert tape[index][valid].tobytes() == held
        windows = layout.unpack([step.windows[0].tobytes()], SOURCE)
        assert windows.tobytes() == step.windows.tobytes()
        assert in_order(windows)[0].tobytes() == held
        offset += count


def test_a_window_of_another_table_or_width_counts_as_none() -> None:
    toy, narrow = WindowLayout(TOY), WindowLayout(TOY, 8)
    likewise = WindowLayout(replace(TOY, optional=frozenset({"interval_s"})))  # rows of the same size
    assert likewise.dtype.itemsize == toy.dtype.itemsize
    stored = toy.blank(1, SOURCE)
    stored["head"]["offset"] = 5
    for layout, offset in ((toy, 5), (narrow, -1), (likewise, -1), (LAYOUT, -1)):
        assert layout.unpack([stored.tobytes()], SOURCE)["head"]["offset"].tolist() == [offset]


@pytest.mark.parametrize("width", [0, 2**16])
def test_a_width_that_no_window_has_is_refused(width: int) -> None:
    with pytest.raises(ValueError, match="holds 1 to 65535 events"):
        WindowLayout(TOY, width)
