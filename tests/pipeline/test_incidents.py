"""Incidents on the path: counted once, told alike and saved with the windows, wherever a worker dies."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.faults.judge_incidents import gaps
from streams.codec.output.alerts import AlertOutput, decode_alert
from streams.codec.output.incidents import decode_incident
from streams.core.alerts import Alert
from streams.core.events import Chunk, Decoded, Events, Header, RawRecord, Source
from streams.core.incident_rules import IncidentRules
from streams.core.incidents import Activity, Incident
from streams.core.kdd99 import KDD99
from streams.core.timers import NO_WATERMARK
from streams.core.topics import Topics
from streams.core.windows import WindowLayout
from streams.model.detector import Detector
from streams.pipeline.alerting import Rules
from streams.pipeline.cache import WindowCache
from streams.pipeline.describing import Intake
from streams.pipeline.detection import Detection, Ports
from streams.pipeline.ports import IncidentSave, Saved
from tests.belt import Died, conveyed
from tests.fakes import Always, FakeWindows, patient
from tests.fakes_kafka import FakeKafkaPublisher

LAYOUT = WindowLayout(KDD99)
DETECTOR = Detector.random(KDD99, seed=1)
TOPICS = Topics()
OUTPUT = (*TOPICS.all_alerts(), TOPICS.classified, TOPICS.dead_letters, TOPICS.incidents)
SOURCE = Source("ids.telemetry", uuid.UUID(int=7), 0)
S = 1_000_000
RULES = IncidentRules(quiet_us=60 * S, update_us=30 * S, reopen_us=30 * S, novel_least=2)


@dataclass(frozen=True)
class Record:
    offset: int
    device: int
    timestamp: int
    key: bytes | None = None
    value: bytes | None = b""
    headers: Sequence[Header] = field(default=())


class TimedDecoder:
    """Event time is Kafka's; features follow from the offset."""

    def decode(self, records: Sequence[RawRecord]) -> Decoded:
        offsets = np.array([record.offset for record in records], np.int64)
        times_us = np.array([record.timestamp for record in records], np.int64) * 1000
        rows = np.zeros(len(records), KDD99.row)
        rows["numbers"][:, 1] = offsets * 37 % 101
        rows["codes"][:, 1] = offsets * 37 % 60
        devices = [f"d{record.device}" for record in records]  # type: ignore[attr-defined]
        events = Events(np.arange(len(records)), offsets, times_us, devices, rows, timestamp_us=times_us)
        return Decoded(events, ())


def telemetry(steps: Sequence[tuple[int, int]]) -> list[Record]:
    """Of each record the device, and the seconds since the one before."""
    now_s, found = 1000, []
    for offset, (device, step_s) in enumerate(steps):
        now_s += step_s
        found.append(Record(offset, device, now_s * 1000))
    return found


@dataclass
class World:
    """What outlives a worker."""

    store: FakeWindows = field(default_factory=FakeWindows)
    publisher: FakeKafkaPublisher = field(default_factory=lambda: FakeKafkaPublisher(OUTPUT))
    rules: IncidentRules | None = RULES
    explain_share: float = 1.0

    def worker(self, patience: Callable[..., object] = patient) -> Detection:
        intake = Intake(TOPICS.telemetry, TimedDecoder())
        ports = Ports(intake, self.store, self.publisher, patience, lambda: 5)  # type: ignore[arg-type]
        rules = Rules(
            TOPICS,
            10**9,
            [AlertOutput(TOPICS)],
            incidents=self.rules,
            incident_explain_share=self.explain_share,
        )
        return Detection(ports, rules, WindowCache(LAYOUT, 1 << 22, 8), Always(DETECTOR))

    def incidents(self) -> list[Incident]:
        """All that was published."""
        return [
            decode_incident(message.value, message.headers)
            for message in self.publisher.topics[TOPICS.incidents]
        ]

    def revisions(self) -> dict[tuple[str, int], Incident]:
        assert list(gaps(self.incidents())) == []
        return {(one.incident_id, one.revision): one for one in self.incidents()}

    def told(self) -> list[str]:
        return [repr(one) for one in self.incidents()]

    def alerts(self) -> dict[str, Alert]:
        found: dict[str, Alert] = {}
        for topic in TOPICS.all_alerts():
            for message in self.publisher.topics[topic]:
                alert = decode_alert(message.value)
                assert found.setdefault(alert.alert_id, alert) == alert
        return found


