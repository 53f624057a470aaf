"""The sections of the page, in its order: a title, a picture, and what stands under it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from streams.evaluation.details import PARTS
from streams.evaluation.pictures import MEASURES, PAPER, PAPER_AUCS
from streams.evaluation.style import class_name
from streams.evaluation.tables import count, decimal, percent, table

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    picture: str  # its name in `pictures.DRAWN`; empty: none
    text: Callable[[Json], Iterable[str]]


def _p(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def _training(found: Json) -> Iterator[str]:
    logs = found.get("training_logs", ())
    if not any(log["records"] for log in logs):
        yield _p(
            "No log.jsonl of the training was found, so there are no curves. "
            "Give the run's folder with --run-dir."
        )
        return
    records = [record for log in logs for record in log["records"]]
    if not any(record.get("validation_accuracy") is not None for record in records):
        yield _p("The log holds losses alone: no accuracy was measured while training.")
    yield _p("Held-out rows are a part of the training file; test rows are never looked at while training.")


def _compared(found: Json) -> Iterator[str]:
    rows = [_measures(f"this model: {name}", of) for name, of in found["operating_points"].items()]
    others = found.get("baselines", {})
    rows += [_measures(name, of) for name, of in others.items() if name != "description"]
    if found.get("paper"):
        known = [f"{100 * PAPER[name]:.2f} %" if name in PAPER else "-" for name in MEASURES]
        rows.append(["the paper's own figures", *known, "-"])
    yield table(("", *(it if it != "f1" else "F1" for it in MEASURES), "contest cost"), rows)
    yield _p(
        "Precision, recall, F1 and specificity are plain means over the classes; "
        "bars show the range over seeds."
    )
    if found.get("paper"):
        yield _p(
            "The paper does not say how it averages over classes. Weighted by rows, recall equals accuracy."
        )
    else:
        yield _p(
            "The paper's 98.01 % accuracy, 98.21 % recall and 97.89 % specificity come from a random split "
            "of the training file and cannot be compared with this test; `autodeep evaluate paper` repeats "
            "its protocol."
        )
    if others:
        yield _p(others["description"])


def _measures(name: str, of: Json) -> list[str]:
    return [
        name,
        percent(of, "accuracy"),
        *(percent(of["macro"], it) for it in MEASURES[1:]),
        decimal(of, "cost"),
    ]


def _roc(found: Json) -> Iterator[str]:
    if found.get("paper"):
        yield _p(f"The paper reports areas of {PAPER_AUCS} for its three classes.")
    yield _p("Of the posterior, before any decision; so the curves belong to no single operating point.")


def _per_class(found: Json) -> Iterator[str]:
    for point, of in found["operating_points"].items():
        rows = [
            [
                class_name(name),
                count(it, "support"),
                *(percent(it, key) for key in ("precision", "recall", "f1", "specificity")),
                decimal(it, "auc"),
                percent(it, "flagged"),
            ]
            for name, it in of["per_class"].items()
        ]
        head = ("class", "rows", "precision", "recall", "F1", "specificity", "AUC", "flagged as any attack")
        yield table(head, rows, f"Operating point: {point}")
    yield _p("For normal rows, flagged means false alarms. Undefined: a ratio without a denominator.")


def _parts(found: Json) -> Iterator[str]:
    for point, of in found["operating_points"].items():
        rows = []
        for key, label in PARTS.items():
            part = of.get(key) if key else of
            if part and part.get("rows"):
                recalls = [percent(it, "recall") for it in part["per_class"].values()]
                rows.append(
                    [
                        label,
                        count(part, "rows"),
                        percent(part, "accuracy"),
                        decimal(part, "cost"),
                        count(part, "false_positives_per_100000"),
                        *recalls,
                    ]
                )
        names = [f"recall {class_name(name)}" for name in of["per_class"]]
        head = ("", "rows", "accuracy", "contest cost", "false positives per 100,000", *names)
        yield table(head, rows, f"Operating point: {point}")
    yield _p(
        "Distinct: the first row of each feature vector and label. Not in training: no row of the "
        "training file has the same 41 features, whatever its label."
    )


def _types(found: Json) -> Iterator[str]:
    for point, of in found["operating_points"].items():
        types = sorted(of["per_attack_type"].items(), key=lambda it: (bool(it[1]["known"]), -it[1]["rows"]))
        rows = [
            [
                name,
                "yes" if it["known"] else "novel",
                count(it, "rows"),
                percent(it, "flagged"),
                percent(it, "recall"),
            ]
            for name, it in types
        ]
        if rows:
            head = ("attack type", "in training", "rows", "flagged as any attack", "given its own class")
            yield table(head, rows, f"Operating point: {point}")


def _operating(found: Json) -> Iterator[str]:
    if "operating" in found.get("curves", {}):
        yield _p(
            "The same posteriors, decided with other prices of a false alarm. The curve is drawn for the "
            "report; no point was chosen on it."
        )


def _fill(found: Json) -> Iterator[str]:
    if "window_fill" in found.get("curves", {}):
        yield _p(
            "A device that has just appeared has no history. Here all but the last events of each window "
            "are hidden; at most 4,000 distinct rows a class."
        )
    elif "curves" in found:
        yield _p("Every row was judged alone, so there is no history to hide.")


def _calibration(found: Json) -> Iterator[str]:
    curve = found.get("curves", {}).get("calibration")
    if curve:
        yield _p(
            f"Expected calibration error {100 * curve['expected_calibration_error']:.2f} points, Brier score "
            f"{curve['brier_score']:.4f}. The lower axis counts rows, in logarithms."
        )


SECTIONS: Final = (
    Section("Accuracy, precision, recall, F1 and specificity", "compared", _compared),
    Section("Figures of each class", "", _per_class),
    Section("Confusion matrix", "confusion", lambda found: ()),
    Section("ROC curve of each class", "roc", _roc),
    Section("Accuracy and loss over iterations", "training", _training),
    Section("Without repeats, and without rows that also occur in training", "parts", _parts),
    Section("False alarms against cost", "operating", _operating),
    Section("Attack types", "attack_types", _types),
    Section("How much history a verdict needs", "window_fill", _fill),
    Section("Calibration", "calibration", _calibration),
)
