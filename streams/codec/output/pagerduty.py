"""Incidents as PagerDuty's Events API v2 takes them, but for the routing key, which their sender adds."""

from __future__ import annotations

from typing import Final

from streams.codec.output.findings import Document, Finding
from streams.codec.times import rfc3339
from streams.core.incidents import Activity
from streams.core.severity import Severity

DETAILS: Final = "custom_details"
_SUMMARY_CHARACTERS: Final = 1024
_SEVERITIES: Final = {
    Severity.INFORMATIONAL: "info",
    Severity.LOW: "info",
    Severity.MEDIUM: "warning",
    Severity.HIGH: "error",
    Severity.CRITICAL: "critical",
}


def document(finding: Finding, version: str) -> Document:
    """An incident's revisions share one `dedup_key`: the first opens an alert there, the last resolves it."""
    return {
        "event_action": "resolve" if finding.activity is Activity.CLOSE else "trigger",
        "dedup_key": finding.uid,
        "payload": {
            "summary": finding.message[:_SUMMARY_CHARACTERS],
            "source": finding.device_id,
            "severity": _SEVERITIES[finding.severity],
            "timestamp": rfc3339(finding.time_us),
            "class": finding.verdict,
            DETAILS: finding.details,
        },
        "client": f"AutoDeep-ID {version}",
    }
