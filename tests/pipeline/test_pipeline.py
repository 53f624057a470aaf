"""The contract: nothing lost, nothing twice, the same input gives the same alerts, whatever happens.

The path runs on fakes that obey the laws of Kafka and Redis; telemetry is `device number` in plain text.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import zip_longest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.codec.output.alerts import AlertOutput, decode_alert
from streams.core.alerts import Alert, in_share
from streams.core.events import Chunk, Decoded, Events, Header, RawRecord, Reason, Rejected, Source
from streams.core.kdd99 import KDD99
from streams.core.topics import Topics
from streams.core.windows import WindowLayout
from streams.errors import BrokerUnavailable, WindowStoreUnavailable
from streams.model.detector import Detector, Identity
from streams.model.drivers import explanations
from streams.model.network import Network
from streams.pipeline.alerting import Rules
from streams.pipeline.cache import WindowCache
from streams.pipeline.describing import Intake
from streams.pipeline.detection import Detection, Ports
from streams.pipeline.reports import Report, Watchers
from streams.pipeline.turn import Admission, Admitted
from tests.belt import Died, conveyed
from tests.fakes import FakeWindows, patient
from tests.fakes_kafka import FakeKafkaPublisher

LAYOUT = WindowLayout(KDD99)

SOURCE = Source("ids.telemetry", uuid.UUID(int=7), 3)
DETECTOR = Detector.random(KDD99, seed=1)
TOPICS = Topics()
OUTPUT = (*TOPICS.all_alerts(), TOPICS.classified, TOPICS.dead_letters)


@dataclass(frozen=True)
class Record:
    offset: int
    value: bytes
    key: bytes | None = None
    timestamp: int = 0
    headers: Sequence[Header] = field(default=())


class PlainDecoder:
    def decode(self, records: Sequence[RawRecord]) -> Decoded:
        good = [i for i, record in enumerate(records) if record.value != b"poison"]
        rows = np.zeros(len(good), KDD99.row)
        names = [(records[i].value or b"").decode().split() for i in good]
        rows["numbers"][:, 1] = [float(number) for _, number in names]
        rows["codes"][:, 1] = [int(number) % 60 for _, number in names]
        offsets = np.array([records[i].offset for i in good], np.int64)
        events = Events(
            np.array(good, np.int64), offsets, offsets * 1000, [device for device, _ in names], rows
        )
        bad = (i for i in range(len(records)) if i not in good)
        return Decoded(events, tuple(Rejected(i, Reason.UNDECODABLE, "poison") for i in bad))


def telemetry(devices: Sequence[int], poison: frozenset[int] = frozenset()) -> list[Record]:
    return [
        Record(offset, b"poison" if offset in poison else f"d{device} {offset * 37 % 101}".encode())
        for offset, device in enumerate(devices)
    ]


class Worker(Detection):
    """One whose turns a test begins and delivers by itself."""

    def __init__(
        self,
        ports: Ports,
        rules: Rules,
        cache: WindowCache,
        admission: Admission,
        watchers: Watchers | None = None,
    ) -> None:
        self.reports: list[Report] = []
        super().__init__(
            ports, rules, cache, admission, replace(watchers or Watchers(), done=self.reports.append)
        )

    def process(self, *chunks: Chunk) -> Report:
        """One turn of these chunks, from beginning to end."""
        computed = self.begin(chunks).computed
        assert computed is not None
        self.deliver(computed)
        return self.reports[-1]


@dataclass
class World:
    """What outlives a worker: the store and the broker. `worker()` starts a new one with an empty memory."""

    store: FakeWindows = field(default_factory=FakeWindows)
    publisher: FakeKafkaPublisher = field(default_factory=lambda: FakeKafkaPublisher(OUTPUT))
    detector: Detector = DETECTOR
    explain_share: float = 0.0
    idle_us: int = 10**9

    def worker(self, patience: Callable[..., object] = patient, cache_bytes: int = 1 << 22) -> Worker:
        intake = Intake(TOPICS.telemetry, PlainDecoder())
        ports = Ports(intake, self.store, self.publisher, patience, lambda: 5)  # type: ignore[arg-type]
        outputs = [AlertOutput(TOPICS, publish_classified=True)]
        rules = Rules(
            TOPICS, self.idle_us, outputs, publish_classified=True, explain_share=self.explain_share
        )
        return Worker(ports, rules, WindowCache(LAYOUT, cache_bytes, 8), self)

    def admit(self, chunks: Sequence[Chunk]) -> Admitted:
        return Admitted(tuple(chunks), (self.detector,) * len(chunks), {})

    def verdicts(self) -> dict[str, Alert]:
        """Distinct verdicts by id; a repeat must say the same."""
        found: dict[str, Alert] = {}
        for message in self.publisher.topics[TOPICS.classified]:
            alert = decode_alert(message.value)
            assert found.setdefault(alert.alert_id, alert) == alert
        return found

    def letters(self) -> set[bytes | None]:
        return {
            dict(message.headers)["autodeep.id"] for message in self.publisher.topics[TOPICS.dead_letters]
        }


def feed(worker: Worker, records: Sequence[Record], size: int) -> list[Report]:
    return [
        worker.process(Chunk(SOURCE, records[i : i + size], len(records)))
        for i in range(0, len(records), size)
    ]


def chunks_of(records: Sequence[Record], size: int, first: int = 0) -> list[Chunk]:
    return [Chunk(SOURCE, records[i : i + size], len(records)) for i in range(first, len(records), size)]


def in_one_go(records: Sequence[Record]) -> World:
    world = World()
    feed(world.worker(), records, max(len(records), 1))
    return world


def same_windows(one: World, other: World) -> bool:
    return one.store.values.keys() == other.store.values.keys() and all(
        LAYOUT.unpack([one.store.values[key]], SOURCE)["head"].tobytes()
        == LAYOUT.unpack([other.store.values[key]], SOURCE)["head"].tobytes()
        for key in one.store.values
    )


streams_of_devices = st.lists(st.integers(0, 5), min_size=1, max_size=80)


@settings(deadline=None, max_examples=30)
@given(streams_of_devices, st.integers(1, 40), st.sets(st.integers(0, 79), max_size=5))
def test_the_chunking_changes_no_verdict_and_no_window(
    devices: list[int], size: int, poison: set[int]
) -> None:
    records = telemetry(devices, frozenset(poison))
    world, whole = World(), in_one_go(records)
    feed(world.worker(), records, size)
    assert world.verdicts() == whole.verdicts()
    assert world.letters() == whole.letters()
    assert same_windows(world, whole)
    assert len(world.verdicts()) + len(world.letters()) == len(records)


class Killed(BaseException):
    """SIGKILL, as far as the worker's memory can tell."""


