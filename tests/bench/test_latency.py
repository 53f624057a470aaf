"""The latency bench: its figures, its even pace, the loop it compares with. The bench itself runs minutes."""

from __future__ import annotations

import io
import os
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from rich.console import Console

from bench import latency_figures as figures
from bench.feed import START_US
from bench.latency import at_rate
from bench.loop import Judge
from bench.steady import Mark, Phase, pace, read_pool, varint, write_pool
from streams.client.replaying import Feed, device_name
from streams.codec.ingest.telemetry import TelemetryDecoder
from streams.core import windows as sequence
from streams.core.events import Source
from streams.core.kdd99 import KDD99
from streams.core.topics import NORMAL
from streams.core.windows import WindowLayout
from streams.model.detector import Detector
from streams.model.gate import standard_rows
from streams.model.inference import infer_from_rows

S = 1_000_000


@dataclass(frozen=True)
class Sent:
    """A consumed record, as confluent-kafka has it."""

    at: tuple[int, int]
    name: bytes
    data: bytes

    def error(self) -> None: ...
    def headers(self) -> None: ...

    def partition(self) -> int:
        return self.at[0]

    def offset(self) -> int:
        return self.at[1]

    def timestamp(self) -> tuple[int, int]:
        return 1, 0

    def key(self) -> bytes:
        return self.name

    def value(self) -> bytes:
        return self.data


