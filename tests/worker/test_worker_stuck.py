"""A worker that makes no progress ends itself; one that has nothing to do, waits or was asleep does not."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from streams.core.events import Partition
from streams.errors import BrokerUnavailable, SettingsError
from streams.settings import Settings
from streams.worker.health import Health
from streams.worker.process import start_watch, watch_progress

TIMEOUT_S = 300.0


class Ended(Exception):
    pass


@dataclass
class Belt:
    """A conveyor as far as health looks at it."""

    clock_s: Callable[[], float]
    under_way: int = 0
    progress_s: float = 0.0
    held: Mapping[Partition, str] = field(default_factory=dict)

    def begin(self) -> None:
        if not self.under_way:
            self.progress_s = self.clock_s()
        self.under_way += 1

    def acknowledge(self) -> None:
        self.under_way -= 1
        self.progress_s = self.clock_s()


class Clocked(Health):
    """Its clock moves only in `wait`, and what happens meanwhile is a script: (seconds, what then)."""

    def __init__(self, *script: tuple[float, Callable[[Clocked], object]]) -> None:
        self.now_s = 0.0
        self._script = list(script)
        super().__init__(lambda: self.now_s)
        self.belt = Belt(lambda: self.now_s)
        self.watch([self.belt])

    def wait(self, pause_s: float) -> bool:
        self.now_s += pause_s
        while self._script and self._script[0][0] <= self.now_s:
            self._script.pop(0)[1](self)
        return self.stopping.is_set() or self.now_s > 200_000


def delivers(worker: Clocked) -> None:
    worker.belt.acknowledge()


def takes_up(worker: Clocked) -> None:
    worker.belt.begin()


def fails(worker: Clocked) -> None:
    worker.note_away(BrokerUnavailable("the broker is away"))


def stops(worker: Clocked) -> None:
    worker.stop_soon()


def end_of(*script: tuple[float, Callable[[Clocked], object]]) -> float | None:
    """When a watched worker ended itself, looking every 5 s; None where it stopped by itself before."""
    worker = Clocked(*script)

    def end(stuck: Health) -> None:
        raise Ended

    try:
        watch_progress(worker, TIMEOUT_S, end, 5.0)
    except Ended:
        return worker.now_s
    return None


def every(period_s: int, until_s: int, what: Callable[[Clocked], object]) -> list[tuple[float, Any]]:
    return [(float(at_s), what) for at_s in range(period_s, until_s, period_s)]


def test_a_worker_whose_turn_is_not_done_in_time_ends_soon_after() -> None:
    ended_s = end_of((100.0, takes_up))
    assert ended_s is not None
    assert 400 < ended_s <= 410


def test_one_without_turns_waits_as_long_as_it_likes() -> None:
    assert end_of((100.0, takes_up), (130.0, delivers), (100_000.0, stops)) is None


def test_turns_that_come_to_their_end_are_progress_while_others_are_under_way() -> None:
    always_one = [(1.0, takes_up), *every(250, 5_000, lambda w: (takes_up(w), delivers(w)))]
    assert end_of(*always_one, (5_000.0, stops)) is None


def test_what_is_away_and_tried_again_is_waited_for() -> None:
    script = ((0.5, holds), (1.0, takes_up), *every(20, 10_000, fails), (10_100.0, stops))
    assert end_of(*script) is None


def test_what_was_away_and_then_never_answers_is_not() -> None:
    """A producer whose deliveries hang for ever, say, without a word."""
    ended_s = end_of((1.0, takes_up), *every(20, 1_000, fails))
    assert ended_s is not None
    assert 1_280 < ended_s <= 1_290


def test_an_event_loop_that_hangs_ends_the_worker_even_between_turns() -> None:
    ended_s = end_of(*every(1, 600, Clocked.note_alive))
    assert ended_s is not None
    assert 895 < ended_s <= 910


def holds(worker: Clocked) -> None:
    worker.assigned(frozenset({("ids.telemetry", 1)}))


def test_one_that_holds_partitions_and_does_not_read_them_ends() -> None:
    ended_s = end_of((100.0, holds), *every(10, 1_000, Clocked.note_read))
    assert ended_s is not None
    assert 1_290 < ended_s <= 1_300


def test_one_that_reads_nothing_because_there_is_nothing_goes_on() -> None:
    assert end_of((100.0, holds), *every(10, 5_000, Clocked.note_read), (5_000.0, stops)) is None


def test_without_partitions_there_is_nothing_to_read() -> None:
    released = (200.0, Clocked.revoked)
    assert end_of((100.0, holds), released, (5_000.0, stops)) is None


def test_a_turn_that_tells_of_its_progress_goes_on() -> None:
    """It rebuilds windows, say."""
    progress = every(250, 5_000, Clocked.progressed)
    assert end_of((1.0, takes_up), *progress, (5_000.0, stops)) is None
    ended_s = end_of((1.0, takes_up), *progress)
    assert ended_s is not None
    assert 5_000 < ended_s <= 5_060


def test_what_is_held_back_is_no_standstill_unless_a_turn_under_way_is_one() -> None:
    """A conveyor asks about it again and again, each time with nothing under way."""

    def asks(worker: Clocked) -> None:
        worker.belt.begin()
        worker.belt.under_way -= 1

    assert (
        end_of((1.0, holds), *every(5, 5_000, lambda w: (asks(w), w.note_read())), (5_000.0, stops)) is None
    )
    ended_s = end_of((1.0, takes_up), *every(5, 5_000, asks))
    assert ended_s is not None
    assert 300 < ended_s <= 315


def test_a_process_that_was_suspended_goes_on_where_it_stood() -> None:
    def sleeps(worker: Clocked) -> None:
        worker.now_s += 3_600

    assert end_of((10.0, takes_up), (20.0, sleeps), (3_625.0, delivers), (3_700.0, stops)) is None


def test_a_worker_that_stops_is_left_to_the_deadline_of_its_stop() -> None:
    assert end_of((1.0, takes_up), (299.0, stops)) is None


def test_a_time_that_a_network_call_may_take_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"AUTODEEP_STUCK_TIMEOUT_S=25 .* take 30 or more, or 0"):
        start_watch(Health(), Settings(stuck_timeout_s=25.0))


def test_never_means_never() -> None:
    before = threading.active_count()
    start_watch(Health(), Settings(stuck_timeout_s=0.0))
    assert threading.active_count() == before


def test_health_follows_from_the_same_standstill() -> None:
    worker = Clocked()
    takes_up(worker)
    worker.now_s = 119.0
    assert worker.live
    worker.now_s = 121.0
    assert not worker.live
    fails(worker)
    assert worker.live


STUCK = """
import logging, threading, time
from streams.worker.process import log_config, start_watch
from streams.settings import Settings
from tests.worker.test_worker_stuck import Health, Belt

