"""Whether a worker is well: what it holds, what is away, and for how long nothing has moved."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, Protocol

from streams.adapters.redis.evictions import Evictions
from streams.core.events import Chunk, Partition
from streams.errors import Unavailable
from streams.model.drift import DriftFigures
from streams.worker.figures import FlowTotals, Totals
from streams.worker.standing import Standings, name

STUCK_AFTER_S: Final = 120.0
"""So long a standstill, and the worker calls itself dead on its page of health."""

TOLD: Final = "told"
FAILED: Final = "failed"
OUTCOMES: Final = (TOLD, FAILED)
"""Of what a worker tells the fleet of itself."""

ALIVE_S: Final = 1.0
"""How often the event loop says that it runs."""


class Belt(Protocol):
    """What health asks of a conveyor."""

    @property
    def under_way(self) -> int: ...
    @property
    def progress_s(self) -> float: ...
    @property
    def held(self) -> Mapping[Partition, str]: ...


class Probed(Protocol):
    """What health asks of a probe."""

    @property
    def server(self) -> str: ...
    @property
    def problem(self) -> str | None: ...
    def start(self, wait: Callable[[float], bool]) -> None: ...


class Role(StrEnum):
    """What the group has given this worker to do."""

    JOINING = "joining"
    """Nothing has been assigned yet, or a rebalance is under way."""
    ACTIVE = "active"
    SPARE = "spare"
    """A member of the group without partitions: others have them all."""


class Health:
    """For all threads: each field is assigned at once."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self.totals = Totals()
        self.flows: dict[str, FlowTotals] = {}
        """By topic of sensors."""
        self.partitions: frozenset[Partition] = frozenset()
        self.evictions: Evictions | None = None
        """What Redis last said of them."""
        self.standings = Standings(clock_s)
        self.probes: list[Probed] = []
        """What is asked whether it answers, also while there are no events."""
        self.is_set_up = False
        self.stopping = threading.Event()
        self.tellings: Counter[str] = Counter()
        """How often this worker has told the fleet of itself, by what came of it."""
        self.drift: Callable[[], DriftFigures | None] = lambda: None
        self.certificate_ends_s: Callable[[], Mapping[str, float]] = lambda: {}
        """How far what is judged has moved from what the model was trained on."""
        self.why_held: Callable[[], str | None] = lambda: None
        """Why nothing begins on any partition; None where something may."""
        self._clock_s = clock_s
        self._belts: Sequence[Belt] = ()
        self._is_assigned = False
        self._waited_for: dict[int, str] = {}  # by thread: what its call waits for
        self._progress_s = clock_s()
        self._alive_s: float | None = None
        self._read_s = clock_s()

    def watch(self, belts: Sequence[Belt]) -> None:
        """The worker is set up, and these conveyors run."""
        self._belts = belts
        self.is_set_up = True

    def stop_soon(self) -> None:
        """End the waiting for what is away."""
        self.stopping.set()

    def assigned(self, partitions: frozenset[Partition]) -> None:
        self.partitions = partitions
        self.note_read()
        self.standings.assigned(partitions)
        self._is_assigned = True

    def revoked(self) -> None:
        self._is_assigned = False
        self.partitions = frozenset()
        self.standings.assigned(())

    def note_chunks(self, chunks: Iterable[Chunk]) -> None:
        """These were read."""
        self.standings.note_chunks(chunks)

    def progressed(self) -> None:
        """In a turn that takes long."""
        self._progress_s = self._clock_s()

    def note_away(self, problem: Unavailable | None) -> None:
        """Of the call that this thread makes; each waits for one thing at a time."""
        if problem is None:
            self._waited_for.pop(threading.get_ident(), None)
        else:
            self._waited_for[threading.get_ident()] = str(problem)
        self._progress_s = self._read_s = self._clock_s()  # every attempt that fails tells of it anew

    def note_read(self) -> None:
        """Its partitions were asked for records, and there were some or none."""
        self._read_s = self._clock_s()

    async def beat(self) -> None:
        """For the event loop: while it runs, this says so."""
        while True:
            self.note_alive()
            await asyncio.sleep(ALIVE_S)

    def note_alive(self) -> None:
        self._alive_s = self._clock_s()

    def wait(self, pause_s: float) -> bool:
        """Sleep, unless the worker stops; says whether it does."""
        return self.stopping.wait(pause_s)

    @property
    def under_way(self) -> int:
        """Turns that began and are not acknowledged."""
        return sum(belt.under_way for belt in self._belts)

    @property
    def standstill_s(self) -> float:
        """For how long nothing has moved.

        Turns are under way and none is done; or partitions are held and nobody asks for their records; or
        the event loop hangs.

        To wait for what is away is no standstill as long as it is tried again; to wait for an answer that
        never comes is one. What is held back, or waits for its model, is not under way yet.
        """
        now_s = self._clock_s()
        turns_s = [now_s - max(belt.progress_s, self._progress_s) for belt in self._belts if belt.under_way]
        read_s = now_s - self._read_s if self.partitions else 0.0
        loop_s = now_s - self._alive_s if self._alive_s is not None else 0.0
        return max(*turns_s, read_s, loop_s, 0.0)

    @property
    def live(self) -> bool:
        return self.standstill_s <= STUCK_AFTER_S

    @property
    def role(self) -> Role:
        if not self._is_assigned:
            return Role.JOINING
        return Role.ACTIVE if self.partitions else Role.SPARE

    @property
    def away(self) -> list[str]:
        """All that does not answer: what a call waits for, and what a probe found."""
        probed = (probe.problem for probe in self.probes)
        found = [*tuple(self._waited_for.values()), *(problem for problem in probed if problem is not None)]
        return list(dict.fromkeys(found))

    @property
    def unready(self) -> str | None:
        """Why no events could be classified here, None when they could: a spare worker is ready, too."""
        if not self.is_set_up:
            return "the model is not loaded yet"
        away = self.away
        if away:
            return "; ".join(away)
        why_held = self.why_held()
        if why_held is not None:
            return why_held
        return "no partitions are assigned yet" if self.role is Role.JOINING else None

    def figures(self) -> dict[str, Any]:
        totals, standing = self.totals, self.standings.figures()
        topics: dict[str, list[int]] = {}
        for topic, partition in sorted(self.partitions):
            topics.setdefault(topic, []).append(partition)
        return {
            "turns": totals.turns,
            "records": totals.records,
            "classified": totals.classified,
            "repeats": totals.repeats,
            "duplicates": totals.duplicates,
            "held_back": dict(totals.held),
            "new_devices": totals.new_devices,
            "fenced": totals.fenced,
            "window_resets": totals.window_resets,
            "verdicts": dict(totals.verdicts),
            "dead_letters": dict(totals.dead_letters),
            "shortened": dict(totals.shortened),
            "flows": {topic: one.as_json() for topic, one in self.flows.items()},
            "lost": dict(totals.lost),
            "partitions": topics,
            "role": self.role,
            "held": {name(place): why for belt in self._belts for place, why in belt.held.items()},
            "away": self.away,
            "cpu_ns": dict(totals.cpu_ns),
            "lag": {name(place): one.lag_records for place, one in standing.items()},
            "offsets": {name(place): one.as_json() for place, one in standing.items()},
        }
