"""Windows after the store lost data: with a rebuild as they were, with a short one shorter, never wrong.

Workers, crashes, sleepers and losses are drawn; the path runs on the fakes of test_pipeline.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.codec.output.alerts import AlertOutput, decode_alert
from streams.core.events import Chunk, RawRecord, Source
from streams.core.kdd99 import KDD99
from streams.core.windows import WIDTH, WindowLayout, in_order
from streams.errors import BrokerUnavailable
from streams.pipeline.alerting import Rules
from streams.pipeline.cache import WindowCache
from streams.pipeline.conveyor import Begun
from streams.pipeline.describing import Intake
from streams.pipeline.detection import Computed, Ports
from streams.pipeline.ports import Mark
from streams.pipeline.recovery import Recovered, Recovery, RecoveryParts
from streams.pipeline.reports import Observed
from streams.pipeline.turn import Admission
from tests.fakes import Always, patient
from tests.pipeline.test_pipeline import (
    DETECTOR,
    SOURCE,
    TOPICS,
    Killed,
    PlainDecoder,
    Record,
    Worker,
    World,
    telemetry,
)

LAYOUT = WindowLayout(KDD99)

ALL = 10**6
IDLE_US = 40_000
"""Events lie 1,000 us of event time apart: a device that is silent for 40 of others begins anew."""


@dataclass
class FakeHistory:
    """A partition that has lost what lies before `first`."""

    records: Sequence[Record]
    first: int = 0
    away: int = 0
    at_once: int = 7
    before_piece: dict[int, Callable[[], None]] = field(default_factory=dict)
    """What happens before the piece of that number, once."""
    read_back: list[int] = field(default_factory=list)

    def first_offset(self, source: Source) -> int:
        return self.first

    def read(self, source: Source, first: int, end: int) -> Generator[Sequence[RawRecord], None, None]:
        wanted = [record for record in self.records if max(first, self.first) <= record.offset < end]
        for start in range(0, len(wanted), self.at_once):
            if self.away and start:
                self.away -= 1
                raise BrokerUnavailable("the fake history is away")
            self.before_piece.pop(start // self.at_once, lambda: None)()
            yield wanted[start : start + self.at_once]
        self.read_back += [record.offset for record in wanted]


class Checking(Worker):
    """Every turn that it judges is looked at, with the chunks that it was of."""

    def __init__(
        self,
        ports: Ports,
        rules: Rules,
        cache: WindowCache,
        admission: Admission,
        check: Callable[[Sequence[Chunk], Observed], None],
    ) -> None:
        super().__init__(ports, rules, cache, admission)
        self._chunks: Sequence[Chunk] = ()
        self._watchers = replace(self._watchers, watch=lambda observed: check(self._chunks, observed))

    def begin(self, chunks: Sequence[Chunk]) -> Begun[Computed]:
        self._chunks = chunks
        return super().begin(chunks)


@dataclass
class Workshop:
    """A world whose workers rebuild; every window that one looks at is held against the records."""

    records: Sequence[Record]
    most: int = ALL
    world: World = field(default_factory=World)
    said: list[str] = field(default_factory=list)
    history: FakeHistory = field(init=False)

    def __post_init__(self) -> None:
        self.history = FakeHistory(self.records)

    def worker(
        self, patience: Callable[..., object] = patient, cache_bytes: int = 1 << 22
    ) -> tuple[Checking, Recovery]:
        world, intake = self.world, Intake(TOPICS.telemetry, PlainDecoder())
        parts = RecoveryParts(LAYOUT, world.store, self.history, intake, self.said.append, lambda: None)
        recovery = Recovery(parts, self.most, IDLE_US)
        ports = Ports(intake, world.store, world.publisher, patience, lambda: 5, recovery)  # type: ignore[arg-type]
        rules = Rules(
            TOPICS, IDLE_US, [AlertOutput(TOPICS, publish_classified=True)], publish_classified=True
        )
        return Checking(
            ports, rules, WindowCache(LAYOUT, cache_bytes, 8), Always(DETECTOR), self.check
        ), recovery

    def check(self, chunks: Sequence[Chunk], observed: Observed) -> None:
        """The rows that count are the device's last ones, without a gap."""
        (chunk,) = chunks
        names = list(dict.fromkeys(PlainDecoder().decode(chunk.records).events.device_id))
        for name, window, rows in zip(names, observed.windows, in_order(observed.windows), strict=True):
            past = [
                record
                for record in self.records
                if record.offset <= window["head"]["offset"] and record.value.split()[0].decode() == name
            ]
            true = PlainDecoder().decode(past[len(past) - len(rows) :]).events.rows
            assert rows.tobytes() == true.tobytes()

    def run(self, size: int = 4, first: int = 0, last: int | None = None) -> Recovery:
        """A new worker takes the records from `first` on."""
        pipeline, recovery = self.worker()
        for chunk in chunks(self.records[:last], size, first):
            pipeline.process(chunk)
        return recovery

    def forget(self) -> None:
        self.world.store.values.clear()
        self.world.store.marks.clear()

    def fills(self) -> dict[int, int]:
        return {alert.offset: alert.window_fill for alert in self.world.verdicts().values()}


