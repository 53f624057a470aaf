"""A study in a terminal: the few tables that one looks at first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from streams.evaluation.tables import count, decimal, figure, percent

Json = Mapping[str, Any]


def print_study(console: Console, found: Json) -> None:
    """Operating points, classes, attack types and notes; the studies beside it after that."""
    split = found["split"]
    console.print(
        f"[bold]{split['name']}[/bold]: {found['rows']:,} rows, {found['distinct_rows']:,} distinct\n"
    )
    for name, of in found["operating_points"].items():
        _print_point(console, name, of)
        _print_types(console, name, of["per_attack_type"])
    for sentence in (*found.get("key_sentences", ()), split["tuned"], *found["notes"]):
        console.print(f"- {sentence}", highlight=False)
    for other in found.get("also", {}).values():
        print_study(console, other)


def _print_point(console: Console, name: str, of: Json) -> None:
    """Ratios in the table are in percent, with a digit less than in the report: 80 columns hold a spread."""
    table = _table(
        ("class", "rows", "precision", "recall", "specificity", "flagged", "AUC"),
        f"Operating point {name}, %",
    )
    for label, it in of["per_class"].items():
        ratios = (_tenths(it, key) for key in ("precision", "recall", "specificity", "flagged"))
        table.add_row(label, count(it, "support"), *ratios, figure(it, "auc", 1.0, 3))
    console.print(table)
    console.print(
        f"all rows: accuracy {percent(of, 'accuracy')}, contest cost {decimal(of, 'cost')}, "
        f"false positives on normals {percent(of, 'false_positive_rate')}, "
        f"attacks flagged {percent(of, 'attacks_flagged')}, novel types {percent(of, 'novel_flagged')}\n"
        f"distinct rows: accuracy {percent(of['distinct'], 'accuracy')}, "
        f"contest cost {decimal(of['distinct'], 'cost')}\n",
        highlight=False,
    )


def _print_types(console: Console, name: str, types: Json) -> None:
    if not types:
        return
    title = f"Attack types, {name}, %"
    table = _table(("attack type", "in training", "rows", "flagged", "own class"), title)
    for label, it in sorted(types.items(), key=lambda item: (not item[1]["known"], -item[1]["rows"])):
        known = "yes" if it["known"] else "novel"
        table.add_row(label, known, count(it, "rows"), _tenths(it, "flagged"), _tenths(it, "recall"))
    console.print(table)
    console.print()


def _tenths(of: Json, name: str) -> str:
    """98.0 ± 0.1, in percent."""
    return figure(of, name, 100.0, 1)


def _table(head: tuple[str, ...], title: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0), header_style="dim")
    for place, name in enumerate(head):
        table.add_column(name, justify="right" if place else "left", no_wrap=True)
    return table
