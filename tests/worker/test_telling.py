"""What a worker tells the fleet of itself: at intervals, at changes, when it leaves, never at its cost."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from streams.core.latency import latency_of
from streams.core.spans import Spans
from streams.core.workers import LEFT, ServedModel, WorkerFigures
from streams.errors import BrokerUnavailable
from streams.worker.health import Health
from streams.worker.telling import AGAIN_S, EVERY_S, EXPIRES_S, RECENT_S, Recent, Telling

MODEL = ServedModel("kdd99", "8", "ab" * 32, 3)


class Topic:
    """Takes what is told, or refuses it."""

    def __init__(self) -> None:
        self.told: list[WorkerFigures] = []
        self.problem = ""
        self.closed = False

    def tell(self, figures: WorkerFigures) -> None:
        if self.problem:
            raise BrokerUnavailable(self.problem)
        self.told.append(figures)

    def close(self) -> None:
        self.closed = True


class Told:
    """A worker's telling on a drawn clock."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.topic, self.health = Topic(), Health()
        self.telling = Telling(self.topic, self.health, lambda: [MODEL], "g", lambda: self.now_s)

    def at(self, now_s: float) -> int:
        """How much was told until then."""
        self.now_s = now_s
        self.telling.look()
        return len(self.topic.told)


def test_figures_are_told_at_once_then_at_intervals_and_expire() -> None:
    told = Told()
    assert [told.at(now_s) for now_s in (100, 101, 100 + EVERY_S, 101 + EVERY_S)] == [1, 1, 2, 2]
    last = told.topic.told[-1]
    assert last.expires_at_us - last.at_us == EXPIRES_S * 1e6
    assert (last.role, last.ready, last.models) == ("joining", False, [MODEL])
    assert told.health.tellings["told"] == 2


def test_a_change_of_role_partitions_or_readiness_is_told_at_the_next_look() -> None:
    told = Told()
    told.at(100)
    told.health.watch([])
    told.health.assigned(frozenset({("t", 3), ("t", 1)}))
    assert told.at(101) == 2
    assert (told.topic.told[-1].role, told.topic.told[-1].partitions) == ("active", {"t": [1, 3]})
    told.health.why_held = lambda: "holding"
    assert told.at(102) == 3
    assert (told.topic.told[-1].ready, told.topic.told[-1].why_not) == (False, "holding")
    assert told.at(103) == 3


def test_a_topic_that_takes_nothing_is_said_once_counted_and_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = Told()
    told.topic.problem = "WRITE is missing"
    with caplog.at_level(logging.INFO, "autodeep"):
        for now_s in (100, 101, 100 + AGAIN_S, 101 + AGAIN_S):
            told.at(now_s)
        told.health.watch([])  # a change makes no difference
        told.at(102 + AGAIN_S)
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "WRITE is missing" in caplog.text
        assert (told.health.tellings["failed"], told.health.tellings["told"]) == (2, 0)
        told.topic.problem = ""
        assert told.at(100 + 2 * AGAIN_S) == 1
    assert caplog.records[-1].levelname == "INFO"


def test_a_worker_that_leaves_says_so_and_has_no_partitions_any_more() -> None:
    told = Told()
    told.health.assigned(frozenset({("t", 3)}))
    told.at(100)
    told.telling.leave()
    last = told.topic.told[-1]
    assert (last.role, last.ready, last.partitions) == (LEFT, False, {})
    assert told.topic.closed


def test_a_worker_whose_figures_nobody_takes_does_not_try_again_when_it_leaves() -> None:
    """A stop must not wait for a Kafka that is gone."""
    told = Told()
    told.topic.problem = "Kafka is away"
    told.at(100)
    told.telling.leave()
    assert told.health.tellings["failed"] == 1
    assert told.topic.closed


def test_rates_and_latencies_are_of_the_last_minute() -> None:
    now_s = [0.0]
    recent = Recent(lambda: now_s[0])
    slow, fast = (latency_of(np.array([1_000_000]), 1_000_000 + us) for us in (2_000_000, 20_000))
    latency, rates, medians = Spans((0,) * len(slow.counts)), [], []
    for events, of in (
        (0, slow),
        (300, slow),
        (600, fast),
        (600, fast),
        (600, fast),
        (600, fast),
        (600, fast),
    ):
        now_s[0] += RECENT_S / 4
        latency += of
        rate, within = recent(events, latency)
        rates.append(rate)
        medians.append(within.total)
    assert rates == pytest.approx([0, 10, 600 / 45, 10, 10, 5, 0])
    assert medians == [1, 2, 3, 4, 4, 4, 4]