def chunks(records: Sequence[Record], size: int, first: int = 0) -> list[Chunk]:
    return [Chunk(SOURCE, records[i : i + size], ALL) for i in range(first, len(records), size)]


def undisturbed(records: Sequence[Record]) -> Workshop:
    shop = Workshop(records)
    shop.run()
    return shop


class ReloadRun:
    """What befalls a partition: workers one after the other, some asleep; losses; crashes in any call."""

    def __init__(self, shop: Workshop, data: st.DataObject, size: int) -> None:
        self.shop, self.data, self.size = shop, data, size
        self.committed = 0
        self.calls_left = ALL
        self.copies = [deepcopy((shop.world.store.values, shop.world.store.marks))]
        self.sleepers: list[tuple[Checking, int]] = []

    def draw(self, strategy: st.SearchStrategy[int], label: str) -> int:
        return self.data.draw(strategy, label=label)

    def dying(self, attempt: Callable[[], object]) -> object:
        self.calls_left -= 1
        if self.calls_left >= 0:
            return patient(attempt)
        if self.calls_left % 2:
            patient(attempt)
        raise Killed

    def lose(self) -> None:
        """Everything, or what came after an older copy."""
        store = self.shop.world.store
        copy = self.draw(st.integers(0, len(self.copies) - 1), "back to the copy")
        store.values, store.marks = deepcopy(self.copies[copy])

    def act(self) -> None:
        store = self.shop.world.store
        self.copies.append(deepcopy((store.values, store.marks)))
        match self.draw(st.integers(0, 7), "between chunks"):
            case 7:
                self.lose()
            case 6 if self.sleepers:
                self.wake(*self.sleepers.pop())
            case 5:
                self.shop.history.away = 2
            case _:
                pass

    def wake(self, pipeline: Checking, at: int) -> None:
        """One that has lost the partition, and does not know, processes what it had in hand."""
        records = self.shop.records[at : at + self.size]
        if records:
            pipeline.process(Chunk(SOURCE, records, ALL))

    def one_worker(self, first: int, turns: int) -> None:
        """It takes chunks as a worker does, the next computed before the one before is delivered."""
        cache = self.draw(st.sampled_from([60_000, 1 << 22]), "cache")
        pipeline, _ = self.shop.worker(self.dying, cache)
        waiting: tuple[Chunk, Computed] | None = None  # turns of one chunk, as a conveyor has them
        for chunk in [*chunks(self.shop.records, self.size, first)[:turns], None]:
            self.act()
            computed = None if chunk is None else pipeline.begin([chunk]).computed
            self.act()
            if waiting is not None:
                pipeline.deliver(waiting[1])
                self.committed = max(self.committed, waiting[0].records[-1].offset + 1)
            waiting = None if chunk is None or computed is None else (chunk, computed)
        self.sleepers.append((pipeline, self.committed))

    def all(self, workers: int) -> None:
        for _ in range(workers):
            self.calls_left = self.draw(st.sampled_from([ALL, 5, 20, 60]), "calls until the crash")
            try:
                self.one_worker(self.committed, self.draw(st.integers(1, 12), "chunks"))
            except Killed:
                continue
        self.calls_left = ALL
        self.one_worker(self.committed, ALL)


streams_of_devices = st.lists(st.integers(0, 3), min_size=20, max_size=80)


@settings(deadline=None, max_examples=40)
@given(streams_of_devices, st.integers(1, 8), st.integers(1, 4), st.data())
def test_with_enough_records_a_loss_changes_no_verdict(
    devices: list[int], size: int, workers: int, data: st.DataObject
) -> None:
    records = telemetry(devices)
    shop = Workshop(records)
    ReloadRun(shop, data, size).all(workers)
    assert shop.world.verdicts() == undisturbed(records).world.verdicts()


