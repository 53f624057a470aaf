"""What a run of reloads says: verdicts against the switch rule, latencies, the slope of the memory."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from bench.output import Topical, to_the_end
from streams.codec.output.alerts import decode_alert

Times = npt.NDArray[np.int64]

SETTLING_US: Final = 500_000
"""After a switch every device's window is encoded anew at its next event: that belongs to the reload."""
_FOR_EVER: Final = int(np.iinfo(np.int64).max)


@dataclass(frozen=True, slots=True)
class Tenure:
    """One model's: it may judge from `begun_us`; from `served_us` on all workers had it."""

    digest: str
    begun_us: int
    served_us: int


@dataclass(frozen=True, slots=True)
class Span:
    """From a command until all workers had switched, or until it was refused; half-open."""

    begun_us: int
    ended_us: int


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts:
    """The first verdict of each of N events."""

    sent_us: Times  # (N,)
    appended_us: Times  # (N,) by the broker's clock
    model: Times  # (N,) place in `digests`
    digests: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.sent_us)


def read_verdicts(parts: Topical) -> Verdicts:
    """By partition and offset of their events: millions fit into memory."""
    seen, places = set[int](), dict[str, int]()
    sent_us, appended_us, model = array("q"), array("q"), array("q")
    for message in to_the_end(parts, [parts.topics.classified]):
        alert = decode_alert(message.value(), message.headers())
        event = alert.partition << 48 | alert.offset
        if event in seen:
            continue
        seen.add(event)
        sent_us.append(alert.event_time_us)
        appended_us.append(message.timestamp()[1] * 1000 + 999)  # the broker's clock counts milliseconds
        model.append(places.setdefault(alert.model_digest, len(places)))
    sent, appended, judge = (np.array(column, np.int64) for column in (sent_us, appended_us, model))
    return Verdicts(sent, appended, judge, tuple(places))


def wrong(verdicts: Verdicts, reigns: Sequence[Tenure]) -> int:
    """Verdicts of a model that served nowhere while their event was under way."""
    allowed = np.zeros(len(verdicts), bool)
    left_us = [*(reign.served_us for reign in reigns[1:]), _FOR_EVER]
    for reign, until_us in zip(reigns, left_us, strict=True):
        if reign.digest in verdicts.digests:
            theirs = verdicts.model == verdicts.digests.index(reign.digest)
            under_way = (reign.begun_us <= verdicts.appended_us) & (verdicts.sent_us <= until_us)
            allowed |= theirs & under_way
    return int(np.count_nonzero(~allowed))


def latencies(verdicts: Verdicts, spans: Sequence[Span], since_us: int) -> dict[str, Any]:
    """Milliseconds from sending to verdict, of events sent from `since_us` on, and the 99th's ratio."""
    paced = verdicts.sent_us >= since_us
    sent_us = verdicts.sent_us[paced]
    taken_ms = (verdicts.appended_us[paced] - sent_us) / 1000
    during = np.zeros(len(sent_us), bool)
    for span in spans:
        during |= (sent_us >= span.begun_us) & (sent_us < span.ended_us + SETTLING_US)
    if not during.any() or during.all():
        return {"p99_ratio": None}
    with_ms, without_ms = percentiles(taken_ms[during]), percentiles(taken_ms[~during])
    return {
        "p99_ratio": round(with_ms["p99"] / without_ms["p99"], 2),
        "during_ms": with_ms,
        "without_ms": without_ms,
        "reloading_share": round(float(during.mean()), 2),
    }


def percentiles(values: Any, digits: int = 1) -> dict[str, float]:
    if not len(values):
        return {}
    return {
        f"p{percent}": round(float(value), digits)
        for percent, value in zip((50, 95, 99), np.percentile(values, [50, 95, 99]), strict=True)
    }


def slope_mib(rss_kib: Sequence[Sequence[int]]) -> float | None:
    """The steepest worker's growth in a hundred reloads, by least squares; the first fifth is warming up."""
    kept = np.array(rss_kib[len(rss_kib) // 5 :], float)  # (times, workers)
    if len(kept) < 2:
        return None
    slopes = np.polyfit(np.arange(len(kept)), kept, 1)[0]  # KiB a reload, (workers,)
    return round(float(slopes.max()) * 100 / 1024, 2)
