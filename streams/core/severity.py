"""How severe a verdict is: by its class, and one step lower where the model is not sure of it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final

from streams.core.topics import NOVEL

SURE: Final = 0.8
"""The least posterior probability of a verdict that keeps its class's severity."""


class Severity(IntEnum):
    """The numbers are OCSF's `severity_id`."""

    INFORMATIONAL = 1
    LOW = 2
    MEDIUM = 3
    HIGH = 4
    CRITICAL = 5

    @property
    def word(self) -> str:
        return self.name.lower()


BY_CLASS: Final[Mapping[str, Severity]] = MappingProxyType(
    {
        "u2r": Severity.CRITICAL,
        "dos": Severity.HIGH,
        "r2l": Severity.HIGH,
        "c2": Severity.HIGH,
        "probe": Severity.MEDIUM,
        NOVEL: Severity.MEDIUM,
    }
)
OF_OTHER_CLASSES: Final = Severity.MEDIUM


def severity_of(
    verdict: str, scores: Mapping[str, float], by_class: Mapping[str, Severity] = BY_CLASS
) -> Severity:
    """Of an alert with this verdict and these posteriors. One without a score (novel) is not lowered."""
    severity = by_class.get(verdict, OF_OTHER_CLASSES)
    sure = scores.get(verdict, 1.0) >= SURE
    return severity if sure else Severity(max(severity - 1, Severity.INFORMATIONAL))
