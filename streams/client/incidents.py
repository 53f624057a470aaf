"""Reading incidents, for other people's programs: each revision once, and an incident as it stands last.

from streams.client.incidents import IncidentReader

with IncidentReader("localhost:9092") as reader:
    for incident in reader.revisions(since="10m"):
        print(incident.incident_id, incident.activity, incident.alerts)
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Iterator
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Self

from confluent_kafka import Message as Record

from streams.adapters.kafka.reading import Reader
from streams.client.alerts import Since, starting_ms
from streams.codec.output.incidents import IncidentUnreadable, decode_incident
from streams.core.incidents import Activity, Incident
from streams.core.topics import Topics
from streams.settings import Settings

log: Final = logging.getLogger("autodeep.incidents")

REMEMBERED: Final = 100_000
"""Incidents whose revision is kept to know repeats by, about 20 MB; the ones changed longest ago go."""


class Revisions:
    """Knows of which incident which revision came last."""

    def __init__(self, most: int = REMEMBERED) -> None:
        self._most = most
        self._last: OrderedDict[str, int] = OrderedDict()

    def is_new(self, incident: Incident) -> bool:
        """Whether it says more than what came before: repeats come after a crash, and begin further back."""
        key = incident.incident_id
        if incident.revision <= self._last.get(key, 0):
            return False
        self._last[key] = incident.revision
        self._last.move_to_end(key)
        if len(self._last) > self._most:
            self._last.popitem(last=False)
        return True


class IncidentReader:
    """One consumer; a context manager. Raises BrokerUnavailable where Kafka does not answer."""

    def __init__(self, source: Settings | str) -> None:
        """`source`: Settings, or just the bootstrap servers."""
        settings = Settings(kafka_servers=source) if isinstance(source, str) else source
        self.strangers = 0
        """Records so far that are no incidents: somebody else's."""
        self._topic = Topics(settings.topic_prefix).incidents
        self._reader = Reader(settings, "reading incidents", {"group.id": "autodeep-incidents"})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.close()

    def revisions(
        self, since: Since = "now", *, follow: bool = True, idle_s: float | None = None
    ) -> Iterator[Incident]:
        """Each revision once, as it comes; one older than what came before of its incident is left out.

        Positions are taken by this call. `since` as of `read_alerts`; `idle_s`: end after so many seconds
        without one. Raises SettingsError for a `since` that cannot be.
        """
        start = starting_ms(since, datetime.now(UTC))
        self._reader.assign(self._reader.places_since([self._topic], start))
        return self._revisions(follow, idle_s)

    def standing(self) -> dict[str, Incident]:
        """Every incident on the topic as its last revision has it, by id, up to where the topic ends now."""
        self._reader.assign(self._reader.places([self._topic]))
        found: dict[str, Incident] = {}
        for record in self._reader.to_the_end():
            incident = self._incident(record)
            if incident is not None:
                before = found.get(incident.incident_id)
                if before is None or before.revision < incident.revision:
                    found[incident.incident_id] = incident
        return found

    def _revisions(self, follow: bool, idle_s: float | None) -> Iterator[Incident]:
        known, quiet_since_s = Revisions(), time.monotonic()
        while follow or self._reader.unread:
            for record in self._reader.take():
                incident = self._incident(record)
                if incident is not None and known.is_new(incident):
                    yield incident
                    quiet_since_s = time.monotonic()
            if idle_s is not None and time.monotonic() - quiet_since_s > idle_s:
                return

    def _incident(self, record: Record) -> Incident | None:
        """None for what is none. The first is said, all are counted."""
        try:
            incident = decode_incident(record.value(), record.headers())
            if record.key() == incident.incident_id.encode():
                return incident
            problem = "its key is not the incident's id"
        except IncidentUnreadable as exc:
            problem = str(exc)
        if not self.strangers:
            place = f"{record.topic()}-{record.partition()}@{record.offset()}"
            log.warning("%s: %s; passed over, as are others like it", place, problem)
        self.strangers += 1
        return None


def state_of(incident: Incident, now_us: int) -> str:
    """`closed`, `open`, or `expired`: its partition fell silent, and nobody could tell its end."""
    if incident.activity is Activity.CLOSE:
        return "closed"
    return "expired" if incident.expires_at_us < now_us else "open"
