"""From a chunk's verdicts to the alerts that tell of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.core.alerts import CHAMPION, Alert, record_id
from streams.core.events import Events, Source
from streams.core.tables import Rows
from streams.core.windows import Advance, Windows, width_of
from streams.model.detector import Detector, Verdicts


@dataclass(frozen=True, slots=True, eq=False)
class Classified:
    """A chunk's applied events (A) with their verdicts, and the model that gave them."""

    source: Source
    events: Events
    step: Advance
    detector: Detector
    verdicts: Verdicts
    role: str = CHAMPION

    @property
    def names(self) -> list[str]:
        """The verdict of each applied event, by name."""
        return [self.detector.verdicts[i] for i in self.verdicts.verdict.tolist()]


def windows_of(
    classified: Classified, windows: Windows, chosen: Sequence[int]
) -> tuple[Rows, npt.NDArray[np.bool_]]:
    """What the verdicts of `chosen` (E) looked at: raw rows (E, W), oldest first, and which are there (E, W).

    `windows` (D,) are those before the chunk.
    """
    step, width, kept = classified.step, classified.detector.width, width_of(windows)
    # Places on the tape: D rings of the rows that are kept, then the applied events.
    index = step.index[chosen][:, -width:]
    in_ring = np.minimum(index, len(windows) * kept - 1)
    rows = windows["rows"][in_ring // kept, in_ring % kept]
    fresh = index >= len(windows) * kept
    rows[fresh] = classified.events.rows[step.applied[index[fresh] - len(windows) * kept]]
    return rows, step.valid[chosen][:, -width:]


def alerts_of(classified: Classified, wanted: Sequence[int], now_us: int) -> list[Alert]:
    """The alerts of the applied events whose places stand in `wanted`."""
    source, events, detector = classified.source, classified.events, classified.detector
    verdicts, identity = classified.verdicts, detector.identity
    at = classified.step.applied[wanted]
    columns = zip(
        events.offset[at].tolist(),
        [events.device_id[i] for i in at.tolist()],
        events.event_time_us[at].tolist(),
        verdicts.verdict[wanted].tolist(),
        verdicts.closest[wanted].tolist(),
        verdicts.posterior[wanted].astype(np.float64).round(4).tolist(),
        verdicts.novelty[wanted].astype(np.float64).round(4).tolist(),
        np.minimum(classified.step.fill[wanted], detector.width).tolist(),
        strict=True,
    )
    topic_id = str(source.topic_id)
    return [
        Alert(
            alert_id=record_id(source, offset),
            device_id=device_id,
            event_time_us=event_time_us,
            detected_at_us=now_us,
            verdict=detector.verdicts[verdict],
            closest=detector.classes[closest],
            scores=dict(zip(detector.classes, scores, strict=True)),
            novelty=novelty,
            window_fill=window_fill,
            window_width=detector.width,
            topic=source.topic,
            topic_id=topic_id,
            partition=source.partition,
            offset=offset,
            model_name=identity.name,
            model_version=identity.version,
            model_digest=identity.digest,
            model_role=classified.role,
        )
        for offset, device_id, event_time_us, verdict, closest, scores, novelty, window_fill in columns
    ]
