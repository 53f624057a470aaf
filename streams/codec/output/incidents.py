"""Incidents as bytes and back. They are few, so that general writers do."""

from __future__ import annotations

import dataclasses
import functools
import io
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import fastavro

from streams.codec.avro import schemas
from streams.codec.output.alert_json import explained, plain
from streams.codec.output.forms import TIME, Kind, MessageUnreadable, frame, read_fields
from streams.codec.times import rfc3339
from streams.core.alerts import Driver, Explanation
from streams.core.events import Header
from streams.core.incidents import Activity, Incident
from streams.core.severity import Severity

FIELDS: Final = tuple(field.name for field in dataclasses.fields(Incident))
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
    fields = _plain_fields(incident)
    if fmt == "json":
        times = {name: rfc3339(fields[name]) for name in fields if name.endswith(TIME)}
        return plain({name.removesuffix(TIME): times.get(name, fields[name]) for name in fields}).encode()
    out = io.BytesIO()
    out.write(frame(_INCIDENT.schema, schema_id))
    fastavro.schemaless_writer(out, _parsed(), fields)
    return out.getvalue()


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