def sources(count: int) -> list[Source]:
    return [replace(SOURCE, partition=number) for number in range(count)]


def fetched(
    partitions: Sequence[Sequence[Record]], size: int, after: dict[Source, int], marks_ms: dict[Source, int]
) -> list[Chunk]:
    """What a transport delivers after what was acknowledged, with the watermark kept beside it."""
    found = []
    for source, records in zip(sources(len(partitions)), partitions, strict=True):
        first = after.get(source, -1) + 1
        if first < len(records):
            mark_ms = marks_ms.get(source, NO_WATERMARK)
            rest: Chunk | None = Chunk(source, records[first:], len(records), mark_ms)
            while rest is not None:
                head, rest = rest.cut(size)
                found.append(head)
    return found


def carry(worker: Detection, chunks: Sequence[Chunk]) -> None:
    """A chunk a turn, one turn after the other."""
    for chunk in chunks:
        computed = worker.begin([chunk]).computed
        assert computed is not None
        worker.deliver(computed)


def undisturbed(partitions: Sequence[Sequence[Record]], explain_share: float = 0.0) -> World:
    world = World(explain_share=explain_share)
    carry(world.worker(), fetched(partitions, 1000, {}, {}))
    return world


class Killed(BaseException):
    """SIGKILL, as far as the worker's memory can tell."""


steps = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from([0, 1, 5, 20, 61, 95])), min_size=1, max_size=40
)


@settings(deadline=None, max_examples=15)
@given(st.lists(steps, min_size=1, max_size=2), st.integers(1, 15), st.integers(1, 20), st.data())
def test_a_crash_anywhere_repeats_revisions_that_say_the_same_and_counts_no_alert_twice(
    drawn: list[list[tuple[int, int]]], size: int, most: int, data: st.DataObject
) -> None:
    partitions = [telemetry(of) for of in drawn]
    world, through, marks_ms = World(explain_share=0.3), dict[Source, int](), dict[Source, int]()
    for _ in range(data.draw(st.integers(0, 4), label="crashes")):
        calls_left = data.draw(st.integers(0, 14), label="calls until the crash")
        after_call = data.draw(st.booleans(), label="the crash comes after the call")
        rounds = data.draw(st.integers(1, 3), label="rounds of the loop for each piece of work")

        def dying(attempt: Callable[[], object], after_call: bool = after_call) -> object:
            nonlocal calls_left
            calls_left -= 1
            if calls_left >= 0:
                return attempt()
            if after_call:
                attempt()
            raise Killed

        chunks = fetched(partitions, size, through, marks_ms)
        try:
            told = conveyed(world.worker(dying), chunks, most, partial(int, rounds))
        except Died as died:
            told = died.told
        through.update(told.through)
        marks_ms.update(told.watermarks_ms)
    conveyed(world.worker(), fetched(partitions, size, through, marks_ms), most)
    whole = undisturbed(partitions, explain_share=0.3)
    assert world.revisions() == whole.revisions()
    assert world.alerts() == whole.alerts()
    assert world.store.books == whole.store.books


@settings(deadline=None, max_examples=40)
@given(st.lists(steps, min_size=1, max_size=2), st.integers(1, 15), st.integers(1, 20), st.data())
def test_a_worker_that_stands_still_anywhere_while_another_goes_on_tells_nothing_else(
    drawn: list[list[tuple[int, int]]], size: int, most: int, data: st.DataObject
) -> None:
    before = data.draw(st.integers(0, 40), label="records before, by another that has gone")
    still_at = data.draw(st.integers(0, 8), label="calls until it stands still")
    how_far = data.draw(st.integers(1, 40), label="records that the other takes meanwhile")
    overtaken([telemetry(of) for of in drawn], size, most, before, still_at, how_far)


@pytest.mark.parametrize("still_at", range(9))
def test_a_worker_that_stands_still_while_another_closes_what_it_opened_tells_nothing_else(
    still_at: int,
) -> None:
    overtaken([a_day()], 30, 30, 0, still_at, 150)


@pytest.mark.parametrize("still_at", range(9))
def test_a_worker_that_stands_still_while_an_incident_goes_on_with_another_does_not_close_it(
    still_at: int,
) -> None:
    overtaken([telemetry([(0, 20)] * 90)], 30, 30, 30, still_at, 60)


