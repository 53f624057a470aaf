"""The course of a schedule: what has not struck when its owner leaves never does."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bench.faults import strikes
from bench.faults.course import Strikes
from bench.faults.schedules import Fault, Kind
from bench.faults.stage import FaultLog, Stage
from bench.faults.strikes import strike

HOUR_S = 3600.0


def test_a_fault_that_has_not_struck_is_called_off_when_its_owner_leaves() -> None:
    stage = Stage(cast(Any, None), cast(Any, None), cast(Any, None), FaultLog())
    before = set(threading.enumerate())  # some of another test may still be ending
    with Strikes(stage) as strikes:
        strikes.begin((Fault(Kind.BROKER, at_s=HOUR_S), Fault(Kind.KILL, at_s=HOUR_S)))
    assert not set(threading.enumerate()) - before
    assert stage.diary == FaultLog()


@pytest.mark.parametrize(
    "kind",
    [Kind.RIGHTS, Kind.RENEWAL, Kind.FAILOVER, Kind.SLOT_MOVE, Kind.REDIS, Kind.REDIS_CUT, Kind.REDIS_LOSS],
)
def test_a_fault_that_has_nothing_to_strike_in_what_is_set_up_is_noted_as_such(kind: Kind) -> None:
    servers = SimpleNamespace(access=None, redis=None, redis_proxy=None, redis_lock=nullcontext())
    stage, fault = Stage(cast(Any, servers), cast(Any, None), None, FaultLog()), Fault(kind, at_s=1.0)
    strike(stage, fault)
    assert (stage.diary.struck, stage.diary.not_struck) == ([], [str(fault)])


@pytest.mark.parametrize("kind", [Kind.ABORTED, Kind.HUNG])
@pytest.mark.parametrize("is_on_topic", [False, True])
def test_a_transaction_of_which_nothing_came_to_the_topic_struck_nothing(
    monkeypatch: pytest.MonkeyPatch, kind: Kind, is_on_topic: bool
) -> None:
    """A broker was away: nobody waited behind it."""
    transaction = SimpleNamespace(
        send=lambda records: is_on_topic, abort=lambda: None, wait_ended=lambda: None
    )
    monkeypatch.setattr(strikes, "Transaction", lambda servers, timeout_s: transaction)
    flow: Any = SimpleNamespace(unsent=lambda count: [None] * count)
    servers: Any = SimpleNamespace(topic_lock=nullcontext())
    stage = Stage(servers, cast(Any, None), flow, FaultLog())
    strike(stage, Fault(kind, at_s=1.0))
    assert (len(stage.diary.struck), len(stage.diary.not_struck)) == (is_on_topic, not is_on_topic)