partitions_of_devices = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=30), min_size=1, max_size=3)


def sources(count: int) -> list[Source]:
    return [Source(SOURCE.topic, SOURCE.topic_id, partition) for partition in range(count)]


def fetched(partitions: Sequence[Sequence[Record]], size: int, after: dict[Source, int]) -> list[Chunk]:
    """What a transport delivers: of each partition in turn a chunk, from after the acknowledged offset on."""
    found = [
        [
            Chunk(source, records[i : i + size], len(records))
            for i in range(after.get(source, -1) + 1, len(records), size)
        ]
        for source, records in zip(sources(len(partitions)), partitions, strict=True)
    ]
    return [chunk for row in zip_longest(*found) for chunk in row if chunk is not None]


def undisturbed(partitions: Sequence[Sequence[Record]]) -> World:
    """Each partition in one turn of its own."""
    world = World()
    worker = world.worker()
    for chunk in fetched(partitions, 1000, {}):
        worker.process(chunk)
    return world


@settings(deadline=None, max_examples=100)
@given(partitions_of_devices, st.integers(1, 20), st.integers(1, 25), st.data())
def test_a_crash_anywhere_loses_nothing_and_applies_nothing_twice(
    devices: list[list[int]], size: int, most: int, data: st.DataObject
) -> None:
    """Workers die before or after any publish or save; the next one starts at what was acknowledged.

    The conveyor is the worker's own: turns of some partitions' chunks, the next computed while one is
    delivered.
    """
    partitions = [telemetry(of_partition) for of_partition in devices]
    world, acknowledged = World(), dict[Source, int]()
    for _ in range(data.draw(st.integers(0, 4), label="crashes")):
        calls_left = data.draw(st.integers(0, 12), label="calls until the crash")
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

        chunks = fetched(partitions, size, acknowledged)
        try:
            told = conveyed(world.worker(dying), chunks, most, partial(int, rounds))
        except Died as died:
            told = died.told
        acknowledged.update(told.through)
    conveyed(world.worker(), fetched(partitions, size, acknowledged), most)
    whole = undisturbed(partitions)
    assert {key: alert.scores for key, alert in world.verdicts().items()} == {
        key: alert.scores for key, alert in whole.verdicts().items()
    }
    assert same_windows(world, whole)


