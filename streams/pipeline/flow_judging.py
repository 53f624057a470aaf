"""Flows of devices judged in memory, as those of one partition are in the stream: with the same verdicts.

    records    core/flow/passing.py     repeats, halves and interim records become flows, and rows
    rows       core/windows.py          beside those of their devices' last flows
    verdicts   model/inference.py
    incidents  core/incident_book.py

Nothing is kept anywhere else, and nothing is waited for. What is given depends on no turn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from streams.core import windows as sequence
from streams.core.clocks import counted_time_us
from streams.core.events import NO_TOPIC_ID, ORDINAL_SHIFT, Chunk, Events, Header, Source
from streams.core.flow.columns import DIRECTIONS, DeviceFlows, Index, from_values
from streams.core.flow.features import Advance, advance_released
from streams.core.flow.keeping import WINDOWS
from streams.core.flow.passing import pass_turn
from streams.core.flow.records import PATIENCE
from streams.core.flow.settling import release
from streams.core.flows import DeviceFlow, Direction, Quality
from streams.core.incident_book import NEVER, IncidentBook
from streams.core.incident_rules import IncidentRules
from streams.core.incidents import Incident
from streams.core.moving import copied
from streams.core.profile.agreed import Agreed
from streams.core.profile.rules import Held, Scores, Seen
from streams.core.severity import BY_CLASS
from streams.core.timers import NO_WATERMARK
from streams.model.classified import Classified
from streams.model.detector import Detector
from streams.model.inference import infer
from streams.pipeline.gathering import gather
from streams.pipeline.sites import Sites, SiteTurn, applied_to, seen_of
from streams.pipeline.turn import Turn

TURN: Final = 4_096
SOURCE: Final = Source("flows", NO_TOPIC_ID, 0)
_FOR_GOOD_US: Final = 1 << 61


NO_SITES: Final = Sites(Agreed, learning_ms=0)
"""Nothing is known of any site, and no device is learnt about."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A flow of a device, as it comes in."""

    number: int
    """Whatever tells whence it came: the place of its record in a file."""
    flow: DeviceFlow
    timestamp_ms: int
    """Kafka's."""


@dataclass(frozen=True, slots=True)
class FlowVerdict:
    """What is said of one flow. Scores and novelty are rounded as alerts have them."""

    number: int
    """That of the record that was the last to tell of the flow."""
    caused_by: int
    """And of the one with which it counted: for what has waited, a later one of the device."""
    ordinal: int
    """Which of the flows that counted with that one it is."""
    device: str
    direction: Direction
    peer: str
    end_us: int
    verdict: str
    closest: str
    scores: dict[str, float]
    novelty: float
    fill: int
    incident: str | None
    own: str
    """What the model says by itself: the verdict, unless that is held back."""
    held: Held = Held.NOT
    """Why the verdict is normal where the model says another."""
    learning: bool = False
    """Whether the device was being learnt about."""


@dataclass(frozen=True, slots=True)
class _Raw:
    """A record as far as incidents look at it."""

    offset: int
    timestamp: int
    key: bytes | None = None
    value: bytes | None = None
    headers: Sequence[Header] = ()


@dataclass(frozen=True, slots=True)
class JudgingRules:
    idle_us: int
    """A longer gap begins a device's sequence anew."""
    incidents: IncidentRules = field(default_factory=IncidentRules)


