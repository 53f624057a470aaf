"""`autodeep evaluate`: figures of models on labelled rows, as a table, as JSON and as a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from streams.cli.evaluate_flows import flows

if TYPE_CHECKING:
    from rich.console import Console

    from streams.evaluation.protocols import Stored
    from streams.evaluation.study import Scope
    from streams.evaluation.training import Training

app = typer.Typer(no_args_is_help=True, help="Evaluate models, and write a report.")

_CHAMPION = "kdd99@champion"
_DATA = typer.Option(Path("data"), envvar="AUTODEEP_DATA", help="Folder with the data sets.")
_MODEL = typer.Option(
    None, "--model", help=f"name@alias or name/version; several give mean and spread. [default: {_CHAMPION}]"
)
_STORE = typer.Option(
    "", envvar="AUTODEEP_MODEL_STORE", help="Folder or URL of the models; empty: the shipped ones."
)
_RUNS = typer.Option(None, "--run-dir", help="Folder with a training's log.jsonl, one a --model, in order.")
_OUT = typer.Option(
    None, help="Folder for the report. [default: evaluation/PROTOCOL; with --json: none is written]"
)
_BASELINES = typer.Option(
    True, "--baselines/--no-baselines", help="Fit simple methods for the report: minutes, once."
)
_JSON = typer.Option(False, "--json", help="Print one JSON object.")
_SEEDS = typer.Option("5", help="How many models to train, or their seeds: 1,2,3.")
_STEPS = typer.Option(
    0, min=0, max=2_147_483_647, help="Most steps of each phase of training, for a quick try; 0: all."
)
_PARTS = typer.Option(
    1, min=1, max=10_000_000, help="Deal the rows out to so many devices, in contiguous segments."
)


app.command()(flows)


@app.callback()
def _group() -> None:
    pass


@app.command()
def kdd99(
    *,
    data: Path = _DATA,
    model: list[str] | None = _MODEL,
    store: str = _STORE,
    run_dir: list[Path] | None = _RUNS,
    devices: int = _PARTS,
    out: Path | None = _OUT,
    baselines: bool = _BASELINES,
    as_json: bool = _JSON,
) -> None:
    """Figures on KDD'99's official test file, or on a file in its format that --data names.

    Examples:

        autodeep evaluate kdd99 --data data --json

        autodeep evaluate kdd99 --data data --model kdd99/8 --model kdd99/9 --out report

    `autodeep models release` writes a model with such figures in its card.
    Exit codes: 2 the data or the model cannot be used.
    """
    from streams.evaluation import protocols

    console = progress_console()
    models = stored_models(model, store, run_dir)
    folder = _folder(out, "kdd99", as_json)
    found = protocols.kdd99(models, data, study_scope(console, folder, baselines, devices))
    _conclude(console, found, folder, as_json)


@app.command("nsl-kdd")
def nsl_kdd(
    *,
    data: Path = _DATA,
    model: list[str] | None = typer.Option(
        None, "--model", help="name@alias or name/version; without any, models are trained on KDDTrain+."
    ),
    store: str = _STORE,
    run_dir: list[Path] | None = _RUNS,
    seeds: str = _SEEDS,
    steps: int = _STEPS,
    out: Path | None = _OUT,
    baselines: bool = _BASELINES,
    as_json: bool = _JSON,
) -> None:
    """Figures on NSL-KDD's KDDTest+, and on KDDTest-21 beside it.

    NSL-KDD keeps no capture order, so every row is judged without history. Example:

        autodeep evaluate nsl-kdd --data data --seeds 5

    Exit codes: 2 the data or the model cannot be used.
    """
    from streams.evaluation import protocols

    console = progress_console()
    folder = _folder(out, "nsl-kdd", as_json)
    scope = study_scope(console, folder, baselines)
    if model:
        found = protocols.nsl_kdd(stored_models(model, store, run_dir), data, scope)
    else:
        training = _training(console, "nsl-kdd", steps, folder)
        found = protocols.nsl_kdd_trained(protocols.parsed_seeds(seeds), data, training, scope)
    _conclude(console, found, folder, as_json)


@app.command()
def paper(
    *,
    data: Path = _DATA,
    seeds: str = _SEEDS,
    steps: int = _STEPS,
    out: Path | None = _OUT,
    baselines: bool = _BASELINES,
    as_json: bool = _JSON,
) -> None:
    """The paper's protocol: a random 80/20 split of the 10 % file, classes normal, DoS and U2R.

    Trains a model for each seed, some minutes each; a broken run goes on from its checkpoints. Example:

        autodeep evaluate paper --data data --seeds 5

    Exit codes: 2 the data cannot be used.
    """
    from streams.evaluation import protocols

    console = progress_console()
    folder = _folder(out, "paper", as_json)
    training = _training(console, "paper", steps, folder)
    scope = study_scope(console, folder, baselines)
    found = protocols.paper(protocols.parsed_seeds(seeds), data, training, scope)
    _conclude(console, found, folder, as_json)


@app.command("file")
def own_file(
    path: Path = typer.Argument(help="Labelled rows in KDD'99's or NSL-KDD's format, plain or gzip."),
    *,
    train: Path | None = typer.Option(None, help="The file that was trained on: tells repeats of it apart."),
    model: list[str] | None = _MODEL,
    store: str = _STORE,
    run_dir: list[Path] | None = _RUNS,
    devices: int = _PARTS,
    out: Path | None = _OUT,
    baselines: bool = _BASELINES,
    as_json: bool = _JSON,
) -> None:
    """Figures on a labelled file of your own, rows in capture order. Example:

        autodeep evaluate file mine.csv --model kdd99@champion --out report

    Exit codes: 2 the file or the model cannot be used.
    """
    from streams.evaluation import protocols

    console = progress_console()
    folder = _folder(out, "file", as_json)
    scope = study_scope(console, folder, baselines, devices)
    found = protocols.own_file(stored_models(model, store, run_dir), path, train, scope)
    _conclude(console, found, folder, as_json)


def progress_console() -> Console:
    """Progress goes to stderr; and nothing is computed before what computes is here."""
    import torch
    from rich.console import Console

    from streams.cli.extra import require_training

    require_training("evaluation")
    torch.set_num_threads(1)
    return Console(stderr=True)


def stored_models(model: list[str] | None, store: str, run_dir: list[Path] | None) -> list[Stored]:
    """The models with their manifests. A model that cannot be used is a wrong option here: exit code 2."""
    from streams.adapters.store.models import open_store, shipped
    from streams.errors import ModelRejected, SettingsError
    from streams.evaluation.protocols import Stored

    names, opened, found = model or [_CHAMPION], open_store(store), []
    for place, name in enumerate(names):
        try:
            detector, (manifest, _) = opened.load(name), opened.describe(name)
        except ModelRejected as exc:
            raise SettingsError(str(exc)) from exc
        identity = detector.identity
        beside = Path(store or shipped()) / identity.name / identity.version
        folder = run_dir[place] if run_dir and place < len(run_dir) else beside
        found.append(Stored(detector, manifest, folder))
    return found


def _folder(out: Path | None, protocol: str, as_json: bool) -> Path | None:
    """Where the report goes; None: nowhere."""
    if out is None and as_json:
        return None
    return out or Path("evaluation") / protocol


def study_scope(console: Console, folder: Path | None, baselines: bool, devices: int = 1) -> Scope:
    from streams.evaluation.study import Scope

    return Scope(
        deep=folder is not None,
        with_baselines=baselines and folder is not None,
        devices=devices,
        tell=_teller(console),
    )


def _teller(console: Console) -> Any:
    return lambda text: console.print(f"[dim]{text}", highlight=False)


def _training(console: Console, protocol: str, steps: int, folder: Path | None) -> Training:
    import dataclasses

    from streams.core.kdd99 import KDD99
    from streams.evaluation.training import Training
    from streams.training.plan import Plan

    plan = Plan()
    if steps:
        plan = dataclasses.replace(
            plan,
            vae_steps=min(plan.vae_steps, steps),
            classifier_steps=min(plan.classifier_steps, steps),
        )
    runs = (folder or Path("evaluation") / protocol) / "runs"
    return Training(plan, runs, _teller(console), KDD99)


def _conclude(console: Console, found: dict[str, Any], folder: Path | None, as_json: bool) -> None:
    """The report, and what is printed."""
    import json

    from streams.cli import output
    from streams.evaluation.printed import print_study

    if folder:
        from streams.evaluation.written import write

        console.print(f"report: {write(found, folder)}", soft_wrap=True)
    if as_json:
        typer.echo(json.dumps(found, allow_nan=False))
    else:
        print_study(output.console(), found)
