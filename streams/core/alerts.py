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
class Driver:
    """One feature's part in a verdict."""

    feature: str
    value: str
    share: float
    """Of all features and earlier events, -1 to 1, rounded to 3 decimals; below 0: against the verdict."""
    usual: str
    """What is usual in the closest class, such as `0..511` or `S0, REJ`; empty: the model does not know."""
    normal: str
    """What is usual in normal events."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What drove a verdict."""

    features: tuple[Driver, ...]
    """Those of the largest shares, the largest first."""
    events: tuple[float, ...]
    """The shares of the earlier events in the window, oldest first."""


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
    explanation: Explanation | None = None
    """What drove the verdict, in the share of alerts that the settings ask it for."""
    context: Mapping[str, str] | None = None
    """What the event carried beside its features: addresses, ports, sensor, flow id, free labels."""


def in_share(alert_id: str, share: float) -> bool:
    """Whether an alert is among the share of 0..1 that is explained: the same ones however often it is told.

    The id's first 32 bits, which a UUIDv5 takes from a SHA-1, as a fraction of 1.
    """
    return int(alert_id[:8], 16) < share * 2.0**32
