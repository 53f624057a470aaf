"""The laboratory's result as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from bench.lab.sensors import NAMES


def table(result: Mapping[str, Any]) -> Table:
    left_out = f"; left out: {', '.join(result['left_out'])}" if result["left_out"] else ""
    found = Table(
        title="Flows on ids.flows of each attack, and seconds from its start to the first",
        caption=f"{result['flows']} flows of devices in {result['seconds']} s{left_out}",
    )
    for name in ("attack", "class", "tool", "took"):
        found.add_column(name)
    for sensor in result["running"]:
        found.add_column(NAMES[sensor], justify="right")
    found.add_column("in time")
    told = any(row["alerts"] for row in result["scenarios"]) or result["benign_alerts"]
    if told:
        found.add_column("alerts")
        found.caption = f"{found.caption}; alerts of devices that were left alone: {result['benign_alerts']}"
    for row in result["scenarios"]:
        seen = [_seen(row["sensors"].get(sensor)) for sensor in result["running"]]
        alerts = [
            f"{name} {one['alerts']}, {one['first_s']:.1f} s" for name, one in sorted(row["alerts"].items())
        ]
        cells = [row["scenario"], row["kind"], row["tool"], f"{row['seconds']:.1f} s", *seen]
        found.add_row(
            *cells, "yes" if row["in_time"] else "NO", *(["; ".join(alerts) or "none"] if told else [])
        )
    return found


def _seen(one: Mapping[str, Any] | None) -> str:
    return "none" if one is None else f"{one['flows']}, {one['first_s']:.1f} s"
