"""`autodeep models release`: a version once more, with its figures on the test file in its card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from streams.cli.models_orders import STORE

if TYPE_CHECKING:
    from streams.evaluation.protocols import Stored
    from streams.model.detector import Identity


def release(  # options are arguments
    ref: str = typer.Argument(help="name/version or name@alias of a model trained on KDD'99."),
    *,
    to: str = typer.Option(..., "--to", help="Store (a folder) that the released version is written to."),
    store: str = STORE,
    data: Path = typer.Option(
        Path("data"), envvar="AUTODEEP_DATA", help="Folder with the data sets, or a file in their format."
    ),
    beside: list[str] | None = typer.Option(
        None, "--beside", help="A model of another seed: the card shows mean and spread. May be given again."
    ),
    readings: int = typer.Option(
        1, min=1, max=10_000, help="How often the test file has been read for it, this time included."
    ),
    devices: int = typer.Option(
        1, min=1, max=10_000_000, help="Deal the rows out to so many devices, in contiguous segments."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Read the official test file once and write the version, with its figures, to a store. Example:

        autodeep models release kdd99/8 --store trained --to model_store --data data --beside kdd99/9

    Name, version and tensors stay the same; manifest and card get the figures, so that the digest is new.
    Exit codes: 2 the data or the model cannot be used, 3 the store has that version already.
    """
    import json

    from streams.adapters.store.models import open_store
    from streams.cli import output
    from streams.cli.evaluate import progress_console, stored_models, study_scope
    from streams.evaluation import protocols
    from streams.evaluation.printed import print_study

    console = progress_console()
    models = stored_models([ref, *(beside or ())], store, None)
    target = open_store(to)
    name, version = models[0].detector.identity.name, models[0].detector.identity.version
    target.free_version(name, version)  # a version that is there is refused before the test file is read
    found = protocols.kdd99(models, data, study_scope(console, None, False, devices))
    identity = _released(models[0], data, devices, (to, readings), found)
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "released": f"{name}/{version}",
                    "store": target.url,
                    "digest": identity.digest,
                    "figures": found,
                },
                allow_nan=False,
            )
        )
        return
    print_study(output.console(), found)
    typer.echo(f"released {name}/{version} to {target.url} (manifest sha256 {identity.digest})")


def _released(
    model: Stored, data: Path, devices: int, reading: tuple[str, int], study: dict[str, Any]
) -> Identity:
    """The same tensors again, with what the reading of the test file gave; several models' spread too."""
    import dataclasses

    from streams.adapters.store.models import open_store
    from streams.codec.ingest.kdd import read_rows
    from streams.training import sources
    from streams.training.card import Reading, model_card
    from streams.training.evaluate import evaluate
    from streams.training.metrics import figures_from

    target, readings = reading
    path = data if data.is_file() else sources.find(data, sources.KDD99, sources.KDD99.test)
    found = evaluate(model.detector, read_rows(path, model.detector.table), devices)
    name, version = model.detector.identity.name, model.detector.identity.version
    training, metrics = model.manifest["training"], model.manifest["metrics"]
    held_out, seeds = figures_from(metrics["held_out"]), study if study["seeds"] > 1 else None
    card = model_card(name, version, training, held_out, Reading(found, readings), seeds)
    test = {**dataclasses.asdict(found), "readings": readings}
    del test["digest"], test["model"]  # of the draft: the released manifest has a digest of its own
    return open_store(target).save(
        model.detector, name, version, {"training": training, "metrics": {**metrics, "test": test}}, card
    )
