"""A challenger beside the champion on the same events: running figures, and what they advise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from streams.core.tables import Rows
from streams.core.topics import NORMAL, NOVEL
from streams.model.detector import Detector

NOVELTY_EDGES: Final = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)
"""Bounds of the novelty's bins, beside below the first and above the last."""
_LEAST_SHARE: Final = 1e-4
"""Stands for an empty bin, whose logarithm would be infinite."""


def stability_index(expected: Sequence[float], found: Sequence[float]) -> float:
    """The population stability index of two histograms over the same bins: sum of (f - e) ln(f / e).

    By the usual reading: below 0.1 alike, above 0.25 another distribution. 0 where one of them is empty.
    """
    if not sum(expected) or not sum(found):
        return 0.0
    e = np.maximum(np.array(expected, float) / sum(expected), _LEAST_SHARE)
    f = np.maximum(np.array(found, float) / sum(found), _LEAST_SHARE)
    return float(((f - e) * np.log(f / e)).sum())


def beyond_training(detector: Detector, rows: Rows) -> tuple[int, int]:
    """How many numbers of these rows lie beyond the detector's training range, and unknown symbols.

    What is absent is neither.
    """
    parameters = detector.parameters
    there = detector.table.present(rows)  # (N, columns)
    numbers = np.log1p(rows["numbers"])  # (N, numbers)
    low, high = np.array(parameters.low, np.float32), np.array(parameters.high, np.float32)
    count = numbers.shape[1]
    clipped = int((((numbers < low - 1e-6) | (numbers > high + 1e-6)) & there[:, :count]).sum())
    unknown = sum(
        int((~np.isin(rows["codes"][:, column], seen) & there[:, count + column]).sum())
        for column, seen in enumerate(parameters.seen_codes)
    )
    return clipped, unknown


@dataclass(slots=True)
class Comparison:
    """Sums over all events that both have judged, and counts of those that the challenger passed over."""

    champion: str = ""
    """Digest of the model that it is compared with; empty before the first event."""
    seen: int = 0
    scored: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    """Events that the challenger did not judge, by reason."""
    failed: int = 0
    """Events that the challenger could not be run on."""
    unpublished: int = 0
    """Disagreements beyond what is published in a second, or while Kafka was away."""
    confusion: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Verdicts of champion and challenger."""
    champion_novelty: list[int] = field(default_factory=lambda: [0] * (len(NOVELTY_EDGES) + 1))
    challenger_novelty: list[int] = field(default_factory=lambda: [0] * (len(NOVELTY_EDGES) + 1))
    numbers_beyond: int = 0
    symbols_unknown: int = 0
    champion_cpu_ns: int = 0
    challenger_cpu_ns: int = 0
    """Of a thread: the champion's with windows half remembered, the challenger's from raw rows."""

    def add(
        self,
        verdicts: Sequence[tuple[str, str]],
        novelties: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]],
        beyond: tuple[int, int],
        cpu_ns: tuple[int, int],
    ) -> None:
        """One chunk's events: verdicts of champion and challenger, and so on in the same order."""
        self.scored += len(verdicts)
        self.confusion.update(verdicts)
        for sums, novelty in zip((self.champion_novelty, self.challenger_novelty), novelties, strict=True):
            for place, count in enumerate(
                np.bincount(np.digitize(novelty, NOVELTY_EDGES), minlength=len(sums))
            ):
                sums[place] += int(count)
        self.numbers_beyond += beyond[0]
        self.symbols_unknown += beyond[1]
        self.champion_cpu_ns += cpu_ns[0]
        self.challenger_cpu_ns += cpu_ns[1]

    def figures(self) -> dict[str, Any]:
        """As one JSON object; figures of several workers are summed up by `total`."""
        return {
            "champion": self.champion,
            "seen": self.seen,
            "scored": self.scored,
            "dropped": dict(self.dropped),
            "failed": self.failed,
            "unpublished": self.unpublished,
            "confusion": [[a, b, count] for (a, b), count in sorted(self.confusion.items())],
            "champion_novelty": list(self.champion_novelty),
            "challenger_novelty": list(self.challenger_novelty),
            "numbers_beyond": self.numbers_beyond,
            "symbols_unknown": self.symbols_unknown,
            "champion_cpu_ns": self.champion_cpu_ns,
            "challenger_cpu_ns": self.challenger_cpu_ns,
        }


