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

from streams.codec.times import to_the_second
from streams.core.alerts import Alert
from streams.core.topics import NOVEL
from streams.demo.script import Episode
from streams.demo.simulator import CLASSES

LATEST: Final = 10
"""Lines of alerts kept, and shown where the terminal is high enough."""
ROWS_BESIDE_LATEST: Final = 16
"""What the view needs besides them: frame, figures, classes, headings, and a row for the cursor."""
RATE_SPAN_S: Final = 3.0
COLOURS: Final[Mapping[str, str]] = {
    "c2": "bright_red", "dos": "red", "u2r": "magenta", "r2l": "yellow", "probe": "cyan", "novel": "blue",
    "normal": "green",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sample:
    at_s: float
    sent: int
    classified: int


@dataclass(frozen=True, slots=True)
class Streak:
    """The latest alert of one class on one device, and how many of them there were since it is shown."""

    alert: Alert
    times: int = 1


@dataclass(frozen=True, slots=True)
class Reading:
    """Files that are read, where nothing is simulated."""

    file: str = ""
    place: int = 0
    files: int = 0
    share: float = 0.0
    """Of all of them, that is read and judged."""
    flows: int = 0
    unused: int = 0
    """Records that are no flows, or cannot be read, and flows of nobody here."""


@dataclass(frozen=True, slots=True)
class View:
    """All that is shown. Seconds count from the first event on, which was at `start_us`."""

    span_s: float
    devices: int
    episodes: Sequence[Episode]
    start_us: int = 0
    at_s: float = 0.0
    sent: int = 0
    classified: int = 0
    dead_letters: int = 0
    model: str = ""
    """Which model serves, and how far its successor is."""
    alerts: Mapping[str, int] = field(default_factory=dict)
    classes: Sequence[str] = CLASSES
    alerted: frozenset[str] = frozenset()
    """Devices with an alert."""
    latest: tuple[Streak, ...] = ()
    """At most LATEST, each on the line where it first stood: a flood neither scrolls nor hides the others."""
    samples: tuple[Sample, ...] = (Sample(0.0, 0, 0),)
    reading: Reading | None = None

    @property
    def share(self) -> float:
        """How far it is, of 1."""
        if self.reading is not None:
            return self.reading.share
        return min(self.at_s / self.span_s, 1.0) if self.span_s else 0.0

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
        latest=_folded(view.latest, alerts),
    )


def _folded(shown: Sequence[Streak], alerts: Sequence[Alert]) -> tuple[Streak, ...]:
    """A further alert is counted on its device's line; a new line replaces the one silent longest."""
    lines = {(streak.alert.device_id, streak.alert.verdict): streak for streak in shown}
    for alert in alerts:
        key = alert.device_id, alert.verdict
        if key not in lines and len(lines) == LATEST:
            del lines[min(lines, key=lambda each: lines[each].alert.event_time_us)]
        lines[key] = Streak(alert, lines[key].times + 1 if key in lines else 1)
    return tuple(lines.values())


def buried(view: View, dead_letters: int) -> View:
    """So many more records could not be read."""
    return replace(view, dead_letters=view.dead_letters + dead_letters)


def served(view: View, model: str) -> View:
    """What is to be said of the model now."""
    return view if view.model == model else replace(view, model=model)


def line(view: View) -> str:
    """The view as one line, for what is no terminal."""
    sent_per_s, _ = view.rates
    found = ", ".join(f"{name} {view.alerts[name]:,}" for name in _names(view) if name in view.alerts)
    now = ", ".join(f"{episode.name} on {episode.device_id}" for episode in view.under_way)
    return (
        f"{view.at_s:5.1f} s  {view.sent:,} events ({sent_per_s:.0f}/s)  lag {view.lag_events:,}  "
        f"alerts: {found or 'none'}  now: {now or 'ordinary traffic'}  {view.model}".rstrip()
    )


def render(view: View, height_rows: int = ROWS_BESIDE_LATEST + LATEST) -> RenderableType:
    """The view for a terminal of that height and 80 columns at least; its own height never changes."""
    side_by_side = Table.grid(padding=(0, 4))
    beside = _now(view) if view.reading is None else _read(view, view.reading)
    side_by_side.add_row(_by_class(view), beside)
    gone_by = Table.grid(expand=True)  # a bar alone does not end its line
    gone_by.add_row(ProgressBar(total=1.0, completed=view.share))
    lines = min(max(height_rows - ROWS_BESIDE_LATEST, 1), LATEST)
    return Panel(
        Group(_figures(view), gone_by, "", side_by_side, "", _latest(view, lines)),
        title=f"AutoDeep-ID: {'a simulated fleet' if view.reading is None else 'your traffic'}",
        title_align="left",
        subtitle=Text(view.model, overflow="ellipsis") if view.model else None,
        subtitle_align="left",
    )


