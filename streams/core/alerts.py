"""What an alert says, and the ids by which consumers drop repeats."""

from __future__ import annotations

import functools
import hashlib
import operator
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from streams.core.events import NO_TOPIC_ID, ORDINAL_SHIFT, Source

_NAMESPACE: Final = uuid.UUID("6f3b6c53-9b64-5c7d-8e0b-2f6f1c7f2a10")


CHAMPION: Final = "champion"
CANARY: Final = "canary"


def record_id(source: Source, offset: int) -> str:
    """The id of whatever is published because of one telemetry record: the same however often it is read.

    A UUIDv5 (RFC 9562) of topic id, partition and offset; of the topic's name where the broker gives no id.
    """
    return record_ids(source, (offset,))[0]


def record_ids(source: Source, offsets: Iterable[int]) -> list[str]:
    """The ids of many records of one source."""
    return _ids(source, (b"%d" % offset for offset in offsets))


def event_ids(source: Source, places: Iterable[int]) -> list[str]:
    """The ids of what events say, by their places: of a record's first event it is the record's."""
    return _ids(source, map(_named, places))


def _named(place: int) -> bytes:
    ordinal = place >> ORDINAL_SHIFT
    return b"%d/%d" % (offset_of(place), ordinal) if ordinal else b"%d" % place


def offset_of(place: int) -> int:
    return place & ((1 << ORDINAL_SHIFT) - 1)


def order_of(place: int) -> tuple[int, int]:
    """What events stand in the order of."""
    return offset_of(place), place >> ORDINAL_SHIFT


def part_ids(source: Source, parts: Iterable[tuple[int, str]]) -> list[str]:
    """The ids of what comes of many records, several of one: each by its offset, and what tells it apart."""
    return _ids(source, (f"{offset}/{part}".encode() for offset, part in parts))


def incident_id_of(source: Source, place: int, verdict: str) -> str:
    """Of the incident of this class that the event at the place opened."""
    ordinal = place >> ORDINAL_SHIFT
    return part_ids(source, ((offset_of(place), f"{ordinal}/{verdict}" if ordinal else verdict),))[0]


def _ids(source: Source, names: Iterable[bytes]) -> list[str]:
    """What `uuid.uuid5` makes, without its objects."""
    begun = _hashed_to_partition(source)
    ids = []
    for name in names:
        one = begun.copy()
        one.update(name)
        time_low, time_mid, time_high, variant, clock, node = _PARTS(one.hexdigest())
        ids.append(f"{time_low}-{time_mid}-5{time_high}-{_VARIANT[variant]}{clock}-{node}")
    return ids


_PARTS: Final = operator.itemgetter(
    slice(0, 8), slice(8, 12), slice(13, 16), 16, slice(17, 20), slice(20, 32)
)
"""The parts of a UUID's text in a hash's digits; the one at 12 gives way to the version."""
_VARIANT: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""The digit that holds the variant's two bits, by what the hash has there."""


@functools.lru_cache(maxsize=4096)
def _hashed_to_partition(source: Source) -> Any:
    """A SHA-1 of all of a record's name but its offset. Only copies of it are updated."""
    topic = source.topic if source.topic_id == NO_TOPIC_ID else str(source.topic_id)
    name = f"{topic}/{source.partition}/".encode()
    return hashlib.sha1(_NAMESPACE.bytes + name, usedforsecurity=False)


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
    incident_id: str | None = None
    """The incident that it belongs to; None where it belongs to none."""
    profile_revision: int | None = None
    """Of the site's profile that was in force; None where none was."""
    reasons: tuple[str, ...] = ()
    """What drove the verdict, in words, the strongest first; of flows."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What the alerts of one source, one model and one moment have in common."""

    source: Source
    detected_at_us: int
    window_width: int
    model_name: str
    model_version: str
    model_digest: str
    model_role: str = CHAMPION


Judged = tuple[
    str,
    int,
    str,
    int,
    str,
    str,
    Mapping[str, float],
    float,
    int,
    Mapping[str, str] | None,
    str | None,
    int | None,
]
"""alert_id, offset, device_id, event_time_us, verdict, closest, scores, novelty, window_fill, context,
incident_id, profile_revision."""


class _Draft:
    """An alert in the making: the same slots, but they can still be set.

    A frozen dataclass sets each field through `object.__setattr__`: 4.6 us for twenty of them, a quarter of
    what an event's verdict costs. A draft takes plain assignments and becomes an Alert by its class, 0.4 us.
    Python allows that between classes of one layout only, which the slots make sure of.
    """

    __slots__ = Alert.__slots__


def alerts_from(origin: Origin, judged: Iterable[Judged]) -> list[Alert]:
    """One alert for each, in their order."""
    alerts: list[Any] = []
    source, topic_id = origin.source, str(origin.source.topic_id)
    for alert_id, offset, device_id, time_us, verdict, closest, scores, novelty, fill, *rest in judged:
        context, of, revision = rest
        draft: Any = _Draft()
        draft.alert_id = alert_id
        draft.device_id = device_id
        draft.event_time_us = time_us
        draft.detected_at_us = origin.detected_at_us
        draft.verdict = verdict
        draft.closest = closest
        draft.scores = scores
        draft.novelty = novelty
        draft.window_fill = fill
        draft.window_width = origin.window_width
        draft.topic = source.topic
        draft.topic_id = topic_id
        draft.partition = source.partition
        draft.offset = offset
        draft.model_name = origin.model_name
        draft.model_version = origin.model_version
        draft.model_digest = origin.model_digest
        draft.model_role = origin.model_role
        draft.explanation = None
        draft.context = context
        draft.incident_id = of
        draft.profile_revision = revision
        draft.reasons = ()
        draft.__class__ = Alert
        alerts.append(draft)
    return alerts


def in_share(alert_id: str, share: float) -> bool:
    """Whether an alert is among the share of 0..1 that is explained: the same ones however often it is told.

    The id's first 32 bits, which a UUIDv5 takes from a SHA-1, as a fraction of 1.
    """
    return int(alert_id[:8], 16) < share * 2.0**32
