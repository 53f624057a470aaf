"""The report as one HTML file: tables from the JSON, pictures inlined, nothing fetched from anywhere."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

from streams.evaluation import sections
from streams.evaluation.tables import count, decimal, percent, table

Json = Mapping[str, Any]
_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1d2733; max-width: 60rem; margin: 2rem auto;
 padding: 0 1rem; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.2rem; margin-top: 2.4rem;
 border-bottom: 1px solid #d8dde3; }
h1 + p { color: #52606d; }
table { border-collapse: collapse; margin: 1rem 0; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: #52606d; padding-bottom: .3rem; }
th, td { padding: .22rem .7rem; border-bottom: 1px solid #e5e9ee; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } thead th { border-bottom: 2px solid #b8c1cb; }
td.text { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.wide { overflow-x: auto; } img { max-width: 100%; height: auto; display: block; margin: 1rem 0; }
.key { background: #f3f6f9; border-left: 4px solid #0072B2; padding: .6rem 1rem; }
@media print { body { max-width: none; } h2 { break-after: avoid; } img, table { break-inside: avoid; } }
"""


def page(found: Json, images: Mapping[str, bytes]) -> str:
    """A whole HTML document of a study, and of those beside it (`also`)."""
    body = [f"<h1>{escape(found['title'])}</h1>", f"<p>{escape(found['split']['name'])}</p>"]
    body += _study(found, images, "")
    for name, other in found.get("also", {}).items():
        body += [f"<h1>{escape(other['split']['name'])}</h1>", *_study(other, images, f"{name}-")]
    return document(found["title"], body)


def document(title: str, body: Iterable[str]) -> str:
    """A whole page of what stands in its body."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def picture(title: str, image: bytes) -> str:
    data = base64.b64encode(image).decode()
    return f'<img alt="{escape(title)}" src="data:image/png;base64,{data}">'


def _study(found: Json, images: Mapping[str, bytes], prefix: str) -> list[str]:
    body = [
        _summary(found),
        *_key_sentences(found),
        "<h2>What was evaluated</h2>",
        _facts(found),
        _models(found),
    ]
    for section in sections.SECTIONS:
        text = list(section.text(found))
        image = images.get(prefix + section.picture) if section.picture else None
        if not text and image is None:
            continue
        body.append(f"<h2>{escape(section.title)}</h2>")
        if image is not None:
            body.append(picture(section.title, image))
        body += text
    body += ["<h2>How to read these figures</h2>", listed(found["notes"])]
    return body


def _summary(found: Json) -> str:
    rows = []
    for name, of in found["operating_points"].items():
        rows.append(
            [
                name,
                percent(of, "accuracy"),
                decimal(of, "cost"),
                count(of, "false_positives_per_100000"),
                percent(of, "attacks_flagged"),
                percent(of, "novel_flagged"),
            ]
        )
    head = (
        "operating point",
        "accuracy",
        "contest cost",
        "false positives per 100,000 normals",
        "attacks flagged",
        "novel types flagged (but for three, see the notes)",
    )
    return table(head, rows, f"{found['rows']:,} rows; {_seeds(found)}")


def _seeds(found: Json) -> str:
    models = found["seeds"]
    return "one model" if models == 1 else f"mean of {models} models ± standard deviation"


def _key_sentences(found: Json) -> Iterable[str]:
    for sentence in found.get("key_sentences", ()):
        yield f'<p class="key">{escape(sentence)}</p>'


def _facts(found: Json) -> str:
    split = found["split"]
    facts: list[tuple[str, str]] = [
        ("split", split["name"]),
        ("rows", f"{found['rows']:,}, of which {found['distinct_rows']:,} distinct (vector and label)"),
        (
            "readings of these rows",
            f"{found['test_readings']} for each model, as its manifest documents",
        ),
        ("chosen on what", split["tuned"]),
    ]
    if split.get("seen_rows_share") is not None:
        facts.append(
            (
                "also in training",
                f"{100 * split['seen_rows_share']:.1f} % of the rows, "
                f"{100 * split['seen_distinct_share']:.1f} % of the distinct ones, "
                "have a feature vector that also stands in the training rows",
            )
        )
    if split.get("remark"):
        facts.append(("order", split["remark"]))
    rows = "".join(
        f'<tr><th scope="row">{escape(a)}</th><td class="text">{escape(b)}</td></tr>' for a, b in facts
    )
    return f"<table>{rows}</table>"


def _models(found: Json) -> str:
    rows = [
        [
            of["model"],
            "-" if of["seed"] is None else str(of["seed"]),
            str(of["window_events"]),
            of["trained_on"] or "not said",
            of["digest"][:16] or "not stored",
        ]
        for of in found["models"]
    ]
    return table(("model", "seed", "window, events", "trained on", "digest"), rows, "Models")


def listed(items: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"