class Late(Health):
    standstill_s = 301.0

logging.config.dictConfig(log_config("INFO"))
worker = Late()
worker.watch([Belt(time.monotonic, under_way=1)])
start_watch(worker, Settings(), look_s=0.01)
{hang}
"""


@pytest.mark.parametrize(
    "hang", ["time.sleep(60)", "logging.getLogger().handlers[0].acquire(); time.sleep(60)"]
)
def test_a_process_that_hangs_ends_with_one_line_even_if_what_hangs_holds_the_log(hang: str) -> None:
    """Exit code 70, which is an unexpected error's."""
    began_s = time.monotonic()
    code = "import logging.config" + STUCK.format(hang=hang)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 70
    assert time.monotonic() - began_s < 60
    if "acquire" not in hang:
        [line] = done.stderr.splitlines()
        assert "no progress for 301 s (AUTODEEP_STUCK_TIMEOUT_S), turns under way: 1;" in line


DYING = """
import logging.config, time
from contextlib import ExitStack
from streams.worker.process import log_config

def unforeseen(self):
    raise KeyError("of no list")

logging.config.dictConfig(log_config("INFO"))
parts = ExitStack()
{start}
time.sleep(60)
"""

SHADOW = """
from streams.rollout.shadow import Shadow
from streams.settings import Settings
from streams.worker.models import challenged
Shadow.tell = unforeseen
challenged(Settings(), parts)[1].stop()
"""

FOLLOWER = """
from streams.worker.models import _run
from tests.rollout.test_model_follower import Parts, state
following = Parts()
following.store.broken["2"] = KeyError("of no list")
_run(following.follower.follow, following.follower.stop, "models", parts)
following.follower.offer(state(1, "2"))
"""

WATCH = """
from streams.settings import Settings
from streams.worker.health import Health
from streams.worker.process import start_watch
Health.standstill_s = property(unforeseen)
start_watch(Health(), Settings(), look_s=0.01)
"""


@pytest.mark.parametrize(("name", "start"), [("shadow", SHADOW), ("models", FOLLOWER), ("watch", WATCH)])
def test_a_thread_that_meets_what_nobody_foresaw_ends_the_process_and_is_named(name: str, start: str) -> None:
    """Exit code 70: the worker would go on without what the thread is there for."""
    done = subprocess.run(
        [sys.executable, "-c", DYING.format(start=start)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 70, done.stderr
    assert f"unexpected in the thread '{name}': this worker ends" in done.stderr
    assert "KeyError: 'of no list'" in done.stderr
