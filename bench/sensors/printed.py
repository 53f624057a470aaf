"""The results as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

_COLUMNS = (
    "records",
    "flows",
    "meter's",
    "both",
    "devices",
    "direction",
    "state",
    "packets",
    "bytes",
    "windows",
)


def tables(result: Mapping[str, Any]) -> list[Table]:
    found = [_scenarios(result["scenarios"])]
    return [*found, _zeek(result["zeek"])] if result["zeek"] else found


def _scenarios(scenarios: Mapping[str, Mapping[str, Any]]) -> Table:
    table = _table("Beside our own meter: of the flows that both have, how many differ", "scenario", "sensor")
    table.add_column("largest values that differ")
    for scenario, sensors in scenarios.items():
        for place, (sensor, one) in enumerate(sensors.items()):
            peaks = "; ".join(
                f"{name} {right:.0f} {found:.0f}"
                for name, (right, found) in list(one["peaks_apart"].items())[:2]
            )
            rest = len(one["peaks_apart"]) - 2
            table.add_row(
                "" if place else scenario,
                sensor,
                *_cells(one),
                peaks + (f" and {rest} more" if rest > 0 else ""),
            )
        table.add_section()
    return table


def _table(title: str, *first: str) -> Table:
    table = Table(title=title)
    for name in first:
        table.add_column(name)
    for name in _COLUMNS:
        table.add_column(name, justify="right")
    return table


def _cells(one: Mapping[str, Any]) -> list[str]:
    counts = [one["flows"], one["reference_flows"], one["both"], len(one["other_devices"])]
    differing = [one[name] for name in ("direction", "state", "packets", "ip_bytes")]
    return [*map(str, (one["records"], *counts, *differing)), f"{one['windows_apart_share']:.1%}"]


def _zeek(tests: Mapping[str, Mapping[str, int]]) -> Table:
    table = Table(title="Zeek's logs of its own traces beside our meter")
    for name in ("traces", "flows", "meter's", "both", "direction", "state", "packets", "bytes"):
        table.add_column(name, justify="right")
    names = ("flows", "reference_flows", "both", "direction", "state", "packets", "ip_bytes")
    table.add_row(str(len(tests)), *(str(sum(one[name] for one in tests.values())) for name in names))
    return table


def order_table(result: Mapping[str, Any]) -> Table:
    table = Table(
        title=f"{result['records']} records, {result['device_flows']} device flows, seed {result['seed']}"
    )
    table.add_column("")
    courses = result["courses"]
    for name in courses:
        table.add_column(name, justify="right")
    rows = (
        "arrivals",
        "repeats",
        "unlike_the_recomputation",
        "lost",
        "counted_again",
        "counted_again_within_memory",
    )
    shares = ("counted_again_share", "apart_share", "bound_share", "bound_share_2_s")
    for name in rows:
        table.add_row(name, *(str(course[name]) for course in courses.values()))
    for name in shares:
        table.add_row(name, *(f"{course[name]:.2%}" for course in courses.values()))
    for name in next(iter(courses.values()))["apart_share_by"]:
        table.add_row(
            f"  apart: {name}", *(f"{course['apart_share_by'][name]:.2%}" for course in courses.values())
        )
    table.add_row(
        "apart_beyond_the_bound", *(str(course["apart_beyond_the_bound"]) for course in courses.values())
    )
    return table
