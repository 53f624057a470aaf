"""Alerts as bytes and back: Avro in either framing, or JSON; and the messages they leave in."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Protocol

from streams.codec.avro import datum, framing, schemas
from streams.codec.output.alert_bytes import encode_alerts
from streams.codec.output.plain_incidents import encode_incident, shorter_incident
from streams.codec.output.sizes import Shortened, fits
from streams.codec.plain import is_int64, is_number, is_text, shown
from streams.core.alerts import Alert, Driver, Explanation
from streams.core.events import Header, Message
from streams.core.incidents import Incident
from streams.core.topics import NORMAL, Topics
from streams.errors import DataError

AlertFormat = Literal["avro", "json"]

FIELDS: Final = tuple(field.name for field in dataclasses.fields(Alert))


class AlertUnreadable(DataError, ValueError):
    """A value on an alert topic that is no alert of this schema or one before it."""


class Output(Protocol):
    """One form in which alerts leave. A deployment has a list of them, each with topics of its own."""

    def messages(self, alerts: Sequence[Alert]) -> list[Message]:
        """The messages of these alerts, in their order."""
        ...

    def incident_messages(self, incidents: Sequence[Incident]) -> list[Message]:
        """The messages of these revisions, in their order."""
        ...

    def shorter(self, message: Message, limit_bytes: int | None) -> Shortened | None:
        """One of them with less in it, for a topic that takes no more; None where nothing more can go.

        The verdict never goes. A limit of None is one that nobody knows.
        """
        ...


@dataclass(frozen=True, slots=True)
class AlertOutput:
    """Our own alerts, keyed by device: to the topic of their class, and all verdicts to one if asked."""

    topics: Topics
    fmt: AlertFormat = "avro"
    schema_id: int | None = None
    """The Alert schema's id in a registry, where one is configured: Avro is then framed as Confluent's."""
    publish_classified: bool = False
    headers: tuple[Header, ...] = ()

    def messages(self, alerts: Sequence[Alert]) -> list[Message]:
        topics = {verdict: self._topics(verdict) for verdict in {alert.verdict for alert in alerts}}
        return [
            Message(topic, alert.device_id.encode(), value, self.headers)
            for alert, value in zip(alerts, self.values(alerts), strict=True)
            for topic in topics[alert.verdict]
        ]

    def incident_messages(self, incidents: Sequence[Incident]) -> list[Message]:
        topic = self.topics.incidents
        return [Message(topic, one.incident_id.encode(), encode_incident(one)) for one in incidents]

    def values(self, alerts: Sequence[Alert]) -> list[bytes]:
        """What stands in the messages: one for each alert, whatever topics it goes to."""
        if self.fmt == "json":
            return [_json(alert) for alert in alerts]
        return encode_alerts(alerts, _header(self.schema_id))

    def shorter(self, message: Message, limit_bytes: int | None) -> Shortened | None:
        """Without the explanation, and if that is not enough, without the context."""
        if message.topic == self.topics.incidents:
            return shorter_incident(message, limit_bytes)
        alert = decode_alert(message.value)
        plain = replace(alert, explanation=None)
        without = []
        for less_said, name in ((plain, "explanation"), (replace(plain, context=None), "context")):
            if getattr(alert, name) is None:
                continue
            without.append(name)
            less = replace(message, value=self.values([less_said])[0])
            if fits(less, limit_bytes):
                return Shortened(less, tuple(without))
        return None

    def _topics(self, verdict: str) -> list[str]:
        topics = [] if verdict == NORMAL else [self.topics.alerts(verdict)]
        return [*topics, self.topics.classified] if self.publish_classified else topics


def encode_alert(alert: Alert, fmt: AlertFormat = "avro", schema_id: int | None = None) -> bytes:
    """The value of an alert's record. Avro is framed as Confluent's where a registry's id is given.

    Raises ValueError for JSON of a number that is not finite.
    """
    return _json(alert) if fmt == "json" else encode_alerts((alert,), _header(schema_id))[0]


def decode_alert(value: bytes | None) -> Alert:
    """Any of the forms. A Confluent id is not looked up: the value must be of one of our own schemas.

    Raises AlertUnreadable.
    """
    if not value:
        raise AlertUnreadable("the value is empty")
    if value[:1] == b"{":
        return _from_json(value)
    if value[: len(framing.SINGLE_OBJECT_MAGIC)] == framing.SINGLE_OBJECT_MAGIC:
        size = framing.SINGLE_OBJECT_SIZE
        return _from_avro(value[size:], _writer(value[len(framing.SINGLE_OBJECT_MAGIC) : size]))
    if value[0] != framing.CONFLUENT_MAGIC:
        raise AlertUnreadable(f"the value begins with {value[:2].hex(' ')}: neither Avro framing, nor JSON")
    data = value[framing.CONFLUENT_SIZE :]
    try:
        return _from_avro(data, schemas.load(schemas.ALERT))
    except AlertUnreadable:
        # An older one ends earlier, so that its bytes are whole by one schema only.
        for writer in reversed(schemas.history(schemas.ALERT)):
            with contextlib.suppress(AlertUnreadable):
                return _from_avro(data, writer)
        raise


@functools.lru_cache(maxsize=16)
def _header(schema_id: int | None) -> bytes:
    if schema_id is None:
        return framing.single_object_header(schemas.load(schemas.ALERT).fingerprint)
    return framing.confluent_header(schema_id)


@functools.cache
def _writers() -> Mapping[bytes, schemas.Schema]:
    return schemas.by_fingerprint((*schemas.history(schemas.ALERT), schemas.load(schemas.ALERT)))


def _writer(fingerprint: bytes) -> schemas.Schema:
    writer = _writers().get(fingerprint)
    if writer is None:
        raise AlertUnreadable(f"no Alert schema has the fingerprint {fingerprint.hex()}; a newer writer?")
    return writer


def _json(alert: Alert) -> bytes:
    fields = {name: getattr(alert, name) for name in FIELDS}
    fields["scores"] = dict(alert.scores)
    if alert.explanation is not None:
        fields["explanation"] = dataclasses.asdict(alert.explanation)
    if alert.context is not None:
        fields["context"] = dict(alert.context)
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _from_avro(data: bytes, writer: schemas.Schema) -> Alert:
    try:
        values, end = datum.reader_of(writer)(data, 0)
    except datum.Unreadable as exc:
        raise AlertUnreadable(exc.detail) from exc
    if end != len(data):
        raise AlertUnreadable(f"the alert ends at byte {end} of {len(data)} after its header")
    # An older writer's fields are the first of ours, and the strict reader has made sure of their types.
    fields = dict(zip(FIELDS, values, strict=False))
    fields["scores"] = dict(fields["scores"])
    if fields.get("explanation") is not None:
        features, events = fields["explanation"]
        fields["explanation"] = Explanation(tuple(Driver(*driver) for driver in features), tuple(events))
    if fields.get("context") is not None:
        fields["context"] = dict(fields["context"])
    return Alert(**fields)


def _from_json(value: bytes) -> Alert:
    try:
        fields = json.loads(value)
    except (ValueError, RecursionError) as exc:
        raise AlertUnreadable(f"the value is no JSON: {exc}") from exc
    wanted = schemas.load(schemas.ALERT).source["fields"]
    missing = [field["name"] for field in wanted if field["name"] not in fields and "default" not in field]
    if missing:
        raise AlertUnreadable(f"the alert has no {', '.join(missing)}")
    known = {
        field["name"]: _typed(field["name"], field["type"], fields[field["name"]])
        for field in wanted
        if field["name"] in fields
    }
    return Alert(**{**known, "explanation": _explanation(known.get("explanation"))})


def _explanation(known: Mapping[str, Any] | None) -> Explanation | None:
    if known is None:
        return None
    return Explanation(tuple(Driver(**driver) for driver in known["features"]), tuple(known["events"]))


def _typed(name: str, wanted: Any, value: Any) -> Any:
    """A value of JSON as the schema's type has it."""
    match wanted:
        case {"type": "map"} if isinstance(value, dict):
            return {
                _primitive(f"a name in {name}", "string", key): _typed(
                    f"{name}.{key[:60]}", wanted["values"], item
                )
                for key, item in value.items()
            }
        case {"type": "array"} if isinstance(value, list):
            return [_typed(f"{name}.{place}", wanted["items"], item) for place, item in enumerate(value)]
        case {"type": "record"} if isinstance(value, dict):
            parts = ((field["name"], field["type"]) for field in wanted["fields"])
            return {part: _typed(f"{name}.{part}", of, value.get(part)) for part, of in parts}
        case ["null", other]:
            return None if value is None else _typed(name, other, value)
    return _primitive(name, wanted, value)


def _primitive(name: str, wanted: Any, value: Any) -> str | int | float:
    kind = wanted if isinstance(wanted, str) else wanted["type"]
    if kind == "string" and is_text(value):
        return value
    if kind in ("int", "long") and is_int64(value):
        return value
    if kind == "double" and is_number(value):
        return float(value)
    raise AlertUnreadable(f"{name} is {shown(value)}, not of type {kind}")
