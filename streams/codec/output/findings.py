"""What an alert and an incident have in common, for the projections to formats of others."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from streams.codec.output.alert_json import explained
from streams.codec.times import rfc3339
from streams.core.alerts import Alert
from streams.core.incidents import Activity, Incident
from streams.core.severity import SURE, Severity
from streams.core.topics import NOVEL

Document = dict[str, Any]
"""What is written as JSON."""

VENDOR: Final = "AutoDeep"
PRODUCT: Final = "AutoDeep-ID"
_HALF: Final = 0.5


@dataclass(frozen=True, slots=True)
class Model:
    name: str
    version: str
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    ip: str
    port: int | None


@dataclass(frozen=True, slots=True)
class Finding:
    """An alert, or one revision of an incident."""

    uid: str
    is_incident: bool
    activity: Activity
    revision: int
    device_id: str
    verdict: str
    severity: Severity
    score: float | None
    """The posterior of the class; None of `novel`, which has none."""
    time_us: int
    """When it happened: the event, or what this revision tells."""
    created_us: int
    first_us: int
    last_us: int
    count: int
    """Of its alerts; 1 of an alert."""
    incident_id: str | None
    alert_ids: tuple[str, ...]
    """The alerts that an incident names: the first, the worst, the latest."""
    model: Model
    message: str
    details: Mapping[str, Any]
    """What no format of others has a place for."""
    context: Mapping[str, str]

    @property
    def percent(self) -> int | None:
        """The score, from 0 to 100."""
        return None if self.score is None else int(100 * min(max(self.score, 0.0), 1.0))

    @property
    def confidence(self) -> int:
        """0 not known, 1 low, 2 medium, 3 high."""
        if self.score is None:
            return 0
        return 3 if self.score >= SURE else 2 if self.score >= _HALF else 1


def of_alert(alert: Alert, severity: Severity) -> Finding:
    score = alert.scores.get(alert.verdict)
    sure = f"novelty {alert.novelty:g}" if score is None else f"probability {score:g}"
    return Finding(
        uid=alert.alert_id,
        is_incident=False,
        activity=Activity.OPEN,
        revision=1,
        device_id=alert.device_id,
        verdict=alert.verdict,
        severity=severity,
        score=score,
        time_us=alert.event_time_us,
        created_us=alert.detected_at_us,
        first_us=alert.event_time_us,
        last_us=alert.event_time_us,
        count=1,
        incident_id=alert.incident_id,
        alert_ids=(),
        model=Model(alert.model_name, alert.model_version, alert.model_digest),
        message=f"{alert.verdict} at {alert.device_id}: {'; '.join((*alert.reasons[:1], sure))}",
        details={
            "closest": alert.closest,
            "scores": dict(alert.scores),
            "novelty": alert.novelty,
            "window_fill": alert.window_fill,
            "window_width": alert.window_width,
            "model_role": alert.model_role,
            **({} if alert.profile_revision is None else {"profile_revision": alert.profile_revision}),
            **_common(alert),
        },
        context=alert.context or {},
    )


def of_incident(incident: Incident) -> Finding:
    name, _, version = incident.models[-1].partition("/") if incident.models else (PRODUCT, "", "")
    plural = "" if incident.alerts == 1 else "s"
    return Finding(
        uid=incident.incident_id,
        is_incident=True,
        activity=incident.activity,
        revision=incident.revision,
        device_id=incident.device_id,
        verdict=incident.verdict,
        severity=incident.severity,
        score=incident.worst_score if incident.verdict != NOVEL else None,
        time_us=incident.changed_at_us,
        created_us=incident.first_event_us,
        first_us=incident.first_event_us,
        last_us=incident.last_event_us,
        count=incident.alerts,
        incident_id=incident.incident_id,
        alert_ids=tuple(
            dict.fromkeys((incident.first_alert_id, incident.worst_alert_id, incident.last_alert_id))
        ),
        model=Model(name, version),
        message=f"{incident.verdict} at {incident.device_id}: {incident.alerts} alert{plural}, "
        f"{incident.activity}{''.join(f'; {reason}' for reason in incident.reasons[:1])}",
        details={
            "revision": incident.revision,
            "worst_score": incident.worst_score,
            "worst_novelty": incident.worst_novelty,
            "models": list(incident.models),
            "expires_at": rfc3339(incident.expires_at_us),
            "closed_because": incident.closed_because,
            **_common(incident),
        },
        context=incident.context or {},
    )


def _common(told: Alert | Incident) -> Document:
    found: Document = {
        "topic": told.topic,
        "topic_id": told.topic_id,
        "partition": told.partition,
        "offset": told.offset,
    }
    if told.explanation is not None:
        found["explanation"] = explained(told.explanation)
    if told.reasons:
        found["reasons"] = list(told.reasons)
    if told.context is not None:
        found["context"] = dict(told.context)
    return found


def endpoint(context: Mapping[str, str], end: str) -> Endpoint | None:
    """Of the event that `context` comes from; `end` is `src` or `dst`. None where no address is named."""
    try:
        ip = ipaddress.ip_address(context[f"{end}_address"])
    except (KeyError, ValueError):
        return None
    if getattr(ip, "scope_id", None) is not None:  # of the sensor's own link: an address to nobody else
        return None
    port = context.get(f"{end}_port", "")
    is_port = port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65_535
    return Endpoint(ip.compressed, int(port) if is_port else None)