def a_feed(events: int, devices: int) -> Feed:
    """The devices in turn, two events at a time."""
    rows = standard_rows(KDD99, events)
    rows["numbers"] = np.floor(rows["numbers"])
    return Feed(rows, np.arange(events) // 2 % devices, START_US + np.arange(events))


def times(*seconds: float) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array([round(second * S) for second in seconds], np.int64)


def test_attacks_are_as_many_as_a_99th_percentile_needs_and_at_least_two_percent() -> None:
    assert figures.attack_share(2_000) == 0.625
    assert figures.attack_share(20_000) == 0.062
    assert figures.attack_share(1_000_000) == 0.02
    assert figures.attack_share(100) == figures.attack_share(0) == 0.8


def test_latencies_are_from_sending_to_appending() -> None:
    sent = times(*range(101))
    found = figures.latencies(sent, sent + np.arange(101) * 1000)
    assert found == {"alerts": 101, "p50_ms": 50.0, "p95_ms": 95.0, "p99_ms": 99.0}
    assert figures.latencies(times(), times())["p99_ms"] is None


def test_cpu_is_a_share_of_the_wall_clock_and_turns_have_either_name() -> None:
    before = {"at_s": 10.0, "process_cpu_ns": 5 * 10**9, "records": 100, "turns": 10}
    after = {"at_s": 20.0, "process_cpu_ns": 6 * 10**9, "records": 500, "turns": 50}
    assert figures.usage(before, after) == {"cpu_cores": 0.1, "events_per_turn": 10.0}
    old = [
        {"chunks" if name == "turns" else name: value for name, value in one.items()}
        for one in (before, after)
    ]
    assert figures.usage(*old) == figures.usage(before, after)
    assert figures.usage(before, {**after, "turns": 10})["events_per_turn"] is None


def test_the_worker_is_behind_where_its_figure_is_the_larger_one() -> None:
    loop = {"p50_ms": 10.0, "p95_ms": 20.0, "p99_ms": 30.0, "cpu_cores": 0.1, "events_per_turn": 5.0}
    assert figures.behind(loop, loop) == []
    assert figures.behind({**loop, "p99_ms": 30.1, "cpu_cores": 0.2, "events_per_turn": 1.0}, loop) == [
        "p99_ms",
        "cpu_cores",
    ]
    assert figures.behind({**loop, "p50_ms": None}, loop) == ["p50_ms"], "no alert at all is no lead"
    assert figures.behind(loop, {**loop, "p50_ms": None}) == []


def a_burst(late_s: float) -> tuple[Any, Any]:
    """50 alerts a second. The burst ends at 10; what is sent until 20 goes out then, all at once.

    From then on the latency is 300 ms, and `late_s` later 20 ms.
    """
    sent = times(*np.arange(0, 40, 0.02))
    taken = np.where(sent < (20 + late_s) * S, 300_000, 20_000)
    return sent, np.where(sent < 20 * S, 20 * S + sent // 1000, sent + taken)


def test_a_burst_is_drained_with_its_last_alert() -> None:
    sent, appended = a_burst(0.0)
    assert figures.drained_s(sent, appended, 10 * S) == 10.0
    assert figures.drained_s(sent, appended, 0) is None, "nothing was sent before"
    assert figures.drained_s(sent, sent + 1, 10 * S) == 0.0


def test_recovered_is_when_the_last_two_seconds_were_fast_whatever_was_not_appended_before() -> None:
    """Until 20 nothing is appended; an empty window says nothing."""
    assert figures.recovered_s(*a_burst(0.0), 10 * S) == pytest.approx(12.1, abs=0.15)
    assert figures.recovered_s(*a_burst(5.0), 10 * S) == pytest.approx(17.3, abs=0.15)
    assert figures.recovered_s(*a_burst(30.0), 10 * S) is None
    assert figures.recovered_s(times(), times(), 0) is None
    sent = times(*np.arange(0, 5, 0.02))
    assert figures.recovered_s(sent, sent + 1000, 0) == 2.0, "a window is two seconds long"


class Clock:
    def __init__(self, late_s: float = 0.0) -> None:
        self.now_s = 100.0
        self.late_s = late_s
        self.sent: list[tuple[float, int]] = []
        self.begun_s: list[float] = []

    def sleep(self, pause_s: float) -> bool:
        self.now_s += max(pause_s, 1e-6) + self.late_s
        return False

    def run(self, *phases: Phase) -> list[tuple[float, int]]:
        pace(
            phases,
            lambda count: self.sent.append((round(self.now_s - 100, 6), count)),
            lambda: self.begun_s.append(round(self.now_s - 100, 6)),
            self.sleep,
            lambda: self.now_s,
        )
        return self.sent


def test_each_event_of_a_low_rate_has_a_moment_of_its_own() -> None:
    clock = Clock()
    sent = clock.run(Phase(100, 0.5), Phase(1000, 0.1))
    assert [count for _, count in sent] == [1] * 150
    assert [at for at, _ in sent[:50]] == pytest.approx([i / 100 for i in range(50)], abs=1e-4)
    assert [at for at, _ in sent[50:]] == pytest.approx([0.5 + i / 1000 for i in range(100)], abs=1e-4)
    assert clock.begun_s == pytest.approx([0, 0.5, 0.6], abs=1e-4)


def test_a_high_rate_comes_in_steps_of_a_millisecond_and_a_late_sender_catches_up() -> None:
    steps = Clock().run(Phase(5000, 1.0))
    assert sum(count for _, count in steps) == pytest.approx(5000, abs=5), "the last step may be cut off"
    assert max(count for _, count in steps) <= 6
    late = Clock(late_s=0.003).run(Phase(500, 1.0))
    assert sum(count for _, count in late) == pytest.approx(500, abs=2)


def test_who_is_told_to_stop_sends_no_more_and_passes_through_the_rest_of_the_phases() -> None:
    sent: list[int] = []
    begun: list[int] = []
    pace([Phase(10, 5), Phase(10, 5)], sent.append, lambda: begun.append(1), lambda pause_s: len(sent) == 3)
    assert (len(sent), len(begun)) == (3, 3)


def test_what_was_prepared_reads_as_the_event_at_its_moment_of_sending(tmp_path: Path) -> None:
    feed = a_feed(20, 5)
    write_pool(tmp_path / "pool", feed)
    now_us = time.time_ns() // 1000
    pool = read_pool(tmp_path / "pool")
    records = [Sent((0, i), one.key, one.at(varint(now_us))) for i, one in enumerate(pool)]
    events = Judge(Detector.random(KDD99, 1), "t", uuid.UUID(int=1), S)
    assert len(events(records).verdicts) == 20
    decoded = TelemetryDecoder(KDD99).decode([_Raw(record) for record in records])
    assert not decoded.rejected
    assert decoded.events.device_id == [device_name(i // 2 % 5) for i in range(20)]
    assert set(decoded.events.event_time_us.tolist()) == {now_us}
    assert decoded.events.rows.tobytes() == feed.rows.tobytes()


class _Raw:
    def __init__(self, sent: Sent) -> None:
        self.offset, self.timestamp, self.headers = sent.offset(), 0, ()
        self.key, self.value = sent.key(), sent.value()


def test_the_loop_judges_as_a_worker_does_whatever_its_batches(tmp_path: Path) -> None:
    """40 devices on 3 partitions, 4 or 6 events each: the plain way, one batch, batches of 30."""
    detector, source = Detector.random(KDD99, seed=3), Source("t", uuid.UUID(int=1), 0)
    feed = a_feed(200, 40)
    write_pool(tmp_path / "pool", feed)
    records = [
        Sent((i // 2 % 40 % 3, 100 + i), one.key, one.at(varint(START_US)))
        for i, one in enumerate(read_pool(tmp_path / "pool"))
    ]
    plain = TelemetryDecoder(KDD99).decode([_Raw(record) for record in records]).events
    blank = WindowLayout(KDD99).blank(40, source)
    step = sequence.advance(blank, feed.device, plain, S)
    wanted = infer_from_rows(detector, blank, step, plain.rows).verdict.tolist()
    for size in (200, 30):
        judge = Judge(detector, "t", uuid.UUID(int=1), S)
        judged = [judge(records[i : i + size]) for i in range(0, 200, size)]
        verdicts = [name for one in judged for name in one.verdicts]
        assert verdicts == [detector.verdicts[number] for number in wanted]
        alerts = [alert for one in judged for alert in one.alerts]
        bad = [i for i, name in enumerate(verdicts) if name != NORMAL]
        assert sorted((alert.partition, alert.offset) for alert in alerts) == sorted(
            records[i].at for i in bad
        )
        assert bad, "or this shows nothing"
        kept: dict[str, bytes] = {}
        for one in judged:
            kept.update(one.windows)
        for number, window in enumerate(step.windows):
            stored = WindowLayout(KDD99).unpack([kept[device_name(number)]], source)[0]
            assert stored["rows"].tobytes() == window["rows"].tobytes()
            assert stored["head"]["partition"] == number % 3


def test_the_loop_passes_over_what_it_has_applied_before(tmp_path: Path) -> None:
    write_pool(tmp_path / "pool", a_feed(8, 2))
    records = [
        Sent((0, i), one.key, one.at(varint(START_US))) for i, one in enumerate(read_pool(tmp_path / "pool"))
    ]
    judge = Judge(Detector.random(KDD99, seed=3), "t", uuid.UUID(int=1), S)
    assert len(judge(records[:5]).verdicts) == 5
    assert len(judge(records).verdicts) == 3


class FakeSide:
    """Answers each event after `taken_us`, ten to a turn; its clock goes on by ten seconds a look."""

    def __init__(self, name: str, taken_us: int) -> None:
        self.name, self.sent = name, 0
        self._taken_us = taken_us
        self._at_s = 0.0
        self._marks: list[Mark] = []

    def figures(self) -> dict[str, Any]:
        self._at_s += 10
        return {"at_s": self._at_s, "process_cpu_ns": self._at_s * 1e8, "records": 100, "turns": 10}

    def all_done(self) -> dict[str, Any]:
        assert self.sent == 2300, "what was sent during the warm-up is waited for, too"
        return self.figures()

    def sending(self, pool: Path, phases: Sequence[Phase]) -> Self:
        self._marks = [Mark(0, 0)]
        for rate, seconds in phases:
            last = self._marks[-1]
            self._marks.append(Mark(last.at_us + int(seconds * S), last.sent + int(rate * seconds)))
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None: ...
    def stop(self) -> None: ...
    def finish(self) -> None: ...

    def mark(self) -> Mark:
        return self._marks.pop(0)

    def alerts(self, since_us: int, until_us: int) -> tuple[Any, Any]:
        assert (since_us, until_us) == (3 * S, 23 * S), "the warm-up does not count"
        sent = np.arange(since_us, until_us, 10_000)
        return sent, sent + self._taken_us

    def uncommitted(self) -> int:
        return 0


class FakePools:
    def pool(self, share: float, events: float) -> Path:
        assert events == 2300
        return Path(os.devnull)


def test_a_rate_is_taken_of_one_side_after_the_other_and_compared() -> None:
    said: list[str] = []
    alone = at_rate([FakeSide("worker", 50_000)], FakePools(), 100, 20, said.append)
    assert (alone["rate"], alone["p99_ms"], alone["cpu_cores"]) == (100, 50.0, 0.1)
    both = [FakeSide("worker", 50_000), FakeSide("loop", 40_000)]
    found = at_rate(both, FakePools(), 100, 20, said.append)
    assert (found["worker"]["p99_ms"], found["loop"]["p99_ms"]) == (50.0, 40.0)
    assert found["behind"] == ["p50_ms", "p95_ms", "p99_ms"]
    assert said


@pytest.mark.parametrize("beside", [False, True])
def test_people_get_a_line_a_rate_and_see_where_the_worker_is_behind(beside: bool) -> None:
    side = {
        "alerts": 1000,
        "p50_ms": 1.5,
        "p95_ms": 2.5,
        "p99_ms": 1234.5,
        "cpu_cores": 0.1,
        "events_per_turn": None,
    }
    rate = {"rate": 5000, "attack_share": 0.02}
    compared = {"worker": side, "loop": {**side, "p50_ms": 1.0}, "behind": ["p50_ms"]}
    result = {
        "sides": ["worker", "loop"] if beside else ["worker"],
        "rates": [{**rate, **(compared if beside else side)}],
        "capacity": {"worker": 20_000, "loop": 9000} if beside else 20_000,
        "idle_cpu_cores": 0.01,
        "burst": {"drained_s": None, "lost": 0},
    }
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(*figures.tables(result))
    shown = console.export_text()
    assert "5,000" in shown
    assert "1,234 " in shown
    assert "20,000" in shown
    assert "…" not in shown, "a terminal of 80 columns is enough"
    assert ("1.5*" in shown) == beside
