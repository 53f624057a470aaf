"""Incidents: the same revisions whatever the turns, and those of the plain rule, which keeps every alert."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.faults.judge_incidents import Expected, Told, expected, gaps
from streams.core.clocks import counted_time_us
from streams.core.events import Chunk, RawRecord, Source
from streams.core.incident_book import NEVER, IncidentBook, Outcome
from streams.core.incident_rules import IncidentRules, Standing, Status, pack, unpack
from streams.core.incidents import Activity, Incident
from streams.core.sightings import Index, Moments, Sightings
from streams.core.timers import NO_WATERMARK
from streams.core.windows import rounds_of

SOURCE = Source("ids.telemetry", uuid.UUID(int=7), 3)
S = 1_000_000
RULES = IncidentRules(quiet_us=900 * S, update_us=300 * S, reopen_us=600 * S, novel_least=3)
WIDTH = 16
YEAR_S = 365 * 86_400


@dataclass(frozen=True)
class Record:
    offset: int
    timestamp: int
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[()] = ()


@dataclass(frozen=True)
class Event:
    """One record: Kafka's time and the device's, seconds, and what is said of it."""

    at_s: float
    device: str = "d"
    verdict: str = "dos"
    score: float = 1.0
    behind_s: float = 0.0

    @property
    def severity(self) -> int:
        return 4 if self.score >= 0.8 else 3


def records_of(events: Sequence[Event]) -> list[RawRecord]:
    return [Record(offset, int(event.at_s * 1000)) for offset, event in enumerate(events)]


def told_of(events: Sequence[Event]) -> dict[int, Told]:
    """The alerts, by offset."""
    numbers: dict[str, int] = {}
    found = {}
    for offset, event in enumerate(events):
        number = numbers[event.device] = numbers.get(event.device, -1) + 1
        if event.verdict == "normal":
            continue
        kafka_us = int(event.at_s * 1000) * 1000
        event_us = kafka_us - int(event.behind_s * S)
        found[offset] = Told(
            offset=offset, device_id=event.device, verdict=event.verdict, event_us=event_us,
            counted_us=counted_time_us(event_us, kafka_us), score=event.score, novelty=event.score,
            severity=event.severity, fill=min(number + 1, WIDTH), number=number, model="kdd99/9",
        )  # fmt: skip
    return found


def plain(events: Sequence[Event], rules: IncidentRules = RULES) -> Expected:
    places = [(record.offset, record.timestamp) for record in records_of(events)]
    return expected(SOURCE, places, told_of(events), rules)


def sightings(told: Sequence[Told], chunk: Chunk, moments: Moments) -> Sightings:
    offsets = np.array([one.offset for one in told], np.int64)
    place = np.searchsorted(moments.offset, offsets)

    def ints(name: str) -> Index:
        return np.array([getattr(one, name) for one in told], np.int64)

    return Sightings(
        place, [one.device_id for one in told], [one.verdict for one in told], [one.model for one in told],
        offsets, ints("event_us"), ints("counted_us"), moments.stream_us[place],
        np.array([one.score for one in told]), np.array([one.novelty for one in told]), ints("severity"),
        ints("fill"), ints("number") % rounds_of(WIDTH), rounds_of(WIDTH),
    )  # fmt: skip


def read(book: IncidentBook, chunk: Chunk, told: dict[int, Told]) -> Outcome:
    moments = Moments.of(chunk)
    mine = [told[record.offset] for record in chunk.records if record.offset in told]
    return book.turn(chunk, moments, sightings(mine, chunk, moments))


def chunks_of(events: Sequence[Event], cuts: Sequence[int]) -> list[Chunk]:
    """The partition in chunks of so many records, over and over; each knows the watermark before it."""
    rest: Chunk | None = Chunk(SOURCE, records_of(events), len(events), NO_WATERMARK)
    found, turn = [], 0
    while rest is not None:
        head, rest = rest.cut(cuts[turn % len(cuts)])
        found.append(head)
        turn += 1
    return found


def revisions(events: Sequence[Event], cuts: Sequence[int] = (1000,)) -> list[Incident]:
    book, told = IncidentBook(SOURCE, RULES, NEVER), told_of(events)
    return [one for chunk in chunks_of(events, cuts) for one in read(book, chunk, told).incidents]


def story(found: Sequence[Incident]) -> list[tuple[int, str, int]]:
    """Offset, activity and count."""
    return [(one.offset, one.activity.value, one.alerts) for one in found]


def test_an_incident_opens_says_more_at_powers_of_two_and_closes_once_it_was_quiet() -> None:
    flood = [Event(at_s=i) for i in range(20)]
    rest = [Event(at_s=919, verdict="normal"), Event(at_s=919.5, verdict="normal", device="e")]
    found = revisions([*flood, *rest])
    assert story(found) == [
        (0, "open", 1), (1, "update", 2), (3, "update", 4), (7, "update", 8), (15, "update", 16),
        (21, "close", 20),
    ]  # fmt: skip
    assert found[-1].closed_because == "quiet"
    assert found[-1].expires_at_us == 919 * S < found[-1].changed_at_us
    assert [one.revision for one in found] == [1, 2, 3, 4, 5, 6]
    assert len({one.incident_id for one in found}) == 1


def test_a_flood_of_a_hundred_thousand_alerts_is_seventeen_records() -> None:
    book, updates = IncidentBook(SOURCE, RULES, NEVER), 0
    flood = [Event(at_s=5)] * 5000
    told = told_of(flood)
    records = records_of(flood)
    for turn in range(20):
        moved = [Record(turn * len(flood) + i, one.timestamp) for i, one in enumerate(records)]
        mine = {one.offset: replace(told[i], offset=one.offset) for i, one in enumerate(moved)}
        updates += len(read(book, Chunk(SOURCE, moved, 10**6), mine).incidents)
    assert updates == 17


def test_slow_alerts_say_more_after_each_five_minutes_of_event_time() -> None:
    found = revisions([Event(at_s=120 * i) for i in range(12)])
    assert [one.offset for one in found] == [0, 1, 3, 6, 7, 10]


def test_a_higher_severity_and_a_worse_alert_are_told() -> None:
    found = revisions([Event(0, score=0.7), Event(1, score=0.7), Event(2, score=0.75), Event(3, score=0.9)])
    assert [(one.offset, one.severity.word) for one in found] == [(0, "medium"), (1, "medium"), (3, "high")]
    five = revisions([*[Event(i, score=0.7) for i in range(4)], Event(5, score=0.9)])
    assert [(one.offset, one.severity.word) for one in five][-1] == (4, "high")
    assert five[-1].worst_alert_id == five[-1].last_alert_id != five[-1].first_alert_id


@pytest.mark.parametrize(
    ("gap_s", "told"),
    [
        (900, [(0, "open", 1), (1, "update", 2)]),
        (1500, [(0, "open", 1), (1, "close", 1), (1, "update", 2)]),
        (1501, [(0, "open", 1), (1, "close", 1), (1, "open", 1)]),
    ],
)
def test_a_return_belongs_to_the_incident_until_the_reopening_time_is_over(
    gap_s: int, told: list[tuple[int, str, int]]
) -> None:
    found = revisions([Event(0), Event(gap_s)])
    assert story(found) == told
    assert len({one.incident_id for one in found}) == (2 if told[-1][1] == "open" else 1)


def test_alerts_far_apart_in_event_time_are_two_incidents_though_they_come_together() -> None:
    """A buffer is sent at once: its first alert is four hours old, its second ten minutes."""
    found = revisions([Event(20_000, behind_s=14_400), Event(20_000, behind_s=600)])
    assert story(found) == [(0, "open", 1), (1, "close", 1), (1, "open", 1)]


def test_a_devices_clock_a_year_ahead_or_behind_closes_nothing_of_others_and_opens_once() -> None:
    steady = [Event(10 * i, device=f"d{i % 2}") for i in range(20)]
    for wrong_s in (-YEAR_S, YEAR_S):
        mad = [replace(event, device="mad", behind_s=wrong_s) for event in steady]
        mixed = [event for pair in zip(steady, mad, strict=True) for event in pair]
        found = revisions(mixed)
        assert {one.activity for one in found} == {Activity.OPEN, Activity.UPDATE}
        assert len({one.incident_id for one in found}) == 3


def test_a_partition_whose_clock_is_a_year_ahead_closes_as_any_other() -> None:
    """Kafka's timestamps are all a year ahead of the devices' clocks."""
    events = [Event(YEAR_S + 10 * i, behind_s=YEAR_S) for i in range(20)]
    found = revisions([*events, Event(YEAR_S + 1200, "e", "normal")])
    assert story(found)[-1] == (20, "close", 20)
    assert len({one.incident_id for one in found}) == 1


def test_one_timestamp_a_year_ahead_closes_once_and_what_goes_on_is_the_same_incident() -> None:
    """A producer's own timestamp. From then on the stream's time stands, and nothing flaps."""
    before, after = [Event(10 * i) for i in range(10)], [Event(100 + 10 * i) for i in range(50)]
    found = revisions([*before, Event(YEAR_S, "e", "normal"), *after])
    assert [one.activity.value for one in found].count("close") == 1
    assert found[-1].alerts > 10


def test_a_record_closes_one_incident_at_most_the_one_due_longest_first() -> None:
    """After a night, a million incidents are not closed by one record."""
    flood = [Event(i, device=f"d{i}") for i in range(5)]
    found = revisions([*flood, *[Event(9000, "e", "normal")] * 7])
    closed = [(one.offset, one.device_id) for one in found if one.activity is Activity.CLOSE]
    assert closed == [(5, "d0"), (6, "d1"), (7, "d2"), (8, "d3"), (9, "d4")]


def test_three_novel_alerts_within_a_window_open_an_incident_and_three_of_a_long_day_do_not() -> None:
    novel, normal = Event(0, verdict="novel", score=1.5), Event(0, verdict="normal")
    assert story(revisions([novel, normal, novel, normal, normal, novel, novel])) == [
        (5, "open", 1), (6, "update", 2)
    ]  # fmt: skip
    spread = [replace(novel, at_s=i) if i % 9 == 0 else replace(normal, at_s=i) for i in range(200)]
    assert revisions(spread) == []
    slow = [replace(novel, at_s=901 * i) for i in range(10)]
    assert revisions(slow) == []


classes = st.sampled_from(["normal", "normal", "dos", "probe", "novel"])
seconds = st.one_of(st.just(0.0), st.integers(0, 400).map(float), st.integers(800, 2500).map(float))
drawn = st.lists(
    st.builds(
        Event,
        at_s=seconds,
        device=st.sampled_from("abc"),
        verdict=classes,
        score=st.sampled_from([0.5, 0.79, 0.8, 0.99]),
        behind_s=st.sampled_from([0.0, 0.0, -30.0, -YEAR_S, 1000.0, 5000.0]),
    ),
    min_size=1,
    max_size=60,
)


def in_time(events: Sequence[Event]) -> list[Event]:
    """Drawn are steps of time; some go back."""
    found, now_s = [], 10_000.0
    for event in events:
        now_s += event.at_s
        found.append(replace(event, at_s=now_s - (700 if event.at_s == 13 else 0)))
    return found


@settings(deadline=None, max_examples=120)
@given(drawn, st.lists(st.integers(1, 12), min_size=1, max_size=4), st.sampled_from([0, 600, 5000]))
def test_whatever_the_turns_the_revisions_are_those_of_the_plain_rule(
    steps: list[Event], cuts: list[int], reopen_s: int
) -> None:
    events, rules = in_time(steps), replace(RULES, reopen_us=reopen_s * S)
    wanted, told = plain(events, rules), told_of(events)
    book = IncidentBook(SOURCE, rules, NEVER)
    outcomes = [read(book, chunk, told) for chunk in chunks_of(events, cuts)]
    assert [one for outcome in outcomes for one in outcome.incidents] == wanted.incidents
    links = [link for outcome in outcomes for link in outcome.links]
    assert links == [wanted.links[offset] for offset in sorted(told)]
    assert list(gaps(wanted.incidents)) == []


floods = st.lists(
    st.builds(
        Event,
        at_s=st.sampled_from([0.0, 0.0, 0.0, 1.0, 7.0]),
        device=st.sampled_from("aaab"),
        verdict=st.sampled_from(["dos", "dos", "dos", "novel"]),
        score=st.sampled_from([0.5, 0.5, 0.6, 0.9]),
        behind_s=st.sampled_from([0.0, 0.0, 0.0, 0.0, -320.0, 20.0, -50.0, 2000.0]),
    ),
    min_size=30,
    max_size=150,
)


@settings(deadline=None, max_examples=100)
@given(floods, st.lists(st.integers(1, 150), min_size=1, max_size=3))
def test_many_alerts_of_a_device_in_a_turn_come_to_the_same_as_one_by_one(
    steps: list[Event], cuts: list[int]
) -> None:
    events = in_time(steps)
    wanted, told = plain(events), told_of(events)
    book = IncidentBook(SOURCE, RULES, NEVER)
    outcomes = [read(book, chunk, told) for chunk in chunks_of(events, cuts)]
    found = [one for outcome in outcomes for one in outcome.incidents]
    assert found == wanted.incidents
    links = [link for outcome in outcomes for link in outcome.links]
    assert links == [wanted.links[offset] for offset in sorted(told)]


@settings(deadline=None, max_examples=60)
@given(drawn, st.lists(st.integers(1, 12), min_size=1, max_size=4), st.data())
def test_a_book_read_anew_from_what_was_kept_goes_on_as_if_nothing_had_been(
    steps: list[Event], cuts: list[int], data: st.DataObject
) -> None:
    """At any turn another worker takes over, and reads some records again that were taken in before."""
    events = in_time(steps)
    told, wanted = told_of(events), plain(events).incidents
    chunks = chunks_of(events, cuts)
    kept: dict[str, bytes] = {}
    book, through, found = IncidentBook(SOURCE, RULES, NEVER), NEVER, list[Incident]()
    turn = 0
    while turn < len(chunks):
        outcome = read(book, chunks[turn], told)
        found += outcome.incidents
        for device, value in outcome.changed.items():
            kept.pop(device, None)
            if value is not None:
                kept[device] = value
        assert kept == dict(book.kept)
        through, turn = book.through, turn + 1
        if data.draw(st.booleans(), label="another worker"):
            book = IncidentBook(SOURCE, RULES, through, kept.items())
            turn = max(0, turn - data.draw(st.integers(0, 2), label="turns read again"))
    assert found == wanted


@given(drawn)
def test_the_open_ones_are_counted_by_class_and_severity(steps: list[Event]) -> None:
    events = in_time(steps)
    book = IncidentBook(SOURCE, RULES, NEVER)
    (chunk,) = chunks_of(events, [1000])
    last = {one.incident_id: one for one in read(book, chunk, told_of(events)).incidents}
    still = [one for one in last.values() if one.activity is not Activity.CLOSE]
    counted = {key: count for key, count in book.open.items() if count}
    again = IncidentBook(SOURCE, RULES, book.through, book.kept.items())
    assert counted == dict(again.open)
    assert sum(counted.values()) == len(still)


def test_what_is_kept_is_forgotten_once_nothing_can_come_of_it() -> None:
    events = [Event(i, device=f"d{i}", verdict="dos" if i % 2 else "novel") for i in range(40)]
    book, told = IncidentBook(SOURCE, RULES, NEVER), told_of(events)
    later = [*events, *[Event(1000 + i, "e", "normal") for i in range(600)]]
    for chunk in chunks_of(later, [50]):
        read(book, chunk, told)
    assert len(book) == 0
    assert not +book.open


def test_a_kept_standing_is_read_back_and_one_of_another_layout_is_none() -> None:
    one = Standing(
        "u2r", Status.CLOSED, 5, 3, 9, 1, 2, 3, -4, 5, 6, 7, 8, 0.5, 1.5, 2**63, 9, ["kdd99/9", "é/1"]
    )
    other = Standing("novel", recent=5, number=65_535)
    assert list(unpack(pack([one, other]))) == [one, other]
    assert list(unpack(b"\x02" + pack([one])[1:])) == []
    assert len(IncidentBook(SOURCE, RULES, 9, [("d", b"\x02")])) == 0
    assert len(pack([one])) < 140