def total(figures: Sequence[Mapping[str, Any]]) -> Comparison:
    """The sum of what several workers report. Raises KeyError, TypeError or ValueError for other objects."""
    whole = Comparison()
    for one in figures:
        for name in (
            "seen", "scored", "failed", "unpublished", "numbers_beyond", "symbols_unknown",
            "champion_cpu_ns", "challenger_cpu_ns",
        ):  # fmt: skip
            setattr(whole, name, getattr(whole, name) + int(one[name]))
        whole.dropped.update({str(reason): int(count) for reason, count in one["dropped"].items()})
        whole.confusion.update({(str(a), str(b)): int(count) for a, b, count in one["confusion"]})
        for sums, added in (
            (whole.champion_novelty, one["champion_novelty"]),
            (whole.challenger_novelty, one["challenger_novelty"]),
        ):
            for place, count in enumerate(added):
                sums[place] += int(count)
    return whole


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: a figure, what is asked of it, and whether that holds (None: for reading)."""

    what: str
    value: str
    asked: str = ""
    holds: bool | None = None


LEAST_SCORED: Final = 10_000
LEAST_AGREEMENT: Final = 0.95
MOST_FLAGGED_RATIO: Final = 2.0
MOST_STABILITY_INDEX: Final = 0.25


def findings(summed: Comparison) -> tuple[Finding, ...]:
    """What the figures say, line by line."""
    scored = summed.scored
    lines = [
        Finding(
            "events scored",
            f"{scored:,} of {summed.seen:,}",
            f"at least {LEAST_SCORED:,}",
            scored >= LEAST_SCORED,
        )
    ]
    if summed.dropped:
        passed = ", ".join(f"{reason} {count:,}" for reason, count in sorted(summed.dropped.items()))
        lines.append(Finding("events passed over", passed))
    if summed.failed:
        lines.append(Finding("events it could not be run on", f"{summed.failed:,}", "none", False))
    if not scored:
        return tuple(lines)
    agreement = sum(count for (a, b), count in summed.confusion.items() if a == b) / scored
    champion, challenger = (_mix(summed, place) for place in (0, 1))
    flagged = [1.0 - mix.get(NORMAL, 0.0) for mix in (champion, challenger)]
    names = sorted({*champion, *challenger})
    verdicts_psi = stability_index([champion.get(n, 0) for n in names], [challenger.get(n, 0) for n in names])
    novelty_psi = stability_index(summed.champion_novelty, summed.challenger_novelty)
    lines += [
        Finding(
            "agreement", f"{agreement:.2%}", f"at least {LEAST_AGREEMENT:.0%}", agreement >= LEAST_AGREEMENT
        ),
        Finding(
            "flagged, champion and challenger",
            f"{flagged[0]:.2%}, {flagged[1]:.2%}",
            f"neither {MOST_FLAGGED_RATIO:g} times nor 1/{MOST_FLAGGED_RATIO:g} of it",
            _within(flagged[0], flagged[1], scored),
        ),
        Finding(
            "novel, champion and challenger",
            ", ".join(f"{m.get(NOVEL, 0):.2%}" for m in (champion, challenger)),
        ),
        *_drifts(verdicts_psi, novelty_psi),
        Finding("numbers beyond the challenger's training", f"{summed.numbers_beyond / scored:.3f} an event"),
        Finding("symbols that its training did not have", f"{summed.symbols_unknown / scored:.3f} an event"),
        Finding(
            "CPU an event, champion and challenger",
            f"{summed.champion_cpu_ns / scored / 1e3:.1f} us, "
            f"{summed.challenger_cpu_ns / scored / 1e3:.1f} us",
        ),
    ]
    return tuple(lines)


def advice(lines: Sequence[Finding]) -> str:
    """`yes`, `no: why`, or `not yet: why`."""
    if not lines[0].holds:
        return f"not yet: {lines[0].value} events scored, {lines[0].asked} are asked for"
    broken = [f"{line.what} {line.value} ({line.asked})" for line in lines if line.holds is False]
    return f"no: {'; '.join(broken)}" if broken else "yes"


def _drifts(verdicts: float, novelty: float) -> list[Finding]:
    asked = f"at most {MOST_STABILITY_INDEX:g}"
    return [
        Finding(f"stability index of {what}", f"{value:.3f}", asked, value <= MOST_STABILITY_INDEX)
        for what, value in (("verdicts", verdicts), ("novelty", novelty))
    ]


def _mix(summed: Comparison, place: int) -> dict[str, float]:
    """The share of each verdict, of the champion (0) or the challenger (1)."""
    counts = Counter[str]()
    for pair, count in summed.confusion.items():
        counts[pair[place]] += count
    return {name: count / summed.scored for name, count in counts.items()}


def _within(before: float, after: float, scored: int) -> bool:
    """Shares of one event more or less do not count as a ratio."""
    slack = 10 / scored
    return before / MOST_FLAGGED_RATIO - slack <= after <= before * MOST_FLAGGED_RATIO + slack
