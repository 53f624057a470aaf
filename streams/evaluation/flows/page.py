"""The report of flows as one HTML file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from streams.evaluation import page, tables
from streams.evaluation.flows.tables import (
    Table,
    ablation,
    aims,
    alarms,
    by_capture,
    captures,
    compared,
    equal,
    leak,
    summary,
    views,
    warm_up,
)

Json = Mapping[str, Any]


def html(found: Json, images: Mapping[str, bytes]) -> str:
    """A whole document, pictures inlined."""
    body = [
        f"<h1>{escape(found['title'])}</h1>",
        f"<p>{escape(found['split']['name'])}</p>",
        _table(summary(found)),
    ]
    body += [_table(alarms(found))]
    sections: list[tuple[str, str, Iterable[Table], str]] = [
        ("Beside simple methods", "", [compared(found)], ""),
        (
            "At equal false incidents",
            "operating",
            equal(found),
            "Each method at the loosest of its thresholds that costs no more. These points are chosen on "
            "what they are shown for: they compare methods, and promise nothing.",
        ),
        ("By capture", "by_capture", [by_capture(found)], ""),
        ("Time to detection", "time", [], "Of the episodes that were found, in flows of the episode."),
        (
            "Other sensors",
            "views",
            views(found),
            "Thresholds come of the same view of the other folds' clean flows. Not merged: the sensor does "
            "not say which of its records are pieces, so that each counts as a flow.",
        ),
        (
            "A network that was watched before",
            "",
            warm_up(found),
            "Nobody says a word, but where a person is named: a profile is learnt from answered flows to "
            "private peers alone. Poisoned: a fifth of each attack is in what was watched.",
        ),
        ("What windows and features are worth", "ablation", ablation(found), _of_ablation(found)),
        ("Whether labels leak", "", leak(found), "An area of .5 is chance."),
        ("Aims", "", [aims(found)], ""),
        ("What was evaluated", "", [captures(found)], found["split"]["tuned"]),
    ]
    for title, image, told, text in sections:
        shown = [_table(it) for it in told]
        if image in images:
            shown.insert(0, page.picture(title, images[image]))
        if shown:
            body += [f"<h2>{escape(title)}</h2>", *shown, f"<p>{escape(text)}</p>" if text else ""]
    body += [
        "<h2>Methods</h2>",
        page.listed([f"{k}: {v['description']}" for k, v in found["methods"].items()]),
    ]
    body += ["<h2>How to read these figures</h2>", page.listed(found["notes"])]
    return page.document(found["title"], body)


def _table(of: Table) -> str:
    return tables.table(of.head, of.rows, of.title)


def _of_ablation(found: Json) -> str:
    return found.get("ablated", "") and (
        f"Measured with {found['ablated']}, one seed: it is fitted in seconds, and sees one flow at a time."
    )
