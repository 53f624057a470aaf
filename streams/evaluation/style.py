"""How every picture looks: colours that the colour-blind can tell apart, names that a reader knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY: Final = "#777777"
CLASS_COLOURS: Final[Mapping[str, str]] = {
    "normal": "#0072B2",
    "probe": "#E69F00",
    "dos": "#D55E00",
    "u2r": "#CC79A7",
    "r2l": "#009E73",
    "c2": "#56B4E9",
}
WIDTH_IN: Final = 8.0
DPI: Final = 120
SETTINGS: Final[Any] = {  # matplotlib types its settings by a list of hundreds of names
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e3e3",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}


def new(width_in: float, height_in: float) -> Figure:
    """An empty picture that needs no display."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra, and slow to import

    return Figure(figsize=(width_in, height_in), layout="constrained")


def colour_of(name: str, place: int) -> str:
    return CLASS_COLOURS.get(name, COLOURS[place % len(COLOURS)])


def class_name(name: str) -> str:
    """As a reader writes it: DoS, U2R."""
    return {"dos": "DoS", "u2r": "U2R", "r2l": "R2L", "c2": "C2"}.get(name, name)
