"""How Faust goes on after a rebalance: its tables' recovery does it, also where there are no tables."""

from __future__ import annotations

from typing import Any

from faust.tables import TableManager
from faust.tables.recovery import Recovery


class WaitingRecovery(Recovery):  # type: ignore[misc, unused-ignore]
    """Waits for the seek to committed offsets as long as it takes.

    Faust gives it `broker_request_timeout`, takes what is late for a stop of the service, and ends the task
    that resumes the flow: after that the worker holds its partitions and reads nothing, whatever rebalances
    come.
    """

    async def _wait(self, coro: Any, timeout: Any = None) -> None:
        await super()._wait(coro)


class Tables(TableManager):  # type: ignore[misc, unused-ignore]
    """For `faust.App(TableManager=...)`."""

    _recovery: Recovery | None

    @property
    def recovery(self) -> Recovery:
        if self._recovery is None:
            self._recovery = WaitingRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery

    async def on_start(self) -> None:
        """At once: Faust gives tables a second to be registered, and there are none."""
        await self._update_channels()
        await self.recovery.start()
