"""The law of incidents: what is told is what the plain rule makes of the alerts that were published.

By that rule an incident is the list of its alerts. It shares with the stream the values and the ids, and no
code that counts. Of a life that was deleted, and once Redis lost its data, not all can be expected: there the
revisions have no gaps, and no alert names an incident that nothing is told of; unless its topic was deleted
before its event was done, as a worker may have died between the two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from uuid import UUID

from bench.faults.case import Broken, Case, Law
from bench.faults.offline import Event
from streams.core.alerts import Alert, incident_id_of, record_id
from streams.core.clocks import counted_time_us
from streams.core.events import Source
from streams.core.incident_rules import IncidentRules
from streams.core.incidents import Activity, Incident
from streams.core.severity import Severity, severity_of


@dataclass(frozen=True, slots=True)
class Told:
    """An alert of one partition, and the number of its event among its device's."""

    offset: int
    device_id: str
    verdict: str
    event_us: int
    counted_us: int
    score: float
    novelty: float
    severity: int
    fill: int
    number: int
    model: str


@dataclass(slots=True)
class _Pending:
    numbers: list[int]
    stream_us: int


@dataclass(slots=True)
class _Plain:
    alerts: list[Told]
    stream_us: int
    revised_us: int
    revision: int = 1
    is_open: bool = True

    @property
    def worst(self) -> Told:
        return max(self.alerts, key=lambda one: (_by(one), -one.offset))


def _by(alert: Told) -> float:
    return alert.novelty if alert.verdict == "novel" else alert.score


@dataclass(slots=True)
class Expected:
    """Revisions in the order of their records, and of each alert, by offset, the incident that counts it."""

    incidents: list[Incident] = field(default_factory=list)
    links: dict[int, str | None] = field(default_factory=dict)


def expected(
    source: Source,
    records: Sequence[tuple[int, int]],
    alerts: Mapping[int, Told],
    rules: IncidentRules,
) -> Expected:
    """Of one partition from its beginning: `records` are offsets and Kafka's timestamps (ms)."""
    return _Partition(source, rules).read(records, alerts)


class _Partition:
    def __init__(self, source: Source, rules: IncidentRules) -> None:
        self._source = source
        self._rules = rules
        self._found = Expected()
        self._of: dict[tuple[str, str], _Plain] = {}
        self._pending: dict[str, _Pending] = {}
        self._now_us = 0

    def read(self, records: Sequence[tuple[int, int]], alerts: Mapping[int, Told]) -> Expected:
        for offset, timestamp_ms in records:
            self._now_us = max(self._now_us, timestamp_ms * 1000)
            due = sorted(
                (one.stream_us + self._rules.quiet_us, *key) for key, one in self._of.items() if one.is_open
            )
            if due and due[0][0] < self._now_us:
                self._close(due[0][1:], offset)
            if offset in alerts:
                self._count(alerts[offset])
        return self._found

    def _count(self, alert: Told) -> None:
        key = (alert.device_id, alert.verdict)
        one = self._of.get(key)
        if one is not None and not self._goes_on(one, alert):
            if one.is_open:
                self._close(key, alert.offset)
            del self._of[key]
            one = None
        if one is not None:
            self._more(key, one, alert)
        elif alert.verdict == "novel" and not self._enough(alert):
            self._found.links[alert.offset] = None
            return
        else:
            self._of[key] = _Plain([alert], self._now_us, alert.counted_us)
            self._tell(key, Activity.OPEN, alert.offset)
        opened = self._of[key].alerts[0].offset
        self._found.links[alert.offset] = incident_id_of(self._source, opened, alert.verdict)

    def _goes_on(self, one: _Plain, alert: Told) -> bool:
        most_us = self._rules.quiet_us + self._rules.reopen_us
        latest_us = max(before.counted_us for before in one.alerts)
        return self._now_us - one.stream_us <= most_us and alert.counted_us - latest_us <= most_us

    def _more(self, key: tuple[str, str], one: _Plain, alert: Told) -> None:
        highest = max(before.severity for before in one.alerts)
        one.alerts.append(alert)
        one.stream_us = self._now_us
        says_more = (
            len(one.alerts) in {2**power for power in range(40)}
            or alert.severity > highest
            or alert.counted_us - one.revised_us >= self._rules.update_us
            or not one.is_open
        )
        one.is_open = True
        if says_more:
            one.revised_us = max(one.revised_us, alert.counted_us)
            one.revision += 1
            self._tell(key, Activity.UPDATE, alert.offset)

    def _enough(self, alert: Told) -> bool:
        """As many novel alerts in the window, none of them more than a quiet time after the one before."""
        pending = self._pending.get(alert.device_id)
        if pending is None or self._now_us - pending.stream_us > self._rules.quiet_us:
            pending = self._pending[alert.device_id] = _Pending([], self._now_us)
        pending.numbers.append(alert.number)
        pending.stream_us = self._now_us
        inside = [number for number in pending.numbers if number > alert.number - min(alert.fill, 64)]
        if len(inside) < self._rules.novel_least and self._rules.novel_least > 1:
            return False
        del self._pending[alert.device_id]
        return True

    def _close(self, key: tuple[str, str], offset: int) -> None:
        one = self._of[key]
        one.is_open = False
        one.revision += 1
        self._tell(key, Activity.CLOSE, offset)

    def _tell(self, key: tuple[str, str], activity: Activity, offset: int) -> None:
        device_id, verdict = key
        one, source = self._of[key], self._source
        models = tuple(dict.fromkeys(alert.model for alert in one.alerts))
        self._found.incidents.append(
            Incident(
                incident_id=incident_id_of(source, one.alerts[0].offset, verdict),
                revision=one.revision,
                activity=activity,
                device_id=device_id,
                verdict=verdict,
                severity=Severity(max(alert.severity for alert in one.alerts)),
                alerts=len(one.alerts),
                first_event_us=min(alert.event_us for alert in one.alerts),
                last_event_us=max(alert.event_us for alert in one.alerts),
                changed_at_us=self._now_us,
                expires_at_us=one.stream_us + self._rules.quiet_us,
                worst_score=_by(one.worst),
                worst_novelty=max(alert.novelty for alert in one.alerts),
                first_alert_id=record_id(source, one.alerts[0].offset),
                worst_alert_id=record_id(source, one.worst.offset),
                last_alert_id=record_id(source, one.alerts[-1].offset),
                models=models,
                topic=source.topic,
                topic_id=str(source.topic_id),
                partition=source.partition,
                offset=offset,
                closed_because="quiet" if activity is Activity.CLOSE else None,
            )
        )