def test_the_same_device_on_two_partitions_is_two_devices() -> None:
    partitions = [telemetry([0, 0, 0]), telemetry([0, 0])]
    world = World()
    report = world.worker().process(*fetched(partitions, 10, {}))
    assert report.records == 5
    assert len(world.store.values) == 2
    fills = {(alert.partition, alert.offset): alert.window_fill for alert in world.verdicts().values()}
    assert fills == {(0, 0): 1, (0, 1): 2, (0, 2): 3, (1, 0): 1, (1, 1): 2}


def test_a_switch_of_models_within_a_turn_gives_each_partition_its_own() -> None:
    partitions = [telemetry([0, 1, 0]), telemetry([0, 2, 2])]
    other = Detector.random(KDD99, seed=2)
    world = World()

    def admit(chunks: Sequence[Chunk]) -> Admitted:
        return Admitted(tuple(chunks), (world.detector, other), {})

    world.admit = admit  # type: ignore[method-assign]
    world.worker().process(*fetched(partitions, 10, {}))
    by_first, by_second = undisturbed(partitions), World(detector=other)
    by_second.worker().process(*fetched(partitions, 10, {}))
    expected = [alert for alert in by_first.verdicts().values() if alert.partition == 0]
    expected += [alert for alert in by_second.verdicts().values() if alert.partition == 1]
    assert {alert.alert_id: alert for alert in expected} == world.verdicts()


