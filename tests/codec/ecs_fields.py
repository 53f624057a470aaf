"""The fields of the Elastic Common Schema that our events have, and what may stand in them.

Names, types and allowed values are those of version 9.4.0, read from the npm package `@elastic/ecs` of that
version. Written down here instead of fetched, so that the tests need neither npm nor a network; a field that
is not in the table is refused, so that a new one has to be looked up first.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from streams.codec.times import microseconds

VERSION: Final = "9.4.0"
CUSTOM: Final = "autodeep"
"""Where a name of nobody's schema may stand."""
FIELDS: Final[Mapping[str, str]] = {
    "@timestamp": "date",
    "message": "text",
    "ecs.version": "keyword",
    "event.kind": "keyword",
    "event.category": "keywords",
    "event.type": "keywords",
    "event.action": "keyword",
    "event.id": "keyword",
    "event.severity": "long",
    "event.risk_score": "float",
    "event.created": "date",
    "event.start": "date",
    "event.end": "date",
    "event.dataset": "keyword",
    "event.module": "keyword",
    "event.provider": "keyword",
    "event.sequence": "long",
    "rule.name": "keyword",
    "rule.category": "keyword",
    "rule.ruleset": "keyword",
    "rule.version": "keyword",
    "threat.framework": "keyword",
    "threat.tactic.id": "keywords",
    "threat.tactic.name": "keywords",
    "threat.technique.id": "keywords",
    "threat.technique.name": "keywords",
    "threat.technique.reference": "keywords",
    "device.id": "keyword",
    "source.ip": "ip",
    "source.address": "keyword",
    "source.port": "long",
    "destination.ip": "ip",
    "destination.address": "keyword",
    "destination.port": "long",
    "network.transport": "keyword",
    "observer.type": "keyword",
    "observer.vendor": "keyword",
    "observer.product": "keyword",
    "observer.version": "keyword",
}
KINDS: Final = {"alert", "asset", "enrichment", "event", "metric", "state", "pipeline_error", "signal"}
TYPES_BY_CATEGORY: Final = {
    "intrusion_detection": {"allowed", "denied", "info"},
    "network": {"access", "allowed", "connection", "denied", "end", "info", "protocol", "start"},
    "malware": {"info"},
    "threat": {"indicator"},
}
NEEDED: Final = ("@timestamp", "ecs.version", "event.kind", "event.category", "event.type", "event.id")


def problems(document: Mapping[str, Any]) -> list[str]:
    """What of a document is not as the schema has it."""
    flat = dict(_flat(document))
    found = [f"{name} is missing" for name in NEEDED if name not in flat]
    for name, value in flat.items():
        if name not in FIELDS:
            found.append(f"{name} is no field of it")
        elif not _IS[FIELDS[name]](value):
            found.append(f"{name} is {value!r}, not of type {FIELDS[name]}")
    if not found:
        found += _categories(flat)
    return found


def _categories(flat: Mapping[str, Any]) -> Iterator[str]:
    if flat["event.kind"] not in KINDS:
        yield f"event.kind is {flat['event.kind']}"
    for category in flat["event.category"]:
        expected = TYPES_BY_CATEGORY.get(category, set())
        if not expected.issuperset(flat["event.type"]):
            yield f"event.type {flat['event.type']} does not go with category {category}"


def _flat(document: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in document.items():
        if not before and name == CUSTOM:
            continue
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _passes(check: Callable[[Any], object], value: Any) -> bool:
    try:
        check(value)
    except (TypeError, ValueError):
        return False
    return isinstance(value, str)


def _is_long(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


_IS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "date": lambda value: _passes(microseconds, value),
    "ip": lambda value: _passes(ipaddress.ip_address, value),
    "text": lambda value: isinstance(value, str),
    "keyword": lambda value: isinstance(value, str),
    "keywords": lambda value: isinstance(value, list) and all(isinstance(one, str) for one in value),
    "long": _is_long,
    "float": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}
