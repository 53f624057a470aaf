"""From a turn's verdicts to alerts, with what drove them where that is asked. Where a turn is delivered."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from streams.codec.output.alerts import Output
from streams.core.alerts import Alert, in_share
from streams.core.incident_rules import IncidentRules
from streams.core.severity import BY_CLASS, Severity
from streams.core.topics import NORMAL, Topics
from streams.core.windows import Windows
from streams.model.classified import NO_INCIDENTS, Classified, alerts_of, windows_of
from streams.model.drivers import explanations
from streams.pipeline.incidents import Reason
from streams.pipeline.sites import SiteTurn, reasons_of


@dataclass(frozen=True, slots=True)
class Rules:
    """What a deployment decides about the path."""

    topics: Topics
    idle_us: int
    outputs: Sequence[Output]
    """The forms in which alerts leave."""
    publish_classified: bool = False
    """Whether normal verdicts are told, too."""
    version: str = ""
    explain_share: float = 0.0
    """Of the alerts, by their ids: the same ones say what drove them however often they are published."""
    new_devices_per_s: int = 0
    """Devices without a window that are let in per partition; the events of others are dead letters."""
    incidents: IncidentRules | None = None
    """None: alerts are told alone."""
    severities: Mapping[str, Severity] = field(default_factory=lambda: BY_CLASS)
    """Of incidents, by class."""
    incident_explain_share: float = 1.0
    """Of devices and classes: whose incidents say what drove their worst alerts."""


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What one model said of a turn's devices, and the windows (D,) that it looked at, before the turn."""

    classified: Classified
    windows: Windows
    site: SiteTurn | None = None
    """What the profiles of sites made of the verdicts; None: no flows, or nobody asks."""


def alerts_from(
    judged: Judged, rules: Rules, now_us: int, incidents: Mapping[int, str] = NO_INCIDENTS
) -> tuple[list[int], list[Alert]]:
    """The alerts in the events' order, and their applied events' places; normal verdicts where asked for.

    `incidents` are the ids of those that count them, by place.
    """
    names = judged.classified.names
    wanted = [i for i, name in enumerate(names) if name != NORMAL or rules.publish_classified]
    return wanted, alerts_of(judged.classified, wanted, now_us, incidents) if wanted else []


@dataclass(frozen=True, slots=True)
class Explained:
    """`alerts` with what drove those that are asked to say it, and all that was found out, by alert's id."""

    alerts: list[Alert]
    reasons: Mapping[str, Reason]


def explained(
    judged: Judged,
    places: Sequence[int],
    alerts: list[Alert],
    share: float,
    wanted: Collection[str] = frozenset(),
    told: Collection[str] = frozenset(),
) -> Explained:
    """Of the alerts at these applied events that share says what drove it; of those `wanted` it is asked.

    Of flows those that say it, and the alerts `told`, say so in words.
    """
    found = _driven(judged, places, alerts, share, wanted)
    return found if judged.site is None else _in_words(judged, judged.site, places, found, told)


def _driven(
    judged: Judged, places: Sequence[int], alerts: list[Alert], share: float, wanted: Collection[str]
) -> Explained:
    chosen = [
        number
        for number, alert in enumerate(alerts)
        if alert.verdict != NORMAL and (in_share(alert.alert_id, share) or alert.alert_id in wanted)
    ]
    if not chosen:
        return Explained(alerts, {})
    classified, at = judged.classified, [places[number] for number in chosen]
    found = explanations(
        classified.detector,
        windows_of(classified, judged.windows, at),
        classified.verdicts.verdict[at],
        classified.verdicts.closest[at],
    )
    explained, reasons = list(alerts), {}
    for number, explanation in zip(chosen, found, strict=True):
        alert = alerts[number]
        reasons[alert.alert_id] = Reason(explanation, alert.context)
        if in_share(alert.alert_id, share):
            explained[number] = replace(alert, explanation=explanation)
    return Explained(explained, reasons)


def _in_words(
    judged: Judged, site: SiteTurn, places: Sequence[int], found: Explained, told: Collection[str]
) -> Explained:
    alerts, reasons = list(found.alerts), dict(found.reasons)
    for number, alert in enumerate(alerts):
        if alert.alert_id not in told and alert.alert_id not in reasons:
            continue
        texts = reasons_of(judged.classified, site, places[number])
        before = reasons.get(alert.alert_id, Reason(None, alert.context))
        reasons[alert.alert_id] = before._replace(reasons=texts)
        alerts[number] = replace(alert, reasons=texts)
    return Explained(alerts, reasons)