def overtaken(
    partitions: Sequence[Sequence[Record]], size: int, most: int, before: int, still_at: int, how_far: int
) -> None:
    """One worker stands still at this call, having begun after `before` records of each partition."""
    world, calls = World(explain_share=0.0), 0
    carry(world.worker(), fetched([of[:before] for of in partitions], size, {}, {}))
    after = dict.fromkeys(sources(len(partitions)), before - 1)

    def standing_still(attempt: Callable[[], object]) -> object:
        nonlocal calls
        calls += 1
        if calls == still_at + 1:
            meanwhile = [of[: before + how_far] for of in partitions]
            carry(world.worker(), fetched(meanwhile, size, after, {}))
        return attempt()

    conveyed(world.worker(standing_still), fetched(partitions, size, after, {}), most)
    whole = undisturbed(partitions, explain_share=0.0)
    assert set(world.told()) == set(whole.told())
    assert world.alerts() == whole.alerts()


def a_day(count: int = 150) -> list[Record]:
    return telemetry([(i % 3, (1, 1, 40, 1, 1, 1, 100)[i % 7]) for i in range(count)])


def test_an_incident_counts_exactly_the_alerts_that_carry_its_id() -> None:
    world = undisturbed([a_day()])
    last = {one.incident_id: one for one in sorted(world.incidents(), key=lambda one: one.revision)}
    carried = Counter(alert.incident_id for alert in world.alerts().values())
    alone = carried.pop(None, 0)
    told = {one.incident_id: one.alerts for one in last.values()}
    # What came since the last revision of an open incident is not told yet.
    for incident_id, count in carried.items():
        one = last[str(incident_id)]
        assert told[one.incident_id] == count or (one.activity is not Activity.CLOSE and count > one.alerts)
    closed = [one for one in last.values() if one.activity is Activity.CLOSE]
    assert len(closed) > 2
    assert alone == sum(
        alert.incident_id is None and alert.verdict == "novel" for alert in world.alerts().values()
    )


def test_every_revision_says_what_drove_its_worst_alert_also_one_of_an_earlier_turn() -> None:
    whole, world = undisturbed([a_day(60)], explain_share=1.0), World()
    conveyed(world.worker(), fetched([a_day(60)], 4, {}, {}), 4)
    assert world.revisions() == whole.revisions()
    assert all(one.explanation is not None for one in whole.incidents())
    assert not any(alert.explanation for alert in whole.alerts().values())


def test_a_share_of_the_devices_says_it_the_same_ones_whatever_the_turns() -> None:
    some = [World(explain_share=0.5), World(explain_share=0.5)]
    for world, size in zip(some, (3, 60), strict=True):
        conveyed(world.worker(), fetched([a_day(60)], size, {}, {}), size)
    assert some[0].revisions() == some[1].revisions()
    said = {(one.device_id, one.verdict) for one in some[0].incidents() if one.explanation is not None}
    unsaid = {(one.device_id, one.verdict) for one in some[0].incidents() if one.explanation is None}
    assert said
    assert unsaid
    assert not said & unsaid


