"""Reading goes on after a rebalance, however long the seek to what was committed takes."""

from __future__ import annotations

import asyncio
from typing import Any

from faust.tables.recovery import RebalanceAgain, ServiceStopped

from streams.adapters.kafka import faust_app
from streams.adapters.kafka.tables import Tables, WaitingRecovery
from streams.settings import Settings


def recovery() -> Any:
    """One without an app: only what waiting needs."""
    made = object.__new__(WaitingRecovery)
    made._stopped, made._crashed = asyncio.Event(), asyncio.Event()
    made._signal_recovery_start = asyncio.Event()
    made.loop = asyncio.get_running_loop()
    return made


def test_a_seek_that_is_later_than_asked_for_is_waited_for() -> None:
    async def seek() -> list[str]:
        made, done = recovery(), []

        async def late() -> None:
            for _ in range(10):
                await asyncio.sleep(0)
            done.append("sought")

        await made._wait(late(), timeout=0)
        return done

    assert asyncio.run(seek()) == ["sought"]


def test_another_rebalance_and_a_stop_end_the_waiting() -> None:
    async def ended_by(what: str) -> str:
        made = recovery()
        getattr(made, what).set()
        try:
            await made._wait(asyncio.get_running_loop().create_future(), timeout=0)
        except (RebalanceAgain, ServiceStopped) as exc:
            return type(exc).__name__
        return "nothing"

    assert asyncio.run(ended_by("signal_recovery_start")) == "RebalanceAgain"
    assert asyncio.run(ended_by("_stopped")) == "ServiceStopped"


def test_the_app_uses_it() -> None:
    assert faust_app.app_settings(Settings())["TableManager"] is Tables
