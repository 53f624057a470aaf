"""Numbers and tables as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

Json = Mapping[str, Any]
UNDEFINED = "undefined"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """Figures right-aligned but for the first column."""
    top = "".join(f'<th scope="col">{escape(it)}</th>' for it in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(it)}</td>" for it in row) + "</tr>" for row in rows)
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f'<div class="wide"><table>{title}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def percent(of: Json, name: str) -> str:
    """98.01 % ± 0.05 (standard deviation over seeds, in points)."""
    return figure(of, name, 100.0, 2, " %")


def decimal(of: Json, name: str) -> str:
    return figure(of, name, 1.0, 4)


def count(of: Json, name: str) -> str:
    return figure(of, name, 1.0, 0)


def figure(of: Json, name: str, scale: float, digits: int, unit: str = "") -> str:
    """A figure with its standard deviation over several seeds; a count's only where it differs."""
    value = of.get(name)
    if value is None:
        return UNDEFINED
    text = f"{scale * value:,.{digits}f}{unit}"
    spread = of.get("spread", {}).get(name)
    told = spread and (digits or spread["sd"])
    return f"{text} ± {scale * spread['sd']:,.{digits}f}" if told else text
