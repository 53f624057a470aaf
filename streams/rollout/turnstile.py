"""Whether a chunk may begin: not while this worker waits for a decision, and not once a rebalance began."""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from streams.codec.models import ModelRef

log: Final = logging.getLogger("autodeep.models")


class Turnstile:
    """For all threads. The compute thread waits in it; what waits is given up when partitions are taken away.

    Faust waits for what is under way before it lets a rebalance or a stop go on. What has not begun need not
    be under way: given up, it is read again from the committed offset by the partition's next owner.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held_for: ModelRef | None = None
        self._since_s = 0.0
        self._leaving = False
        self._stopped = False

    def hold(self, candidate: ModelRef) -> None:
        """From now on no chunk begins, until `release`."""
        with self._changed:
            if self._held_for is None:
                self._since_s = time.monotonic()
            self._held_for = candidate

    def release(self) -> None:
        with self._changed:
            if self._held_for is not None:
                log.info("held chunks back for %.3f s", time.monotonic() - self._since_s)
            self._held_for = None
            self._changed.notify_all()

    def leave(self) -> None:
        """A rebalance began: whatever has not begun is to be given up, until `enter`."""
        with self._changed:
            self._leaving = True
            self._changed.notify_all()

    def enter(self) -> None:
        """Partitions are assigned, and what they bring is new."""
        with self._changed:
            self._leaving = False

    def stop(self) -> None:
        """Give up for good."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def passes(self) -> bool:
        """Waits while held. False: give the chunk up."""
        with self._changed:
            self._changed.wait_for(lambda: self._gives_up() or self._held_for is None)
            return not self._gives_up()

    def pause(self, pause_s: float) -> bool:
        """Sleeps so long, or until what waits is to be given up; whether it is."""
        with self._changed:
            return self._changed.wait_for(self._gives_up, pause_s)

    @property
    def reason(self) -> str | None:
        """Why nothing begins, None where chunks do."""
        held_for = self._held_for
        if held_for is None:
            return None
        return f"holding for {held_for.name}/{held_for.version}: waiting for the other workers"

    def _gives_up(self) -> bool:
        return self._leaving or self._stopped
