"""Alerts and incidents as detection findings (2004) of the Open Cybersecurity Schema Framework 1.8.0."""

from __future__ import annotations

import functools
from typing import Any, Final

from streams.codec.output.findings import PRODUCT, VENDOR, Document, Endpoint, Finding, endpoint
from streams.core.attack import VERSION as ATTACK_VERSION
from streams.core.attack import techniques_of
from streams.core.incidents import Activity

VERSION: Final = "1.8.0"
SCHEMA: Final = f"https://schema.ocsf.io/{VERSION}/classes/detection_finding"
DETAILS: Final = "unmapped"
_CLASS: Final = 2004
_FINDINGS: Final = 2
_LEARNING: Final = 4
_IOT: Final = 7
_STANDS: Final = {
    Activity.OPEN: (1, "Create", 1, "New"),
    Activity.UPDATE: (2, "Update", 2, "In Progress"),
    Activity.CLOSE: (3, "Close", 4, "Resolved"),
}
"""Activity and status, each with its caption."""
_CONFIDENCE: Final = ("Unknown", "Low", "Medium", "High")


def document(finding: Finding, version: str) -> Document:
    """`version` is ours. Times are milliseconds, as the framework has them."""
    activity_id, activity, status_id, status = _STANDS[finding.activity]
    return {
        "activity_id": activity_id,
        "activity_name": activity,
        "category_uid": _FINDINGS,
        "category_name": "Findings",
        "class_uid": _CLASS,
        "class_name": "Detection Finding",
        "type_uid": _CLASS * 100 + activity_id,
        "severity_id": int(finding.severity),
        "severity": finding.severity.word.capitalize(),
        "status_id": status_id,
        "status": status,
        "time": _ms(finding.time_us),
        "start_time": _ms(finding.first_us),
        "end_time": _ms(finding.last_us),
        "count": finding.count,
        "is_alert": True,
        "message": finding.message,
        **_confidence(finding),
        "metadata": _metadata(finding, version),
        "device": {"uid": finding.device_id, "type_id": _IOT, "type": "IOT"},
        "finding_info": _finding_info(finding),
        **_evidences(finding),
        DETAILS: finding.details,
    }


def _ms(time_us: int) -> int:
    return time_us // 1000


def _confidence(finding: Finding) -> Document:
    found: Document = {"confidence_id": finding.confidence, "confidence": _CONFIDENCE[finding.confidence]}
    return found if finding.percent is None else {**found, "confidence_score": finding.percent}


def _metadata(finding: Finding, version: str) -> Document:
    """The revision tells those of an incident apart."""
    uid = f"{finding.uid}/{finding.revision}" if finding.is_incident else finding.uid
    product = {"name": PRODUCT, "vendor_name": VENDOR, "version": version}
    found: Document = {"version": VERSION, "product": product, "uid": uid, "sequence": finding.revision}
    return {**found, "correlation_uid": finding.incident_id} if finding.incident_id else found


def _finding_info(finding: Finding) -> Document:
    analytic: Document = {"type_id": _LEARNING, "type": "Learning (ML/DL)", "name": finding.model.name}
    if finding.model.version:
        analytic["version"] = finding.model.version
    if finding.model.digest:
        analytic["uid"] = finding.model.digest
    info: Document = {
        "uid": finding.uid,
        "title": f"{finding.verdict} at {finding.device_id}",
        "types": [finding.verdict],
        "analytic": analytic,
        "created_time": _ms(finding.created_us),
        "first_seen_time": _ms(finding.first_us),
        "last_seen_time": _ms(finding.last_us),
    }
    attacks = _attacks(finding.verdict)
    if attacks:
        info["attacks"] = attacks
    if finding.is_incident:
        info["modified_time"] = _ms(finding.time_us)
        info["related_events"] = [{"uid": uid, "type_uid": _CLASS * 100 + 1} for uid in finding.alert_ids]
        info["related_events_count"] = finding.count
    return info


@functools.cache
def _attacks(verdict: str) -> list[Document]:
    return [
        {
            "version": ATTACK_VERSION,
            "tactic": {"uid": one.tactic.uid, "name": one.tactic.name},
            "technique": {"uid": one.uid, "name": one.name, "src_url": one.url},
        }
        for one in techniques_of(verdict)
    ]


def _evidences(finding: Finding) -> Document:
    if not finding.context:
        return {}
    ends = {end: endpoint(finding.context, end) for end in ("src", "dst")}
    evidence = {f"{name}_endpoint": _endpoint(end) for name, end in ends.items() if end is not None}
    return {"evidences": [evidence]} if evidence else {}


def _endpoint(end: Endpoint) -> dict[str, Any]:
    return {"ip": end.ip} if end.port is None else {"ip": end.ip, "port": end.port}
