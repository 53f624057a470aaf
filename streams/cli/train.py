"""`autodeep train`: a new model version from a training file."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from streams.cli.train_flows import flows

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from streams.training.dataset import Cleansing, TrainingSet
    from streams.training.log import Validation
    from streams.training.plan import Plan
    from streams.training.record import Origin

app = typer.Typer(no_args_is_help=True, help="Train a model.")
app.command()(flows)


@app.callback()
def _group() -> None:
    pass


_DATA = typer.Option(Path("data"), envvar="AUTODEEP_DATA", help="Folder with the data set's training file.")
_SEED = typer.Option(
    1, min=0, max=2_147_483_647, help="The same seed and data give the same model on the same machine."
)
_OUT = typer.Option("", help="Model store to write to; empty: ./model_store.")
_NAME = typer.Option("", help="The model's name; empty: that of the protocol.")
_VERSION = typer.Option("", help="Its version; empty: one more than the store's greatest number.")
_ALIAS = typer.Option("", help="Also point this alias at the new version, such as challenger.")
_RESUME = typer.Option(False, "--resume", help="Go on from the checkpoint in the run folder.")
_RUN_DIR = typer.Option(None, help="Checkpoints, log.jsonl and curves.png; empty: runs/NAME-SEED.")
_LIMIT = typer.Option(0, min=0, max=2_147_483_647, help="Most steps of each phase, for a quick try; 0: all.")
_DEVICE = typer.Option("cpu", help="cpu, or cuda where it is; only cpu repeats a model bit by bit.")
_JSON = typer.Option(False, "--json", help="Print one JSON object at the end.")


@dataclass(frozen=True, slots=True)
class _Order:
    """What the command line asks for."""

    protocol: str  # kdd99, nsl-kdd or paper
    data: Path
    seed: int
    out: str
    name: str
    version: str
    alias: str
    resume: bool
    run_dir: Path
    limit_steps: int
    device: str
    as_json: bool

    @property
    def taxonomy(self) -> str:
        return "paper" if self.protocol == "paper" else "kdd99"

    @property
    def command(self) -> str:
        """The one command that makes the model again."""
        limit = f" --limit-steps {self.limit_steps}" if self.limit_steps else ""
        return f"autodeep train {self.protocol} --data DIR --seed {self.seed}{limit}"


@app.command()
def kdd99(
    *, data: Path = _DATA, seed: int = _SEED, out: str = _OUT, name: str = _NAME, version: str = _VERSION,
    alias: str = _ALIAS, resume: bool = _RESUME, run_dir: Path | None = _RUN_DIR, limit_steps: int = _LIMIT,
    device: str = _DEVICE, as_json: bool = _JSON,
) -> None:  # fmt: skip
    """Five classes from KDD'99's 10 % training file. The test file is never opened.

    A few minutes on one core. A killed run goes on with --resume. Example:

        autodeep train kdd99 --data data --seed 1

    Exit codes: 2 the data cannot be used, 3 the version exists, 1 the loss is no longer finite.
    """
    _train("kdd99", **locals())


@app.command("nsl-kdd")
def nsl_kdd(
    *, data: Path = _DATA, seed: int = _SEED, out: str = _OUT, name: str = _NAME, version: str = _VERSION,
    alias: str = _ALIAS, resume: bool = _RESUME, run_dir: Path | None = _RUN_DIR, limit_steps: int = _LIMIT,
    device: str = _DEVICE, as_json: bool = _JSON,
) -> None:  # fmt: skip
    """Five classes from NSL-KDD's KDDTrain+, which is in no order: a window is the record alone. Example:

    autodeep train nsl-kdd --data data --seed 1
    """
    _train("nsl-kdd", **locals())


@app.command()
def paper(
    *, data: Path = _DATA, seed: int = _SEED, out: str = _OUT, name: str = _NAME, version: str = _VERSION,
    alias: str = _ALIAS, resume: bool = _RESUME, run_dir: Path | None = _RUN_DIR, limit_steps: int = _LIMIT,
    device: str = _DEVICE, as_json: bool = _JSON,
) -> None:  # fmt: skip
    """The paper's three classes (normal, dos, u2r) from KDD'99's 10 % training file. Example:

    autodeep train paper --data data --seed 1
    """
    _train("paper", **locals())


def _train(protocol: str, **options: Any) -> None:
    """Train, measure the held-out rows, write the version and its card."""
    import torch
    from rich.console import Console

    from streams.cli.extra import require_training

    require_training("training")
    from streams.adapters.store.models import open_store
    from streams.training import curves, log
    from streams.training.card import model_card
    from streams.training.fit import fit
    from streams.training.record import record
    from streams.training.run import Run

    options["name"] = options["name"] or protocol
    options["run_dir"] = options["run_dir"] or Path("runs") / f"{options['name']}-{options['seed']}"
    order = _Order(protocol, **options)
    _check_device(order.device)
    console = Console(stderr=True)
    store = open_store(order.out or "model_store")
    version = store.free_version(order.name, order.version)  # before the minutes of training, not after them
    torch.set_num_threads(1)  # steps are too small for a second thread to pay, and one is reproducible
    plan = _plan(order)
    training_set, validate, origin = _prepare(console, order, plan)
    with _progress(console) as progress:
        told = _Teller(console, progress)
        run = Run(
            training_set, ~validate, validate, plan, order.run_dir, told.step, told.held_out, order.device
        )
        detector = fit(run, order.resume)
    curves.draw(log.read(order.run_dir), order.run_dir)
    found = record(run, detector, origin)
    card = model_card(order.name, version, found.training, found.held_out, None)
    identity = store.save(detector, order.name, version, found.notes, card)
    if order.alias:
        store.set_alias(order.name, order.alias, version)
    console.print(
        f"{order.name}/{version} written to {store.url}; held-out accuracy {found.held_out.accuracy:.2%}, "
        f"contest cost {found.held_out.cost:.4f}; log and curves in {order.run_dir}"
    )
    if order.as_json:
        typer.echo(json.dumps({"model": dataclasses.asdict(identity), **found.notes}))


def _check_device(device: str) -> None:
    import torch

    if device not in ("cpu", "cuda"):
        raise typer.BadParameter(f"{device!r} is neither cpu nor cuda", param_hint="--device")
    if device == "cuda" and not torch.cuda.is_available():
        raise typer.BadParameter("this machine has no CUDA device", param_hint="--device")


def _prepare(
    console: Console, order: _Order, plan: Plan
) -> tuple[TrainingSet, npt.NDArray[np.bool_], Origin]:
    """The cleansed training set, its held-out rows, and where it came from."""
    from streams.codec.ingest.kdd import read_rows
    from streams.core.kdd99 import KDD99
    from streams.training import sources
    from streams.training.dataset import TAXONOMIES, cleanse, held_out
    from streams.training.record import Origin

    data_set = sources.NSL_KDD if order.protocol == "nsl-kdd" else sources.KDD99
    path = sources.find(order.data, data_set, data_set.train)
    digest = sources.text_digest(path)
    if digest != data_set.train.sha256:
        console.print(f"[yellow]{path} is not the published file; its digest goes into the manifest")
    training_set = cleanse(read_rows(path, KDD99), TAXONOMIES[order.taxonomy])
    _print_cleansing(console, training_set.cleansing)
    return training_set, held_out(training_set, plan.seed), Origin(order.command, path.name, digest)


def _plan(order: _Order) -> Plan:
    from streams.training.plan import Plan, limited

    plan = Plan(seed=order.seed)
    if order.protocol == "nsl-kdd":
        plan = dataclasses.replace(plan, window=1)  # the file is in no order: neighbours mean nothing
    return limited(plan, order.limit_steps)


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
        TextColumn("{task.description:<18}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:9.4f} {task.fields[told]}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


class _Teller:
    """A bar in a terminal, a line every 500 steps elsewhere; losses are smoothed over about 50 steps."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self._console, self._progress = console, progress
        self._smooth: dict[str, float] = {}
        self._tasks: dict[str, TaskID] = {}
        self._held_out: dict[str, str] = {}

    def held_out(self, phase: str, found: Validation) -> None:
        text = f"held out: loss {found.loss:.4f}"
        if found.accuracy is not None:
            text += f", accuracy {found.accuracy:.2%}, cost {found.cost:.4f}"
        self._held_out[phase] = text

    def step(self, phase: str, step: int, steps: int, loss: float) -> None:
        smooth = self._smooth
        smooth[phase] = loss if phase not in smooth else 0.98 * smooth[phase] + 0.02 * loss
        told = self._held_out.get(phase, "")
        if phase not in self._tasks:
            self._tasks[phase] = self._progress.add_task(phase, total=steps, loss=loss, told=told)
        self._progress.update(self._tasks[phase], completed=step, loss=smooth[phase], told=told)
        if not self._console.is_terminal and (step % 500 == 0 or step == steps):
            self._console.print(f"{phase}: step {step} of {steps}, loss {smooth[phase]:.4f} {told}")
