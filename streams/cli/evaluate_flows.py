"""`autodeep evaluate flows`: detectors of flows on networks that they never saw."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from streams.training.flow_protocol.folds import LeaveOut
    from streams.training.flows.plan import FlowPlan

_DATA = typer.Option(
    Path("data"), envvar="AUTODEEP_DATA", help="A table of labelled flows, or the folder with the data sets."
)
_HOME = typer.Option(
    None, "--home", help="CAPTURE=ADDRESS: a public address at home. [default: those of the given captures]"
)
_ALONE = typer.Option(None, help="Of this capture, the busiest address alone is at home.")
_SETTING_UP = typer.Option(
    ["sentinel"], help="A data set whose devices are set up for the first time: their incidents count apart."
)


def flows(
    *,
    data: Path = _DATA,
    seeds: str = typer.Option("3", help="How many fits of each method, or their seeds: 1,2,3."),
    leave_out: str = typer.Option(
        "dataset",
        help="What no method sees before it is judged: each dataset in turn, each capture, or each group: "
        "those without attacks are left out in two groups, which takes fewer fits.",
    ),
    home: list[str] | None = _HOME,
    alone: list[str] | None = _ALONE,
    setting_up: list[str] = _SETTING_UP,
    model: bool = typer.Option(True, "--model/--no-model", help="Train our model for each fold."),
    steps: int = typer.Option(
        0, min=0, max=2_147_483_647, help="Most steps of each phase of training, for a quick try; 0: all."
    ),
    quick: bool = typer.Option(False, "--quick", help="No other sensors, no ablation, no leak test."),
    out: Path | None = typer.Option(
        None, help="Folder for the report. [default: evaluation/flows; with --json: none is written]"
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Figures of detectors of flows, each on the data sets that it never saw.

    Hours on one core; what each fold scored is kept under OUT/scores, and the same command goes on from
    there. Examples:

        autodeep evaluate flows --data data --seeds 3 --out report

        autodeep evaluate flows --data mine.parquet --home office=198.51.100.7 --quick --json

    Exit codes: 2 the flows cannot be used.
    """
    import json

    from streams.cli import output
    from streams.cli.evaluate import progress_console
    from streams.evaluation.flows import protocol, reading
    from streams.evaluation.flows.written import print_study, write
    from streams.evaluation.protocols import parsed_seeds

    console = progress_console()
    folder = None if out is None and as_json else out or Path("evaluation") / "flows"
    order = protocol.Order(
        path=reading.find(data),
        at_home=reading.AT_HOME if home is None else _addresses(home),
        alone=reading.ALONE if alone is None else alone,
        setting_up=setting_up,
        leave_out=_left_out(leave_out),
        seeds=parsed_seeds(seeds),
        quick=quick,
        plan=_plan(steps) if model else None,
        folder=folder,
    )
    found = protocol.evaluate(order, lambda text: console.print(f"[dim]{text}", highlight=False))
    if folder:
        console.print(f"report: {write(found, folder)}", soft_wrap=True)
    if as_json:
        typer.echo(json.dumps(found, allow_nan=False))
    else:
        print_study(output.console(), found)


def _plan(steps: int) -> FlowPlan:
    from streams.training.flows.plan import FlowPlan
    from streams.training.plan import limited

    return limited(FlowPlan(), steps)


def _left_out(named: str) -> LeaveOut:
    from streams.errors import SettingsError
    from streams.training.flow_protocol.folds import LeaveOut

    if named not in tuple(LeaveOut):
        raise SettingsError(f"--leave-out {named}: say {' or '.join(LeaveOut)}")
    return LeaveOut(named)


def _addresses(named: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Capture -> addresses. Raises SettingsError."""
    import ipaddress

    from streams.errors import SettingsError

    found: dict[str, list[str]] = {}
    for text in named:
        capture, _, address = text.partition("=")
        try:
            ipaddress.ip_address(address)
        except ValueError as exc:
            raise SettingsError(f"--home {text}: say CAPTURE=ADDRESS, such as office=198.51.100.7") from exc
        found.setdefault(capture, []).append(address)
    return found
