"""What the modules of dialects give back, and how they say that a record is no flow."""

from __future__ import annotations

from dataclasses import dataclass

from streams.core.flows import Flow


class NoFlow(Exception):
    """The record is of another log or another type of event; its text says which."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A flow as one record has it."""

    flow: Flow
    dialect: str
    collected_us: int | None = None
    """When a collector had the record, by the collector's own clock; None where the record does not say."""
