"""Incidents as bytes and back. JSON, the default, is written by hand: a flood has as many as devices."""

from __future__ import annotations

import dataclasses
import functools
import io
from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring as quoted
from math import isfinite
from typing import Any, Final, Literal

import fastavro

from streams.codec.avro import schemas
from streams.codec.output.alert_json import explained, plain
from streams.codec.output.forms import Kind, MessageUnreadable, frame, read_fields
from streams.codec.times import rfc3339
from streams.core.alerts import Driver, Explanation
from streams.core.events import Header
from streams.core.incidents import Activity, Incident
from streams.core.severity import Severity

FIELDS: Final = tuple(field.name for field in dataclasses.fields(Incident))
_KEPT: Final = 1024
_BY_WORD: Final = {severity.word: severity for severity in Severity}


class IncidentUnreadable(MessageUnreadable):
    """A value on the topic of incidents that is no incident of this schema."""


_INCIDENT: Final = Kind("Incident", IncidentUnreadable)


def encode_incident(
    incident: Incident, fmt: Literal["avro", "json"] = "avro", schema_id: int | None = None
) -> bytes:
    """The value of a revision's record. Avro is framed as Confluent's where a registry's id is given.

    Raises ValueError for JSON of a number that is not finite.
    """
    if fmt == "json":
        return _json(incident).encode()
    out = io.BytesIO()
    out.write(frame(_INCIDENT.schema, schema_id))
    fastavro.schemaless_writer(out, _parsed(), _plain_fields(incident))
    return out.getvalue()


def _json(one: Incident) -> str:
    """The fields in the schema's order."""
    score, novelty = one.worst_score, one.worst_novelty
    if not (isfinite(score) and isfinite(novelty)):
        raise ValueError(f"{score}, {novelty} cannot be written in JSON: not both of them are finite")
    verdict, place, models = _pieces(one.verdict, one.topic, one.topic_id, one.partition, one.models)
    why = "null" if one.closed_because is None else quoted(one.closed_because)
    explanation = "null" if one.explanation is None else plain(explained(one.explanation))
    context = "null" if one.context is None else plain(dict(one.context))
    reasons = plain(list(one.reasons)) if one.reasons else "[]"
    return (
        f'{{"incident_id":{quoted(one.incident_id)},"revision":{one.revision}'
        f',"activity":"{one.activity.value}","device_id":{quoted(one.device_id)}'
        f'{verdict}"{one.severity.word}","alerts":{one.alerts}'
        f',"first_event":"{rfc3339(one.first_event_us)}","last_event":"{rfc3339(one.last_event_us)}"'
        f',"changed_at":"{rfc3339(one.changed_at_us)}","expires_at":"{rfc3339(one.expires_at_us)}"'
        f',"worst_score":{score!r},"worst_novelty":{novelty!r}'
        f',"first_alert_id":{quoted(one.first_alert_id)},"worst_alert_id":{quoted(one.worst_alert_id)}'
        f',"last_alert_id":{quoted(one.last_alert_id)}{models}{place}{one.offset}'
        f',"closed_because":{why},"explanation":{explanation},"context":{context},"reasons":{reasons}}}'
    )


@functools.lru_cache(maxsize=_KEPT)
def _pieces(
    verdict: str, topic: str, topic_id: str, partition: int, models: tuple[str, ...]
) -> tuple[str, str, str]:
    """What revisions have in common, mostly: up to the severity, up to the offset, and the models."""
    return (
        f',"verdict":{quoted(verdict)},"severity":',
        f',"topic":{quoted(topic)},"topic_id":{quoted(topic_id)},"partition":{partition},"offset":',
        f',"models":{plain(list(models))}',
    )


def decode_incident(value: bytes | None, headers: Sequence[Header] | None = ()) -> Incident:
    """Any of the forms, by its header `content-type`, and by its first bytes where it has none.

    Raises IncidentUnreadable.
    """
    fields = read_fields(_INCIDENT, value, headers)
    return Incident(
        **{
            **fields,
            "activity": _one_of("activity", {one.value: one for one in Activity}, fields["activity"]),
            "severity": _one_of("severity", _BY_WORD, fields["severity"]),
            "models": tuple(fields["models"]),
            "explanation": explanation_of(fields.get("explanation")),
            "reasons": tuple(fields.get("reasons", ())),
        }
    )


def explanation_of(known: Mapping[str, Any] | None) -> Explanation | None:
    """Of an alert or incident that was read."""
    if known is None:
        return None
    return Explanation(tuple(Driver(**driver) for driver in known["features"]), tuple(known["events"]))


@functools.cache
def _parsed() -> Any:
    return fastavro.parse_schema(dict(schemas.load(_INCIDENT.schema).source))


def _plain_fields(incident: Incident) -> dict[str, Any]:
    return {
        **{name: getattr(incident, name) for name in FIELDS},
        "activity": incident.activity.value,
        "severity": incident.severity.word,
        "models": list(incident.models),
        "explanation": None if incident.explanation is None else explained(incident.explanation),
        "context": None if incident.context is None else dict(incident.context),
        "reasons": list(incident.reasons),
    }


def _one_of(name: str, known: Mapping[str, Any], word: str) -> Any:
    if word not in known:
        raise IncidentUnreadable(f"{name} is {word[:60]!a}, not one of {', '.join(known)}")
    return known[word]
