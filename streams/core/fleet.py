"""What is known of all workers together, when a model is to change at exact offsets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Readiness:
    """Of the workers that own telemetry: why one cannot prepare, and who is still to be waited for."""

    failed: Mapping[str, str]
    waiting_for: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ends:
    """Where the telemetry partitions (decimal text) end now, in this life of the topic."""

    topic_id: str
    offsets: Mapping[str, int]
