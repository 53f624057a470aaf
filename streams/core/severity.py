"""How severe a verdict is: by its class, and one step lower where the model is not sure of it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final

from streams.core.topics import NOVEL
from streams.errors import SettingsError

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
        return _WORDS[self]


_WORDS: Final = ("", *(one.name.lower() for one in Severity))
"""By number: an enumeration's own name is slow to ask for, and every alert has one."""
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

_LOWER: Final = {one: Severity(max(one - 1, Severity.INFORMATIONAL)) for one in Severity}


def severities_by_class(changes: str) -> Mapping[str, Severity]:
    """The usual ones with changes such as `probe=low,dos=critical`. Raises SettingsError."""
    by_class = dict(BY_CLASS)
    for change in filter(None, (part.strip() for part in changes.split(","))):
        verdict, _, word = (part.strip().lower() for part in change.partition("="))
        if verdict not in BY_CLASS or word not in _WORDS[1:]:
            raise SettingsError(
                f"AUTODEEP_SEVERITIES: {change!r} cannot be used: expected a class of {', '.join(BY_CLASS)}, "
                f"and a severity of {', '.join(_WORDS[1:])}, such as probe=low"
            )
        by_class[verdict] = Severity(_WORDS.index(word))
    return by_class


def severity_of(
    verdict: str, scores: Mapping[str, float], by_class: Mapping[str, Severity] = BY_CLASS
) -> Severity:
    """Of an alert with this verdict and these posteriors. One without a score (novel) is not lowered."""
    severity = by_class.get(verdict, OF_OTHER_CLASSES)
    return severity if scores.get(verdict, 1.0) >= SURE else _LOWER[severity]