class Asked(FakeWindows):
    """Notes what is asked for of the reasons that are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.questions: list[list[str]] = []

    def reasons(self, wanted: Sequence[tuple[Source, str]]) -> list[bytes | None]:
        self.questions.append([key for _, key in wanted])
        return super().reasons(wanted)


def test_what_drove_an_alert_is_asked_for_once_a_turn_and_only_where_it_came_before() -> None:
    lives, store = [a_day(24), a_day(24)], Asked()
    conveyed(World(store).worker(), fetched(lives, 24, {}, {}), 48)
    assert store.questions == []
    turns, again = 6, Asked()
    conveyed(World(again).worker(), fetched(lives, 4, {}, {}), 8)
    assert 0 < len(again.questions) <= turns
    none = Asked()
    conveyed(World(none, explain_share=0.0).worker(), fetched(lives, 4, {}, {}), 8)
    assert none.questions == []


def test_where_incidents_are_off_none_is_told_kept_or_waited_for() -> None:
    world = World(rules=None)
    worker = world.worker()
    assert not worker.keeps_time
    conveyed(worker, fetched([a_day()], 50, {}, {}), 50)
    assert (world.incidents(), world.store.books) == ([], {})
    assert {alert.incident_id for alert in world.alerts().values()} == {None}


def test_what_a_worker_knows_is_saved_whole_with_the_next_turn_after_the_store_lost_it() -> None:
    records, whole = a_day(), undisturbed([a_day()])
    world = World(explain_share=0.3)
    worker = world.worker()
    for number, chunk in enumerate(fetched([records], 30, {}, {})):
        if number == 2:
            world.store.books.clear()
        carry(worker, [chunk])
    assert {key: replace(one, explanation=None) for key, one in world.revisions().items()} == {
        key: replace(one, explanation=None) for key, one in whole.revisions().items()
    }
    (ours,), (wanted,) = world.store.books.values(), whole.store.books.values()
    assert ours[:3] == wanted[:3]


def test_a_worker_that_finds_another_further_on_reads_its_incidents_anew() -> None:
    records = a_day()
    world = World(explain_share=0.0)
    slow, quick = world.worker(), world.worker()
    chunks = fetched([records], 60, {}, {})
    begun = slow.begin(chunks[:1]).computed
    carry(quick, chunks[:3])
    kept = world.store.books[SOURCE.place]
    assert begun is not None
    slow.deliver(begun)
    assert world.store.books[SOURCE.place] == kept
    carry(slow, chunks[3:])
    assert world.revisions() == undisturbed([records]).revisions()


def test_what_a_worker_tells_after_another_went_further_is_what_the_other_told() -> None:
    """It finds so by one device; of the others it has windows in memory, older than the incidents kept."""
    steps = [(device, 1) for device in (0, 1) for _ in range(30)]
    records = telemetry([*steps, *steps, *[(0, 1000)] * 5])  # by then all incidents have ended
    world = World(explain_share=0.0)
    stopped, quick = world.worker(), world.worker()
    before, between, end = fetched([records], 60, {}, {})
    first, second = between.cut(30)
    assert second is not None
    for worker, chunks in ((stopped, [before]), (quick, [between, end]), (stopped, [first, second])):
        carry(worker, chunks)
    assert Counter(alert.device_id for alert in world.alerts().values()) > Counter({"d0": 30, "d1": 30})


def test_what_the_store_lost_is_not_saved_whole_by_a_worker_that_was_overtaken_since() -> None:
    """It would take back what its successor has kept meanwhile."""
    store = Whole()
    world = World(store, explain_share=0.0)
    stopped, quick = world.worker(), world.worker()
    newcomer = Record(90, 7, 10**7)
    first, second, third = fetched([[*a_day(90), newcomer]], 45, {}, {})
    carry(stopped, [first])
    store.books.clear()
    carry(stopped, [second])
    carry(quick, [first, second, third])
    store.whole.clear()
    carry(stopped, [third])
    assert store.whole == []


class Whole(FakeWindows):
    """Notes how far incidents are kept that are saved whole."""

    def __init__(self) -> None:
        super().__init__()
        self.whole: list[int] = []

    def _keep(self, source: Source, save: IncidentSave) -> Saved:
        if save.whole:
            self.whole.append(save.through)
        return super()._keep(source, save)


def test_a_worker_that_stood_still_while_the_topic_was_made_again_changes_nothing_of_the_present() -> None:
    world = World(explain_share=0.0)
    stopped, quick = world.worker(), world.worker()
    chunks = fetched([a_day(90)], 30, {}, {})
    reborn = [replace(chunk, source=replace(SOURCE, topic_id=uuid.UUID(int=8))) for chunk in chunks]
    carry(stopped, chunks[:1])
    begun = stopped.begin(chunks[1:2]).computed
    assert begun is not None
    carry(quick, reborn[:1])
    windows, books = dict(world.store.values), dict(world.store.books)
    stopped.deliver(begun)
    assert (world.store.values, world.store.books) == (windows, books)
    carry(quick, reborn[1:])
    whole = World(explain_share=0.0)
    carry(whole.worker(), reborn)
    assert (world.store.values, world.store.books) == (whole.store.values, whole.store.books)


def test_a_topic_made_again_begins_with_no_incident() -> None:
    world = World()
    worker = world.worker()
    for life in (7, 8):
        for chunk in fetched([a_day(40)], 20, {}, {}):
            carry(worker, [replace(chunk, source=replace(SOURCE, topic_id=uuid.UUID(int=life)))])
    by_life: dict[str, list[int]] = {}
    for one in world.incidents():
        by_life.setdefault(one.topic_id, []).append(one.offset)
    first, second = by_life.values()
    assert first == second
