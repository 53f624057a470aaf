"""From a chunk's verdicts to the messages that tell of them.

Alerts are written where verdicts are computed. Those that are to say what drove them are written once more
where they are delivered, with the explanation in them: computing it is no part of the way to a verdict, and
the next chunk's verdicts do not wait for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from streams.codec.output.alerts import AlertFormat, encode_alert
from streams.core.alerts import Alert, in_share
from streams.core.events import Message
from streams.core.tables import Rows
from streams.core.topics import NORMAL, Topics
from streams.core.windows import Windows
from streams.model.classified import Classified, alerts_of, windows_of
from streams.model.detector import Detector
from streams.model.drivers import explanations


@dataclass(frozen=True, slots=True)
class Rules:
    """What a deployment decides about the path."""

    topics: Topics
    idle_us: int
    alert_format: AlertFormat = "avro"
    alert_schema_id: int | None = None
    """The Alert schema's id in a registry, where one is configured: alerts are then framed as Confluent's."""
    publish_classified: bool = False
    version: str = ""
    explain_share: float = 0.0
    """Of the alerts, by their ids: the same ones say what drove them however often they are published."""
    new_devices_per_s: int = 0
    """Devices without a window that are let in per partition; the events of others are dead letters."""


@dataclass(frozen=True, slots=True, eq=False)
class Unexplained:
    """Alerts (E) that are still to say what drove them, and what that follows from."""

    detector: Detector
    alerts: Mapping[bytes, Alert]  # by the values of their messages
    windows: tuple[Rows, npt.NDArray[np.bool_]]  # (E, W) raw rows, and which are there
    verdict: npt.NDArray[np.int64]  # (E,)
    closest: npt.NDArray[np.int64]  # (E,)


def messages_of(
    classified: Classified, windows: Windows, rules: Rules, now_us: int
) -> tuple[list[Message], Unexplained | None]:
    """Messages of the alerts, and of every verdict where that is asked; and which are still to be explained.

    `windows` (D,) are those before the chunk.
    """
    names = classified.names
    wanted = [i for i, name in enumerate(names) if name != NORMAL or rules.publish_classified]
    messages: list[Message] = []
    chosen: list[int] = []
    alerts: dict[bytes, Alert] = {}
    for place, alert in zip(wanted, alerts_of(classified, wanted, now_us) if wanted else (), strict=True):
        value = _encoded(alert, rules)
        messages += [Message(topic, alert.device_id.encode(), value) for topic in _topics(alert, rules)]
        if alert.verdict != NORMAL and in_share(alert.alert_id, rules.explain_share):
            chosen.append(place)
            alerts[value] = alert
    if not chosen:
        return messages, None
    verdict, closest = classified.verdicts.verdict[chosen], classified.verdicts.closest[chosen]
    looked_at = windows_of(classified, windows, chosen)
    return messages, Unexplained(classified.detector, alerts, looked_at, verdict, closest)


def explained(messages: Sequence[Message], parts: Sequence[Unexplained], rules: Rules) -> Sequence[Message]:
    """The same messages in the same order, those of the alerts in `parts` with what drove them."""
    instead = {
        value: _encoded(replace(alert, explanation=explanation), rules)
        for part in parts
        for (value, alert), explanation in zip(
            part.alerts.items(),
            explanations(part.detector, part.windows, part.verdict, part.closest),
            strict=True,
        )
    }
    return [
        message if message.value not in instead else replace(message, value=instead[message.value])
        for message in messages
    ]


def _encoded(alert: Alert, rules: Rules) -> bytes:
    return encode_alert(alert, rules.alert_format, rules.alert_schema_id)


def _topics(alert: Alert, rules: Rules) -> list[str]:
    topics = [rules.topics.alerts(alert.verdict)] if alert.verdict != NORMAL else []
    return [*topics, rules.topics.classified] if rules.publish_classified else topics