class FlowJudge:
    """All devices, from nothing known of any. For one thread."""

    def __init__(self, detector: Detector, rules: JudgingRules, sites: Sites = NO_SITES) -> None:
        """`detector` is of the table `flow`, and looks at no more flows than are kept."""
        self.hear: Callable[[Seen, Scores], None] = lambda seen, scores: None
        """Is told of the flows of each turn that counted, and what the model says of them."""
        self._sites = sites
        self.incidents: dict[str, Incident] = {}
        """As their last revision has them, by id."""
        self._detector = detector
        self._rules = rules
        self._book = IncidentBook(SOURCE, rules.incidents, NEVER)
        self._numbers: dict[str, int] = {}
        self._names: list[str] = []
        self._windows = WINDOWS.blank(0, SOURCE)
        self._latents = np.zeros((0, WINDOWS.width, detector.latent_size), np.float32)
        self._known = np.zeros(0, np.bool_)
        """(devices,) of which `_latents` are this detector's."""
        self._offset = 0
        self._watermark_ms = NO_WATERMARK
        self._waiting: dict[_Ends, list[Arrived]] = {}
        self._latest: dict[str, Arrived] = {}

    def serve(self, detector: Detector) -> None:
        """From the next flow on this one judges, and sees the flows that came before it, too."""
        self._detector = detector
        self._latents = np.zeros((*self._latents.shape[:2], detector.latent_size), np.float32)
        self._known = np.zeros(len(self._known), np.bool_)

    def turn(self, arrived: Sequence[Arrived]) -> list[FlowVerdict]:
        """The next flows, in the order of their arrival; verdicts in the order in which flows count."""
        if not arrived:
            return []
        records, names = from_values([one.flow for one in arrived])
        self._latest.update((one.flow.device, one) for one in arrived)
        places = self._places(names)
        windows = copied(self._windows, places)  # (D,)
        kafka_us = np.array([one.timestamp_ms for one in arrived], np.int64) * 1_000
        beside = windows["beside"]
        passed = pass_turn(
            copied(beside["state"]),
            beside["latest_us"].copy(),
            records,
            counted_time_us(records.end_us, kafka_us),
        )
        raws = self._raws([one.timestamp_ms for one in arrived])
        told = self._told(raws, passed.step, passed.ordinal, places, passed.latest_us)
        own, causes = (
            self._own(arrived, records, passed.step),
            [arrived[i] for i in passed.step.record.tolist()],
        )
        return _verdicts(told, passed.step.flows, own, causes)

    def rest(self) -> list[FlowVerdict]:
        """Nothing more comes: what still waits is let go, and judged as it is."""
        places = np.arange(len(self._names))
        beside = self._windows[places]["beside"]
        flows, states = release(beside["state"].copy(), _FOR_GOOD_US, PATIENCE)
        if not len(flows):
            return []
        step = advance_released(states, flows)
        ends = [_ends_of(self._names[int(flows.device[i])], flows, i) for i in range(len(flows))]
        own = [self._waited(one) or self._latest[one[0]] for one in ends]
        raws = self._raws([self._watermark_ms] * len(flows))
        told = self._told(raws, step, np.zeros(len(flows), np.int64), places, beside["latest_us"].copy())
        return _verdicts(told, flows, own, own)

    @property
    def devices(self) -> int:
        return len(self._names)

    @property
    def waits_from(self) -> int | None:
        """The least number of a record that waits, as of its last; None: nothing does."""
        return min((one.number for those in self._waiting.values() for one in those), default=None)

    def _places(self, names: Sequence[str]) -> Index:
        """Of these devices among all; new ones are added."""
        for name in names:
            if name not in self._numbers:
                self._numbers[name] = len(self._names)
                self._names.append(name)
        missing = len(self._names) - len(self._windows)
        if missing > 0:
            more = max(missing, len(self._windows))  # twice as many each time
            self._windows = np.concatenate([self._windows, WINDOWS.blank(more, SOURCE)])
            room = np.zeros((more, *self._latents.shape[1:]), np.float32)
            self._latents = np.concatenate([self._latents, room])
            self._known = np.concatenate([self._known, np.ones(more, np.bool_)])
        return np.array([self._numbers[name] for name in names], np.int64)

    def _raws(self, timestamps_ms: Sequence[int]) -> list[_Raw]:
        first = self._offset
        self._offset += len(timestamps_ms)
        return [_Raw(first + i, time_ms) for i, time_ms in enumerate(timestamps_ms)]

    def _told(
        self, raws: list[_Raw], step: Advance, ordinal: Index, places: Index, latest_us: Index
    ) -> _Told:
        """The flows that counted with their verdicts, and the incidents of these by place."""
        windows, detector = copied(self._windows, places), self._detector
        position, device = step.record, step.flows.device
        offsets, times_ms = (
            np.array([getattr(raw, name) for raw in raws], np.int64) for name in ("offset", "timestamp")
        )
        events = Events(
            position=position,
            offset=offsets[position],
            event_time_us=step.flows.end_us,
            device_id=[self._names[i] for i in places[device].tolist()],
            rows=step.rows,
            timestamp_us=times_ms[position] * 1_000,
            ordinal=ordinal,
        )
        advanced = sequence.advance(windows, device, events, self._rules.idle_us)
        known, mine = self._known[places], self._latents[places]
        verdicts, latents = infer(detector, windows, advanced, events.rows, mine, known)
        advanced.windows["beside"]["state"] = step.states
        advanced.windows["beside"]["latest_us"] = latest_us
        self._windows[places], self._latents[places] = advanced.windows, latents
        self._known[places] = True
        origin = np.zeros(len(events), np.int64)
        own = Classified([SOURCE], origin, events, advanced, detector, verdicts)
        seen, scores = seen_of(own, step.flows, step.age_ms)
        classified, site = applied_to(own, seen, scores, self._sites)
        self.hear(seen, scores)
        return _Told(classified, own.names, site, self._incidents(raws, classified))

    def _incidents(self, raws: list[_Raw], classified: Classified) -> dict[int, str]:
        chunk = Chunk(SOURCE, raws, self._offset, self._watermark_ms)
        self._watermark_ms = chunk.watermark_after_ms
        turn = Turn((chunk,), (self._detector,))
        found = gather(turn, [len(self._book) > 0], [classified], BY_CLASS)
        outcome = self._book.turn(chunk, found.moments[0], found.sightings[0])
        self.incidents.update((one.incident_id, one) for one in outcome.incidents)
        links = zip(found.places[0], outcome.links, strict=True)
        return {place: link for (_, place), link in links if link is not None}

    def _own(self, arrived: Sequence[Arrived], records: DeviceFlows, step: Advance) -> list[Arrived]:
        """Of each flow that counted the record that was the last to tell of it."""
        waits = step.new & (records.half | ~records.final | ((records.quality & int(Quality.CUT)) != 0))
        causes = step.record.tolist()
        if not (self._waiting or waits.any()):
            return [arrived[cause] for cause in causes]
        own: list[Arrived] = []
        for place, one in enumerate(arrived):
            ends = _ends_of(one.flow.device, records, place)
            is_told = False
            while len(own) < len(causes) and causes[len(own)] == place:
                m = len(own)
                theirs = _ends_of(one.flow.device, step.flows, m)
                if theirs == ends and step.flows.end_us[m] >= one.flow.end_us:
                    is_told = True
                    self._waited(ends)
                    own.append(one)
                else:
                    own.append(self._waited(theirs) or one)
            if waits[place] and not is_told:
                before = self._waiting.get(ends, []) if one.flow.half else []
                self._waiting[ends] = [*before, one]
        return own

    def _waited(self, ends: _Ends) -> Arrived | None:
        """The one that has waited longest."""
        those = self._waiting.pop(ends, [])
        if len(those) > 1:
            self._waiting[ends] = those[1:]
        return those[0] if those else None


