"""Labelled logs of Zeek (conn.log.labeled, as of IoT-23) as a table of labelled flows."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import polars as pl

from streams.errors import DataError

_UNSET: Final = frozenset(("-", "(empty)", ""))
_TEXT: Final = {
    "orig_addr": "id.orig_h",
    "resp_addr": "id.resp_h",
    "proto": "proto",
    "service": "service",
    "state": "conn_state",
    "history": "history",
}
_NUMBERS: Final = {
    "start_s": "ts",
    "duration_s": "duration",
    "orig_port": "id.orig_p",
    "resp_port": "id.resp_p",
    "orig_packets": "orig_pkts",
    "orig_ip_bytes": "orig_ip_bytes",
    "resp_packets": "resp_pkts",
    "resp_ip_bytes": "resp_ip_bytes",
    "orig_bytes": "orig_bytes",
    "resp_bytes": "resp_bytes",
}
_NEEDED: Final = ("ts", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto", "label")
_WORDS: Final = (
    ("c&c", "c2"),
    ("torii", "c2"),
    ("portscan", "scan"),
    ("ddos", "flood"),
    ("dos", "flood"),
    ("brute", "r2l"),
)
"""What a detailed label holds -> the label; the first counts."""


def is_labelled_log(path: Path) -> bool:
    """Whether it begins as a log of Zeek's in TSV."""
    with path.open("rb") as file:
        return file.read(10) == b"#separator"


def table_of(path: Path) -> pl.DataFrame:
    """The flows of a log, one row each in the file's order, of one capture of its name.

    Raises DataError where a column is missing, the label's too.
    """
    names: list[str] = []
    rows: list[dict[str, str]] = []
    for line in path.read_text("utf-8", "replace").splitlines():
        if line.startswith("#fields"):
            names = _cells(line)[1:]
            missing = [name for name in _NEEDED if name not in names]
            if missing:
                raise DataError(f"{path}: has no column {', '.join(missing)}; labelled logs of Zeek have")
        elif line and not line.startswith("#"):
            rows.append(dict(zip(names, _cells(line), strict=False)))
    if not rows:
        raise DataError(f"{path}: holds no flows")
    return _table(path.name, rows)


def _cells(line: str) -> list[str]:
    """Of a line; IoT-23 sets its labels off by spaces within the last cell."""
    *cells, last = line.split("\t")
    return [*cells, *last.split("   ")]


def _table(name: str, rows: list[dict[str, str]]) -> pl.DataFrame:
    def text(column: str) -> list[str | None]:
        return [None if row.get(column, "-") in _UNSET else row[column] for row in rows]

    columns: dict[str, object] = {
        "capture": [name] * len(rows),
        "dataset": [name] * len(rows),
        "row": list(range(len(rows))),
    }
    columns |= {ours: text(theirs) for ours, theirs in _TEXT.items()}
    columns |= {ours: pl.Series(text(theirs), dtype=pl.String) for ours, theirs in _NUMBERS.items()}
    columns["label"] = [_label(row.get("label", ""), row.get("detailed-label", "")) for row in rows]
    table = pl.DataFrame(columns)
    return table.with_columns(
        [pl.col(of).cast(pl.Float64, strict=False) for of in _NUMBERS if of not in ("orig_port", "resp_port")]
        + [pl.col(of).cast(pl.Int64, strict=False).fill_null(0) for of in ("orig_port", "resp_port")]
    ).filter(pl.col("start_s").is_not_null())


def _label(label: str, detailed: str) -> str | None:
    """None where it is an attack of no class that we have, or nobody says."""
    if label.strip().lower() in ("benign", "normal"):
        return "normal"
    told = f"{label} {detailed}".lower()
    return next((ours for word, ours in _WORDS if word in told), None)
