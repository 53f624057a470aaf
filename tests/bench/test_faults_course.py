"""The course of a schedule: what has not struck when its owner leaves never does."""

from __future__ import annotations

import threading
from typing import Any, cast

from bench.faults.course import Strikes
from bench.faults.schedules import Fault, Kind
from bench.faults.stage import FaultLog, Stage

HOUR_S = 3600.0


def test_a_fault_that_has_not_struck_is_called_off_when_its_owner_leaves() -> None:
    stage = Stage(cast(Any, None), cast(Any, None), cast(Any, None), FaultLog())
    before = set(threading.enumerate())  # some of another test may still be ending
    with Strikes(stage) as strikes:
        strikes.begin((Fault(Kind.BROKER, at_s=HOUR_S), Fault(Kind.KILL, at_s=HOUR_S)))
    assert not set(threading.enumerate()) - before
    assert stage.diary == FaultLog()