def _names(view: View) -> tuple[str, ...]:
    known = (*view.classes, NOVEL)
    return (*known, *sorted(view.alerts.keys() - set(known)))


def _figures(view: View) -> Table:
    sent_per_s, classified_per_s = view.rates
    grid = Table.grid(padding=(0, 2))
    figures = {
        "second": f"{min(view.at_s, view.span_s):.0f} of {view.span_s:.0f}"
        if view.span_s
        else f"{view.at_s:.0f}",
        "events": f"{view.sent:,}",
        "sent/s": f"{sent_per_s:,.0f}",
        "verdicts/s": f"{classified_per_s:,.0f}",
        "lag": f"{view.lag_events:,}",
        "devices": f"{view.devices}, {len(view.alerted)} alerted",
        "dead letters": f"{view.dead_letters:,}",
    }
    for name, value in figures.items():  # columns that stay where they are while numbers grow
        grid.add_column(min_width=max(len(name), len(value), _LEAST_WIDTH.get(name, 0)), no_wrap=True)
    grid.add_row(*(Text(name, style="dim") for name in figures))
    grid.add_row(*(Text(value, style="bold") for value in figures.values()))
    return grid


_LEAST_WIDTH: Final[Mapping[str, int]] = {"second": 8, "events": 6, "lag": 5, "devices": 14}


def _by_class(view: View) -> Table:
    table = Table(title="Alerts by class", title_justify="left", box=None, show_header=False, min_width=18)
    table.add_column()
    table.add_column(justify="right", min_width=7)
    for name in _names(view):
        table.add_row(Text(name, style=COLOURS.get(name, "white")), f"{view.alerts.get(name, 0):,}")
    return table


def _now(view: View) -> Table:
    """The truth, which the detector does not see."""
    table = Table(
        title="Being simulated now", title_justify="left", box=None, show_header=False, min_width=30
    )
    for _ in range(3):
        table.add_column(no_wrap=True)
    rows = len(_names(view))  # as high as its neighbour
    for episode in view.under_way[:rows]:
        colour = COLOURS.get(episode.truth, "white")
        table.add_row(Text(episode.truth, style=colour), episode.name, f"on {episode.device_id}")
    if not view.under_way:
        table.add_row(Text("-", style="dim"), Text("ordinary traffic", style="dim"))
    return table


def _read(view: View, reading: Reading) -> Table:
    table = Table(title="Being read", title_justify="left", box=None, show_header=False, min_width=30)
    table.add_column(overflow="ellipsis", no_wrap=True)
    table.add_row(Text(reading.file))
    for what in (
        f"file {reading.place:,} of {reading.files:,}" if reading.files > 1 else "",
        f"{reading.flows:,} flows",
        f"{reading.unused:,} of no use" if reading.unused else "",
    ):
        if what:
            table.add_row(Text(what, style="dim"))
    return table


def _latest(view: View, lines: int) -> Table:
    """The `lines` lines that had an alert most recently, in the order in which they began."""
    by_time = sorted(view.latest, key=lambda streak: streak.alert.event_time_us)
    shown = [streak for streak in view.latest if streak in by_time[-lines:]]
    table = Table(title="Latest alerts", title_justify="left", box=None, header_style="dim")
    when = "second" if view.reading is None else "at (UTC)"
    for name in (when, "device", "class", "like", "p", "novelty", "window", "alerts"):
        right = name in {when, "alerts"}
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    for streak in shown:
        table.add_row(*_cells(streak, None if view.reading else view.start_us))
    for _ in range(lines - len(shown)):  # the height stays the same
        table.add_row()
    return table


def _cells(streak: Streak, start_us: int | None) -> tuple[RenderableType, ...]:
    """`start_us`: the beginning that seconds count from; None: the clock's time is told."""
    alert = streak.alert
    return (
        to_the_second(alert.event_time_us)[5:]
        if start_us is None
        else f"{(alert.event_time_us - start_us) / 1e6:.1f}",
        Text(alert.device_id),
        Text(alert.verdict, style=COLOURS.get(alert.verdict, "white")),
        "" if alert.closest == alert.verdict else alert.closest,
        f"{alert.scores.get(alert.closest, 0.0):.2f}",
        f"{alert.novelty:.2f}",
        f"{alert.window_fill}/{alert.window_width}",
        f"{streak.times:,}",
    )
