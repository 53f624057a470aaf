"""The pictures of what the paper leaves out: repeats, attack types, prices, history and calibration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from streams.evaluation import style
from streams.evaluation.style import class_name, colour_of, new

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Json = Mapping[str, Any]
PARTS: Final[Mapping[str, str]] = {
    "": "all rows",
    "distinct": "distinct rows",
    "unseen": "rows not in training",
    "unseen_distinct": "distinct, not in training",
}
_WINNER_COST: Final = 0.2331


def parts(found: Json) -> Figure | None:
    """How the figures fall: all rows, distinct rows, rows whose vector does not occur in training."""
    rows = {f"this model: {name}": of for name, of in found["operating_points"].items()}
    rows |= {
        name: of for name, of in found.get("baselines", {}).items() if name not in ("description", "majority")
    }
    first = next(iter(rows.values()))
    shown = {key: label for key, label in PARTS.items() if not key or first.get(key, {}).get("rows")}
    figure = new(style.WIDTH_IN, 3.4)
    wanted = (
        ("accuracy", "accuracy, %"),
        ("recall", "mean recall, %"),
        ("cost", "contest cost"),
    )
    for axes, (measure, label) in zip(figure.subplots(1, 3), wanted, strict=True):
        for place, (name, of) in enumerate(rows.items()):
            _line(axes, [of[key] if key else of for key in shown], measure, place, name)
        axes.set_xticks(range(len(shown)), list(shown.values()), rotation=35, ha="right", fontsize=8)
        axes.set_title(label, loc="left")
        axes.margins(x=0.12, y=0.12)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


def _line(axes: Axes, sections: list[Json], measure: str, place: int, name: str) -> None:
    scale = 1.0 if measure == "cost" else 100.0
    owners = [of["macro"] if measure == "recall" else of for of in sections]
    values = [scale * of[measure] for of in owners]
    spreads = [of.get("spread", {}).get(measure) for of in owners]
    low = [value - scale * it["low"] if it else 0.0 for value, it in zip(values, spreads, strict=True)]
    high = [scale * it["high"] - value if it else 0.0 for value, it in zip(values, spreads, strict=True)]
    axes.errorbar(
        np.arange(len(values)) + 0.12 * place,
        values,
        yerr=[low, high],
        fmt="o",
        ms=5,
        lw=1.2,
        capsize=2,
        color=style.COLOURS[place % len(style.COLOURS)],
        label=name,
    )


def attack_types(found: Json) -> Figure | None:
    """Share of each attack type that is flagged, and that gets its own class; novel types apart."""
    point, of = next(iter(found["operating_points"].items()))
    types = of["per_attack_type"]
    groups = [
        (
            title,
            sorted(
                ((n, t) for n, t in types.items() if t["known"] == known), key=lambda it: it[1]["flagged"]
            ),
        )
        for title, known in (("attack types that occur in training", True), ("novel attack types", False))
    ]
    groups = [(title, chosen) for title, chosen in groups if chosen]
    if not groups:
        return None
    figure = new(style.WIDTH_IN, 1.5 + 0.2 * max(len(chosen) for _, chosen in groups))
    for axes, (title, chosen) in zip(np.atleast_1d(figure.subplots(1, len(groups))), groups, strict=True):
        places = np.arange(len(chosen))
        axes.barh(
            places,
            [100 * t["flagged"] for _, t in chosen],
            color=style.COLOURS[5],
            label="flagged as any attack",
        )
        axes.plot(
            [100 * t["recall"] for _, t in chosen],
            places,
            "o",
            color=style.COLOURS[1],
            ms=4.5,
            label="given its own class",
            clip_on=False,
        )
        axes.set_yticks(places, [f"{name}  {t['rows']:,.0f}" for name, t in chosen], fontsize=8)
        axes.set(
            xlim=(0, 100), ylim=(-0.7, len(chosen) - 0.3), xlabel="share of the type's rows, %", title=title
        )
        axes.grid(axis="y", visible=False)
    handles, labels = axes.get_legend_handles_labels()
    title = f"operating point: {point}; beside each type, its rows"
    figure.legend(handles, labels, loc="outside lower center", ncols=2, title=title)
    return figure


def operating(found: Json) -> Figure | None:
    """What the contest's cost is at each rate of false alarms, with the operating points marked."""
    curve = found.get("curves", {}).get("operating")
    if not curve:
        return None
    from matplotlib.ticker import LogLocator  # noqa: PLC0415 - an extra, and slow to import

    figure = new(6.2, 3.9)
    axes = figure.subplots()
    rates = 100 * np.maximum(curve["false_positive_rate"], 1e-5)
    axes.plot(rates, curve["cost"], color=style.GREY, lw=1.5, label="price of a false alarm varied")
    for place, (name, of) in enumerate(found["operating_points"].items()):
        rate = of["false_positive_rate"]
        axes.plot(
            100 * max(rate, 1e-5),
            of["cost"],
            "o",
            ms=8,
            color=style.COLOURS[place],
            label=f"{name}: {100 * rate:.2f} %, cost {of['cost']:.4g}",
        )
    if found["protocol"] == "kdd99":
        axes.axhline(
            _WINNER_COST, color="black", lw=0.9, ls="--", label=f"contest's winner: cost {_WINNER_COST}"
        )
    least = min(curve["cost"])
    highest = max([1.6 * least, *(1.05 * of["cost"] for of in found["operating_points"].values())])
    room = 0.1 * (highest - least)
    axes.set_ylim(least - room, highest)  # the curve's left end has no alarms, and no use
    near = rates[np.array(curve["cost"]) <= highest]
    axes.set_xlim(near.min() / 1.5, near.max() * 1.5)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter("")
    axes.set(
        xlabel="false positives, % of normal rows (logarithmic)", ylabel="contest cost, mean of all rows"
    )
    axes.legend()
    return figure


