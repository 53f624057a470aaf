"""Records that were gone before they were read: what of them is said."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from streams.core.events import Partition


class LossReason(StrEnum):
    """Values of the metric's label."""

    RETENTION = "retention"
    TRUNCATED = "truncated"


@dataclass(frozen=True, slots=True)
class Loss:
    """Offsets of a partition, half-open, that nobody can read any more."""

    place: Partition
    first: int
    end: int
    reason: LossReason

    @property
    def records(self) -> int:
        """At most: offsets may have held control records."""
        return self.end - self.first

    def __str__(self) -> str:
        topic, number = self.place
        lost = f"{topic}-{number}: offsets {self.first} to {self.end - 1} are lost"
        if self.reason == LossReason.RETENTION:
            return (
                f"{lost}: Kafka deleted them before they were read; reading goes on at {self.end} "
                "(raise the topic's retention.ms or retention.bytes, or run more workers)"
            )
        return (
            f"{lost}: the brokers' log ends before them, as after the election of a leader that lacked them; "
            "what the log still holds is read again"
        )


def missing(place: Partition, position: int, start: int, end: int) -> Loss | None:
    """What a reader at this position misses of a log from `start` to `end`; None where nothing."""
    if position < start:
        return Loss(place, position, start, LossReason.RETENTION)
    if position > end:
        return Loss(place, end, position, LossReason.TRUNCATED)
    return None
