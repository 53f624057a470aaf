"""What stands before each chunk: the newest state is known, nothing is held back, its model is loaded."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from streams.codec.models import ModelRef, ModelState
from streams.core.events import Chunk
from streams.core.patience import FIRST_PAUSE_S, LONGEST_PAUSE_S
from streams.errors import ModelRejected, Unavailable
from streams.model.detector import Detector
from streams.rollout.follower import Follower
from streams.rollout.serving import Serving
from streams.rollout.turnstile import Turnstile

log: Final = logging.getLogger("autodeep.models")


@dataclass(frozen=True, slots=True)
class EntryPorts:
    """`newest` reads the agreed state anew and raises Unavailable; `load` raises ModelRejected besides."""

    newest: Callable[[], ModelState | None]
    load: Callable[[ModelRef], Detector]


class Entry:
    """`assigned` comes from the event loop, `parts` and `ready` from the thread that computes.

    Both wait rather than let another model judge; they answer that the chunk is to be given up where a
    rebalance begins or the worker stops meanwhile.
    """

    def __init__(self, serving: Serving, follower: Follower, turnstile: Turnstile, ports: EntryPorts) -> None:
        self._serving = serving
        self._follower = follower
        self._turnstile = turnstile
        self._ports = ports
        self._is_new = threading.Event()
        self._problem: str | None = None

    def assigned(self) -> None:
        """What is known of the state is as old as the last news: ask before the next chunk."""
        self._is_new.set()
        self._turnstile.enter()

    def parts(self, chunk: Chunk) -> list[Chunk] | None:
        """The chunk in parts of one model each, once it may begin; None: give it up."""
        if self._is_new.is_set():
            self._is_new.clear()
            if not self._insist(self._ask):
                self._is_new.set()
                return None
        return self._serving.parts(chunk) if self._turnstile.passes() else None

    def ready(self, part: Chunk) -> bool:
        """Whether the model of this part is loaded, for which it waits; False: give the chunk up."""

        def load() -> None:
            while (ref := self._serving.admit(part)) is not None:
                self._serving.keep(self._ports.load(ref))

        return self._insist(load)

    @property
    def why_not(self) -> str | None:
        """Why no chunk begins, None where they do."""
        return self._problem or self._turnstile.reason

    def _ask(self) -> None:
        state = self._ports.newest()
        if state is not None:
            self._follower.offer(state, before_a_chunk=True)

    def _insist(self, attempt: Callable[[], None]) -> bool:
        """Again with back-off until it succeeds, which is True, or the chunk is to be given up."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                attempt()
            except (ModelRejected, Unavailable) as exc:
                if self._problem != str(exc):
                    log.warning("no chunk begins: %s; trying again", exc)
                self._problem = str(exc)
                if self._turnstile.pause(pause_s):
                    return False
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                self._problem = None
                return True
