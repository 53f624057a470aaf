"""The pictures of a report, drawn with matplotlib from the JSON alone: what is drawn can be read there."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from streams.evaluation import details, style
from streams.evaluation.style import class_name, colour_of, new

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Json = Mapping[str, Any]
PAPER_AUCS: Final = "0.99, 0.9821 and 0.9789"
PAPER: Final[Mapping[str, float]] = {"accuracy": 0.9801, "recall": 0.9821, "specificity": 0.9789}
PHASES: Final[Mapping[str, str]] = {"vae": "VAE, nats an event", "classifier": "BiGRU"}
MEASURES: Final = ("accuracy", "precision", "recall", "f1", "specificity")


def pictures(found: Json) -> dict[str, bytes]:
    """File name, without its ending, to PNG; what a study has nothing for is absent."""
    return drawn_of(found, DRAWN)


def drawn_of(found: Json, named: Mapping[str, Callable[[Json], Figure | None]]) -> dict[str, bytes]:
    """What each of `named` draws, but for those that have nothing to draw."""
    import matplotlib as mpl  # noqa: PLC0415 - an extra, and slow to import

    mpl.use("Agg")
    drawn = {}
    with mpl.rc_context(style.SETTINGS):
        for name, draw in named.items():
            figure = draw(found)
            if figure is not None:
                drawn[name] = _png(figure)
    return drawn


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=style.DPI, facecolor="white", metadata={"Software": None})
    return out.getvalue()


def training(found: Json) -> Figure | None:
    """Accuracy and loss over iterations, a line a seed, each phase on its own axes."""
    logs = [log["records"] for log in found.get("training_logs", ()) if log["records"]]
    if not logs:
        return None
    phases = list(dict.fromkeys(record["phase"] for records in logs for record in records))
    curves: list[tuple[str, tuple[str, ...], str]]
    curves = [(phase, ("loss", "validation_loss"), f"loss, {PHASES.get(phase, phase)}") for phase in phases]
    curves += [
        (phase, ("validation_accuracy",), f"accuracy, {PHASES.get(phase, phase)}, %") for phase in phases
    ]
    curves = [
        it for it in curves if any(_series(records, it[0], key)[0] for records in logs for key in it[1])
    ]
    figure = new(style.WIDTH_IN, 2.9 * ((len(curves) + 1) // 2))
    for place, (phase, keys, label) in enumerate(curves, start=1):
        axes = figure.add_subplot((len(curves) + 1) // 2, min(2, len(curves)), place)
        for key in keys:
            colour = style.COLOURS[int("validation" in key)]
            for seed, records in enumerate(logs):
                steps, values = _series(records, phase, key)
                if steps:
                    scale = 100 if "accuracy" in key else 1
                    axes.plot(
                        steps,
                        np.array(values) * scale,
                        color=colour,
                        lw=1.0,
                        alpha=0.8,
                        label=None if seed else ("held-out" if "validation" in key else "training"),
                    )
        axes.set(xlabel="iteration (step)", ylabel=label)
        axes.legend()
    return figure


def _series(records: list[Json], phase: str, key: str) -> tuple[list[int], list[float]]:
    chosen = [it for it in records if it["phase"] == phase and it.get(key) is not None]
    return [it["step"] for it in chosen], [it[key] for it in chosen]


def roc(found: Json) -> Figure | None:
    """One curve a class, on the whole range and on the part that matters, in logarithms."""
    curves = found.get("curves", {}).get("roc", {})
    if not curves.get("true_positive_rate"):
        return None
    per_class = next(iter(found["operating_points"].values()))["per_class"]
    figure = new(style.WIDTH_IN, 3.9)
    whole, low = figure.subplots(1, 2)
    rates = 100 * np.array(curves["false_positive_rate"])
    for place, (name, true) in enumerate(curves["true_positive_rate"].items()):
        spread = per_class[name].get("spread", {}).get("auc")
        label = f"{class_name(name)}: AUC {per_class[name]['auc']:.4f}"
        label += f" ± {spread['sd']:.4f}" if spread else ""
        for axes in (whole, low):
            axes.plot(rates, 100 * np.array(true), color=colour_of(name, place), lw=1.6, label=label)
    whole.plot([0, 100], [0, 100], color=style.GREY, lw=0.8, ls="--", label="chance: AUC 0.5")
    whole.set(xlabel="false positive rate, %", ylabel="true positive rate, %", title="whole range")
    low.set(xlabel="false positive rate, % (logarithmic)", title="few false positives")
    low.set_xscale("log")
    low.set_xlim(1e-3, 100)
    low.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    for axes in (whole, low):
        axes.set_ylim(-2, 102)
    whole.legend(loc="lower right")
    return figure


def confusion(found: Json) -> Figure | None:
    """A matrix for each operating point: counts, with the share of the true class in colour."""
    points = {name: of for name, of in found["operating_points"].items() if of.get("confusion")}
    if not points:
        return None
    figure = new(style.WIDTH_IN if len(points) > 1 else 5.2, 4.0)
    mean = f"\n(mean of {found['seeds']} models)" if found["seeds"] > 1 else ""
    for axes, (name, of) in zip(np.atleast_1d(figure.subplots(1, len(points))), points.items(), strict=True):
        counts = np.array(of["confusion"], float)  # (C, C)
        share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
        names = [class_name(it) for it in of["per_class"]]
        axes.set_xticks(range(len(names)), names)
        axes.set_yticks(
            range(len(names)), [f"{it}\n{_counted(sum(row))}" for it, row in zip(names, counts, strict=True)]
        )
        axes.set(xlabel="verdict", ylabel="true class, rows", title=f"operating point: {name}{mean}")
        axes.grid(False)
        for row in range(len(names)):
            for column in range(len(names)):
                _cell(axes, column, row, counts[row, column], share[row, column])
    return figure


def _cell(axes: Any, column: int, row: int, count: float, share: float) -> None:
    text = _counted(count)
    if count:
        text += f"\n{100 * share:.1f} %"
    axes.text(
        column, row, text, ha="center", va="center", fontsize=7.5, color="white" if share > 0.6 else "#222222"
    )


def _counted(count: float) -> str:
    return f"{count:,.0f}" if abs(count - round(count)) < 0.05 else f"{count:,.1f}"


def compared(found: Json) -> Figure | None:
    """Accuracy, precision, recall, F1, specificity: points, baselines, and the paper's where they compare.

    The axes show what lies near the best; where majority is far off, an arrow at the edge says so.
    """
    rows: dict[str, Json] = {f"this model: {name}": of for name, of in found["operating_points"].items()}
    rows |= {name: of for name, of in found.get("baselines", {}).items() if name != "description"}
    names = list(rows) + (["the paper's own"] if found.get("paper") else [])
    figure = new(style.WIDTH_IN, 1.0 + 0.42 * len(names))
    axes_of = figure.subplots(1, len(MEASURES), sharey=True)
    for axes, measure in zip(axes_of, MEASURES, strict=True):
        owners = {name: of if measure == "accuracy" else of["macro"] for name, of in rows.items()}
        known = PAPER[measure] if found.get("paper") and measure in PAPER else None
        _limit(axes, owners, measure, known)
        for place, (name, of) in enumerate(owners.items()):
            _dot(axes, place, of, measure, style.COLOURS[int("this" not in name)])
        if known is not None:
            axes.plot(100 * known, len(names) - 1, "D", color="black", ms=5)
            _said(axes, 100 * known, len(names) - 1)
        axes.set(title=measure if measure != "f1" else "F1", xlabel="%")
        axes.set_yticks(range(len(names)), names)
        axes.grid(axis="y", visible=False)
    axes_of[0].set_ylim(len(names) - 0.5, -0.7)
    return figure


def _limit(axes: Any, owners: Mapping[str, Json], measure: str, known: float | None) -> None:
    near = [] if known is None else [100 * known]
    for name, of in owners.items():
        if name != "majority" and of.get(measure) is not None:
            spread = of.get("spread", {}).get(measure, {})
            near += [100 * spread.get("low", of[measure]), 100 * spread.get("high", of[measure])]
    if near:
        room = max(0.25 * (max(near) - min(near)), 0.5)
        axes.set_xlim(min(near) - room, max(near) + room)


def _dot(axes: Any, place: int, of: Json, measure: str, colour: str) -> None:
    value = of.get(measure)
    if value is None:
        return
    if 100 * value < axes.get_xlim()[0]:
        edge = axes.get_xlim()[0]
        axes.annotate(
            f"◂ {100 * value:.1f}",
            (edge, place),
            (3, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
        )
        return
    spread = of.get("spread", {}).get(measure, {"low": value, "high": value})
    around = [[100 * (value - spread["low"])], [100 * (spread["high"] - value)]]
    axes.errorbar(100 * value, place, xerr=around, fmt="o", ms=5, color=colour, capsize=3, lw=1.2)
    _said(axes, 100 * value, place)


def _said(axes: Any, value: float, place: int) -> None:
    at = (0, 6)
    axes.annotate(
        f"{value:.2f}",
        (value, place),
        at,
        textcoords="offset points",
        ha="center",
        fontsize=7.5,
        color="#333333",
    )


DRAWN: Final[Mapping[str, Callable[[Json], Figure | None]]] = {
    "training": training,
    "roc": roc,
    "confusion": confusion,
    "compared": compared,
    "parts": details.parts,
    "attack_types": details.attack_types,
    "operating": details.operating,
    "window_fill": details.window_fill,
    "calibration": details.calibration,
}
