"""`autodeep flows judge`: a file's flows, judged in memory, as one object a flow and a summary."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from streams.client.flow_sources import Block, FlowSource
from streams.core.flow.keeping import WIDTH
from streams.core.flow.table import FLOW
from streams.core.home import Home
from streams.core.incident_rules import IncidentRules
from streams.core.profile.agreed import Agreed
from streams.core.profile.rules import Held
from streams.errors import ModelRejected
from streams.model.detector import Detector
from streams.pipeline.flow_judging import TURN, Arrived, FlowJudge, FlowVerdict, JudgingRules
from streams.pipeline.sites import Sites
from streams.settings import Settings


@dataclass(slots=True)
class Counted:
    """Of a file: records, and what became of them."""

    records: int = 0
    flows: int = 0
    foreign: int = 0
    """Flows without an end at home."""
    skipped: int = 0
    rejected: int = 0


@dataclass(frozen=True, slots=True)
class Told:
    """An incident by its alerts: its own records say how many there were at their time."""

    alerts: int
    first_us: int
    last_us: int

    def with_one(self, end_us: int) -> Told:
        """And an alert of a flow that ended then."""
        return Told(self.alerts + 1, min(self.first_us, end_us), max(self.last_us, end_us))


NOTHING_AGREED: Final = Agreed()
NOTHING_TOLD: Final = Told(0, 1 << 62, 0)


def judge_of(detector: Detector, settings: Settings, agreed: Agreed = NOTHING_AGREED) -> FlowJudge:
    """Raises ModelRejected for a model of another table, or one that looks further back than is kept."""
    name = f"{detector.identity.name}/{detector.identity.version}"
    if detector.table.digest != FLOW.digest:
        raise ModelRejected(
            f"model {name} is of the table {detector.table.name}, and flows are described by {FLOW.name}: "
            "name a model of flows, such as flows@champion"
        )
    if detector.width > WIDTH:
        raise ModelRejected(f"model {name} looks at {detector.width} flows; {WIDTH} are kept of a device")
    rules = IncidentRules(
        quiet_us=int(settings.incident_quiet_s * 1e6),
        update_us=int(settings.incident_update_s * 1e6),
        reopen_us=int(settings.incident_reopen_s * 1e6),
        novel_least=settings.incident_novel_least,
    )
    judging = JudgingRules(int(settings.window_idle_s * 1e6), rules)
    sites = Sites(lambda: agreed, learning_ms=int(settings.flow_learning_s * 1000))
    return FlowJudge(detector.at(settings.operating_point), judging, sites)


def judged(source: FlowSource, home: Home, judge: FlowJudge, counted: Counted) -> Iterator[FlowVerdict]:
    """A verdict for each flow of a device, in the order of the records.

    Raises DataError and OSError as the source does.
    """
    found = _Ordered()
    for block in source.blocks():
        arrived = arrived_of(block, home, counted)
        for first in range(0, len(arrived), TURN):
            found.add(judge.turn(arrived[first : first + TURN]))
        yield from found.through(judge.waits_from)
    found.add(judge.rest())
    yield from found.through(None)


def as_json(verdict: FlowVerdict) -> dict[str, Any]:
    return {
        "record": verdict.number,
        "device": verdict.device,
        "direction": str(verdict.direction),
        "peer": verdict.peer,
        "verdict": verdict.own if verdict.held is Held.LEARNING else verdict.verdict,
        "closest": verdict.closest,
        "scores": verdict.scores,
        "novelty": verdict.novelty,
        "learning": verdict.learning,
        "incident": verdict.incident,
    }


def arrived_of(block: Block, home: Home, counted: Counted) -> list[Arrived]:
    """The flows of a block's devices; what became of its records is added to `counted`."""
    counted.records += len(block.records)
    counted.skipped += len(block.read.skipped)
    counted.rejected += len(block.read.rejected)
    counted.flows += len(block.read.flows)
    found = []
    for place, flow in zip(block.read.flows.position.tolist(), block.read.flows, strict=True):
        mine = home.device_flows(flow)
        counted.foreign += not mine
        time_ms = block.records[place].timestamp or flow.end_us // 1_000
        found += [Arrived(block.first + place, one, time_ms) for one in mine]
    return found


def summary(
    source: FlowSource, judge: FlowJudge, counted: Counted, events: int, held: Mapping[str, int]
) -> dict[str, Any]:
    """What the last line says."""
    return {
        "devices": judge.devices,
        "events": events,
        "skipped": counted.skipped,
        "rejected": counted.rejected,
        "incidents": len(judge.incidents),
        "held_back": dict(held),
        "records": counted.records,
        "flows": counted.flows,
        "foreign": counted.foreign,
        "damage": source.damage or None,
    }


def remarks(source: FlowSource, counted: Counted) -> list[str]:
    """What a person should know of a file of which not all was judged."""
    found = []
    if source.damage:
        found.append(f"{source.damage}; what stood before it was judged")
    if not counted.records:
        found.append(f"{source.name} holds no records")
    elif not counted.flows:
        found.append(
            f"{source.name} holds no flow that can be read: {counted.skipped:,} records skipped, "
            f"{counted.rejected:,} rejected; `autodeep flows read` says why"
        )
    elif counted.foreign == counted.flows:
        found.append(
            f"none of the {counted.flows:,} flows has an end in a home network: --home names your networks"
        )
    return found


class _Ordered:
    """Verdicts by the numbers of their records: what waits for another one holds up those behind it."""

    def __init__(self) -> None:
        self._held: list[tuple[int, int, FlowVerdict]] = []
        self._count = 0

    def add(self, verdicts: list[FlowVerdict]) -> None:
        for verdict in verdicts:
            heapq.heappush(self._held, (verdict.number, self._count, verdict))
            self._count += 1

    def through(self, before: int | None) -> Iterator[FlowVerdict]:
        """Those of records before that one; None: all."""
        while self._held and (before is None or self._held[0][0] < before):
            yield heapq.heappop(self._held)[2]
