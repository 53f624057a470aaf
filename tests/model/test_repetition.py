"""Bursts of events that are ordinary one by one: counted, and odd where normal traffic has few such."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.kdd99 import KDD99
from streams.core.tables import Rows
from streams.model.detector import Detector
from streams.model.explanation import Explainer, key_columns
from streams.model.network import ALIKE, alike
from streams.training.repetition import repetition_table

DETECTOR = Detector.random(KDD99, seed=3)
W = DETECTOR.width
TELNET, SMTP = 3, 9


def window(*services: int) -> Rows:
    """Small events that are alike but for their services."""
    numbers = np.zeros((len(services), len(KDD99.numeric_names)), np.float32)
    numbers[:, KDD99.numeric_names.index("src_bytes")] = 120.0
    codes = np.array([[1, service, 1] for service in services], np.uint8)
    return KDD99.pack(numbers, codes)


def novelty(rows: Rows, valid: list[bool] | None = None) -> float:
    there = np.array([valid or [True] * W])
    return float(DETECTOR.classify(DETECTOR.encode(rows), np.arange(W)[None], there).novelty[0])


def test_events_are_alike_by_service_flag_and_about_as_many_bytes() -> None:
    present = [7.0, 1.0, 0.5, 0.25]
    near, far = 0.5 + ALIKE / 2, 0.5 + 2 * ALIKE
    earlier = [present, [7, 1, near, 0.25], [7, 1, far, 0.25], [7, 2, 0.5, 0.25], [8, 1, 0.5, 0.25], present]
    keys, valid = torch.tensor([[*earlier, present]]), torch.ones(1, 7, dtype=torch.bool)
    assert alike(keys, valid).tolist() == [[True, True, False, False, False, True]]
    valid[0, 0] = False
    assert alike(keys, valid).tolist() == [[False, True, False, False, False, True]]


def test_the_more_events_are_alike_the_odder_is_the_last_of_them() -> None:
    """The drawn detector's table is steeper than anything its VAE finds in these."""
    found = [novelty(window(*[SMTP] * (W - 1 - count), *[TELNET] * (count + 1))) for count in range(W)]
    assert found[3:] == sorted(found[3:])
    assert found[-1] == DETECTOR.network.repetition[TELNET, W - 1]
    alone = [False] * (W - 1) + [True]
    assert novelty(window(*[TELNET] * W), alone) < found[-1]


def test_a_bursts_novelty_is_explained_by_its_events_and_by_what_makes_them_alike() -> None:
    rows = window(SMTP, SMTP, *[TELNET] * (W - 2))[None]
    novel = np.array([len(DETECTOR.classes)])
    shares = Explainer(DETECTOR).shares(rows, np.ones((1, W), bool), novel)
    each, keys = 1.0 / (W - 2), key_columns(KDD99)
    assert shares.events[0].tolist() == pytest.approx([0.0, 0.0, *[each] * (W - 3)])
    assert np.flatnonzero(shares.columns[0]).tolist() == sorted(keys)
    assert shares.columns[0, keys].tolist() == pytest.approx([each / 4] * 4)


def test_the_tables_novelty_is_one_where_so_few_normal_events_have_as_many_alike() -> None:
    """1,000 events of a service, 995 with none before them that are alike and 5 with three: 0.5 %."""
    service, counts = np.full(1000, TELNET), np.repeat((0, 3), (995, 5))
    table = repetition_table(service, counts, (12, 4), smoothing=1e-9, quantile=0.995)
    assert table[TELNET].tolist() == pytest.approx([0, 1, 1, 1], abs=1e-6)


def test_of_a_service_without_events_the_table_has_what_all_services_have() -> None:
    counts = np.repeat((0, 1, 2), (6, 2, 1))
    table = repetition_table(np.full(9, SMTP), counts, (12, 3), smoothing=3.0, quantile=0.9)
    expected = [-math.log((part + 1) / 10) / math.log(10) for part in (9, 3, 1)]
    assert table[TELNET].tolist() == pytest.approx(expected)


@given(
    counts=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=60),
    smoothing=st.floats(0.1, 100),
)
@settings(deadline=None)
def test_the_table_is_finite_never_negative_and_never_falls(
    counts: list[tuple[int, int]], smoothing: float
) -> None:
    service, alike_before = np.array(counts, np.int64).reshape(-1, 2).T
    table = repetition_table(service, alike_before, (4, 6), smoothing, 0.995)
    assert np.isfinite(table).all()
    assert (table >= -1e-12).all()
    assert (np.diff(table, axis=1) >= -1e-12).all()
