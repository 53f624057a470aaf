"""`autodeep evaluate`: a model's figures on a labelled test file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from streams.core.detector import Detector
    from streams.training.evaluate import Evaluation
    from streams.training.metrics import Figures

app = typer.Typer(no_args_is_help=True, help="Evaluate a model.")


@app.callback()
def _group() -> None:
    pass


@app.command()
def kdd99(
    *,
    data: Path = typer.Option(
        Path("data"), envvar="AUTODEEP_DATA", help="Folder with corrected.gz, or a file."
    ),
    model: str = typer.Option("kdd99@champion", envvar="AUTODEEP_MODEL", help="name@alias or name/version"),
    store: str = typer.Option(
        "", envvar="AUTODEEP_MODEL_STORE", help="Folder or URL; empty: the shipped models."
    ),
    devices: int = typer.Option(
        1, min=1, help="Deal the rows out to so many devices, in contiguous segments."
    ),
    release: str = typer.Option("", help="Write the model with these figures in its card to this store."),
    readings: int = typer.Option(1, min=1, help="With --release: how often the test file was read for it."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Figures of a model on KDD'99's official test file, or on any file in its format (NSL-KDD too).

    `novel` verdicts count as their closest class; in shares of flagged rows they count as attacks. Example:

        autodeep evaluate kdd99 --data data --json

    Exit codes: 2 the file cannot be used, 3 the model was refused.
    """
    import dataclasses
    import json

    import torch
    from rich.console import Console

    from streams.codec.kdd import read_rows
    from streams.store import open_store
    from streams.training import sources
    from streams.training.evaluate import evaluate

    torch.set_num_threads(1)
    detector = open_store(store).load(model)
    path = data if data.is_file() else sources.find(data, sources.KDD99, sources.KDD99.test)
    console = Console(stderr=True)
    with console.status(f"evaluating {model} on {path.name}"):
        found = evaluate(detector, read_rows(path), devices)
    if as_json:
        typer.echo(json.dumps({"file": path.name, **dataclasses.asdict(found)}))
    else:
        _print(Console(), found)
    if release:
        _release(detector, open_store(store).describe(model)[0], found, release, readings)
        console.print(f"{found.model} with these figures written to {release}")


def _release(
    detector: Detector, manifest: dict[str, object], found: Evaluation, store: str, readings: int
) -> None:
    """The same tensors again, with what the reading of the test file gave."""
    import dataclasses

    from streams.store import open_store
    from streams.training.card import Reading, model_card
    from streams.training.metrics import figures_from

    name, version = detector.identity.name, detector.identity.version
    training, metrics = manifest["training"], manifest["metrics"]
    assert isinstance(training, dict)
    assert isinstance(metrics, dict)
    held_out = figures_from(metrics["held_out"])
    card = model_card(name, version, training, held_out, Reading(found, readings))
    test = {**dataclasses.asdict(found), "readings": readings}
    del test["digest"], test["model"]  # of the draft: the released manifest has a digest of its own
    open_store(store).save(
        detector, name, version, {"training": training, "metrics": {**metrics, "test": test}}, card
    )


def _print(console: Console, found: Evaluation) -> None:
    from rich.table import Table

    _print_figures(console, f"{found.model}, all rows, {found.devices} device(s)", found.all_rows)
    _print_figures(console, "distinct rows", found.distinct_rows)
    confusion = Table("true \\ verdict", *found.all_rows.per_class, title="Confusion, all rows")
    for name, row in zip(found.all_rows.per_class, found.all_rows.confusion, strict=True):
        confusion.add_row(name, *(f"{count:,}" for count in row))
    console.print(confusion)
    types = Table("attack type", "in training", "rows", "flagged", "right class", title="Attack types")
    for name, of in sorted(found.per_type.items(), key=lambda item: (not item[1].known, -item[1].rows)):
        known = "yes" if of.known else "no"
        types.add_row(name, known, f"{of.rows:,}", f"{of.flagged:.1%}", f"{of.right_class:.1%}")
    console.print(types)
    console.print(
        f"{found.novel_verdicts:,} verdicts are novel; left out: {dict(found.left_out) or 'nothing'}"
    )


def _print_figures(console: Console, title: str, found: Figures) -> None:
    from rich.table import Table

    def percent(ratio: float | None) -> str:
        return "-" if ratio is None else f"{ratio:.2%}"

    table = Table("class", "rows", "precision", "recall", "F1", "specificity", "flagged", title=title)
    for name, of in found.per_class.items():
        ratios = (of.precision, of.recall, of.f1, of.specificity, of.flagged)
        table.add_row(name, f"{of.rows:,}", *map(percent, ratios))
    console.print(table)
    console.print(
        f"{found.rows:,} rows: accuracy {found.accuracy:.2%}, contest cost {found.cost:.4f}, false positives "
        f"on normals {percent(found.false_positives)}, attacks flagged {percent(found.detected)}"
    )
