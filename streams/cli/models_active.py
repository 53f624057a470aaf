"""`autodeep models active`: what was agreed on, by family."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from streams.codec.models import ModelRef


def active(as_json: bool = typer.Option(False, "--json", help="Print one JSON object.")) -> None:
    """Which model serves in each family, and which challenges, as Kafka says. Example:

        autodeep models active

    A family is the name before the slash. One that is not shown was never decided about: its workers serve
    AUTODEEP_MODEL.
    Exit codes: 0 done, 69 Kafka did not answer.
    """
    import dataclasses
    import json
    import os

    from rich.console import Console
    from rich.table import Table

    from streams.adapters.kafka.model_topics import newest_states
    from streams.settings import Settings

    states = sorted(newest_states(Settings.from_environment(os.environ)).by_family().items())
    if as_json:
        found = [{"family": family, **dataclasses.asdict(state)} for family, state in states]
        typer.echo(json.dumps({"families": found}))
        return
    head = ("family", "revision", "champion", "before", "challenger", "preparing")
    table = Table(*head, box=None, pad_edge=False, header_style="dim")
    for family, state in states:
        role = f" ({state.challenger_role})" if state.challenger is not None else ""
        table.add_row(
            family,
            str(state.revision),
            _name(state.champion),
            _name(state.previous),
            _name(state.challenger) + role,
            _name(state.preparing),
        )
    Console().print(table)


def _name(ref: ModelRef | None) -> str:
    return "" if ref is None else f"{ref.name}/{ref.version}"
