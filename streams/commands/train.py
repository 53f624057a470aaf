"""`autodeep train`: a new model version from a training file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from rich.console import Console
    from rich.progress import Progress

    from streams.training.dataset import Cleansing, TrainingSet
    from streams.training.fit import Plan, Report
    from streams.training.record import Origin

app = typer.Typer(no_args_is_help=True, help="Train a model.")


@app.callback()
def _group() -> None:
    pass


@app.command()
def kdd99(
    *,
    data: Path = typer.Option(
        Path("data"), envvar="AUTODEEP_DATA", help="Folder with kddcup.data_10_percent."
    ),
    seed: int = typer.Option(
        1, min=0, help="The same seed and data give the same model on the same machine."
    ),
    out: str = typer.Option("", help="Model store to write to; empty: ./model_store."),
    name: str = typer.Option("kdd99", help="The model's name."),
    version: str = typer.Option("", help="Its version; empty: one more than the store's greatest number."),
    alias: str = typer.Option("", help="Also point this alias at the new version, such as challenger."),
    taxonomy: str = typer.Option("kdd99", help="kdd99 (five classes) or paper (normal, dos, u2r)."),
    resume: bool = typer.Option(False, "--resume", help="Go on from the checkpoint in the run folder."),
    run_dir: Path = typer.Option(Path("runs/kdd99"), help="Where checkpoints are kept."),
    limit_steps: int = typer.Option(0, min=0, help="Most steps of each phase, for a quick try; 0: all."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object at the end."),
) -> None:
    """Train the VAE and the bidirectional GRU on KDD'99's 10 % training file. The test file is never opened.

    A few minutes on one core. A killed run goes on with --resume. Example:

        autodeep train kdd99 --data data --seed 1

    Exit codes: 2 the data cannot be used, 3 the version exists, 1 the loss is no longer finite.
    """
    import dataclasses
    import json

    import torch
    from rich.console import Console

    from streams.store import open_store
    from streams.training.card import model_card
    from streams.training.fit import Plan, Run, fit
    from streams.training.record import record

    console = Console(stderr=True)
    store = open_store(out or "model_store")
    version = store.free_version(name, version)  # before the minutes of training, not after them
    torch.set_num_threads(1)  # steps are too small for a second thread to pay, and one is reproducible
    plan = _shortened(Plan(seed=seed), limit_steps)
    training_set, validate, origin = _prepare(console, data, taxonomy, plan)
    origin = dataclasses.replace(origin, command=_command(seed, taxonomy, limit_steps))
    with _progress(console) as progress:
        run = Run(training_set, ~validate, validate, plan, run_dir, _teller(console, progress))
        detector = fit(run, resume)
    found = record(run, detector, origin)
    card = model_card(name, version, found.training, found.held_out, None)
    identity = store.save(detector, name, version, found.notes, card)
    if alias:
        store.set_alias(name, alias, version)
    console.print(
        f"{name}/{version} written to {store.url}; held-out accuracy {found.held_out.accuracy:.2%}, "
        f"contest cost {found.held_out.cost:.4f}"
    )
    if as_json:
        typer.echo(json.dumps({"model": dataclasses.asdict(identity), **found.notes}))


def _prepare(
    console: Console, data: Path, taxonomy: str, plan: Plan
) -> tuple[TrainingSet, npt.NDArray[np.bool_], Origin]:
    """The cleansed training set, its held-out rows, and where it came from."""
    from streams.codec.kdd import read_rows
    from streams.training import sources
    from streams.training.dataset import TAXONOMIES, cleanse, held_out
    from streams.training.record import Origin

    if taxonomy not in TAXONOMIES:
        raise typer.BadParameter(f"{taxonomy!r} is none of {', '.join(TAXONOMIES)}")
    path = sources.find(data, sources.KDD99, sources.KDD99.train)
    digest = sources.text_digest(path)
    if digest != sources.KDD99.train.sha256:
        console.print(f"[yellow]{path} is not the published file; its digest goes into the manifest")
    training_set = cleanse(read_rows(path), TAXONOMIES[taxonomy])
    _print_cleansing(console, training_set.cleansing)
    return training_set, held_out(training_set, plan.seed), Origin("", path.name, digest)


def _shortened(plan: Plan, limit_steps: int) -> Plan:
    import dataclasses

    if not limit_steps:
        return plan
    return dataclasses.replace(
        plan,
        vae_steps=min(plan.vae_steps, limit_steps),
        classifier_steps=min(plan.classifier_steps, limit_steps),
    )


def _command(seed: int, taxonomy: str, limit_steps: int) -> str:
    parts = ["autodeep train kdd99 --data DIR", f"--seed {seed}"]
    if taxonomy != "kdd99":
        parts.append(f"--taxonomy {taxonomy}")
    if limit_steps:
        parts.append(f"--limit-steps {limit_steps}")
    return " ".join(parts)


def _print_cleansing(console: Console, found: Cleansing) -> None:
    from rich.table import Table

    table = Table(title="Cleansing", show_header=False)
    table.add_row("lines read", f"{found.read:,}")
    for reason, count in found.left_out.items():
        table.add_row(f"left out: {reason}", f"{count:,}")
    table.add_row("contradictory (history only)", f"{found.contradictory:,}")
    table.add_row("without a class (history only)", f"{found.without_class:,}")
    table.add_row("repeats (weighted)", f"{found.repeats:,}")
    table.add_row("distinct vectors", f"{found.distinct:,}")
    for name, count in found.per_class.items():
        table.add_row(f"rows of {name}", f"{count:,}")
    for column, count in found.unknown_symbols.items():
        table.add_row(f"unknown {column}", f"{count:,}")
    console.print(table)


def _progress(console: Console) -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description:<11}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:9.4f}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


def _teller(console: Console, progress: Progress) -> Report:
    """A bar in a terminal, a line every 500 steps elsewhere; losses are smoothed over about 50 steps."""
    smooth: dict[str, float] = {}
    tasks: dict[str, object] = {}

    def tell(phase: str, step: int, steps: int, loss: float) -> None:
        smooth[phase] = loss if phase not in smooth else 0.98 * smooth[phase] + 0.02 * loss
        if phase not in tasks:
            tasks[phase] = progress.add_task(phase, total=steps, loss=loss)
        progress.update(tasks[phase], completed=step, loss=smooth[phase])  # type: ignore[arg-type]
        if not console.is_terminal and (step % 500 == 0 or step == steps):
            console.print(f"{phase}: step {step} of {steps}, loss {smooth[phase]:.4f}")

    return tell
