"""A study in a terminal: the few tables that one looks at first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from streams.training.report.tables import count, decimal, percent

Json = Mapping[str, Any]


def print_study(console: Console, found: Json) -> None:
    """Operating points, classes, attack types and notes; the studies beside it after that."""
    split = found["split"]
    console.print(
        f"[bold]{split['name']}[/bold]: {found['rows']:,} rows, {found['distinct_rows']:,} distinct"
    )
    for name, of in found["operating_points"].items():
        _print_point(console, name, of)
        _print_types(console, name, of["per_attack_type"])
    for sentence in (*found.get("key_sentences", ()), split["tuned"], *found["notes"]):
        console.print(f"- {sentence}", highlight=False)
    for other in found.get("also", {}).values():
        print_study(console, other)


def _print_point(console: Console, name: str, of: Json) -> None:
    table = _table(
        ("class", "rows", "precision", "recall", "F1", "specificity", "AUC", "flagged"),
        f"Operating point {name}",
    )
    for label, it in of["per_class"].items():
        ratios = (percent(it, key) for key in ("precision", "recall", "f1", "specificity"))
        table.add_row(label, count(it, "support"), *ratios, decimal(it, "auc"), percent(it, "flagged"))
    console.print(table)
    console.print(
        f"all rows: accuracy {percent(of, 'accuracy')}, contest cost {decimal(of, 'cost')}, "
        f"false positives on normals {percent(of, 'false_positive_rate')}, "
        f"attacks flagged {percent(of, 'attacks_flagged')}, novel types {percent(of, 'novel_flagged')}\n"
        f"distinct rows: accuracy {percent(of['distinct'], 'accuracy')}, "
        f"contest cost {decimal(of['distinct'], 'cost')}",
        highlight=False,
    )


def _print_types(console: Console, name: str, types: Json) -> None:
    if not types:
        return
    table = _table(("attack type", "in training", "rows", "flagged", "own class"), f"Attack types, {name}")
    for label, it in sorted(types.items(), key=lambda item: (not item[1]["known"], -item[1]["rows"])):
        known = "yes" if it["known"] else "novel"
        table.add_row(label, known, count(it, "rows"), percent(it, "flagged"), percent(it, "recall"))
    console.print(table)


def _table(head: tuple[str, ...], title: str) -> Table:
    table = Table(title=title)
    for place, name in enumerate(head):
        table.add_column(name, justify="right" if place else "left")
    return table
