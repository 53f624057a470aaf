"""Alerts and incidents as events of the Elastic Common Schema 9.4.0."""

from __future__ import annotations

import functools
from typing import Final

from streams.codec.output.findings import PRODUCT, VENDOR, Document, Finding, endpoint
from streams.codec.times import rfc3339
from streams.core.attack import FRAMEWORK, techniques_of
from streams.core.severity import Severity

VERSION: Final = "9.4.0"
SCHEMA: Final = f"https://github.com/elastic/ecs/tree/v{VERSION}/schemas"
DETAILS: Final = "autodeep"
"""Our own fields, apart from those of the schema."""
RISK: Final = {
    Severity.INFORMATIONAL: 1.0,
    Severity.LOW: 21.0,
    Severity.MEDIUM: 47.0,
    Severity.HIGH: 73.0,
    Severity.CRITICAL: 99.0,
}
"""What Elastic's own rules have by default."""
_TRANSPORTS: Final = frozenset({"tcp", "udp", "icmp", "ipv6-icmp", "sctp"})


def document(finding: Finding, version: str) -> Document:
    """`version` is ours."""
    return {
        "@timestamp": rfc3339(finding.time_us),
        "ecs": {"version": VERSION},
        "message": finding.message,
        "event": _event(finding),
        "rule": _rule(finding),
        **_threat(finding.verdict),
        "device": {"id": finding.device_id},
        **(_network(finding) if finding.context else {}),
        "observer": {"type": "ids", "vendor": VENDOR, "product": PRODUCT, "version": version},
        DETAILS: _details(finding),
    }


def _event(finding: Finding) -> Document:
    event: Document = {
        "kind": "alert",
        "category": ["intrusion_detection", "network"],
        "type": ["info"],
        "module": "autodeep",
        "dataset": "autodeep.incident" if finding.is_incident else "autodeep.alert",
        "provider": PRODUCT,
        "id": finding.uid,
        "severity": int(finding.severity),
        "risk_score": RISK[finding.severity],
        "start": rfc3339(finding.first_us),
        "end": rfc3339(finding.last_us),
    }
    if finding.is_incident:
        return {**event, "action": finding.activity.value, "sequence": finding.revision}
    return {**event, "created": rfc3339(finding.created_us)}


def _rule(finding: Finding) -> Document:
    rule = {"name": finding.verdict, "category": "Intrusion detection", "ruleset": finding.model.name}
    return {**rule, "version": finding.model.version} if finding.model.version else rule


def _details(finding: Finding) -> Document:
    found: Document = {**finding.details, "severity": finding.severity.word}
    if finding.incident_id is not None:
        found["incident_id"] = finding.incident_id
    return {**found, "alerts": finding.count} if finding.is_incident else found


@functools.cache
def _threat(verdict: str) -> Document:
    techniques = techniques_of(verdict)
    if not techniques:
        return {}
    tactics = list(dict.fromkeys(one.tactic for one in techniques))
    return {
        "threat": {
            "framework": FRAMEWORK,
            "tactic": {"id": [one.uid for one in tactics], "name": [one.name for one in tactics]},
            "technique": {
                "id": [one.uid for one in techniques],
                "name": [one.name for one in techniques],
                "reference": [one.url for one in techniques],
            },
        }
    }


def _network(finding: Finding) -> Document:
    """What the event's context names of the two ends, and of the trace."""
    found: Document = {}
    for name, end in (("source", "src"), ("destination", "dst")):
        told = endpoint(finding.context, end)
        if told is not None:
            port = {} if told.port is None else {"port": told.port}
            found[name] = {"ip": told.ip, "address": told.ip, **port}
    transport = finding.context.get("protocol", "").lower()
    if transport in _TRANSPORTS:
        found["network"] = {"transport": transport}
    return found
