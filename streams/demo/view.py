"""The live view: what has happened so far, as one frozen value, and how it looks. No Kafka, no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from streams.core.alerts import Alert
from streams.core.topics import ATTACK_CLASSES, NOVEL
from streams.demo.simulator import Episode

LATEST: Final = 10
"""Alerts shown."""
RATE_SPAN_S: Final = 3.0
COLOURS: Final[Mapping[str, str]] = {
    "dos": "red", "u2r": "magenta", "r2l": "yellow", "probe": "cyan", "novel": "blue", "normal": "green",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sample:
    at_s: float
    sent: int
    classified: int


@dataclass(frozen=True, slots=True)
class View:
    """All that is shown. Seconds count from the first event on."""

    span_s: float
    devices: int
    episodes: tuple[Episode, ...]
    at_s: float = 0.0
    sent: int = 0
    classified: int = 0
    dead_letters: int = 0
    alerts: Mapping[str, int] = field(default_factory=dict)
    alerted: frozenset[str] = frozenset()
    """Devices with an alert."""
    latest: tuple[Alert, ...] = ()
    samples: tuple[Sample, ...] = (Sample(0.0, 0, 0),)

    @property
    def lag_events(self) -> int:
        return max(self.sent - self.classified, 0)

    @property
    def under_way(self) -> tuple[Episode, ...]:
        """The attacks that are being simulated at this moment, half-open."""
        now_us = self.at_s * 1e6
        return tuple(episode for episode in self.episodes if episode.start_us <= now_us < episode.end_us)

    @property
    def rates(self) -> tuple[float, float]:
        """Events a second, sent and classified, over the last seconds."""
        first, last = self.samples[0], self.samples[-1]
        span_s = last.at_s - first.at_s
        if span_s <= 0:
            return 0.0, 0.0
        return (last.sent - first.sent) / span_s, (last.classified - first.classified) / span_s


def ticked(view: View, at_s: float, sent: int, classified: int) -> View:
    """Time has passed, and so many events are sent and classified."""
    samples = (*view.samples, Sample(at_s, sent, classified))
    kept = tuple(sample for sample in samples if at_s - RATE_SPAN_S < sample.at_s) or samples[-1:]
    return replace(view, at_s=at_s, sent=sent, classified=classified, samples=kept)


def alerted(view: View, alerts: Sequence[Alert]) -> View:
    """Alerts have come, oldest first."""
    if not alerts:
        return view
    counts = Counter(view.alerts) + Counter(alert.verdict for alert in alerts)
    return replace(
        view,
        alerts=dict(counts),
        alerted=view.alerted | {alert.device_id for alert in alerts},
        latest=(*view.latest, *alerts)[-LATEST:],
    )


def buried(view: View, dead_letters: int) -> View:
    """So many more records could not be read."""
    return replace(view, dead_letters=view.dead_letters + dead_letters)


def line(view: View) -> str:
    """The view as one line, for what is no terminal."""
    sent_per_s, _ = view.rates
    found = ", ".join(f"{name} {view.alerts[name]:,}" for name in _names(view) if name in view.alerts)
    now = ", ".join(f"{episode.name} on {episode.device_id}" for episode in view.under_way)
    return (
        f"{view.at_s:5.1f} s  {view.sent:,} events ({sent_per_s:.0f}/s)  lag {view.lag_events:,}  "
        f"alerts: {found or 'none'}  now: {now or 'ordinary traffic'}"
    )


def render(view: View) -> RenderableType:
    """The view for a terminal."""
    side_by_side = Table.grid(padding=(0, 6))
    side_by_side.add_row(_by_class(view), _now(view))
    gone_by = Table.grid(expand=True)  # a bar alone does not end its line
    gone_by.add_row(ProgressBar(total=view.span_s, completed=min(view.at_s, view.span_s)))
    return Panel(
        Group(_figures(view), gone_by, "", side_by_side, "", _latest(view)),
        title="AutoDeep-ID: a simulated fleet",
        title_align="left",
    )


def _names(view: View) -> tuple[str, ...]:
    known = (*ATTACK_CLASSES, NOVEL)
    return (*known, *sorted(view.alerts.keys() - set(known)))


def _figures(view: View) -> Table:
    sent_per_s, classified_per_s = view.rates
    grid = Table.grid(padding=(0, 3))
    figures = {
        "second": f"{min(view.at_s, view.span_s):.0f} of {view.span_s:.0f}",
        "events": f"{view.sent:,}",
        "sent/s": f"{sent_per_s:,.0f}",
        "classified/s": f"{classified_per_s:,.0f}",
        "lag": f"{view.lag_events:,}",
        "devices": f"{view.devices}, {len(view.alerted)} with alerts",
        "dead letters": f"{view.dead_letters:,}",
    }
    grid.add_row(*(Text(name, style="dim") for name in figures))
    grid.add_row(*(Text(value, style="bold") for value in figures.values()))
    return grid


def _by_class(view: View) -> Table:
    table = Table(title="Alerts by class", title_justify="left", box=None, show_header=False, min_width=18)
    for name in _names(view):
        table.add_row(Text(name, style=COLOURS.get(name, "white")), f"{view.alerts.get(name, 0):,}")
    return table


def _now(view: View) -> Table:
    """The truth, which the detector does not see."""
    table = Table(
        title="Being simulated now", title_justify="left", box=None, show_header=False, min_width=30
    )
    for episode in view.under_way:
        colour = COLOURS.get(episode.truth, "white")
        table.add_row(Text(episode.truth, style=colour), episode.name, f"on {episode.device_id}")
    if not view.under_way:
        table.add_row(Text("ordinary traffic", style="dim"))
    return table


def _latest(view: View) -> Table:
    table = Table(title="Latest alerts", title_justify="left", box=None, header_style="dim")
    for name in ("device", "class", "like", "p", "novelty", "window"):
        table.add_column(name)
    for alert in view.latest:
        table.add_row(
            Text(alert.device_id),
            Text(alert.verdict, style=COLOURS.get(alert.verdict, "white")),
            "" if alert.closest == alert.verdict else alert.closest,
            f"{alert.scores.get(alert.closest, 0.0):.2f}",
            f"{alert.novelty:.2f}",
            f"{alert.window_fill}/{alert.window_width}",
        )
    for _ in range(LATEST - len(view.latest)):  # the height stays the same
        table.add_row()
    return table
