"""Alerts as bytes and back, in JSON or Avro in either framing; and the messages of alerts and incidents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from streams.codec.output import alert_bytes, alert_json
from streams.codec.output.forms import Form, Kind, MessageUnreadable, frame, read_fields
from streams.codec.output.headers import alert_headers, incident_headers
from streams.codec.output.incidents import decode_incident, encode_incident, explanation_of
from streams.codec.output.sizes import Shortened, less
from streams.core.alerts import Alert
from streams.core.events import Header, Message
from streams.core.incidents import Incident
from streams.core.severity import BY_CLASS, Severity, severity_of
from streams.core.topics import NORMAL, Topics

AlertFormat = Literal["avro", "json"]


class AlertUnreadable(MessageUnreadable):
    """A value on an alert topic that is no alert of this schema or one before it."""


_ALERT: Final = Kind("Alert", AlertUnreadable)


class Output(Protocol):
    """One form in which alerts and incidents leave. A deployment has a list, each with topics of its own."""

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
    """Our own form: alerts keyed by device, to the topic of their class, and all verdicts to one if asked;
    incidents keyed by their ids.
    """

    topics: Topics
    fmt: AlertFormat = "avro"
    schema_id: int | None = None
    """The Alert schema's id in a registry, where Avro is to be framed as Confluent's."""
    publish_classified: bool = False
    incident_schema_id: int | None = None
    by_class: Mapping[str, Severity] = field(default_factory=lambda: BY_CLASS)

    def messages(self, alerts: Sequence[Alert]) -> list[Message]:
        topics = {verdict: self._topics(verdict) for verdict in {alert.verdict for alert in alerts}}
        content_type = _form(self.fmt, self.schema_id).value
        messages = []
        severities = self._severities(alerts)
        values = self._values(alerts, severities)
        for alert, value, severity in zip(alerts, values, severities, strict=True):
            headers = alert_headers(alert, severity, content_type)
            key = alert.device_id.encode()
            messages += [Message(topic, key, value, headers) for topic in topics[alert.verdict]]
        return messages

    def incident_messages(self, incidents: Sequence[Incident]) -> list[Message]:
        content_type = _form(self.fmt, self.incident_schema_id).value
        return [
            Message(
                self.topics.incidents,
                incident.incident_id.encode(),
                self._incident_value(incident),
                incident_headers(incident, content_type),
            )
            for incident in incidents
        ]

    def values(self, alerts: Sequence[Alert]) -> list[bytes]:
        """What stands in the messages: one for each alert, whatever topics it goes to."""
        return self._values(alerts, self._severities(alerts))

    def _severities(self, alerts: Sequence[Alert]) -> list[Severity]:
        return [severity_of(alert.verdict, alert.scores, self.by_class) for alert in alerts]

    def _values(self, alerts: Sequence[Alert], severities: Sequence[Severity]) -> list[bytes]:
        if self.fmt == "json":
            return alert_json.encode_alerts(alerts, severities)
        return alert_bytes.encode_alerts(alerts, frame(_ALERT.schema, self.schema_id))

    def shorter(self, message: Message, limit_bytes: int | None) -> Shortened | None:
        """Without the explanation, and if that is not enough, without the context."""
        if message.topic == self.topics.incidents:
            incident = decode_incident(message.value, message.headers)
            return less(message, incident, self._incident_value, limit_bytes)
        alert = decode_alert(message.value, message.headers)
        return less(message, alert, lambda one: self.values([one])[0], limit_bytes)

    def _incident_value(self, incident: Incident) -> bytes:
        return encode_incident(incident, self.fmt, self.incident_schema_id)

    def _topics(self, verdict: str) -> list[str]:
        topics = [] if verdict == NORMAL else [self.topics.alerts(verdict)]
        return [*topics, self.topics.classified] if self.publish_classified else topics


def _form(fmt: AlertFormat, schema_id: int | None) -> Form:
    if fmt == "json":
        return Form.JSON
    return Form.SINGLE_OBJECT if schema_id is None else Form.CONFLUENT


def encode_alert(alert: Alert, fmt: AlertFormat = "avro", schema_id: int | None = None) -> bytes:
    """The value of an alert's record. Avro is framed as Confluent's where a registry's id is given.

    Raises ValueError for JSON of a number that is not finite.
    """
    return AlertOutput(Topics(), fmt, schema_id).values([alert])[0]


def decode_alert(value: bytes | None, headers: Sequence[Header] | None = ()) -> Alert:
    """Any of the forms, by its header `content-type`, and by its first bytes where it has none.

    Raises AlertUnreadable.
    """
    fields = read_fields(_ALERT, value, headers)
    said = {
        "explanation": explanation_of(fields.get("explanation")),
        "reasons": tuple(fields.get("reasons", ())),
    }
    return Alert(**{**fields, **said})
