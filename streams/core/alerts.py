"""What an alert says, and the ids by which consumers drop repeats."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from streams.core.events import NO_TOPIC_ID, Source

_NAMESPACE: Final = uuid.UUID("6f3b6c53-9b64-5c7d-8e0b-2f6f1c7f2a10")


CHAMPION: Final = "champion"
CANARY: Final = "canary"


def record_id(source: Source, offset: int) -> str:
    """The id of whatever is published because of one telemetry record: the same however often it is read.

    A UUIDv5 (RFC 9562) of topic id, partition and offset; of the topic's name where the broker gives no id.
    """
    topic = source.topic if source.topic_id == NO_TOPIC_ID else str(source.topic_id)
    return str(uuid.uuid5(_NAMESPACE, f"{topic}/{source.partition}/{offset}"))


@dataclass(frozen=True, slots=True)
class Alert:
    """One classified event. `verdict` is a class of the model, `novel`, or (on ids.classified) `normal`."""

    alert_id: str
    device_id: str
    event_time_us: int
    detected_at_us: int
    verdict: str
    closest: str
    """The known class of least expected cost: the verdict itself unless that is `novel`."""
    scores: Mapping[str, float]
    """Class to posterior probability, rounded to 4 decimals."""
    novelty: float
    """The VAE's novelty score over its threshold: above 1 the event is like nothing in training."""
    window_fill: int
    """Events the verdict could look at, this one included: 1 to `window_width`."""
    window_width: int
    topic: str
    topic_id: str
    partition: int
    offset: int
    model_name: str
    model_version: str
    model_digest: str
    model_role: str = CHAMPION
    """`champion`, or `canary` where a challenger judges a share of the devices."""
