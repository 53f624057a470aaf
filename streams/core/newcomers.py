"""How many devices that nobody has seen yet are let in: a token bucket for each partition.

A device is new where no window of it is in memory or stored. Each one let in takes a window's room in the
store for days, so that a flood of made-up ids would fill it. The bucket earns by the time between the
records' own Kafka timestamps, not by this machine's clock: a backlog is let in as it would have been live,
and whatever the chunking, the same records meet the same bucket. Event time does not count: devices set it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from streams.core.events import Events, Partition, Reason, Rejected
from streams.core.windows import Index

BURST_S: Final = 10
"""The bucket holds what so many seconds earn: devices that come at once after a quiet time."""

_DEVICE: Final = 1000
"""Levels count thousandths of a device, so that a millisecond earns a whole number of them."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Bucket:
    """`level` in thousandths of a device, as of the Kafka timestamp `at_ms`."""

    level: int
    at_ms: int


def full(per_s: int, at_ms: int) -> Bucket:
    return Bucket(per_s * BURST_S * _DEVICE, at_ms)


def grown(bucket: Bucket, per_s: int, now_ms: int) -> Bucket:
    """The bucket as of another record's timestamp. Slightly earlier ones, as several producers give, change
    nothing; one that is earlier by more than the burst shows that the clock had run ahead, and sets it back.
    Otherwise one record from the far future would keep new devices out for good.
    """
    elapsed_ms = now_ms - bucket.at_ms
    if elapsed_ms < -BURST_S * 1000:
        return Bucket(bucket.level, now_ms)
    if elapsed_ms <= 0:
        return bucket
    return Bucket(min(bucket.level + per_s * elapsed_ms, full(per_s, 0).level), now_ms)


def admit(
    bucket: Bucket, per_s: int, arrivals: Sequence[tuple[int, int]], is_new: Mask
) -> tuple[Bucket, Mask]:
    """The bucket after the arrivals (N) and which of them (N,) are let in.

    An arrival is a device's number and the record's timestamp in ms, in arrival order; `is_new` (D,) says
    which devices are new. A device that was let in stays in; one that was refused may be let in later.
    """
    waiting = is_new.copy()
    admitted = np.ones(len(arrivals), bool)
    for place, (device, timestamp_ms) in enumerate(arrivals):
        if not waiting[device]:
            continue
        bucket = grown(bucket, per_s, timestamp_ms)
        if bucket.level >= _DEVICE:
            bucket = Bucket(bucket.level - _DEVICE, bucket.at_ms)
            waiting[device] = False
        else:
            admitted[place] = False
    return bucket, admitted


class Newcomers:
    """The buckets of a worker's partitions. `per_s` new devices a second and partition; 0: no limit."""

    def __init__(self, per_s: int) -> None:
        self._per_s = per_s
        self._buckets: dict[Partition, Bucket] = {}

    def admit(self, partition: Partition, times_ms: Sequence[int], device: Index, is_new: Mask) -> Mask:
        """Which of a partition's events (N,) are let in.

        `times_ms` N are Kafka's timestamps, `device` (N,) says whose each is, `is_new` (D,) who is new.
        """
        asking = np.flatnonzero(is_new[device]) if self._per_s else np.zeros(0, np.int64)  # (M,)
        admitted = np.ones(len(device), bool)
        if not len(asking):
            return admitted
        bucket = self._buckets.get(partition) or full(self._per_s, times_ms[int(asking[0])])
        arrivals = [(int(device[i]), times_ms[i]) for i in asking.tolist()]
        self._buckets[partition], admitted[asking] = admit(bucket, self._per_s, arrivals, is_new)
        return admitted

    def refused(self, events: Events, admitted: Mask) -> list[Rejected]:
        """What the dead letters of the others say."""
        detail = (
            f"no window of this device is known, and no more than {self._per_s} new devices a second are let "
            "in (AUTODEEP_NEW_DEVICES_PER_S); send the record again"
        )
        positions = events.position[~admitted].tolist()
        return [Rejected(position, Reason.NEW_DEVICE_LIMIT, detail) for position in positions]

    def forget(self, partition: Partition) -> None:
        """The partition was revoked. Whoever owns it next begins with a full bucket."""
        self._buckets.pop(partition, None)