@settings(deadline=None, max_examples=40)
@given(streams_of_devices, st.integers(1, 8), st.integers(1, 4), st.integers(1, 12), st.data())
def test_with_few_records_windows_are_shorter_and_never_wrong(
    devices: list[int], size: int, workers: int, most: int, data: st.DataObject
) -> None:
    """`Workshop.check` looks at every window's rows. A window read again may be told with another fill."""
    records = telemetry(devices)
    shop = Workshop(records, most)
    ReloadRun(shop, data, size).all(workers)
    full = undisturbed(records).fills()
    told = decoded(shop)
    assert {offset for offset, _ in told} == full.keys()
    assert all(1 <= fill <= full[offset] for offset, fill in told)


def decoded(shop: Workshop) -> set[tuple[int, int]]:
    """Offset and fill of all verdicts, those that came twice too."""
    alerts = [decode_alert(one.value) for one in shop.world.publisher.topics[TOPICS.classified]]
    return {(alert.offset, alert.window_fill) for alert in alerts}


def lost_after(shop: Workshop, offset: int) -> Recovery:
    """Everything is lost between two workers."""
    shop.run(last=offset)
    shop.forget()
    return shop.run(first=offset)


RECORDS = telemetry([i % 4 for i in range(80)])


def test_the_most_records_are_read_back_and_no_more() -> None:
    shop = Workshop(RECORDS, most=20)
    recovery = lost_after(shop, 40)
    assert shop.history.read_back == list(range(20, 40))
    assert shop.fills()[40] == 6, "five events in 20 records of four devices, and itself"
    assert recovery.figures == Recovered(1, 4)
    assert shop.said == [
        "windows of ids.telemetry-3 are missing or old: reading back offsets 20 to 39",
        "4 windows of ids.telemetry-3 rebuilt from 20 records",
    ]


def test_a_loss_during_a_rebuild_is_made_good_too() -> None:
    shop = Workshop(RECORDS)
    shop.history.before_piece[3] = shop.forget
    recovery = lost_after(shop, 40)
    assert shop.history.read_back == list(range(40)), "it ended with the fourth piece, and began anew"
    assert recovery.figures.rebuilds == 1
    assert shop.fills() == undisturbed(RECORDS).fills()


def test_a_rebuild_that_was_broken_off_goes_on_where_it_ended() -> None:
    shop = Workshop(RECORDS)
    shop.history.away = 1  # after the first piece
    lost_after(shop, 40)
    assert shop.said[1] == "windows of ids.telemetry-3 are missing or old: reading back offsets 7 to 39"
    assert shop.fills() == undisturbed(RECORDS).fills()


def test_windows_that_a_repeat_did_not_change_are_stored_before_the_mark_says_so() -> None:
    """The store goes back to an older copy between a chunk's load and its save."""
    shop = Workshop(RECORDS)
    shop.run(last=40)
    store = shop.world.store
    older = deepcopy((store.values, store.marks))
    shop.run(first=40, last=44)  # not committed
    pipeline, _ = shop.worker()
    computed = pipeline.begin([Chunk(SOURCE, RECORDS[40:44], ALL)]).computed
    assert computed is not None
    store.values, store.marks = older
    pipeline.deliver(computed)
    assert store.mark(SOURCE) == Mark(0, 43)
    shop.run(first=44)
    assert shop.fills() == undisturbed(RECORDS).fills()


def test_a_partition_is_read_back_once() -> None:
    shop = Workshop(RECORDS)
    lost_after(shop, 40)
    shop.run(first=60)
    assert shop.history.read_back == list(range(40))
    assert shop.world.store.mark(SOURCE) == Mark(0, 79)


def test_nothing_is_read_back_where_nothing_was_lost() -> None:
    shop = Workshop(RECORDS)
    shop.run(last=40)
    assert shop.run(first=40).figures == Recovered()
    assert shop.run(first=32).figures == Recovered(), "committed less than was saved"
    assert shop.history.read_back == []