def test_a_model_with_wider_latents_takes_over_and_judges_as_if_it_were_alone() -> None:
    """In a cache that must let windows go for it; the former model judges some partitions still."""
    shape = replace(DETECTOR.parameters.shape, latent=64)
    wide = Detector(
        Identity("wide", "1", "aa"), replace(DETECTOR.parameters, shape=shape), Network.random(shape, 3)
    )
    records = telemetry([i * 7 % 12 for i in range(60)])
    world, alone, narrow = World(), World(detector=wide), World()
    worker = world.worker(cache_bytes=150_000)
    before = worker.cache_figures.capacity
    for start in range(0, 60, 10):
        by_wide = start % 20 == 10
        world.detector = wide if by_wide else DETECTOR
        worker.process(Chunk(SOURCE, records[start : start + 10], 60))
    assert 10 <= worker.cache_figures.capacity < before
    for plain in (alone, narrow):
        feed(plain.worker(), records, 10)
    expected = {
        key: (alone if alert.offset // 10 % 2 else narrow).verdicts()[key]
        for key, alert in world.verdicts().items()
    }
    assert world.verdicts() == expected
    assert len(expected) == 60


def test_a_small_cache_changes_nothing() -> None:
    records = telemetry([i * 7 % 40 for i in range(400)])
    world = World()
    worker = world.worker(cache_bytes=60_000)
    assert 8 <= worker.cache_figures.capacity < 20  # of 40 devices
    assert len(feed(worker, records, 8)) == 50
    assert world.verdicts() == in_one_go(records).verdicts()
    assert same_windows(world, in_one_go(records))


def test_what_is_away_is_waited_for_and_nothing_is_skipped() -> None:
    records = telemetry([0, 1, 2, 0, 1, 2])
    world = World()
    worker = world.worker()
    for i in range(0, 6, 2):
        world.store.away, world.publisher.away = 5, 3
        worker.process(Chunk(SOURCE, records[i : i + 2], 6))
    assert world.verdicts() == in_one_go(records).verdicts()


@pytest.mark.parametrize(
    ("part", "error"), [("store", WindowStoreUnavailable), ("publisher", BrokerUnavailable)]
)
def test_a_worker_told_to_stop_while_a_part_is_away_does_not_finish_the_chunk(
    part: str, error: type[Exception]
) -> None:
    world = World()
    getattr(world, part).away = 1
    with pytest.raises(error):
        feed(world.worker(lambda attempt: attempt()), telemetry([0]), 1)


def test_alerts_are_on_the_broker_before_windows_are_in_the_store() -> None:
    world = World()
    order: list[str] = []
    world.publisher.publish = lambda messages: order.append("publish")  # type: ignore[method-assign]
    save = world.store.save
    world.store.save = lambda *args: order.append("save") or save(*args)  # type: ignore[method-assign]
    feed(world.worker(), telemetry([0, 1]), 2)
    assert order == ["publish", "save"]


def test_a_fenced_worker_takes_up_the_stored_window() -> None:
    """A successor went ahead while this worker was asleep; what it holds in memory is old."""
    records = telemetry([0] * 30)
    world = World()
    asleep = world.worker()
    feed(asleep, records[:10], 10)
    feed(world.worker(), records[10:20], 10)
    (late,) = feed(asleep, records[10:12], 2)
    assert late.fenced == 1
    feed(asleep, records[20:], 10)
    assert world.verdicts() == in_one_go(records).verdicts()


def test_repeats_are_counted_and_a_revoked_partition_is_read_anew() -> None:
    records = telemetry([0, 1, 0, 1])
    world = World()
    worker = world.worker()
    feed(worker, records, 4)
    worker.revoked(frozenset({SOURCE.place}))
    (report,) = feed(worker, records, 4)
    assert (report.records, report.classified, report.repeats) == (4, 0, 4)


def test_windows_that_begin_anew_after_a_gap_are_counted_and_not_again_where_they_are_read_again() -> None:
    world = World(idle_us=2_000)  # events lie 1,000 us apart
    records = telemetry([0, 1, 1, 1, 0, 1])
    first = world.worker().process(Chunk(SOURCE, records, 6))
    assert (first.window_resets, first.classified) == (1, 6)
    again = world.worker().process(Chunk(SOURCE, records, 6))
    assert (again.window_resets, again.repeats) == (0, 6)
    assert [alert.window_fill for alert in world.verdicts().values()] == [1, 1, 2, 3, 1, 4]


def test_a_new_model_reads_the_windows_of_the_old_one_at_once() -> None:
    """Windows hold raw features: after a change the verdicts are those of the new model all along."""
    records = telemetry([0, 1] * 20)
    other = Detector.random(KDD99, seed=2)
    world = World()
    worker = world.worker()
    feed(worker, records[:20], 5)
    world.detector = other
    feed(worker, records[20:], 5)
    pure = World(detector=other)
    feed(pure.worker(), records, 40)
    after = {key: alert for key, alert in world.verdicts().items() if alert.offset >= 20}
    assert after == {key: alert for key, alert in pure.verdicts().items() if alert.offset >= 20}


@settings(deadline=None, max_examples=10)
@given(streams_of_devices, st.integers(1, 40))
def test_explained_alerts_say_the_same_in_any_chunking_and_after_a_restart(
    devices: list[int], size: int
) -> None:
    """`verdicts` compares what is published twice; a restarted worker has its windows from the store."""
    records = telemetry(devices)
    world, whole = World(explain_share=0.6), World(explain_share=0.6)
    feed(world.worker(), records[: len(records) // 2], size)
    feed(world.worker(), records[len(records) // 2 :], size)
    again = World(explain_share=0.6, publisher=world.publisher)
    feed(again.worker(), records, 3)
    feed(whole.worker(), records, len(records))
    assert world.verdicts() == whole.verdicts()
    plain = {key: replace(alert, explanation=None) for key, alert in whole.verdicts().items()}
    assert plain == in_one_go(records).verdicts()


def test_each_alert_is_explained_from_the_rows_of_its_own_window() -> None:
    records = telemetry([i * 7 % 3 for i in range(40)])
    world = World(explain_share=1.0)
    feed(world.worker(), records, 25)
    explainable = [alert for alert in world.verdicts().values() if alert.verdict != "normal"]
    assert len(explainable) > 10
    for alert in explainable:
        own = [r for r in records[: alert.offset + 1] if r.value.split()[0].decode() == alert.device_id]
        rows = PlainDecoder().decode(own[-DETECTOR.width :]).events.rows
        window = np.concatenate((np.zeros(DETECTOR.width - len(rows), KDD99.row), rows))[None]
        there = np.arange(DETECTOR.width)[None] >= DETECTOR.width - len(rows)
        verdict = np.array([DETECTOR.verdicts.index(alert.verdict)])
        closest = np.array([DETECTOR.classes.index(alert.closest)])
        assert [alert.explanation] == explanations(DETECTOR, (window, there), verdict, closest)


def test_verdicts_do_not_wait_for_what_drove_them() -> None:
    """It is computed where a chunk is delivered, not where the next one's verdicts are."""
    world = World(explain_share=1.0)
    worker = world.worker()
    (chunk,) = chunks_of(telemetry([i % 3 for i in range(20)]), 20)
    computed = worker.begin([chunk]).computed
    assert computed is not None
    assert "explain" not in computed.report.cpu_ns
    worker.deliver(computed)
    assert any(alert.explanation for alert in world.verdicts().values())
    assert worker.reports[-1].cpu_ns["explain"] > 0


def test_explaining_changes_no_order_and_leaves_normal_verdicts_and_other_alerts_alone() -> None:
    records = telemetry([i * 7 % 3 for i in range(90)])
    explained, plain = World(explain_share=0.5), World()
    feed(explained.worker(), records, 25)
    feed(plain.worker(), records, 25)
    for topic in OUTPUT:
        ids = [
            [decode_alert(message.value).alert_id for message in world.publisher.topics[topic]]
            for world in (explained, plain)
        ]
        assert ids[0] == ids[1]
    said = explained.verdicts().values()
    assert {alert.explanation for alert in said if alert.verdict == "normal"} <= {None}
    alerts = [alert for alert in said if alert.verdict != "normal"]
    assert all((alert.explanation is not None) == in_share(alert.alert_id, 0.5) for alert in alerts)
    assert 0 < sum(alert.explanation is not None for alert in alerts) < len(alerts)
    assert not any(alert.explanation for alert in plain.verdicts().values())


def test_the_ids_of_alerts_follow_from_the_offset_alone() -> None:
    world = in_one_go(telemetry([0, 1]))
    again = in_one_go(telemetry([4, 5]))
    assert set(world.verdicts()) == set(again.verdicts())


def test_the_latency_of_alerts_is_taken_once_the_broker_has_them_and_of_no_normal_event() -> None:
    """The clock moves with each attempt to publish; the first ones fail."""
    world = World(detector=Detector.random(KDD99, seed=5))  # it calls half of these events normal
    now_us, appended_us = [1_000_000], 900_000

    class Timed(PlainDecoder):
        def decode(self, records: Sequence[RawRecord]) -> Decoded:
            decoded = super().decode(records)
            times = np.full(len(decoded.events), appended_us)
            return replace(decoded, events=replace(decoded.events, timestamp_us=times))

    def slow(attempt: Callable[[], object]) -> object:
        now_us[0] += 250_000
        return patient(attempt)

    ports = Ports(Intake(TOPICS.telemetry, Timed()), world.store, world.publisher, slow, lambda: now_us[0])  # type: ignore[arg-type]
    outputs = [AlertOutput(TOPICS, publish_classified=True)]
    rules = Rules(TOPICS, world.idle_us, outputs, publish_classified=True)
    worker = Worker(ports, rules, WindowCache(LAYOUT, 1 << 22, 8), world)
    chunk = Chunk(SOURCE, telemetry([1, 2, 3, 4] * 8), 32)
    computed = worker.begin([chunk]).computed
    assert computed is not None
    before_us = now_us[0]
    worker.deliver(computed)
    (report,) = worker.reports
    alerts = sum(count for name, count in report.verdicts.items() if name != "normal")
    assert 0 < alerts < report.classified
    assert report.latency.total == alerts
    waited_us = before_us + 250_000 - appended_us  # one attempt to publish, before windows are saved
    assert report.latency.sum_s == pytest.approx(alerts * waited_us / 1e6)
    untimed = World(detector=world.detector).worker().process(chunk)
    assert (untimed.verdicts, untimed.latency.total) == (report.verdicts, 0)  # no Kafka has seen those
