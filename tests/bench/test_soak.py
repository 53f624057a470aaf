"""The soak's plan and its figures; the soak itself takes half an hour and is not run here."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from bench.faults.schedules import Kind
from bench.soak import ENDING, KINDS, Plan, faults_of, rss_figures


def test_each_minute_has_one_fault_and_every_kind_comes_in_turn() -> None:
    faults = faults_of(Plan(2 * len(KINDS), 0.7, 1))
    assert Counter(fault.kind for fault in faults) == dict.fromkeys(KINDS, 2)
    assert {round(after.at_s - before.at_s) for before, after in pairwise(faults)} == {60}
    assert all(fault.for_s < 40 for fault in faults), "it is over before the next"
    assert faults == faults_of(Plan(2 * len(KINDS), 0.7, 1))
    assert faults != faults_of(Plan(2 * len(KINDS), 0.7, 2))


def test_the_first_worker_is_never_ended() -> None:
    ending = [fault for fault in faults_of(Plan(60, 0.7, 3)) if fault.kind in ENDING]
    assert {fault.which for fault in ending} == {1}, "of two"
    assert Kind.JOIN not in KINDS


def test_the_slope_is_that_of_the_worker_that_lived_longest_once_it_was_warm() -> None:
    old = [(10.0 * i, 100.0 + (200.0 if i < 30 else 300.0) + i / 36) for i in range(181)]
    young = [(1000.0 + 10.0 * i, 50.0 * i) for i in range(20)]
    figures = rss_figures({1: young, 2: old})
    assert figures["rss_slope_mib_per_hour"] == 10.0
    assert figures["rss_mib"] == [401, 402, 403, 404, 405]
    assert figures["measured_minutes"] == 25.0


def test_without_a_warm_worker_no_slope_is_said() -> None:
    assert rss_figures({}) == {"rss_slope_mib_per_hour": None}
    assert rss_figures({1: [(0.0, 1.0), (10.0, 2.0)]}) == {"rss_slope_mib_per_hour": None}
