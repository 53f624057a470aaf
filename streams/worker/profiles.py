"""Follows what is agreed on about sites, from a thread: what is known of it is never older than it says."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

from streams.adapters.kafka.profile_topic import ends_of_profiles, read_profiles
from streams.core.patience import Retry
from streams.core.profile.agreed import Agreed, is_too_old
from streams.errors import Unavailable
from streams.pipeline.sites import Sites
from streams.settings import Settings
from streams.worker.process import start_thread

log: Final = logging.getLogger("autodeep.profiles")

LOOK_S: Final = 1.0
_JOIN_S: Final = 5.0


class Profiles:
    """Of one worker. `look` is one thread's at a time; the rest is for all."""

    def __init__(self, settings: Settings, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock_s = clock_s
        self._agreed = Agreed()
        self._ends: tuple[int, ...] | None = None
        self._known_s = -float("inf")
        self._problem = ""
        self._stopped = threading.Event()

    def start(self, starting: Retry, parts: ExitStack) -> Sites:
        """Raises Unavailable when the patience ends before they were read; `parts` ends the thread."""
        starting(self.look)
        thread = start_thread("profiles", self._run)
        parts.callback(thread.join, _JOIN_S)
        parts.callback(self._stopped.set)
        return Sites(lambda: self._agreed, self.why_not, int(self._settings.flow_learning_s * 1000))

    def look(self) -> None:
        """Read what is new. Raises Unavailable."""
        begun_s = self._clock_s()
        ends = ends_of_profiles(self._settings)
        if ends != self._ends:
            self._agreed = read_profiles(self._settings) if ends else Agreed()
            self._ends = ends
        self._known_s = begun_s

    def why_not(self) -> str | None:
        """Why no flow may be judged now: a revision that is in force may not be known yet."""
        if not is_too_old(self._known_s, self._clock_s()):
            return None
        return self._problem or "reading the profiles of sites takes too long"

    def _run(self) -> None:
        while not self._stopped.wait(LOOK_S):
            try:
                self.look()
            except Unavailable as exc:
                if str(exc) != self._problem:
                    log.warning("%s; trying again", exc)
                self._problem = str(exc)
            else:
                self._problem = ""
