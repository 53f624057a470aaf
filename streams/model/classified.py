"""From a turn's verdicts to the alerts that tell of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from streams.core.alerts import CHAMPION, Alert, Origin, alerts_from, event_ids
from streams.core.events import Events, Source
from streams.core.tables import Rows
from streams.core.windows import Advance, Index, Windows, width_of
from streams.model.detector import Detector, Verdicts

NO_INCIDENTS: Final[Mapping[int, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, eq=False)
class Classified:
    """A turn's applied events (A) with their verdicts, and the model that gave them."""

    sources: Sequence[Source]  # C partitions
    origin: Index  # (N,) which of them each event is of
    events: Events  # (N,)
    step: Advance
    detector: Detector
    verdicts: Verdicts
    role: str = CHAMPION
    profiles: Sequence[int | None] | None = None
    """Of each applied event the revision of its site's profile; None: no site has one."""

    def source_of(self, place: int) -> Source:
        """Of an applied event."""
        return self.sources[int(self.origin[self.step.applied[place]])]

    @property
    def names(self) -> list[str]:
        """The verdict of each applied event, by name."""
        return [self.detector.verdicts[i] for i in self.verdicts.verdict.tolist()]


def windows_of(
    classified: Classified, windows: Windows, chosen: Sequence[int]
) -> tuple[Rows, npt.NDArray[np.bool_]]:
    """What the verdicts of `chosen` (E) looked at: raw rows (E, W), oldest first, and which are there (E, W).

    `windows` (D,) are those before the turn.
    """
    step, width, kept = classified.step, classified.detector.width, width_of(windows)
    # Places on the tape: D rings of the rows that are kept, then the applied events.
    index = step.index[chosen][:, -width:]
    in_ring = np.minimum(index, len(windows) * kept - 1)
    rows = windows["rows"][in_ring // kept, in_ring % kept]
    fresh = index >= len(windows) * kept
    rows[fresh] = classified.events.rows[step.applied[index[fresh] - len(windows) * kept]]
    return rows, step.valid[chosen][:, -width:]


def alerts_of(
    classified: Classified, wanted: Sequence[int], now_us: int, incidents: Mapping[int, str] = NO_INCIDENTS
) -> list[Alert]:
    """The alerts of the applied events whose places, ascending, stand in `wanted`.

    `incidents` are the ids of those that count them, by the same places.
    """
    events, detector, verdicts = classified.events, classified.detector, classified.verdicts
    classes = detector.classes
    at = classified.step.applied[wanted]
    places = at.tolist()
    posterior = verdicts.posterior[wanted].astype(np.float64).round(4).tolist()
    offsets, told = events.offset[at].tolist(), events.place[at].tolist()
    origin = classified.origin[at]  # ascending, as the events stand partition after partition
    ids: list[str] = []
    parts = []  # source, and one past its last place in `wanted`
    for number in np.unique(origin).tolist():
        source, end = classified.sources[number], int(np.searchsorted(origin, number, "right"))
        ids += event_ids(source, told[len(ids) : end])
        parts.append((source, end))
    judged = zip(
        ids,
        offsets,
        [events.device_id[i] for i in places],
        events.event_time_us[at].tolist(),
        [detector.verdicts[i] for i in verdicts.verdict[wanted].tolist()],
        [classes[i] for i in verdicts.closest[wanted].tolist()],
        [dict(zip(classes, scores, strict=True)) for scores in posterior],
        verdicts.novelty[wanted].astype(np.float64).round(4).tolist(),
        np.minimum(classified.step.fill[wanted], detector.width).tolist(),
        [None] * len(places) if events.context is None else [events.context[i] for i in places],
        [incidents.get(i) for i in wanted],
        [None] * len(places) if classified.profiles is None else [classified.profiles[i] for i in wanted],
        strict=True,
    )
    alerts: list[Alert] = []
    for source, end in parts:
        alerts += alerts_from(_origin(classified, source, now_us), islice(judged, end - len(alerts)))
    return alerts


def _origin(classified: Classified, source: Source, now_us: int) -> Origin:
    identity = classified.detector.identity
    return Origin(
        source=source,
        detected_at_us=now_us,
        window_width=classified.detector.width,
        model_name=identity.name,
        model_version=identity.version,
        model_digest=identity.digest,
        model_role=classified.role,
    )
