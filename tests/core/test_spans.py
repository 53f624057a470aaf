"""Spans of time in buckets: what was counted, what came since, and quantiles as Prometheus has them."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core import latency, spans
from streams.core.latency import latency_of
from streams.core.spans import Spans, counted

BOUNDS_S = (0.5, 1.0, 4.0)


def test_the_examples_hold() -> None:
    assert doctest.testmod(spans).failed == 0


def test_a_span_on_a_bound_is_within_it_and_the_last_place_is_of_what_is_longer() -> None:
    found = counted(BOUNDS_S, np.array([0, 500_000, 500_001, 4_000_000, 4_000_001]))
    assert found == Spans((2, 1, 1, 1), 9.000002)
    assert counted(BOUNDS_S, np.zeros(0, np.int64)) == Spans.none(BOUNDS_S)


@given(st.lists(st.integers(0, 10_000_000)), st.lists(st.integers(0, 10_000_000)))
def test_what_came_since_and_what_was_before_are_all(before: list[int], after: list[int]) -> None:
    first, second = (counted(BOUNDS_S, np.array(of, np.int64)) for of in (before, after))
    assert (first + second).counts == counted(BOUNDS_S, np.array(before + after, np.int64)).counts
    assert (first + second).since(first).counts == second.counts
    assert (first + second).total == len(before) + len(after)


@given(st.lists(st.integers(0, 3_999_999), min_size=1), st.floats(0.01, 1))
def test_a_quantile_lies_in_the_bucket_of_the_exact_one(values: list[int], share: float) -> None:
    found = counted(BOUNDS_S, np.array(values)).quantile_s(share, BOUNDS_S)
    exact_s = float(np.quantile(np.array(values) / 1e6, share, method="inverted_cdf"))
    upper = next(bound for bound in BOUNDS_S if exact_s <= bound)
    lower = max([0.0, *(bound for bound in BOUNDS_S if bound < upper)])
    assert found is not None
    assert lower <= found <= upper


def test_a_quantile_beyond_the_last_bound_is_that_bound_and_of_nothing_there_is_none() -> None:
    assert Spans((0, 0, 0, 3)).quantile_s(0.5, BOUNDS_S) == 4.0
    assert Spans((0, 0, 0, 0)).quantile_s(0.5, BOUNDS_S) is None


def test_latency_counts_only_what_kafka_has_a_timestamp_of_and_is_never_negative() -> None:
    found = latency_of(np.array([0, 1_000_000, 900_000, 2_000_000]), 1_020_000)
    assert found.total == 3
    assert found.sum_s == pytest.approx(0.02 + 0.12)
    assert found.counts[:2] == (1, 1)  # 2,000,000 is ahead of our clock
    assert len(found.counts) == len(latency.BOUNDS_S) + 1