def test_offsets_that_nobody_has_are_no_loss() -> None:
    """Kafka gives some to its marks of transactions."""
    records = [replace(one, offset=one.offset * 3 // 2, value=b"d%d 1" % one.offset) for one in RECORDS]
    shop = Workshop(records)
    pipeline, recovery = shop.worker()
    for chunk in chunks(records, 4):
        pipeline.process(chunk)  # devices that were never heard of, each time
    assert recovery.figures == Recovered()


def test_a_chunk_of_nothing_but_poison_moves_the_mark_on() -> None:
    shop = Workshop(telemetry([0] * 20, frozenset(range(8, 12))))
    shop.run(last=12)
    assert shop.world.store.mark(SOURCE) == Mark(0, 11)


def test_an_older_copy_is_brought_up_to_date_by_the_records_since() -> None:
    shop = Workshop(RECORDS, most=20)
    shop.run(last=40)
    store = shop.world.store
    older = deepcopy((store.values, store.marks))
    shop.run(first=40, last=56)
    store.values, store.marks = older
    shop.run(first=56)
    assert shop.history.read_back == list(range(40, 56))
    assert shop.fills() == undisturbed(RECORDS).fills()


def test_rows_of_before_a_gap_do_not_count() -> None:
    """An older copy, and more events since than may be read back."""
    shop = Workshop(RECORDS, most=8)
    shop.run(last=20)
    store = shop.world.store
    older = deepcopy((store.values, store.marks))
    shop.run(first=20, last=60)
    store.values, store.marks = older
    shop.run(first=60)
    assert shop.history.read_back == list(range(52, 60))
    assert shop.fills()[60] == 3, "two read back, and itself"
    assert store.mark(SOURCE) == Mark(52, 79)


def test_what_kafka_no_longer_keeps_is_not_waited_for() -> None:
    shop = Workshop(RECORDS)
    shop.history.first = 30
    lost_after(shop, 40)
    assert shop.history.read_back == list(range(30, 40))
    assert shop.world.store.mark(SOURCE) == Mark(30, 79)


def test_a_life_of_the_topic_that_is_over_is_not_read_back() -> None:
    shop = Workshop(RECORDS)
    shop.history.first = 2**63 - 1
    lost_after(shop, 40)
    assert shop.history.read_back == []
    assert shop.fills()[40] == 1


def test_the_windows_in_hand_are_not_rebuilt_beyond_what_is_delivered() -> None:
    """A window that holds an event whose alert is not out yet would lose the alert in a crash."""
    shop = Workshop(RECORDS)
    shop.run(last=16)
    pipeline, _ = shop.worker()
    only_two = [replace(record, offset=16 + i) for i, record in enumerate(RECORDS[:2])]
    shop.records = shop.history.records = [*RECORDS[:16], *only_two, *RECORDS[18:]]
    pipeline.begin([Chunk(SOURCE, shop.records[16:18], ALL)])  # two of the devices, not delivered
    shop.forget()
    pipeline.begin([Chunk(SOURCE, shop.records[18:20], ALL)])  # the other two are loaded
    assert shop.history.read_back == list(range(16))
    assert shop.world.store.mark(SOURCE) == Mark(0, 15)


def test_saves_after_a_loss_do_not_hide_it() -> None:
    """The worker remembers two devices, and saves them; the others are asked for only then."""
    records = telemetry([i % 4 for i in range(40)] + [0, 1] * 10 + [2, 3] * 10)
    shop = Workshop(records)
    shop.run(last=40)
    pipeline, _ = shop.worker()
    for chunk in chunks(records[:50], 2, 40):
        pipeline.process(chunk)
    shop.forget()
    for chunk in chunks(records, 2, 50):
        pipeline.process(chunk)
    assert shop.fills() == undisturbed(records).fills()


def test_where_topics_have_no_id_a_mark_beyond_the_end_is_of_another_life() -> None:
    source = Source("ids.telemetry", uuid.UUID(int=0), 3)
    shop = Workshop(RECORDS[:20])
    shop.world.store.put_mark(source, Mark(400, 500))
    pipeline, _ = shop.worker()
    for start in range(0, 20, 4):
        pipeline.process(Chunk(source, RECORDS[start : start + 4], 20))
    assert shop.world.store.mark(source) == Mark(0, 19)


@pytest.mark.parametrize("most", [1, ALL])
def test_full_windows_stay_full_where_the_store_kept_them(most: int) -> None:
    """Data of a time before there were marks: what is recent enough counts on."""
    records = telemetry([0] * 60)
    shop = Workshop(records, most)
    shop.run(last=40)
    shop.world.store.marks.clear()
    shop.run(first=40)
    assert shop.fills() == undisturbed(records).fills()
    (window,) = LAYOUT.unpack([shop.world.store.values[SOURCE.topic, SOURCE.partition, "d0"]], SOURCE)
    assert window["head"]["count"] == WIDTH
