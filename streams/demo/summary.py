"""The demonstration's end: what was simulated against what was found, misses and false alarms included."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from streams.core.topics import NORMAL
from streams.demo.ledger import NO_INCIDENT, NO_VERDICT, Ledger
from streams.demo.script import Episode


@dataclass(frozen=True, slots=True)
class ClassLine:
    """The simulated events of one class. `flagged` got any verdict but normal, `exact` the class itself."""

    truth: str
    simulated: int
    flagged: int
    exact: int
    missed: int
    """Taken for normal."""
    lost: int
    """Without a verdict."""
    verdicts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class IncidentLine:
    """A part of an attack's alerts."""

    incident_id: str
    verdict: str
    alerts: int


@dataclass(frozen=True, slots=True)
class EpisodeLine:
    """One attack. `first_alert_s` counts from its beginning; None where none of its events was flagged."""

    name: str
    attack: str
    truth: str
    device_id: str
    start_s: float
    events: int
    flagged: int
    exact: int
    verdicts: Mapping[str, int]
    first_alert_s: float | None
    incidents: tuple[IncidentLine, ...]
    """Those that count its alerts, the one with the most of them first."""


@dataclass(frozen=True, slots=True)
class ModelLine:
    """What one model judged. Seconds are those of its first and its last verdict, since the beginning."""

    model: str
    first_s: float
    last_s: float
    events: int
    alerts: Mapping[str, int]
    """By class."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What the demonstration ends with; counts are of the events that were sent."""

    seconds: float
    seed: int
    events: int
    classified: int
    lost: int
    repeats: int
    dead_letters: int
    alerts: int
    alerts_differing: int
    """Events whose alert topic and verdict do not agree; must be 0."""
    incidents: int
    incident_records: int
    """What was published of them."""
    incidents_differing: int
    """Of which alerts speak and no record does, or which count more than the alerts that name them."""
    alerts_alone: int
    """Of no incident: too few novel ones."""
    false_incidents: int
    """All of whose alerts are false alarms."""
    false_alarms: int
    false_alarms_by_service: Mapping[str, int]
    false_alarms_under_attack: int
    """Of them, those on a device while an attack on it went on."""
    delay_ms: Mapping[str, float]
    """From an event until its verdict is read: the sender's steps and the broker's ways are in it."""
    classes: tuple[ClassLine, ...]
    episodes: tuple[EpisodeLine, ...]
    models: tuple[ModelLine, ...]
    promotion: str
    """What came of the promotion half-way."""
    remarks: tuple[str, ...] = ()
    """What else is to be said, for people."""
    shipped: Mapping[str, int] = field(default_factory=dict)
    """Of flows: records that left, late and second ones among them; and what came before the beginning."""


@dataclass(frozen=True, slots=True)
class Run:
    """The frame of a demonstration: how long, drawn by which seed, how many events went out."""

    seconds: float
    seed: int
    sent: int
    dead_letters: int
    promotion: str = ""
    remarks: tuple[str, ...] = ()
    shipped: Mapping[str, int] = field(default_factory=dict)


def summarise(run: Run, ledger: Ledger) -> Summary:
    """Compare the verdicts of the first `run.sent` events with what they really are."""
    truth, verdict = ledger.simulation.truth[: run.sent], ledger.verdict[: run.sent]
    classes = tuple(_class_line(name, truth, verdict) for name in (NORMAL, *ledger.simulation.classes))
    false_alarms = [
        place
        for place, (what, found) in enumerate(zip(truth, verdict, strict=True))
        if what == NORMAL and found not in (NORMAL, NO_VERDICT)
    ]
    delays_ms = ledger.delays_ms()
    shares = {"p50": 50, "p95": 95, "p99": 99} if len(delays_ms) else {}
    return Summary(
        seconds=run.seconds,
        seed=run.seed,
        events=run.sent,
        classified=ledger.classified,
        lost=sum(line.lost for line in classes),
        repeats=ledger.repeats,
        dead_letters=run.dead_letters,
        alerts=sum(alert != NO_VERDICT for alert in ledger.alert),
        alerts_differing=_differing(ledger) + ledger.strangers,
        incidents=len(set(ledger.incident) - {NO_INCIDENT}),
        incident_records=ledger.incident_records,
        incidents_differing=_incidents_differing(ledger),
        alerts_alone=sum(
            alert != NO_VERDICT and incident == NO_INCIDENT
            for alert, incident in zip(ledger.alert, ledger.incident, strict=True)
        ),
        false_incidents=_false_incidents(ledger),
        false_alarms=len(false_alarms),
        false_alarms_by_service=_by_service(ledger, false_alarms),
        false_alarms_under_attack=sum(_under_attack(ledger, place) for place in false_alarms),
        delay_ms={name: round(float(np.percentile(delays_ms, q)), 1) for name, q in shares.items()},
        classes=classes,
        episodes=_episode_lines(run, ledger),
        models=_model_lines(ledger),
        promotion=run.promotion,
        remarks=run.remarks,
        shipped=run.shipped,
    )


