"""Of a fleet it is said who is well, and whoever is missing or not well makes it unhealthy."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import pytest

from streams.core.workers import (
    LEFT,
    REMEMBERED_US,
    Asked,
    Fleet,
    ServedModel,
    State,
    WorkerFigures,
    judged,
)

S = 1_000_000
NOW_US = 1_795_000_000 * S
MODEL = ServedModel("kdd99", "8", "ab" * 32, 3)


def figures(
    worker: str = "a", *, age_s: float = 5, host: str = "h", partitions: tuple[int, ...] = (0, 1)
) -> WorkerFigures:
    at_us = NOW_US - int(age_s * S)
    return WorkerFigures(
        worker=worker, host=host, version="0.1.0", group="g", started_at_us=NOW_US - 900 * S, at_us=at_us,
        expires_at_us=at_us + 45 * S, role="active", ready=True, why_not="", partitions={"t": partitions},
        models=(MODEL,), events_per_s=7.0, lag_records=0, latency_p50_s=None, latency_p99_s=None,
    )  # fmt: skip


def fleet(
    *told: WorkerFigures, members: Collection[str] | None = None, partitions: int = 2, expected: int = 0
) -> Fleet:
    return judged(told, Asked(NOW_US, partitions, "t", "g", members, expected))


def states(found: Fleet) -> list[tuple[str, State]]:
    return [(one.worker, one.state) for one in found.workers]


def test_a_fleet_whose_workers_are_ready_and_have_all_partitions_is_healthy() -> None:
    found = fleet(figures("b", partitions=(1,)), figures("a", partitions=(0,)), members=["a", "b"])
    assert states(found) == [("a", State.READY), ("b", State.READY)]
    assert (found.healthy, [one.age_s for one in found.workers]) == (True, [5.0, 5.0])


def test_a_worker_that_is_not_ready_says_why() -> None:
    found = fleet(replace(figures(), ready=False, why_not="Redis is away"))
    assert states(found) == [("a", State.NOT_READY)]
    assert found.problems == ["a is not ready: Redis is away"]


def test_a_worker_without_news_is_silent_and_is_no_problem_once_its_host_has_another() -> None:
    silent = figures("a", age_s=46)
    found = fleet(silent, figures("b", host="other"))
    assert states(found) == [("a", State.SILENT), ("b", State.READY)]
    assert found.problems == ["a is silent since 46 s"]
    successor = replace(figures("b"), started_at_us=silent.at_us + S)
    assert states(fleet(silent, successor)) == [("a", State.REPLACED), ("b", State.READY)]
    assert fleet(silent, successor).healthy
    assert (
        "silent" in fleet(silent, figures("b")).problems[0]
    )  # it was there before: none has taken the place


def test_a_worker_that_left_or_is_long_gone_is_not_missed() -> None:
    left = replace(figures("a", age_s=500, partitions=()), role=LEFT, ready=False)
    gone = figures("c", age_s=REMEMBERED_US / S + 1)
    found = fleet(left, figures("b"), gone)
    assert states(found) == [("a", State.LEFT), ("b", State.READY)]
    assert found.healthy


def test_young_figures_of_a_worker_that_kafka_does_not_know_are_not_believed() -> None:
    found = fleet(figures("a"), figures("b"), members=["b"])
    assert states(found) == [("a", State.NO_MEMBER), ("b", State.READY)]
    assert "a is no member of the group any more" in found.problems[0]
    other_group = replace(figures("a"), group="another")
    assert fleet(other_group, members=[]).healthy
    assert fleet(figures("a"), members=None).healthy  # while it is being rebalanced


def test_a_member_that_tells_nothing_is_shown_and_is_a_problem() -> None:
    found = fleet(figures("a"), members=["a", "z"])
    assert states(found) == [("a", State.READY), ("z", State.UNTOLD)]
    assert found.problems == ["z is a member of the group and tells no figures"]


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ((), "no worker tells of itself"),
        ((figures("a", partitions=(1,)),), "has partitions 0 of t"),
        (
            (figures("a"), replace(figures("b"), models=(replace(MODEL, digest="cd" * 32),))),
            "different models",
        ),
        ((figures("a", age_s=-300),), "a tells figures 300 s ahead of this machine's clock"),
    ],
)
def test_what_is_wrong_with_the_fleet_is_said(told: tuple[WorkerFigures, ...], says: str) -> None:
    (problem,) = fleet(*told).problems
    assert says in problem


def test_fewer_ready_workers_than_expected_are_a_problem() -> None:
    assert fleet(figures("a"), expected=1).healthy
    assert fleet(figures("a"), expected=2).problems == ["1 workers are ready, and 2 are expected"]
    assert fleet(expected=2).problems == ["0 workers are ready, and 2 are expected"]
