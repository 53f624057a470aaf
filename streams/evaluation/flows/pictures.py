"""The pictures of a report of flows, drawn from its JSON alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from streams.evaluation import style
from streams.evaluation.flows.tables import COLUMN_NAMES, main_of
from streams.evaluation.style import new

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Json = Mapping[str, Any]


def operating(found: Json) -> Figure | None:
    """Flows flagged against false incidents a device-day, a panel a column, a line a method."""
    columns = list(main_of(found)["figures"]["columns"])
    if main_of(found)["figures"]["false_incidents"]["all"]["a_device_day"] is None or not columns:
        return None
    across = 3
    figure = new(style.WIDTH_IN, 2.6 * -(-len(columns) // across))
    for place, column in enumerate(columns):
        axes = figure.add_subplot(-(-len(columns) // across), across, place + 1)
        for number, (name, method) in enumerate(found["methods"].items()):
            points = [it for it in method["curve"] if column in it["columns"]]
            cost = [it["false_incidents"]["all"]["a_device_day"] for it in points]
            flagged = [100 * it["columns"][column]["flagged"] for it in points]
            colour = style.COLOURS[number % len(style.COLOURS)]
            axes.plot(cost, flagged, "o-", ms=2.5, lw=1.2, color=colour, label=name)
        axes.set(title=COLUMN_NAMES[column], ylim=(-3, 103), xlabel="false incidents a device-day")
        axes.set_xscale("symlog", linthresh=0.1)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.tick_params(labelsize=7)
        if place % across == 0:
            axes.set_ylabel("flows flagged, %")
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def by_capture(found: Json) -> Figure | None:
    """Flagged share of each capture's attacks, with the seeds' range."""
    rows = [
        (f"{capture}: {COLUMN_NAMES[column]}", column, of)
        for capture, columns in main_of(found)["figures"]["by_capture"].items()
        for column, of in columns.items()
    ]
    if not rows:
        return None
    figure = new(style.WIDTH_IN, 0.9 + 0.24 * len(rows))
    axes = figure.add_subplot()
    for place, (_, column, of) in enumerate(rows):
        spread = of.get("spread", {}).get("flagged", {"low": of["flagged"], "high": of["flagged"]})
        around = [[100 * (of["flagged"] - spread["low"])], [100 * (spread["high"] - of["flagged"])]]
        colour = style.COLOURS[list(COLUMN_NAMES).index(column) % len(style.COLOURS)]
        axes.errorbar(100 * of["flagged"], place, xerr=around, fmt="o", ms=5, color=colour, capsize=3)
    axes.set_yticks(range(len(rows)), [f"{name} ({of['flows']:,.0f})" for name, _, of in rows])
    axes.set(xlabel="flows flagged, %", xlim=(-3, 103), ylim=(len(rows) - 0.5, -0.5))
    return figure


def time(found: Json) -> Figure | None:
    """Median flows and seconds until an episode was found, by column."""
    columns = {
        name: of
        for name, of in main_of(found)["figures"]["columns"].items()
        if of["flows_until_found"] is not None
    }
    if not columns:
        return None
    figure = new(style.WIDTH_IN, 2.6)
    names = [COLUMN_NAMES[it] for it in columns]
    for axes, key, label in zip(
        np.atleast_1d(figure.subplots(1, 2)),
        ("flows_until_found", "seconds_until_found"),
        ("flows until found (median)", "seconds until found (median)"),
        strict=True,
    ):
        values = [max(float(of[key]), 1e-3) for of in columns.values()]
        axes.barh(names, values, color=style.COLOURS[0])
        axes.set_xscale("log")
        axes.set_xlabel(label)
        axes.invert_yaxis()
        for place, of in enumerate(columns.values()):
            axes.annotate(f" {of[key]:,.3g}", (values[place], place), va="center", fontsize=7.5)
    return figure


def views(found: Json) -> Figure | None:
    of = found["views"][next(iter(found["views"]))]
    return _grouped(of) if len(of) > 1 else None


def ablation(found: Json) -> Figure | None:
    return _grouped(found["ablation"]) if found.get("ablation") else None


def _grouped(variants: Mapping[str, Json]) -> Figure:
    """Flows flagged by column and variant, and what each costs."""
    figure = new(style.WIDTH_IN, 1.2 + 0.42 * len(variants))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
    names = list(variants)
    columns = list(dict.fromkeys(it for of in variants.values() for it in of["columns"]))
    for place, column in enumerate(columns):
        colour = style.COLOURS[list(COLUMN_NAMES).index(column) % len(style.COLOURS)]
        known = [(row, variants[name]["columns"].get(column)) for row, name in enumerate(names)]
        left.plot(
            [100 * of["flagged"] for _, of in known if of],
            [row + 0.1 * (place - len(columns) / 2) for row, of in known if of],
            "o",
            ms=5,
            color=colour,
            label=COLUMN_NAMES[column],
        )
    left.set_yticks(range(len(names)), names)
    left.set(xlabel="flows flagged, %", xlim=(-3, 103), ylim=(len(names) - 0.4, -0.6))
    costs = [of["false_incidents"]["all"]["a_device_day"] or 0.0 for of in variants.values()]
    right.barh(range(len(names)), costs, color=style.GREY)
    right.set_xlabel("false incidents\na device-day")
    figure.legend(loc="outside lower center", ncols=6)
    return figure


DRAWN: Final[Mapping[str, Callable[[Json], Figure | None]]] = {
    "operating": operating,
    "by_capture": by_capture,
    "time": time,
    "views": views,
    "ablation": ablation,
}
