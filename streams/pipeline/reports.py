"""What detection tells of its turns: to whoever counts, compares models, or judges a share of the devices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from streams.core.latency import NO_LATENCY
from streams.core.skew import NO_SKEW, Skew
from streams.core.spans import Spans
from streams.core.windows import Windows
from streams.model.classified import Classified
from streams.model.inference import Canary

STAGES: Final = ("decode", "windows", "infer", "incidents", "explain", "publish", "save")


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one turn. Times are CPU nanoseconds of the worker's threads, by stage."""

    records: int
    classified: int
    repeats: int
    """Events that had been applied before: read again after a crash or a rebalance."""
    verdicts: Mapping[str, int]
    dead_letters: Mapping[str, int]
    new_devices: int
    """Devices of which no window was known, and that were let in."""
    fenced: int
    """Devices whose stored window was newer than ours: another worker owns them by now."""
    cpu_ns: Mapping[str, int]
    shortened: Mapping[str, int] = field(default_factory=dict)
    """Messages that their topics took only without a part of them, by that part."""
    window_resets: int = 0
    """Windows that began anew after a gap."""
    skew: Skew = NO_SKEW
    """Of the classified events' times against Kafka's."""
    latency: Spans = NO_LATENCY
    """Of the alerts, from Kafka's timestamp of their events until all were acknowledged."""
    revisions: Mapping[str, int] = field(default_factory=dict)
    """Of incidents, by activity."""
    duplicates: int = 0
    """Records that said what another one had said."""
    held: Mapping[str, int] = field(default_factory=dict)
    """Verdicts on flows that do not alert, by why."""


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """What a champion has judged of a turn, for whoever compares; the arrays are this turn's own."""

    windows: Windows  # (D,) before the turn
    classified: Classified
    lag_records: int
    """How far the partition that is furthest behind is behind."""
    cpu_ns: int
    """What judging took; windows half remembered."""


@dataclass(frozen=True, slots=True)
class Watchers:
    """Who judges a share of the devices, who compares, and who counts."""

    canary: Callable[[], Canary | None] = lambda: None
    watch: Callable[[Observed], None] = lambda observed: None
    done: Callable[[Report], None] = lambda report: None
    """Called once a turn is delivered, by the thread that delivers."""


NOBODY: Final = Watchers()
