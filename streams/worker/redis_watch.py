"""Looks after the Redis that has the windows, from a thread: the group's claim, and whether it evicts."""

from __future__ import annotations

import logging
import threading
from typing import Final

from streams.adapters.redis.evictions import Evictions
from streams.adapters.redis.windows import RedisWindows
from streams.core.patience import Retry
from streams.errors import SettingsError, WindowStoreUnavailable
from streams.worker.health import Health
from streams.worker.process import ending

log: Final = logging.getLogger("autodeep")

LOOK_S: Final = 5.0
_ADVICE: Final = (
    "a device whose window is dropped starts anew: set maxmemory-policy to noeviction there, with room for "
    "3.2 KB a device"
)


class RedisWatch:
    """Says once what is amiss, and notes in `health` what the metrics show."""

    def __init__(self, store: RedisWindows, group: str, health: Health) -> None:
        self._store = store
        self._group = group
        self._health = health
        self._said: set[str] = set()

    def start(self, starting: Retry) -> None:
        """Raises SettingsError where the windows are another group's, Unavailable when the patience ends."""
        starting(lambda: self._store.claim(self._group))
        starting(self.look)
        threading.Thread(target=self._run, name="redis-watch", daemon=True).start()

    def look(self) -> None:
        """Raises WindowStoreUnavailable."""
        seen = self._store.evictions()
        self._health.evictions = seen
        self._speak_of(seen)

    def _run(self) -> None:
        while not self._health.wait(LOOK_S):
            with ending("turn"):
                try:
                    self.look()
                    self._store.claim(self._group)
                except WindowStoreUnavailable:
                    continue  # the turn that waits for it says so
                except SettingsError as exc:  # Redis had lost our claim, and the other group was quicker
                    self._say_once("claim", f"{exc}; both run at present")

    def _speak_of(self, seen: Evictions) -> None:
        where = f"Redis at {self._store.address}"
        if seen.evicts is None:
            self._say_once("unknown", f"{where} does not say whether it evicts (INFO is refused): {_ADVICE}")
        elif seen.evicts:
            self._say_once("policy", f"{where} evicts (maxmemory-policy {seen.policy}): {_ADVICE}")
        if seen.evicted_keys:
            count = f"{seen.evicted_keys} keys since it started, windows perhaps among them"
            self._say_once("evicted", f"{where} has evicted {count}: {_ADVICE}")

    def _say_once(self, what: str, line: str) -> None:
        if what not in self._said:
            self._said.add(what)
            log.warning("%s", line)