def judge_incidents(case: Case) -> Iterator[Broken]:
    if case.incident_rules is None:
        return
    alerts = list({one.alert.alert_id: one.alert for one in case.alerts}.values())
    told = [_plain(case, one) for one in case.incidents]
    known = {one.incident_id for one in told}
    for alert in alerts:
        if alert.incident_id is None or alert.incident_id in known:
            continue
        place = case.place_of(alert.topic_id, alert.partition, alert.offset)
        if place is None or case.is_to_be_judged(place):
            yield Broken(Law.WRONG_INCIDENT, f"{alert.alert_id}: nothing is told of {alert.incident_id}")
    if case.losses:
        return
    for line in gaps(told):
        yield Broken(Law.WRONG_INCIDENT, line)
    if not case.gone:
        said = {(one.incident_id, one.revision): one for one in told}
        yield from _compared(case, case.incident_rules, alerts, said)


def _compared(
    case: Case, rules: IncidentRules, alerts: Sequence[Alert], told: Mapping[tuple[str, int], Incident]
) -> Iterator[Broken]:
    """Of the present life, by partitions."""
    life = len(case.lives) - 1
    found = {key: one for key, one in told.items() if one.topic_id == case.lives[life]}
    places = [(event.place, event.appended_us) for event in case.events]
    places += [(place, appended_us) for place, (_, appended_us) in case.poison.items()]
    for partition in sorted({place.partition for place, _ in places if place.life == life}):
        mine = [one for one in alerts if (one.topic_id, one.partition) == (case.lives[life], partition)]
        records = sorted(
            (place.offset, at_us // 1000)
            for place, at_us in places
            if (place.life, place.partition) == (life, partition)
        )
        source = Source(mine[0].topic if mine else "", UUID(case.lives[life]), partition)
        wanted = expected(source, records, _told(case, mine, partition), rules)
        for one in map(partial(_plain, case), wanted.incidents):
            if found.pop((one.incident_id, one.revision), None) != one:
                yield Broken(Law.WRONG_INCIDENT, f"expected {one}")
        for alert in mine:
            if alert.incident_id != wanted.links[alert.offset]:
                yield Broken(Law.WRONG_INCIDENT, f"{alert.alert_id} names {alert.incident_id}")
    for one in found.values():
        yield Broken(Law.WRONG_INCIDENT, f"nobody expects {one}")


def _plain(case: Case, one: Incident) -> Incident:
    """Without what drove the worst alert; between alike models, without which of them judged."""
    models = () if len(case.models) > 1 else one.models
    return replace(one, explanation=None, context=None, models=models)


def _told(case: Case, alerts: Sequence[Alert], partition: int) -> dict[int, Told]:
    """By offset, with what the input says of their events."""
    seen, events = Counter[str](), dict[int, tuple[Event, int]]()
    for event in case.events:
        if (event.place.life, event.place.partition) == (len(case.lives) - 1, partition):
            events[event.place.offset] = (event, seen[event.device])
            seen[event.device] += 1
    return {alert.offset: _as_told(alert, *events[alert.offset]) for alert in alerts}


def _as_told(alert: Alert, event: Event, number: int) -> Told:
    return Told(
        offset=alert.offset,
        device_id=alert.device_id,
        verdict=alert.verdict,
        event_us=alert.event_time_us,
        counted_us=counted_time_us(alert.event_time_us, event.appended_us),
        score=alert.scores.get(alert.verdict, 0.0),
        novelty=alert.novelty,
        severity=severity_of(alert.verdict, alert.scores),
        fill=event.full,
        number=number,
        model=f"{alert.model_name}/{alert.model_version}",
    )


def gaps(incidents: Sequence[Incident]) -> Iterator[str]:
    """Incidents whose revisions, repeats dropped, are not 1 to n; or of which a repeat says another thing."""
    first: dict[tuple[str, int], Incident] = {}
    for one in incidents:
        if first.setdefault((one.incident_id, one.revision), one) != one:
            yield f"{one.incident_id} says two things in its revision {one.revision}"
    revisions: dict[str, list[int]] = {}
    for incident_id, revision in first:
        revisions.setdefault(incident_id, []).append(revision)
    for incident_id, found in revisions.items():
        if sorted(found) != list(range(1, len(found) + 1)):
            yield f"{incident_id} has the revisions {sorted(found)}"