def window_fill(found: Json) -> Figure | None:
    """Share of each class that is flagged, by how many events of its history are shown."""
    points = found.get("curves", {}).get("window_fill")
    if not points:
        return None
    figure = new(style.WIDTH_IN if len(points) > 1 else 5.6, 3.7)
    axes_of = np.atleast_1d(figure.subplots(1, len(points), sharey=True))
    for axes, (point, of) in zip(axes_of, points.items(), strict=True):
        for place, (name, flagged) in enumerate(of["flagged"].items()):
            rows = of["rows"][name]
            axes.plot(
                of["events"],
                100 * np.array(flagged),
                "o-",
                ms=4,
                lw=1.4,
                color=colour_of(name, place),
                label=f"{class_name(name)} ({rows:,.0f} rows)",
            )
        axes.set_xscale("log", base=2)
        axes.set_xticks(of["events"], [str(int(it)) for it in of["events"]])
        axes.minorticks_off()
        axes.set(
            xlabel="events in the window, the present one included",
            title=f"operating point: {point}",
            ylim=(-3, 103),
        )
    axes_of[0].set_ylabel("flagged, % of the class's distinct rows")
    handles, labels = axes_of[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5 if len(points) > 1 else 3)
    return figure


def calibration(found: Json) -> Figure | None:
    """How often rows are attacks where the model says so with a given probability."""
    curve = found.get("curves", {}).get("calibration")
    if not curve:
        return None
    figure = new(5.2, 4.6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    predicted, observed = 100 * np.array(curve["predicted"]), 100 * np.array(curve["observed"])
    upper.plot([0, 100], [0, 100], color=style.GREY, lw=0.9, ls="--", label="perfect calibration")
    error = curve["expected_calibration_error"]
    upper.plot(
        predicted, observed, "o-", color=style.COLOURS[0], label=f"this model, error {100 * error:.2f} points"
    )
    upper.set(ylabel="rows that are attacks, %", ylim=(-3, 103))
    figure.legend(*upper.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    lower.bar(predicted, curve["rows"], width=5, color=style.COLOURS[5])
    lower.set_yscale("log")
    lower.set_ylim(bottom=0.7)
    lower.set(xlabel="probability of an attack that the model gives, %", ylabel="rows\n(logarithmic)")
    return figure