def _class_line(name: str, truth: Sequence[str], verdict: Sequence[str]) -> ClassLine:
    found = Counter(said for what, said in zip(truth, verdict, strict=True) if what == name)
    lost = found.pop(NO_VERDICT, 0)
    return ClassLine(
        truth=name,
        simulated=found.total() + lost,
        flagged=found.total() - found[NORMAL],
        exact=found[name],
        missed=0 if name == NORMAL else found[NORMAL],
        lost=lost,
        verdicts=dict(found.most_common()),
    )


def _episode_lines(run: Run, ledger: Ledger) -> tuple[EpisodeLine, ...]:
    return tuple(
        _episode_line(
            episode, np.flatnonzero(ledger.simulation.episode[: run.sent] == place).tolist(), ledger
        )
        for place, episode in enumerate(ledger.simulation.episodes)
    )


def _episode_line(episode: Episode, places: Sequence[int], ledger: Ledger) -> EpisodeLine:
    flagged = [place for place in places if ledger.verdict[place] not in (NORMAL, NO_VERDICT)]
    verdicts = Counter(ledger.verdict[place] for place in places if ledger.verdict[place] != NO_VERDICT)
    first_us = min((int(ledger.detected_us[place]) for place in flagged), default=None)
    return EpisodeLine(
        name=episode.name,
        attack=episode.attack,
        truth=episode.truth,
        device_id=episode.device_id,
        start_s=round(episode.start_us / 1e6, 1),
        events=len(places),
        flagged=len(flagged),
        exact=verdicts[episode.truth],
        verdicts=dict(verdicts.most_common()),
        first_alert_s=None if first_us is None else round((first_us - episode.start_us) / 1e6, 2),
        incidents=_incident_lines(places, ledger),
    )


def _incident_lines(places: Sequence[int], ledger: Ledger) -> tuple[IncidentLine, ...]:
    found = Counter((ledger.incident[place], ledger.alert[place]) for place in places)
    return tuple(
        IncidentLine(incident_id, verdict, count)
        for (incident_id, verdict), count in found.most_common()
        if incident_id != NO_INCIDENT
    )


def _incidents_differing(ledger: Ledger) -> int:
    named = Counter(incident_id for incident_id in ledger.incident if incident_id != NO_INCIDENT)
    told = {incident_id: one.alerts for incident_id, one in ledger.incidents.items()}
    earlier = {one for one, incident in ledger.incidents.items() if incident.first_event_us < ledger.start_us}
    return sum(
        not 0 < told.get(incident_id, 0) <= named[incident_id] for incident_id in {*named, *told} - earlier
    )


def _false_incidents(ledger: Ledger) -> int:
    attacks = {
        incident_id
        for incident_id, truth in zip(ledger.incident, ledger.simulation.truth, strict=True)
        if truth != NORMAL
    }
    return len(set(ledger.incident) - attacks - {NO_INCIDENT})


def _model_lines(ledger: Ledger) -> tuple[ModelLine, ...]:
    lines = [
        _model_line(model, [place for place, judge in enumerate(ledger.model) if judge == model], ledger)
        for model in {*ledger.model} - {NO_VERDICT}
    ]
    return tuple(sorted(lines, key=lambda line: (line.first_s, line.model)))


def _model_line(model: str, places: Sequence[int], ledger: Ledger) -> ModelLine:
    detected_us = ledger.detected_us[places]
    found = Counter(ledger.alert[place] for place in places)
    del found[NO_VERDICT]
    return ModelLine(
        model=model,
        first_s=round(float(detected_us.min()) / 1e6, 1),
        last_s=round(float(detected_us.max()) / 1e6, 1),
        events=len(places),
        alerts=dict(found.most_common()),
    )


def _differing(ledger: Ledger) -> int:
    """Events whose alert does not say what the verdict says, is missing, or is one too many."""
    return sum(
        alert != (NO_VERDICT if verdict == NORMAL else verdict)
        for verdict, alert in zip(ledger.verdict, ledger.alert, strict=True)
    )


def _by_service(ledger: Ledger, places: Sequence[int]) -> dict[str, int]:
    return dict(Counter(ledger.simulation.service(place) for place in places).most_common())


def _under_attack(ledger: Ledger, place: int) -> bool:
    device_id, at_us = ledger.simulation.device_id[place], ledger.simulation.event_time_us[place]
    return any(
        episode.device_id == device_id and episode.start_us <= at_us < episode.end_us
        for episode in ledger.simulation.episodes
    )