_Ends = tuple[str, int, int, int, int]


def _ends_of(device: str, flows: DeviceFlows, i: int) -> _Ends:
    columns = (flows.protocol, flows.peer, flows.device_port, flows.peer_port)
    protocol, peer, device_port, peer_port = (int(column[i]) for column in columns)
    return device, protocol, peer, device_port, peer_port


@dataclass(frozen=True, slots=True, eq=False)
class _Told:
    """Of the flows that counted."""

    classified: Classified
    own: Sequence[str]
    """What the model says by itself."""
    site: SiteTurn
    links: Mapping[int, str]
    """The incidents that count them, by place."""


def _verdicts(
    told: _Told, flows: DeviceFlows, own: Sequence[Arrived], causes: Sequence[Arrived]
) -> list[FlowVerdict]:
    """Of all flows that counted: each is an applied event."""
    classified, applied = told.classified, told.site.outcome.applied
    detector, verdicts, events = classified.detector, classified.verdicts, classified.events
    columns = zip(
        own,
        causes,
        (events.place >> ORDINAL_SHIFT).tolist(),
        events.device_id,
        flows.direction.tolist(),
        flows.end_us.tolist(),
        classified.names,
        [detector.classes[i] for i in verdicts.closest.tolist()],
        verdicts.posterior.astype(np.float64).round(4).tolist(),
        verdicts.novelty.astype(np.float64).round(4).tolist(),
        np.minimum(classified.step.fill, detector.width).tolist(),
        told.own,
        applied.held.tolist(),
        applied.learning.tolist(),
        strict=True,
    )
    return [
        FlowVerdict(
            number=mine.number,
            caused_by=cause.number,
            ordinal=ordinal,
            device=device,
            direction=DIRECTIONS[direction],
            peer=mine.flow.peer,
            end_us=end_us,
            verdict=verdict,
            closest=closest,
            scores=dict(zip(detector.classes, scores, strict=True)),
            novelty=novelty,
            fill=fill,
            incident=told.links.get(place),
            own=own_verdict,
            held=Held(held),
            learning=learning,
        )
        for place, (
            mine,
            cause,
            ordinal,
            device,
            direction,
            end_us,
            verdict,
            closest,
            scores,
            novelty,
            fill,
            own_verdict,
            held,
            learning,
        ) in enumerate(columns)
    ]
