"""Incidents as JSON and back, field by field; and why the worst alert of one was raised, as it is kept."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from streams.codec.output.sizes import Shortened, fits
from streams.codec.plain import is_int64, is_number, is_text
from streams.core.alerts import Driver, Explanation
from streams.core.events import Message
from streams.core.incidents import Activity, Incident
from streams.core.severity import Severity
from streams.errors import DataError


class IncidentUnreadable(DataError, ValueError):
    """A value on the topic of incidents that is no incident."""


def encode_incident(incident: Incident) -> bytes:
    fields = {name: getattr(incident, name) for name in incident.__dataclass_fields__}
    fields["explanation"] = None if incident.explanation is None else dataclasses.asdict(incident.explanation)
    fields["context"] = None if incident.context is None else dict(incident.context)
    return _json(fields)


def decode_incident(value: bytes | None) -> Incident:
    """Raises IncidentUnreadable."""
    try:
        fields = json.loads(value or b"")
        known = {
            name: _CHECKS.get(str(field.type), _as_it_is)(name, fields[name])
            for name, field in Incident.__dataclass_fields__.items()
        }
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise IncidentUnreadable(f"the value is no incident: {type(exc).__name__}: {str(exc)[:200]}") from exc
    return Incident(**known)


def shorter_incident(message: Message, limit_bytes: int | None) -> Shortened | None:
    """Without the explanation, and if that is not enough, without the context."""
    incident = decode_incident(message.value)
    without = []
    for name in ("explanation", "context"):
        if getattr(incident, name) is None:
            continue
        without.append(name)
        less_said: Any = {name: None}
        incident = replace(incident, **less_said)
        less = replace(message, value=encode_incident(incident))
        if fits(less, limit_bytes):
            return Shortened(less, tuple(without))
    return None


def encode_reason(explanation: Explanation | None, context: Mapping[str, str] | None) -> bytes:
    said = None if explanation is None else dataclasses.asdict(explanation)
    return _json({"explanation": said, "context": None if context is None else dict(context)})


def decode_reason(value: bytes) -> tuple[Explanation | None, Mapping[str, str] | None]:
    said = json.loads(value)
    return _explanation("explanation", said["explanation"]), said["context"]


def _json(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _text(name: str, value: Any) -> str:
    return str(_checked(name, value, is_text(value)))


def _int(name: str, value: Any) -> int:
    return int(_checked(name, value, is_int64(value)))


def _float(name: str, value: Any) -> float:
    return float(_checked(name, value, is_number(value)))


def _checked(name: str, value: Any, is_right: bool) -> Any:
    if not is_right:
        raise ValueError(f"{name} is of another type")
    return value


def _texts(name: str, value: Any) -> tuple[str, ...]:
    return tuple(_text(name, one) for one in _checked(name, value, isinstance(value, list)))


def _context(name: str, value: Any) -> Mapping[str, str] | None:
    if value is None:
        return None
    return {
        _text(name, key): _text(name, one)
        for key, one in _checked(name, value, isinstance(value, dict)).items()
    }


def _explanation(name: str, value: Any) -> Explanation | None:
    if value is None:
        return None
    drivers = tuple(
        Driver(
            feature=_text(name, one["feature"]),
            value=_text(name, one["value"]),
            share=_float(name, one["share"]),
            usual=_text(name, one["usual"]),
            normal=_text(name, one["normal"]),
        )
        for one in value["features"]
    )
    return Explanation(drivers, tuple(_float(name, one) for one in value["events"]))


def _as_it_is(name: str, value: Any) -> Any:
    return value


_CHECKS: Mapping[str, Any] = {
    "str": _text,
    "str | None": lambda name, value: None if value is None else _text(name, value),
    "int": _int,
    "float": _float,
    "Activity": lambda name, value: Activity(value),
    "Severity": lambda name, value: Severity(_int(name, value)),
    "tuple[str, ...]": _texts,
    "Explanation | None": _explanation,
    "Mapping[str, str] | None": _context,
}
