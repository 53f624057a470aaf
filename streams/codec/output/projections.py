"""Alerts and incidents in formats of others, each on a topic of its own, keyed by what a sink upserts by."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from streams.codec.output import ecs, ocsf, pagerduty
from streams.codec.output.alert_json import plain
from streams.codec.output.findings import Document, Finding, of_alert, of_incident
from streams.codec.output.forms import Form
from streams.codec.output.headers import alert_headers, incident_headers
from streams.codec.output.sizes import Shortened, fits
from streams.core.alerts import Alert
from streams.core.events import Header, Message
from streams.core.incidents import Incident
from streams.core.severity import BY_CLASS, Severity, severity_of
from streams.core.topics import NORMAL, Topics


@dataclass(frozen=True, slots=True)
class Format:
    """One of others: how a finding looks in it, and where in that our own details are."""

    document: Callable[[Finding, str], Document]
    details: tuple[str, ...]
    schema: str = ""
    with_alerts: bool = True
    """Whether alerts are told, or incidents alone."""


FORMATS: Final[Mapping[str, Format]] = {
    "ocsf": Format(ocsf.document, (ocsf.DETAILS,), ocsf.SCHEMA),
    "ecs": Format(ecs.document, (ecs.DETAILS,), ecs.SCHEMA),
    "pagerduty": Format(pagerduty.document, ("payload", pagerduty.DETAILS), with_alerts=False),
}
"""By the word that AUTODEEP_OUTPUTS has for each, which is also the last part of its topic's name."""


@dataclass(frozen=True, slots=True)
class Projection:
    """One format's output. An alert is keyed by its id, an incident by its own, whatever its revision."""

    topics: Topics
    name: str
    version: str = ""
    """Ours, for the format's field of the product."""
    by_class: Mapping[str, Severity] = field(default_factory=lambda: BY_CLASS)

    def messages(self, alerts: Sequence[Alert]) -> list[Message]:
        """Of the alerts among them: a normal verdict is no finding."""
        if not FORMATS[self.name].with_alerts:
            return []
        messages = []
        for alert in alerts:
            if alert.verdict != NORMAL:
                severity = severity_of(alert.verdict, alert.scores, self.by_class)
                headers = alert_headers(alert, severity, Form.JSON.value)
                messages.append(self._message(of_alert(alert, severity), headers))
        return messages

    def incident_messages(self, incidents: Sequence[Incident]) -> list[Message]:
        return [
            self._message(of_incident(incident), incident_headers(incident, Form.JSON.value))
            for incident in incidents
        ]

    def shorter(self, message: Message, limit_bytes: int | None) -> Shortened | None:
        """Without our explanation, and if that is not enough, without the context as it came."""
        document = json.loads(message.value or b"{}")
        details = document
        for part in FORMATS[self.name].details:
            details = details[part]
        without = []
        for name in ("explanation", "context"):
            if details.pop(name, None) is None:
                continue
            without.append(name)
            less = replace(message, value=plain(document).encode())
            if fits(less, limit_bytes):
                return Shortened(less, tuple(without))
        return None

    def _message(self, finding: Finding, headers: tuple[Header, ...]) -> Message:
        told = FORMATS[self.name]
        if told.schema:
            headers = (*headers, ("ce_dataschema", told.schema.encode()))
        value = plain(told.document(finding, self.version)).encode()
        return Message(self.topics.output(self.name), finding.uid.encode(), value, headers)
