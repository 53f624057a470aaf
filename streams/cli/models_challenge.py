"""`autodeep models shadow`, `canary`, `dismiss` and `report`: a challenger beside the champion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from streams.cli.models_orders import FAMILY, JSON, STORE, TRUST_KEY, WAIT, carry_out, command, named

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from streams.codec.models import ModelRef, ModelState
    from streams.model.comparison import Comparison, Finding

_REF = typer.Argument(help="name/version or name@alias")
_FORCE = typer.Option(False, "--force", help="Even where its classes are fewer than the champion's.")


def shadow(  # options are arguments
    ref: str = _REF,
    *,
    force: bool = _FORCE,
    wait_s: float = WAIT,
    store: str = STORE,
    trust_key: str = TRUST_KEY,
    as_json: bool = JSON,
) -> None:
    """Let a version judge in the background what the champion has judged. Example:

        autodeep models shadow kdd99/3

    No alert comes from it. Where the two disagree, a record goes to ids.models.disagreements; `autodeep
    models report` sums up. It takes AUTODEEP_SHADOW_CPU_SHARE of a core at most, and passes over events where
    the worker lags.
    Exit codes: 0 it runs, 3 refused, 69 Kafka did not answer or nobody decided.
    """
    import dataclasses

    ordered = dataclasses.replace(named("shadow", ref, store, trust_key), force=force)
    carry_out(ordered, wait_s, as_json)


def canary(  # options are arguments
    ref: str = _REF,
    *,
    share: float = typer.Option(..., "--share", help="Share of the devices, above 0 and at most 1."),
    force: bool = _FORCE,
    wait_s: float = WAIT,
    store: str = STORE,
    trust_key: str = TRUST_KEY,
    as_json: bool = JSON,
) -> None:
    """Give a share of the devices a version's verdicts. Example:

        autodeep models canary kdd99/3 --share 0.05

    Which devices is decided by a hash of their ids: the same on all workers, and a larger share keeps those
    of a smaller one. Their alerts say `canary` and name the model. The events of the others are compared as
    in the shadow.
    Exit codes: 0 it runs, 2 the share is none, 3 refused, 69 Kafka did not answer or nobody decided.
    """
    import dataclasses

    from streams.errors import SettingsError

    if not 0 < share <= 1:
        raise SettingsError(f"--share {share:g}: give a number above 0 and at most 1")
    ordered = dataclasses.replace(named("canary", ref, store, trust_key), force=force, canary_share=share)
    carry_out(ordered, wait_s, as_json)


def dismiss(family: str = FAMILY, *, wait_s: float = WAIT, as_json: bool = JSON) -> None:
    """End the family's challenge, whichever it is. Example:

        autodeep models dismiss

    Exit codes: 0 done, 3 there is no challenger, 69 Kafka did not answer or nobody decided.
    """
    carry_out(command("dismiss", family), wait_s, as_json)


def report(
    family: str = typer.Argument(
        "", help="The models' name. Needed where several families have challengers."
    ),
    *,
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """How the challenger compares with the champion so far: promote it or not? Example:

        autodeep models report

    Workers tell their figures every five seconds. The last line is advice, by the values asked for in the
    table.
    Exit codes: 0 there is a challenger, 2 there are several, 3 there is none, 69 Kafka did not answer.
    """
    import dataclasses
    import json
    import os

    from streams.adapters.kafka.model_topics import challenge_statuses, newest_states
    from streams.model.comparison import advice, findings, total
    from streams.settings import Settings

    settings = Settings.from_environment(os.environ)
    state, challenger = _challenged(newest_states(settings).by_family().values(), family)
    statuses = challenge_statuses(settings, challenger)
    told = [one.figures for one in statuses if one.figures.get("champion") == state.champion.digest]
    whole = total(told)
    lines = findings(whole)
    if not as_json:
        _show(state, whole, lines, advice(lines))
        return
    found = {
        "champion": dataclasses.asdict(state.champion),
        "challenger": dataclasses.asdict(challenger),
        "role": state.challenger_role,
        "canary_share": state.canary_share,
        "workers": len(told),
        "figures": whole.figures(),
        "findings": [dataclasses.asdict(line) for line in lines],
        "promote": advice(lines),
    }
    typer.echo(json.dumps(found))


def _challenged(states: Iterable[ModelState], family: str) -> tuple[ModelState, ModelRef]:
    """The one state with a challenger, which is given too. Raises ModelRejected, SettingsError."""
    from streams.errors import ModelRejected, SettingsError

    found = [
        (one, one.challenger) for one in states if one.challenger is not None and family in ("", one.family)
    ]
    if not found:
        raise ModelRejected("there is no challenger; `autodeep models shadow` or `canary` makes one")
    if len(found) > 1:
        names = ", ".join(sorted(state.family for state, _ in found))
        raise SettingsError(f"several families have challengers; name one of {names}")
    return found[0]


def _show(state: ModelState, whole: Comparison, lines: Sequence[Finding], said: str) -> None:
    from rich.table import Table

    from streams.cli.output import add_row, console
    from streams.legible import one_line

    out = console()
    one, other = (f"{ref.name}/{ref.version}" if ref else "" for ref in (state.challenger, state.champion))
    role = f"canary on {state.canary_share:.2%} of the devices" if state.canary_share else "shadow"
    table = Table("", "found", "asked for", "", title=f"{one} ({role}) beside {other}", title_justify="left")
    for line in lines:
        mark = "" if line.holds is None else "yes" if line.holds else "no"
        add_row(table, line.what, line.value, line.asked, mark)
    out.print(table)
    names = sorted({name for pair in whole.confusion for name in pair})
    if names:
        matrix = Table(title="Verdicts: the champion's down, the challenger's across", title_justify="left")
        matrix.add_column("")
        for name in names:
            matrix.add_column(one_line(name), justify="right")
        for row in names:
            add_row(matrix, row, *(f"{whole.confusion[row, column]:,}" for column in names))
        out.print(matrix)
    out.print(f"promote: {said}", highlight=False)
