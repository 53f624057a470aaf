"""From a chunk's verdicts to the alerts that tell of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.core.alerts import CHAMPION, Alert, Origin, alerts_from, record_ids
from streams.core.events import Events, Source
from streams.core.features import Rows
from streams.core.windows import WIDTH, Advance, Windows
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
    step, width = classified.step, classified.detector.width
    index = step.index[chosen][
        :, -width:
    ]  # places on the tape: D rings of WIDTH rows, then the applied events
    in_ring = np.minimum(index, len(windows) * WIDTH - 1)
    rows = windows["rows"][in_ring // WIDTH, in_ring % WIDTH]
    fresh = index >= len(windows) * WIDTH
    rows[fresh] = classified.events.rows[step.applied[index[fresh] - len(windows) * WIDTH]]
    return rows, step.valid[chosen][:, -width:]


def alerts_of(classified: Classified, wanted: Sequence[int], now_us: int) -> list[Alert]:
    """The alerts of the applied events whose places stand in `wanted`."""
    events, detector, verdicts = classified.events, classified.detector, classified.verdicts
    identity, classes = detector.identity, detector.classes
    at = classified.step.applied[wanted]
    places = at.tolist()
    posterior = verdicts.posterior[wanted].astype(np.float64).round(4).tolist()
    offsets = events.offset[at].tolist()
    judged = zip(
        record_ids(classified.source, offsets),
        offsets,
        [events.device_id[i] for i in places],
        events.event_time_us[at].tolist(),
        [detector.verdicts[i] for i in verdicts.verdict[wanted].tolist()],
        [classes[i] for i in verdicts.closest[wanted].tolist()],
        [dict(zip(classes, scores, strict=True)) for scores in posterior],
        verdicts.novelty[wanted].astype(np.float64).round(4).tolist(),
        np.minimum(classified.step.fill[wanted], detector.width).tolist(),
        [None] * len(places) if events.context is None else [events.context[i] for i in places],
        strict=True,
    )
    origin = Origin(
        source=classified.source,
        detected_at_us=now_us,
        window_width=detector.width,
        model_name=identity.name,
        model_version=identity.version,
        model_digest=identity.digest,
        model_role=classified.role,
    )
    return alerts_from(origin, judged)
