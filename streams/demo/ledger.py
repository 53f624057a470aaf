"""What became of every simulated event: one verdict each, or none."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from streams.core.alerts import Alert
from streams.core.incidents import Incident
from streams.demo.script import Script

NO_VERDICT = ""
NO_INCIDENT = ""


class Ledger:
    """Verdicts by event. Event times in alerts are those of the simulation plus `start_us`.

    What came before `start_us` is passed over; `earlier` are the incidents of then.
    """

    def __init__(self, simulation: Script, start_us: int, earlier: Iterable[Incident] = ()) -> None:
        times_us = simulation.event_time_us.tolist()
        keys = zip(simulation.device_id, times_us, strict=True)
        self._place = {key: place for place, key in enumerate(keys)}
        if len(self._place) < len(times_us):
            raise ValueError("two events of a device at one moment cannot be told apart")
        self.start_us = start_us
        self.simulation = simulation
        self.verdict = [NO_VERDICT] * len(self._place)
        self.alert = [NO_VERDICT] * len(self._place)
        """The class of the alert topic that tells of the event."""
        self.incident = [NO_INCIDENT] * len(self._place)
        """Id of the incident that counts the event's alert."""
        self.incidents = {one.incident_id: one for one in earlier}
        """The last revision that was read, by id."""
        self.incident_records = 0
        """Revisions, repeats left out."""
        self.model = [NO_VERDICT] * len(self._place)
        """Name and version of the model that gave the verdict."""
        self.detected_us = np.zeros(len(self._place), np.int64)  # (N,) since the simulation's beginning
        self.read_us = np.zeros(len(self._place), np.int64)  # (N,) likewise: when the verdict was read
        self.classified = 0
        self.repeats = 0
        self.strangers = 0
        """Verdicts and alerts of events that were not simulated; must stay 0."""

    def note_verdict(self, alert: Alert, read_us: int) -> None:
        """Take in a record of the topic that has every verdict, read so long after the beginning."""
        place = self._find(alert)
        if place is None:
            return
        if self.verdict[place] != NO_VERDICT:
            self.repeats += 1
            return
        self.verdict[place] = alert.verdict
        self.model[place] = f"{alert.model_name}/{alert.model_version}"
        self.detected_us[place] = alert.detected_at_us - self.start_us
        self.read_us[place] = read_us
        self.classified += 1

    def note_alert(self, alert: Alert) -> bool:
        """Take in a record of an alert topic; says whether it is new."""
        place = self._find(alert)
        if place is None or self.alert[place] != NO_VERDICT:
            self.repeats += place is not None
            return False
        self.alert[place] = alert.verdict
        self.incident[place] = alert.incident_id or NO_INCIDENT
        return True

    def note_incident(self, incident: Incident) -> None:
        """Take in a record of the topic of incidents; those of one incident come in order."""
        before = self.incidents.get(incident.incident_id)
        if before is None or before.revision < incident.revision:
            self.incidents[incident.incident_id] = incident
            self.incident_records += 1

    def delays_ms(self) -> npt.NDArray[np.float64]:
        """Milliseconds from when each event left until its verdict was read, of those that have one."""
        has_one = np.array([verdict != NO_VERDICT for verdict in self.verdict], bool)
        taken_us: npt.NDArray[np.int64] = (self.read_us - self.simulation.sent_us)[has_one]
        return np.divide(taken_us, 1000)

    def _find(self, alert: Alert) -> int | None:
        place = self._place.get((alert.device_id, alert.event_time_us - self.start_us))
        self.strangers += place is None and alert.event_time_us >= self.start_us
        return place
