"""Whether Kafka and Redis answer, asked in the background: who has no events would not notice otherwise."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from streams.errors import AutodeepError
from streams.worker.process import ending

log: Final = logging.getLogger("autodeep")

LOOK_S: Final = 5.0
"""How often each is asked."""
SILENT_S: Final = 12.0
"""Who has not answered for so long is away, though the question's own time-out has not come."""


class Probe:
    """Asks one server in a thread of its own; what came of it anybody may read."""

    def __init__(
        self, what: str, ask: Callable[[], object], clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._what = what
        self._ask = ask
        self._clock_s = clock_s
        self._problem: str | None = None
        self._answered_s: float | None = None
        """When it answered last, or when the asking began; None as long as nobody asks."""

    @property
    def server(self) -> str:
        """Its name without the address."""
        return self._what.partition(" ")[0]

    @property
    def problem(self) -> str | None:
        """Why it does not serve; None while it does."""
        answered_s = self._answered_s
        if self._problem is not None or answered_s is None:
            return self._problem
        silent_s = self._clock_s() - answered_s
        return f"{self._what} has not answered for {silent_s:.0f} s" if silent_s > SILENT_S else None

    def look(self) -> None:
        """Ask once; one line in the log where the answer is another than before."""
        try:
            self._ask()
        except AutodeepError as exc:
            if self._problem is None:
                log.warning("%s", exc)
            self._problem = str(exc)
            return
        self._answered_s = self._clock_s()
        if self._problem is not None:
            log.info("%s answers again", self._what)
        self._problem = None

    def start(self, wait: Callable[[float], bool]) -> None:
        """Ask every few seconds from now on; `wait` sleeps, and says whether the worker stops."""
        self._answered_s = self._clock_s()
        threading.Thread(target=self._run, args=(wait,), name="probe", daemon=True).start()

    def _run(self, wait: Callable[[float], bool]) -> None:
        with ending("turns under way"):
            while not wait(LOOK_S):
                self.look()
