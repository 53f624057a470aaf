"""`autodeep train flows`: a new version of the detector of flows."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from streams.errors import DataError

if TYPE_CHECKING:
    import polars as pl

    from streams.training.flow_captures import Capture
    from streams.training.flows.plan import FlowPlan
    from streams.training.flows.run import Trained

_STORE = "model_store"
_QUICK = "Most steps of each phase, for a quick try; 0: all."


@dataclass(frozen=True, slots=True)
class _Order:
    """What the command line asks for."""

    data: list[Path]
    device: list[str]
    busiest: list[str]
    leave_out: list[str]
    benign: list[Path]
    home: str
    seed: int
    limit_steps: int

    @property
    def command(self) -> str:
        """The one command that makes the model again."""
        options = [
            *(f"--data {path.name}" for path in self.data),
            *(f"--device {one}" for one in self.device),
            *(f"--busiest {one}" for one in self.busiest),
            *(f"--leave-out {one}" for one in self.leave_out),
            *(f"--benign {path.name}" for path in self.benign),
            *([f"--home {self.home}"] if self.home else []),
            f"--seed {self.seed}",
            *([f"--limit-steps {self.limit_steps}"] if self.limit_steps else []),
        ]
        return f"autodeep train flows {' '.join(options)}"

    @property
    def files(self) -> list[dict[str, str]]:
        return [
            {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
            for path in (*self.data, *self.benign)
        ]

    @property
    def plan(self) -> FlowPlan:
        from streams.training.flows.plan import FlowPlan
        from streams.training.plan import limited

        return limited(FlowPlan(seed=self.seed), self.limit_steps)


def flows(
    *,
    data: list[Path] = typer.Option(help="A table of labelled flows (.parquet), or conn.log with labels."),
    device: list[str] = typer.Option([], help="CAPTURE=ADDRESS: a public address that is a device there."),
    busiest: list[str] = typer.Option([], help="A capture whose busiest address alone is a device."),
    leave_out: list[str] = typer.Option([], help="A data set of the tables that is not learnt from."),
    benign: list[Path] = typer.Option([], help="Records of your own, of any sensor, without attacks."),
    home: str = typer.Option("", help="Networks of their devices; empty: AUTODEEP_HOME_NETWORKS."),
    seed: int = typer.Option(1, min=0, max=2_147_483_647, help="The same gives the same model again."),
    out: str = typer.Option("", help="Model store to write to; empty: ./model_store."),
    name: str = typer.Option("flows", help="The model's name."),
    version: str = typer.Option("", help="Its version; empty: one more than the store's greatest number."),
    alias: str = typer.Option("", help="Also point this alias at the new version, such as champion."),
    run_dir: Path | None = typer.Option(None, help="Finished models of the run; empty: runs/NAME-SEED."),
    limit_steps: int = typer.Option(0, min=0, max=2_147_483_647, help=_QUICK),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object at the end."),
) -> None:
    """A detector of flows of devices, from labelled flows and benign ones of your own.

    One model of all, and one for each data set left out, by which thresholds are chosen. A run that was
    broken off goes on with the model that it had not finished. Example:

        autodeep train flows --data given.parquet --device rita=64.225.56.201 --busiest st008

    Exit codes: 2 the data cannot be used, 3 the version exists, 1 the loss is no longer finite.
    """
    import json

    import torch

    from streams.adapters.store.models import open_store
    from streams.training.flows.card import model_card
    from streams.training.flows.run import seen_of, train

    order = _Order(data, device, busiest, leave_out, benign, home, seed, limit_steps)
    store = open_store(out or _STORE)
    number = store.free_version(name, version)  # before the minutes of training, not after them
    torch.set_num_threads(1)  # steps are too small for a second thread to pay, and one is reproducible
    captures = [*_labelled(order), *_benign(order)]
    folder = run_dir or Path("runs") / f"{name}-{seed}"
    found = train(seen_of(captures), order.plan, folder, lambda line: typer.echo(line, err=True))
    notes = _notes(order, found)
    card = model_card(name, number, notes["training"], notes["metrics"])
    identity = store.save(found.detector, name, number, notes, card)
    if alias:
        store.set_alias(name, alias, number)
    typer.echo(f"{name}/{number} written to {store.url}; finished models of the run in {folder}", err=True)
    if as_json:
        typer.echo(json.dumps({"model": dataclasses.asdict(identity), **notes}))


def _labelled(order: _Order) -> list[Capture]:
    from streams.training.flow_captures import captures_of

    at_home: dict[str, list[str]] = {}
    for one in order.device:
        capture, is_told, address = one.partition("=")
        if not (capture and is_told and address):
            raise typer.BadParameter(f"{one!r} is no CAPTURE=ADDRESS", param_hint="--device")
        at_home.setdefault(capture, []).append(address)
    found = [one for path in order.data for one in captures_of(_table(path), at_home, order.busiest)]
    missing = {*at_home, *order.busiest} - {one.name for one in found}
    if missing:
        raise DataError(f"no such capture in the tables: {', '.join(sorted(missing))}")
    return [one for one in found if one.dataset not in order.leave_out]


def _table(path: Path) -> pl.DataFrame:
    import polars as pl

    from streams.training.flows.zeek_labels import is_labelled_log, table_of

    if is_labelled_log(path):
        return table_of(path)
    try:
        return pl.read_parquet(path)
    except pl.exceptions.PolarsError as exc:
        says = "is neither a table of flows (Parquet) nor a labelled log of Zeek's in TSV"
        raise DataError(f"{path} {says} ({exc})") from exc


def _benign(order: _Order) -> list[Capture]:
    """One capture a file: all that its devices do is normal."""
    from streams.cli.flows import settings_of
    from streams.client.flow_files import opened, records
    from streams.client.flow_reading import outcomes
    from streams.codec.ingest.flows.decoder import FlowDecoder
    from streams.training.flow_captures import benign_capture

    found = []
    for path in order.benign:
        ours, options = settings_of(order.home, "", "", False)
        with opened(str(path)) as stream:
            read = outcomes(records(stream, str(path), options), FlowDecoder(options.dialect))
            flows = [
                event
                for _, outcome in read
                if isinstance(outcome, list | tuple)
                for flow, _ in outcome
                for event in ours.device_flows(flow)
            ]
        if not flows:
            raise DataError(f"{path}: no flow of a device at home; --home says which networks are yours")
        found.append(benign_capture(path.name, flows))
    return found


def _notes(order: _Order, found: Trained) -> dict[str, Any]:
    import torch

    parameters = found.detector.parameters
    training = {
        "command": order.command,
        "files": order.files,
        "classes": list(found.detector.classes),
        "plan": dataclasses.asdict(order.plan),
        "folds": found.folds,
        "default": parameters.default_point,
        "operating_points": {
            point: dataclasses.asdict(of) for point, of in parameters.operating_points.items()
        },
        "captures": found.counts,
        "torch": torch.__version__,
    }
    return {"training": training, "metrics": found.figures}
