"""Where reading stands by partition, and what is said of one that an open transaction holds."""

from __future__ import annotations

import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from streams.adapters.kafka.deliveries import Committable
from streams.adapters.kafka.losses import LossReason, missing
from streams.adapters.kafka.read_positions import LOOK_S, OPEN_S, ReadPositions

LIFE = uuid.UUID(int=2)
ZERO, ONE = TP("t", 0), TP("t", 1)


class Consumer:
    """Two partitions of aiokafka's, each with what its fetches have told."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.states = {place: self.fresh() for place in (ZERO, ONE)}
        assignment = SimpleNamespace(tps=[*self.states], state_value=self.states.get)
        self._subscription = SimpleNamespace(subscription=SimpleNamespace(assignment=assignment))
        self.read = ReadPositions(lambda: self.now_s)

    def fresh(self) -> Any:
        return SimpleNamespace(timestamp=None, has_valid_position=True, position=0, lso=0, highwater=0)

    def fetched(self, place: TP, position: int, stable: int, end: int) -> None:
        state = self.states[place]
        state.timestamp, state.position, state.lso, state.highwater = 1, position, stable, end

    def changed(self, after_s: float = LOOK_S) -> dict[TP, Committable]:
        self.now_s += after_s
        return dict(self.read.changed(self, {"t": LIFE}, {ONE: 5000}))


def test_a_position_is_told_once_a_broker_has_answered_with_it_and_whenever_it_has_changed() -> None:
    consumer = Consumer()
    assert consumer.changed() == {}
    consumer.fetched(ZERO, 0, 0, 0)
    consumer.fetched(ONE, 7, 7, 7)
    assert consumer.changed() == {ZERO: Committable(0, LIFE), ONE: Committable(7, LIFE, 5000)}
    assert consumer.changed() == {}
    consumer.fetched(ONE, 9, 9, 9)
    assert consumer.changed(after_s=0.0) == {}, "just looked"
    assert consumer.changed() == {ONE: Committable(9, LIFE, 5000)}


def test_a_partition_that_an_open_transaction_holds_is_named_once_and_again_when_it_is_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    consumer = Consumer()
    consumer.fetched(ZERO, 10, 10, 25)
    with caplog.at_level("INFO", "autodeep"):
        consumer.changed()
        consumer.changed(OPEN_S - 1)
        assert caplog.text == "", "most last milliseconds"
        for _ in range(3):
            consumer.changed(OPEN_S)
        consumer.fetched(ZERO, 25, 25, 25)
        consumer.changed()
    held, over = (record.getMessage() for record in caplog.records)
    assert held.startswith("t-0: held at offset 10 for 59 s by a transaction")
    assert "offsets up to 24 wait" in held
    assert over == "t-0: the transaction that held it has ended"


def test_transactions_that_follow_each_other_hold_nobody(caplog: pytest.LogCaptureFixture) -> None:
    consumer = Consumer()
    for offset in range(10, 30):
        consumer.fetched(ZERO, offset, offset, offset + 5)
        consumer.changed(OPEN_S / 2)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("position", "lost"),
    [
        (99, (99, 100, LossReason.RETENTION)),
        (0, (0, 100, LossReason.RETENTION)),
        (100, None),
        (200, None),
        (203, (200, 203, LossReason.TRUNCATED)),
    ],
)
def test_what_lies_outside_the_log_is_lost(position: int, lost: Any) -> None:
    found = missing(("t", 0), position, start=100, end=200)
    assert (found and (found.first, found.end, found.reason)) == lost
    if found is not None:
        assert f"t-0: offsets {found.first} to {found.end - 1} are lost" in str(found)
        assert found.records == found.end - found.first
