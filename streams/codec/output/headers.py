"""The headers of alerts and incidents: CloudEvents in binary mode, and what routers sort by.

Whoever routes, filters or counts decodes no value. CloudEvents 1.0.2, protocol binding for Kafka.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from streams.codec.output.forms import CONTENT_TYPE
from streams.codec.times import rfc3339
from streams.core.alerts import Alert
from streams.core.events import Header
from streams.core.incidents import Incident
from streams.core.severity import Severity
from streams.core.traces import TRACEPARENT, is_traceparent

ALERT_TYPE: Final = "autodeep.ids.alert"
INCIDENT_TYPE: Final = "autodeep.ids.incident"
_KEPT: Final = 1024


def alert_headers(alert: Alert, severity: Severity, content_type: str) -> tuple[Header, ...]:
    shared = _shared(content_type, ALERT_TYPE, alert.topic, alert.partition, alert.verdict, severity.word)
    own = (("ce_id", alert.alert_id.encode()), ("ce_time", rfc3339(alert.event_time_us).encode()))
    return (*shared, *own) if alert.context is None else (*shared, *own, *_trace(alert.context))


def incident_headers(incident: Incident, content_type: str) -> tuple[Header, ...]:
    """A revision is an event of its own: what it tells, open, update or close, is part of the type."""
    kind, severity = f"{INCIDENT_TYPE}.{incident.activity}", incident.severity.word
    shared = _shared(content_type, kind, incident.topic, incident.partition, incident.verdict, severity)
    own = (
        ("ce_id", f"{incident.incident_id}/{incident.revision}".encode()),
        ("ce_time", rfc3339(incident.changed_at_us).encode()),
    )
    return (*shared, *own, *_trace(incident.context or {}))


@functools.lru_cache(maxsize=_KEPT)
def _shared(
    content_type: str, kind: str, topic: str, partition: int, verdict: str, severity: str
) -> tuple[Header, ...]:
    """What all of one partition and class have in common. The source is where the telemetry stands."""
    texts = {
        CONTENT_TYPE: content_type,
        "ce_specversion": "1.0",
        "ce_type": kind,
        "ce_source": f"/{quote(topic, safe='')}/{partition}",
        "class": verdict,
        "severity": severity,
    }
    return tuple((name, text.encode()) for name, text in texts.items())


def _trace(context: Mapping[str, str]) -> tuple[Header, ...]:
    found = context.get(TRACEPARENT, "")
    return ((TRACEPARENT, found.encode()),) if is_traceparent(found) else ()
