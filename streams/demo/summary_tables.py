"""The demonstration's end as tables and sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from streams.core.topics import NORMAL
from streams.demo.summary import Summary

WIDE: Final = 120
"""Columns that the tables need to stand whole, with every column in its place."""


def tables(summary: Summary, width: int = WIDE) -> RenderableType:
    """The summary for people: classes, episodes, and a line on what went wrong where anything did.

    On less than WIDE columns, 80 at least, the verdicts of each class stand below the table.
    """
    return Group(
        _class_table(summary, wide=width >= WIDE),
        _episode_table(summary, wide=width >= WIDE),
        _model_table(summary, wide=width >= WIDE),
        *(Text(line) for line in notes(summary)),
    )


def notes(summary: Summary) -> list[str]:
    """Sentences under the tables."""
    delay = summary.delay_ms
    lines = [
        f"lost: {summary.lost:,} of {summary.events:,} events; {summary.classified:,} classified, "
        f"{summary.dead_letters:,} dead letters, {summary.alerts:,} alerts."
    ]
    if summary.incidents:
        lines.append(_about_incidents(summary))
    if delay:
        lines.append(
            f"From an event until its verdict is read: {delay['p50']:.0f} ms (median), "
            f"{delay['p95']:.0f} ms (95 %), {delay['p99']:.0f} ms (99 %)."
        )
    if summary.false_alarms:
        by_service = ", ".join(f"{name} {n:,}" for name, n in summary.false_alarms_by_service.items())
        lines.append(
            f"{summary.false_alarms:,} false alarms on normal events, "
            f"{summary.false_alarms_under_attack:,} of them on a device while it was under attack; "
            f"by service: {by_service}."
        )
    if summary.promotion:
        lines.append(f"Half-way, while events flowed: {summary.promotion}.")
    if summary.incidents_differing:
        lines.append(f"{summary.incidents_differing:,} incidents do not agree with their alerts: a fault.")
    if summary.alerts_differing:
        lines.append(
            f"{summary.alerts_differing:,} alerts do not agree with their verdicts: this is a fault."
        )
    return [*lines, *summary.remarks]


def _about_incidents(summary: Summary) -> str:
    attacked = [line for line in summary.episodes if line.incidents]
    right = sum(line.incidents[0].verdict == line.truth for line in attacked)
    most = max((len(line.incidents) for line in attacked), default=0)
    alone = f", {summary.alerts_alone:,} alone" if summary.alerts_alone else ""
    return (
        f"{summary.alerts:,} alerts are told as {summary.incidents:,} incidents in "
        f"{summary.incident_records:,} records{alone}: at most {most} an attack, the right class first in "
        f"{right} of {len(attacked)}; {summary.false_incidents:,} of false alarms alone."
    )


def _class_table(summary: Summary, *, wide: bool) -> RenderableType:
    table = _table("Simulated against found, by class", wide=wide)
    table.add_column("really")
    for name in ("events", "flagged", "exact class", "missed", "false alarms", "no verdict"):
        table.add_column(name if wide else name.replace(" ", "\n"), justify="right")
    if wide:
        table.add_column("verdicts")
    below = []
    for line in summary.classes:
        if not line.simulated:
            continue
        normal = line.truth == NORMAL
        flagged = "" if normal else _share(line.flagged, line.simulated)
        missed = "" if normal else f"{line.missed:,}"
        alarms = _share(line.flagged, line.simulated) if normal else ""
        exact = _share(line.exact, line.simulated)
        cells = [line.truth, f"{line.simulated:,}", flagged, exact, missed, alarms, f"{line.lost:,}"]
        table.add_row(*cells, *([_counts(line.verdicts)] if wide else []))
        below.append(Text(f"  {line.truth} events were called: {_counts(line.verdicts)}"))
    return table if wide else Group(table, *below)


def _episode_table(summary: Summary, *, wide: bool) -> RenderableType:
    """On a narrow terminal without the columns that the simulator, not the detector, decides."""
    table = _table("Attacks, one by one", wide=wide)
    imitates = wide and any(line.attack for line in summary.episodes)
    for name in ("attack", *(("like KDD'99's",) if imitates else ()), "class", "device"):
        table.add_column(name, no_wrap=True)
    for name in (*(("began at",) if wide else ()), "events", "flagged", "exact class", "first alert after"):
        table.add_column(name.replace(" ", "\n", 1), justify="right", no_wrap=True)
    if wide:
        table.add_column("told as")
    for line in summary.episodes:
        if not line.events:
            continue
        table.add_row(
            line.name,
            *((line.attack,) if imitates else ()),
            line.truth,
            line.device_id,
            *((f"{line.start_s:.1f} s",) if wide else ()),
            f"{line.events:,}",
            f"{line.flagged:,}",
            f"{line.exact:,}",
            "never" if line.first_alert_s is None else f"{line.first_alert_s:.1f} s",
            *((", ".join(f"{one.verdict} {one.alerts:,}" for one in line.incidents),) if wide else ()),
        )
    return table


def _model_table(summary: Summary, *, wide: bool) -> RenderableType:
    table = _table("Which model raised which alerts", wide=wide)
    table.add_column("model", no_wrap=True)
    for name in ("from", "to", "events", "alerts"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("by class")
    for line in summary.models:
        alerts = f"{sum(line.alerts.values()):,}"
        span = f"{line.first_s:.1f} s", f"{line.last_s:.1f} s"
        table.add_row(line.model, *span, f"{line.events:,}", alerts, _counts(line.alerts) or "none")
    return table


def _table(title: str, *, wide: bool) -> Table:
    if wide:
        return Table(title=title, title_justify="left")
    return Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))


def _counts(verdicts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in verdicts.items())


def _share(part: int, whole: int) -> str:
    return f"{part:,} ({part / whole:.1%})"
