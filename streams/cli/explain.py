"""`autodeep explain`: which features and which earlier events drove the verdict of a row."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from streams.cli.output import say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams.codec.ingest.kdd import KddRows
    from streams.core.alerts import Driver, Explanation
    from streams.model.detector import Detector, Verdicts

_SHOWN_OF_EVENTS = ("protocol_type", "service", "flag", "src_bytes", "dst_bytes", "count")
_LEAST_SHOWN = 0.005  # of a share: less is 0 % on the screen


def explain(
    file: Path = typer.Argument(
        help="A file in KDD'99's or NSL-KDD's format, plain or gzip; labels or none."
    ),
    *,
    row: int = typer.Option(..., help="The line of the file to explain; the first is 1."),
    model: str = typer.Option("kdd99@champion", help="name@alias or name/version."),
    store: str = typer.Option(
        "", envvar="AUTODEEP_MODEL_STORE", help="Folder or URL of the models; empty: the shipped ones."
    ),
    most: int = typer.Option(8, min=1, max=1000, help="Most features to show."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object, with every feature."),
) -> None:
    """Say which features and which earlier events drove the verdict of one row.

    The rows before it are its history, as if the file were one device's. Example:

        autodeep explain data/kdd99/kddcup.data_10_percent.gz --row 39738

    A share is a feature's or an event's part of all that moved the verdict; with a minus it spoke against it.

    Exit codes: 2 the file, the row or the model cannot be used.
    """
    import json

    import torch

    from streams.adapters.store.models import open_store
    from streams.codec.ingest.kdd import read_rows
    from streams.errors import ModelRejected, SettingsError

    torch.set_num_threads(1)
    try:
        detector = open_store(store).load(model)
    except ModelRejected as exc:
        raise SettingsError(str(exc)) from exc
    found = _explained(detector, read_rows(file, detector.table, labelled=False), file, row)
    if as_json:
        typer.echo(json.dumps(found.as_json()))
    else:
        say("\n".join(found.lines(most)))


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """A row's verdict and what drove it. `at` (fill,) are the places of its window's rows, itself last."""

    detector: Detector
    read: KddRows
    file: str
    at: list[int]
    verdicts: Verdicts  # of this one window
    explanation: Explanation

    @property
    def label(self) -> str:
        return self.read.labels[int(self.read.label[self.at[-1]])]

    @property
    def verdict(self) -> str:
        return self.detector.verdicts[int(self.verdicts.verdict[0])]

    @property
    def closest(self) -> str:
        return self.detector.classes[int(self.verdicts.closest[0])]

    @property
    def model(self) -> str:
        return f"{self.detector.identity.name}/{self.detector.identity.version}"

    @property
    def scores(self) -> dict[str, float]:
        chances = self.verdicts.posterior[0].tolist()
        return {name: round(chance, 4) for name, chance in zip(self.detector.classes, chances, strict=True)}

    def line(self, place: int) -> int:
        return int(self.read.line[self.at[place]])

    def as_json(self) -> dict[str, Any]:
        import dataclasses

        return {
            "file": self.file,
            "row": self.line(-1),
            "label": self.label,
            "model": self.model,
            "verdict": self.verdict,
            "closest": self.closest,
            "scores": self.scores,
            "novelty": round(float(self.verdicts.novelty[0]), 4),
            "window_fill": len(self.at),
            "features": [dataclasses.asdict(of) for of in self.explanation.features],
            "events": [
                {"row": self.line(place), "share": share}
                for place, share in enumerate(self.explanation.events)
            ],
        }

    def lines(self, most: int) -> Iterator[str]:
        """For people, 80 columns wide."""
        like = "" if self.verdict == self.closest else f", most like {self.closest}"
        from streams.codec.ingest.kdd import UNLABELLED

        label = "" if self.label == UNLABELLED else f", labelled {self.label}"
        yield f"{self.file}, line {self.line(-1)}{label}"
        yield f"{self.model} says {self.verdict}{like}"
        yield "p " + "  ".join(f"{name} {chance:.4f}" for name, chance in self.scores.items())
        yield (
            f"novelty {float(self.verdicts.novelty[0]):.2f} (above 1: like nothing in training), "
            f"window {len(self.at)} of {self.detector.width}"
        )
        yield ""
        yield from _features(self.explanation.features, self.closest, most)
        yield ""
        yield from self._events()

    def _events(self) -> Iterator[str]:
        from streams.model.drivers import value_text

        if not self.explanation.events:
            yield "no earlier events in the window"
            return
        yield _event(("earlier event", *_SHOWN_OF_EVENTS, "share"))
        table = self.detector.table
        for place, share in enumerate(self.explanation.events):
            row = self.read.rows[self.at[place]][None]  # (1,)
            values = (value_text(table, row, table.names.index(name)) for name in _SHOWN_OF_EVENTS)
            yield _event((f"line {self.line(place)}", *values, _percent(share)))


def _explained(detector: Detector, read: KddRows, file: Path, line: int) -> _Found:
    """Raises DataError where the file has no such line, or one that cannot be used."""
    import numpy as np

    from streams.errors import DataError
    from streams.model.drivers import explanations
    from streams.training.windows import windows

    places = np.flatnonzero(read.line == line)
    if not len(places):
        last = int(read.line[-1])
        raise DataError(
            f"{file}: line {line} cannot be used; `autodeep evaluate file` says what is wrong with such lines"
            if 0 < line < last
            else f"{file}: has no line {line} to explain; the last one that can be used is {last}"
        )
    index, valid = windows(places, np.zeros(1, np.int64), detector.width)  # (1, W)
    rows = read.rows[index]
    places_of = np.arange(rows.size).reshape(rows.shape)
    found = detector.classify(detector.encode(rows.reshape(-1)), places_of, valid)
    most = len(detector.table.names)
    (explanation,) = explanations(detector, (rows, valid), found.verdict, found.closest, most)
    return _Found(detector, read, file.name, index[0][valid[0]].tolist(), found, explanation)


def _features(drivers: tuple[Driver, ...], closest: str, most: int) -> Iterator[str]:
    """The table of features, and a line for all the others together."""
    shown = [of for of in drivers[:most] if abs(of.share) >= _LEAST_SHOWN]
    attack = closest != "normal"
    yield _feature(("feature", "value", f"usual in {closest}" if attack else "", "usual in normal", "share"))
    for of in shown:
        usual = (of.usual or "?") if attack else ""
        yield _feature((of.feature, of.value, usual, of.normal or "?", _percent(of.share)))
    others = drivers[len(shown) :]
    if others:
        yield _feature((f"{len(others)} more", "", "", "", _percent(sum(abs(of.share) for of in others))))


def _feature(cells: tuple[str, ...]) -> str:
    feature, value, usual, normal, share = cells
    return f"{feature:<27} {value:<9} {_fitting(usual, 18):<18} {_fitting(normal, 16):<16} {share:>5}"


def _fitting(text: str, width: int) -> str:
    """As many of a list's words, the first ones, as there is room for."""
    while len(text) > width and ", " in text:
        text = text.rpartition(", ")[0]
    return text


def _event(cells: tuple[str, ...]) -> str:
    widths = (13, 13, 11, 6, 9, 9, 6)
    line = " ".join(f"{cell:<{width}.{width}}" for cell, width in zip(cells, widths, strict=False))
    return f"{line} {cells[-1]:>5}"


def _percent(share: float) -> str:
    return f"{round(100 * share)}%"
