"""What a run of `bench latency` says: percentiles, CPU, recovery from a burst, and who is behind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from rich.table import Table

from bench.reload_figures import percentiles

Times = npt.NDArray[np.int64]

MORE_IS_WORSE: Final = ("p50_ms", "p95_ms", "p99_ms", "cpu_cores")
"""The figures in which a side can be behind; a turn of many events is neither good nor bad."""

GOOD_MS: Final = 100.0
WINDOW_US: Final = 2_000_000
_STEP_US: Final = 100_000
_LEAST: Final = 20
"""Alerts without which a window says nothing."""
_SAMPLES: Final = 1250
"""Attacks wanted of each rate; some of them are judged normal, and 1,000 alerts are to be left for p99."""
_HEADS: Final = {
    "p50_ms": "p50 ms",
    "p95_ms": "p95 ms",
    "p99_ms": "p99 ms",
    "cpu_cores": "cores",
    "events_per_turn": "a turn",
}
_SHARES: Final = (0.02, 0.8)


def attack_share(events: float) -> float:
    """The least share of attacks that gives enough alerts among so many events; 2 % where that is enough."""
    least, most = _SHARES
    return round(min(max(least, _SAMPLES / max(events, 1.0)), most), 3)


def latencies(sent_us: Times, appended_us: Times) -> dict[str, Any]:
    """Of N alerts; without any the percentiles are None."""
    found = percentiles((appended_us - sent_us) / 1000)
    named = {f"{name}_ms": found.get(name) for name in ("p50", "p95", "p99")}
    return {"alerts": len(sent_us), **named}


def usage(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """A process between two looks at its figures, `at_s` being when each look was."""
    elapsed_s = after["at_s"] - before["at_s"]
    turns = _turns(after) - _turns(before)
    records = after["records"] - before["records"]
    return {
        "cpu_cores": round((after["process_cpu_ns"] - before["process_cpu_ns"]) / 1e9 / elapsed_s, 3),
        "events_per_turn": round(records / turns, 1) if turns else None,
    }


def _turns(figures: Mapping[str, Any]) -> int:
    return int(figures["turns"] if "turns" in figures else figures["chunks"])


def behind(worker: Mapping[str, Any], loop: Mapping[str, Any]) -> list[str]:
    """Names of the figures in which the worker is worse; one that it lacks counts as worse."""
    names = [name for name in MORE_IS_WORSE if loop.get(name) is not None]
    return [name for name in names if worker.get(name) is None or worker[name] > loop[name]]


def drained_s(sent_us: Times, appended_us: Times, burst_end_us: int) -> float | None:
    """Seconds from the burst's end until its last alert was out; None without any."""
    of_burst = appended_us[sent_us < burst_end_us]
    return round(max(int(of_burst.max()) - burst_end_us, 0) / 1e6, 1) if len(of_burst) else None


def recovered_s(sent_us: Times, appended_us: Times, burst_end_us: int) -> float | None:
    """Seconds from the burst's end until the alerts of the last two seconds had p99 < 100 ms; None if never.

    In the order of appending, as who reads the alerts sees it. A window with few alerts does not count: one
    in which the worker stood still would look good.
    """
    order = np.argsort(appended_us, kind="stable")
    appended, taken_ms = appended_us[order], (appended_us - sent_us)[order] / 1000
    if not len(appended):
        return None
    for end_us in range(burst_end_us + WINDOW_US, int(appended[-1]) + _STEP_US, _STEP_US):
        first, last = np.searchsorted(appended, [end_us - WINDOW_US, end_us])
        if last - first >= _LEAST and float(np.percentile(taken_ms[first:last], 99)) < GOOD_MS:
            return round((end_us - burst_end_us) / 1e6, 1)
    return None


def tables(result: Mapping[str, Any]) -> list[Table]:
    """For people: a line a rate, the loop's figures below the worker's where both ran; then the rest."""
    sides, names = result["sides"], ("alerts", *MORE_IS_WORSE, "events_per_turn")
    table = Table(box=None, padding=(0, 2, 0, 0))
    for head in ("events/s", "attacks", "", *(_HEADS.get(name, name) for name in names)):
        table.add_column(head, no_wrap=True, justify="right" if head else "left")
    if len(sides) > 1:
        table.caption = "* worse than the loop"
    for rate in result["rates"]:
        found, worse = ([rate[side] for side in sides], rate["behind"]) if len(sides) > 1 else ([rate], [])
        cells = (
            "\n".join(_shown(one[name]) + "*" * (name in worse and one is found[0]) for one in found)
            for name in names
        )
        table.add_row(_shown(rate["rate"]), f"{rate['attack_share']:.1%}", "\n".join(sides), *cells)
    rest = Table(show_header=False)
    for name in ("capacity", "idle_cpu_cores"):
        rest.add_row(name, _shown(result[name]))
    for name, value in (result["burst"] or {}).items():
        rest.add_row(f"burst: {name}", _shown(value))
    return [table, rest]


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(one)}" for name, one in value.items())
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else str(value)
